//! One life of a topic. All of its partitions have the same number of replicas.

use highwater_types::{ConfigOverrides, PartitionIndex, TimestampMs, TopicConfig, TopicId, TopicName};

use crate::error::MetadataError;
use crate::partition::PartitionRecord;

/// One life of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRecord {
    /// The id, for this life only.
    pub id: TopicId,
    /// The name, which a later topic may carry again.
    pub name: TopicName,
    /// The settings it was given, as canonical text.
    pub overrides: ConfigOverrides,
    /// All settings, typed: always what `overrides` mean.
    pub config: TopicConfig,
    /// The partitions in order of their index; never empty, never fewer than before.
    pub partitions: Vec<PartitionRecord>,
    /// When it was created, by the proposer's clock.
    pub created_at: TimestampMs,
}

impl TopicRecord {
    /// The number of partitions.
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.partitions.len()).expect("partitions per topic are bounded")
    }

    /// Replicas of each partition, as wanted.
    pub fn replication_factor(&self) -> u32 {
        let replicas = self.partitions.first().map_or(0, |partition| partition.replicas.len());
        u32::try_from(replicas).expect("replicas are bounded by the nodes")
    }

    /// The partition of that index.
    pub fn partition(&self, index: PartitionIndex) -> Option<&PartitionRecord> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }

    /// The partition of that index, to be changed.
    pub(crate) fn partition_mut(&mut self, index: PartitionIndex) -> Option<&mut PartitionRecord> {
        self.partitions.get_mut(usize::try_from(index.0).ok()?)
    }

    /// Checks that every partition has so many replicas.
    pub(crate) fn check_replication_factor(&self, factor: u32) -> Result<(), MetadataError> {
        let expected = usize::try_from(factor).unwrap_or(usize::MAX);
        for (index, partition) in (0..).zip(&self.partitions) {
            let actual = partition.replicas.len();
            if actual != expected {
                return Err(MetadataError::UnevenReplicas { index: PartitionIndex(index), expected, actual });
            }
        }
        Ok(())
    }
}
