//! What members and administrators ask for.

use std::time::Duration;

use highwater_types::{LeaderEpoch, Offset, PartitionId};

use crate::assignor::Assignor;
use crate::ids::{Epoch, GroupName, InstanceId, MemberId, Revision};
use crate::partition_set::PartitionSet;
use crate::subscription::Subscription;

/// A member wants to be in a group: KIP-848's heartbeat with epoch 0. It owns nothing when it sends it. Sending it again
/// when no answer came is safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The group; it begins with its first member.
    pub group: GroupName,
    /// This life of the member.
    pub member: MemberId,
    /// Its place in the group, when it is static.
    pub instance: Option<InstanceId>,
    /// What its client calls itself; longer than [`highwater_types::limits::MEMBER_TEXT_BYTES_MAX`] it is cut.
    pub client_id: String,
    /// Where it comes from; cut likewise.
    pub client_host: String,
    /// What it wants to read.
    pub subscription: Subscription,
    /// The assignor that it would have.
    pub assignor: Option<Assignor>,
    /// How long it may take to give up partitions; whole milliseconds count.
    pub rebalance_timeout: Duration,
}

/// A member is alive, and says what it owns.
///
/// What a member owns is all that it was told to own (the `assignment` of the answer with the highest
/// revision that it heard in this life) and what it is still busy giving up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatRequest {
    /// The group.
    pub group: GroupName,
    /// The member.
    pub member: MemberId,
    /// Its place in the group, when it is static.
    pub instance: Option<InstanceId>,
    /// The epoch of the last answer that it heard.
    pub epoch: Epoch,
    /// The revision of that answer.
    pub seen: Revision,
    /// What it owns; none when that is what it said last. A member that gave something up must say.
    pub owned: Option<PartitionSet>,
    /// What it wants to read from now on; none when that has not changed.
    pub subscription: Option<Subscription>,
}

/// How a member goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Leave {
    /// For good: its partitions go to others at once (KIP-848's epoch -1).
    ForGood,
    /// A static member's process ends, and the next one comes soon: its partitions wait for it as long as a session
    /// (epoch -2).
    ForAWhile,
}

/// A member goes. It owns nothing when it sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveRequest {
    /// The group.
    pub group: GroupName,
    /// The member.
    pub member: MemberId,
    /// How it goes.
    pub leave: Leave,
}

/// Who commits offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committer {
    /// A member, for what it holds.
    Member {
        /// The member.
        member: MemberId,
        /// The epoch that it is in.
        epoch: Epoch,
    },
    /// Somebody who is in no group and only keeps offsets here: possible while the group has no members (Kafka's
    /// generation -1 with an empty member id).
    Outsider,
}

/// Offsets are to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRequest {
    /// The group; an outsider's first commit begins it.
    pub group: GroupName,
    /// Who commits.
    pub committer: Committer,
    /// The offsets.
    pub offsets: Vec<OffsetCommit>,
}

/// One offset to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The partition.
    pub partition: PartitionId,
    /// The next record to read.
    pub offset: Offset,
    /// The leader epoch of the last record that was read, when it is known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// What is to be kept beside it, at most [`highwater_types::limits::OFFSET_METADATA_BYTES_MAX`].
    pub metadata: String,
    /// Whether it may go back. A commit that may not and is behind what is committed changes nothing, and is
    /// accepted: it came late, or twice.
    pub may_rewind: bool,
}
