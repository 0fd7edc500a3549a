//! What a coordinator makes of a request.

use crate::error::GroupsError;
use crate::ids::{Epoch, GroupName, MemberId, Revision};
use crate::partition_set::PartitionSet;
use crate::record::GroupRecord;

/// What a request came to.
///
/// The records are logged **together, in order, as one entry**, after those of all decisions before. Answer and wakes are
/// given out when that entry is durable on a majority, and without records when those before are: the
/// coordinator is ahead of what is durable, and nobody may hear of what could be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Decision<T> {
    /// What is to be logged; already true in the coordinator's own state.
    pub records: Vec<GroupRecord>,
    /// For who asked. A refusal has no records.
    pub answer: Result<T, GroupsError>,
    /// Members that have something to hear, each once.
    pub wakes: Vec<Wake>,
}

/// A member has something to hear. Whoever can reach it has it send a heartbeat now; otherwise it hears with its
/// next one. Nothing depends on it but how fast things go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wake {
    /// The group.
    pub group: GroupName,
    /// The member.
    pub member: MemberId,
}

/// The answer to a join or a heartbeat.
///
/// A member's time runs from when it *sent* what is answered, so that it is over before the coordinator gives its
/// partitions away. It owns nothing any more, and joins again, when
/// - a session timeout has passed since it sent the last request that was answered, or
/// - its rebalance timeout has passed since it sent the one whose answer told it to give something up, and no answer has come
///   since that says that nothing is to be given up any more. That it has given it up is not enough: until the
///   coordinator heard that, the coordinator counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAnswer {
    /// The epoch to state from now on.
    pub epoch: Epoch,
    /// The revision to repeat from now on. An answer with a lower revision than one that was heard is outdated.
    pub revision: Revision,
    /// All that the member may own from now on: it may begin what is new to it, and gives up everything else that it
    /// owns, then says so. None when it has heard of this revision.
    pub assignment: Option<PartitionSet>,
    /// Whether the coordinator waits for it to say that it gave up what it was told to, even when there is nothing of that
    /// that it knows of: what gave it to the member may have been lost.
    pub is_to_give_up: bool,
}
