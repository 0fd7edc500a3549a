//! A topic and its partitions as the cluster wants them: placement here is what is
//! desired; who really is a member of a partition's group, its leader knows.

use std::sync::Arc;

use highwater_types::{ConfigOverrides, NodeId, PartitionIndex, TimestampMs, TopicConfig, TopicId, TopicName};

/// Whether a partition's group was ever initialized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartitionPhase {
    /// No replica has data: the group may be initialized.
    Creating,
    /// The group has elected a leader once. It is never initialized again: a replica
    /// that finds itself empty lost its data and must not begin a second history.
    Ready,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRecord {
    /// The nodes that should hold it, the preferred leader first; never empty, no duplicates.
    pub replicas: Arc<[NodeId]>,
    /// Whether its group was initialized.
    pub phase: PartitionPhase,
}

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

    /// Replicas of each partition.
    pub fn replication_factor(&self) -> u32 {
        let replicas = self.partitions.first().map_or(0, |partition| partition.replicas.len());
        u32::try_from(replicas).expect("replicas are bounded by the nodes")
    }

    /// The partition of that index.
    pub fn partition(&self, index: PartitionIndex) -> Option<&PartitionRecord> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }
}
