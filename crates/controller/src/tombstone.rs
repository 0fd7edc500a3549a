//! What remains of a deleted topic until its data is gone everywhere. It is the only
//! licence a node has to remove a partition's data.

use std::collections::BTreeSet;

use highwater_types::{NodeId, TimestampMs, TopicId, TopicName};

/// A deleted topic whose data is not gone from every node yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The id of the deleted life.
    pub topic: TopicId,
    /// The name it had; another topic may carry it by now.
    pub name: TopicName,
    /// Partitions that it had.
    pub partition_count: u32,
    /// When it was deleted, by the proposer's clock.
    pub deleted_at: TimestampMs,
    /// No data may be removed before this time, by the removing node's clock.
    pub data_kept_until: TimestampMs,
    /// Nodes that may still hold data of it; never empty.
    pub holders: BTreeSet<NodeId>,
}
