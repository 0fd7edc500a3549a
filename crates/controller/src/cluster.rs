//! The cluster itself: its identity, the level of features it runs, and the version
//! that counts the changes to its metadata.

use std::fmt;

use highwater_types::{ClusterId, NodeId, TimestampMs};

/// Which commands and persisted forms the cluster uses. It only ever rises, and only
/// to a level that every node supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeatureLevel(pub u32);

impl FeatureLevel {
    /// Topics, settings, producer ids: all that one node alone needs.
    pub const ONE_NODE: Self = Self(1);
    /// Modes of nodes, their removal and return, and partitions that move between them.
    pub const SEVERAL_NODES: Self = Self(2);
    /// Consumer groups, whose shards are a topic of the cluster's own: a node without them would take their entries for batches. Whoever
    /// proposes that topic asks for the level; the command is as old as topics.
    pub const CONSUMER_GROUPS: Self = Self(3);
    /// The newest level that this build knows; it knows all levels from 1 to this one.
    pub const NEWEST: Self = Self::CONSUMER_GROUPS;

    /// Whether this build knows the level.
    pub fn is_supported(self) -> bool {
        (1..=Self::NEWEST.0).contains(&self.0)
    }
}

impl fmt::Display for FeatureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many changes the metadata has seen. Duplicates and refused commands do not
/// count, so two images of one cluster with the same version are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MetadataVersion(pub u64);

impl MetadataVersion {
    /// The version that the next change leads to.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What was settled when the cluster was born, and the level that it has reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRecord {
    /// The cluster's id: nodes refuse the data and the company of another.
    pub id: ClusterId,
    /// The level of features in use.
    pub feature_level: FeatureLevel,
    /// When the cluster was born, by the first node's clock.
    pub born_at: TimestampMs,
    /// How often it went on from a single survivor, the newest last, at most [`RECOVERIES_MAX`].
    pub recoveries: Vec<Recovery>,
}

/// Recoveries that are remembered.
pub const RECOVERIES_MAX: usize = 16;

/// That a cluster lost the majority of its metadata's voters, and goes on from what one node had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// The cluster's id before: what still has that one was left behind and must not come back.
    pub was: ClusterId,
    /// The survivor.
    pub node: NodeId,
    /// When, by the survivor's clock.
    pub at: TimestampMs,
}
