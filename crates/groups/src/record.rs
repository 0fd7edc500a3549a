//! What is logged. A group is exactly what the records so far made it; what is not in a record (sessions,
//! deadlines) does not outlive the coordinator.

use std::time::Duration;

use highwater_types::{LeaderEpoch, Offset, PartitionId, TimestampMs, TopicId, TopicName};

use crate::assignor::Assignor;
use crate::current::CurrentAssignment;
use crate::ids::{Epoch, GroupName, InstanceId, MemberId};
use crate::partition_set::PartitionSet;
use crate::subscription::Subscription;
use crate::topics::TopicPartitions;

/// One change to one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    /// The group.
    pub group: GroupName,
    /// What changed.
    pub change: GroupChange,
}

/// How a group's members share its partitions. The kinds that are not here yet (queues) have records of their
/// own; the classic protocol is another door to this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupKind {
    /// Each partition is read by one member at a time (KIP-848), or by readers that only keep offsets.
    Consumer,
}

/// What changed in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupChange {
    /// The group begins, or its assignment is to be computed for another state of it.
    Group(GroupHead),
    /// The group is gone, with everything in it.
    Deleted,
    /// A member is new, or says other things about itself than before.
    Member(MemberDescription),
    /// A member is gone; what it held is free.
    MemberRemoved(MemberId),
    /// What a member is to hold in the end, from the next assignment epoch on.
    Target {
        /// The member.
        member: MemberId,
        /// All its partitions.
        partitions: PartitionSet,
    },
    /// All targets are those of this epoch.
    Assigned(Epoch),
    /// What a member holds now, and which epoch it has reached.
    Current {
        /// The member.
        member: MemberId,
        /// Where it is on its way to the target.
        current: CurrentAssignment,
    },
    /// An offset was committed.
    Offset {
        /// The partition.
        partition: PartitionId,
        /// The offset and what goes with it.
        offset: CommittedOffset,
    },
    /// A partition has no offset any more.
    OffsetDeleted(PartitionId),
    /// A topic was deleted: none of its partitions has an offset any more.
    TopicForgotten(TopicId),
}

/// A group, but for its members and offsets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupHead {
    /// How members share partitions.
    pub kind: GroupKind,
    /// The group epoch.
    pub epoch: Epoch,
    /// The topics that some member subscribes to and that exist, in order of their names: what the assignment of this
    /// epoch is computed over. A coordinator that finds other topics computes another.
    pub topics: Vec<(TopicName, TopicPartitions)>,
    /// Since when the group has no members; none while it has some.
    pub empty_since: Option<TimestampMs>,
}

/// What a member says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemberDescription {
    /// This life of the member.
    pub member: MemberId,
    /// Its place in the group, when it is static.
    pub instance: Option<InstanceId>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it came from.
    pub client_host: String,
    /// What it wants to read.
    pub subscription: Subscription,
    /// The assignor that it would have; the group uses the one that most members name.
    pub assignor: Option<Assignor>,
    /// How long it may take to give up partitions before it is fenced, in whole milliseconds.
    pub rebalance_timeout: Duration,
}

/// An offset that was committed, and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommittedOffset {
    /// The next record to read.
    pub offset: Offset,
    /// The leader epoch of the last record that was read, when it is known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whatever who committed wants to keep beside it.
    pub metadata: String,
    /// When it was committed, by the coordinator's wall clock.
    pub committed_at: TimestampMs,
}
