//! What producers and consumers need to know about a topic.

use std::sync::Arc;

use highwater_proto::v1::TopicDescription;
use highwater_types::PartitionIndex;

use crate::error::ClientError;

/// A partition of one life of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartitionKey {
    pub(crate) topic: Arc<str>,
    pub(crate) topic_id: Arc<str>,
    pub(crate) partition: PartitionIndex,
}

/// A topic, as the cluster described it at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicMetadata {
    pub(crate) name: Arc<str>,
    pub(crate) id: Arc<str>,
    /// At least 1.
    pub(crate) partitions: u32,
}

impl TopicMetadata {
    /// `None` when the description has no partitions.
    pub(crate) fn of(topic: &TopicDescription) -> Option<Self> {
        let partitions = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        let (name, id) = (topic.name.as_str().into(), topic.topic_id.as_str().into());
        (partitions > 0).then_some(Self { name, id, partitions })
    }

    /// The partition, if there is one of that number.
    pub(crate) fn check(&self, partition: PartitionIndex) -> Result<PartitionIndex, ClientError> {
        if partition.0 < self.partitions {
            return Ok(partition);
        }
        Err(ClientError::NoSuchPartition {
            topic: self.name.to_string(),
            partition: partition.0,
            partitions: self.partitions,
        })
    }

    pub(crate) fn key(&self, partition: PartitionIndex) -> PartitionKey {
        PartitionKey { topic: Arc::clone(&self.name), topic_id: Arc::clone(&self.id), partition }
    }
}
