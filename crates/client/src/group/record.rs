//! What a member of a group hands out, and how far it says that it is.

use std::sync::Arc;

use highwater_records::Record;
use highwater_types::{Offset, PartitionIndex};

use crate::group::TopicPartition;

/// A record that a member of a group is to process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionIndex,
    /// The record, with its offset.
    pub record: Record,
}

/// Records of one partition that a member of a group is to process, in order, as they were stored together. At least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupBatch {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionIndex,
    /// The records.
    pub records: Vec<Record>,
    /// The offset after them: what to commit once they are processed.
    pub next_offset: Offset,
}

/// How far a member is with a partition that it owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionLag {
    /// The partition.
    pub partition: TopicPartition,
    /// The next record to be handed out; `None` until the cluster said where it starts.
    pub position: Option<Offset>,
    /// The first offset that was not committed to the log yet, when the cluster was last heard of it.
    pub high_watermark: Option<Offset>,
    /// Records between the two.
    pub lag: Option<u64>,
}
