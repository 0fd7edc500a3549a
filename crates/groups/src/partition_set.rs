//! Partitions as groups hand them about: sorted, each once, cheap to clone.

use std::sync::Arc;

use highwater_types::{PartitionId, TopicId};

/// A set of partitions. Clones share the list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionSet(Arc<[PartitionId]>);

impl PartitionSet {
    /// The partitions, in order of topics and numbers.
    pub fn as_slice(&self) -> &[PartitionId] {
        &self.0
    }

    /// The partitions, in order of topics and numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = PartitionId> {
        self.0.iter().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the partition is one of them.
    pub fn contains(&self, partition: PartitionId) -> bool {
        self.0.binary_search(&partition).is_ok()
    }

    /// The partitions by topic, in order of the topics.
    pub(crate) fn by_topic(&self) -> impl Iterator<Item = (TopicId, &[PartitionId])> {
        self.0.chunk_by(|a, b| a.topic == b.topic).map(|run| (run[0].topic, run))
    }
}

impl Default for PartitionSet {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl From<Vec<PartitionId>> for PartitionSet {
    fn from(mut partitions: Vec<PartitionId>) -> Self {
        partitions.sort_unstable();
        partitions.dedup();
        Self(partitions.into())
    }
}

impl FromIterator<PartitionId> for PartitionSet {
    fn from_iter<I: IntoIterator<Item = PartitionId>>(partitions: I) -> Self {
        partitions.into_iter().collect::<Vec<_>>().into()
    }
}
