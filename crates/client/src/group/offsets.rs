//! Committed offsets, as the client takes and returns them.

use std::fmt;
use std::sync::Arc;

use highwater_proto::v1;
use highwater_types::{Offset, PartitionIndex, TimestampMs};

use crate::error::ClientError;

/// A partition of the topic of that name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name. Empty in what is told of a topic that is gone.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// This partition of this topic.
    pub fn new(topic: impl Into<Arc<str>>, partition: PartitionIndex) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// An offset to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The partition.
    pub partition: TopicPartition,
    /// The next record to read.
    pub offset: Offset,
    /// What is to be kept beside it, at most 4096 bytes.
    pub metadata: String,
    /// Whether the committed offset may go back. Without it, a commit that is behind what is committed changes nothing and is no
    /// error.
    pub may_rewind: bool,
}

impl OffsetCommit {
    /// Remembers that everything before this offset is done.
    pub fn new(partition: TopicPartition, offset: Offset) -> Self {
        Self { partition, offset, metadata: String::new(), may_rewind: false }
    }

    /// `topic_id`: the life of the topic that is meant; empty for the one that has the name now.
    pub(crate) fn to_proto(&self, topic_id: &str) -> v1::OffsetCommit {
        v1::OffsetCommit {
            topic: self.partition.topic.to_string(),
            topic_id: topic_id.to_owned(),
            partition: self.partition.partition.0,
            offset: self.offset.0,
            leader_epoch: None,
            metadata: self.metadata.clone(),
            may_rewind: self.may_rewind,
        }
    }
}

/// What a group has committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The partition.
    pub partition: TopicPartition,
    /// The topic's id: what was committed for a topic that was deleted does not count for its successor.
    pub topic_id: String,
    /// The next record to read; `None` when nothing is committed.
    pub offset: Option<Offset>,
    /// What is kept beside it.
    pub metadata: String,
    /// When it was committed, by the coordinator's clock.
    pub committed_at: Option<TimestampMs>,
    /// Why nothing can be said of the partition.
    pub error: Option<ClientError>,
}

impl From<v1::CommittedOffset> for CommittedOffset {
    fn from(told: v1::CommittedOffset) -> Self {
        Self {
            partition: TopicPartition::new(told.topic, PartitionIndex(told.partition)),
            topic_id: told.topic_id,
            offset: told.offset.map(Offset),
            metadata: told.metadata,
            committed_at: told.committed_at_ms.map(TimestampMs),
            error: told.error.map(ClientError::from),
        }
    }
}

/// What became of each offset.
pub(crate) fn outcomes(results: Vec<v1::GroupOffsetResult>) -> Vec<Result<(), ClientError>> {
    results.into_iter().map(|result| result.error.map_or(Ok(()), |detail| Err(detail.into()))).collect()
}

/// Partitions, by topic. The order of an answer is theirs, so it is kept.
pub(crate) fn by_topic(partitions: &[TopicPartition]) -> Vec<v1::TopicPartitions> {
    partitions
        .chunk_by(|a, b| a.topic == b.topic)
        .map(|run| v1::TopicPartitions {
            topic: run[0].topic.to_string(),
            topic_id: String::new(),
            partitions: run.iter().map(|of| of.partition.0).collect(),
        })
        .collect()
}

/// Partitions as an assignment lists them.
pub(crate) fn of_assignment(assignment: Option<v1::GroupAssignment>) -> Vec<TopicPartition> {
    let of = |topic: v1::TopicPartitions| {
        let name: Arc<str> = topic.topic.into();
        let partitions = topic.partitions.into_iter().map(PartitionIndex);
        partitions.map(move |partition| TopicPartition::new(Arc::clone(&name), partition))
    };
    assignment.unwrap_or_default().topics.into_iter().flat_map(of).collect()
}
