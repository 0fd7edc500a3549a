//! Identifiers of nodes, clusters, topics, partitions and Raft groups.
//!
//! All are plain values; the ones that are persisted have a fixed byte layout
//! (`to_bytes`, `from_bytes`) that never changes.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::environment::Random;

/// A node of the cluster. Chosen by the operator, unique in the cluster, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a node's data directory. A directory that was emptied or replaced
/// comes back under another incarnation, so that its old promises do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One start of a node on its data directory: a later start has a greater epoch. It tells a node that was
/// restarted from one that was only away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ProcessEpoch(pub u64);

impl fmt::Display for ProcessEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A cluster, drawn at its birth. A node refuses the data of another cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub Uuid);

impl ClusterId {
    /// Draws a new id.
    pub fn draw(random: &dyn Random) -> Self {
        Self(draw_uuid(random))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ClusterId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// One life of a topic. A topic that is deleted and created again under its name
/// has another id: offsets and data of the first never apply to the second (R10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub Uuid);

impl TopicId {
    /// Draws a new id; never the nil UUID, which names the metadata group.
    pub fn draw(random: &dyn Random) -> Self {
        Self(draw_uuid(random))
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a partition within its topic, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionIndex(pub u32);

impl fmt::Display for PartitionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One partition of one life of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    /// The topic's id.
    pub topic: TopicId,
    /// The partition's number within the topic.
    pub index: PartitionIndex,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

/// A Raft group: the cluster's metadata, or one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupId {
    /// The group that holds topics, placement and configs.
    Metadata,
    /// The group of a partition's replicas.
    Partition(PartitionId),
}

impl GroupId {
    /// Length of [`GroupId::to_bytes`], in bytes.
    pub const ENCODED_LEN: usize = 20;

    /// The persisted form: the topic's UUID, then the partition as big-endian `u32`.
    /// The metadata group is all zeros, which no topic id is.
    pub fn to_bytes(self) -> [u8; Self::ENCODED_LEN] {
        let mut out = [0; Self::ENCODED_LEN];
        if let Self::Partition(partition) = self {
            out[..16].copy_from_slice(partition.topic.0.as_bytes());
            out[16..].copy_from_slice(&partition.index.0.to_be_bytes());
        }
        out
    }

    /// The inverse of [`GroupId::to_bytes`]; every input is some group.
    pub fn from_bytes(bytes: [u8; Self::ENCODED_LEN]) -> Self {
        let mut topic = [0; 16];
        topic.copy_from_slice(&bytes[..16]);
        let mut index = [0; 4];
        index.copy_from_slice(&bytes[16..]);
        if topic == [0; 16] {
            return Self::Metadata;
        }
        Self::Partition(PartitionId {
            topic: TopicId(Uuid::from_bytes(topic)),
            index: PartitionIndex(u32::from_be_bytes(index)),
        })
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata => f.write_str("metadata"),
            Self::Partition(partition) => partition.fmt(f),
        }
    }
}

/// A version-4 UUID from the randomness that was passed in.
fn draw_uuid(random: &dyn Random) -> Uuid {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_ids_survive_their_persisted_form() {
        let partition = GroupId::Partition(PartitionId {
            topic: TopicId::draw(&crate::SystemRandom),
            index: PartitionIndex(7),
        });
        for group in [GroupId::Metadata, partition] {
            assert_eq!(GroupId::from_bytes(group.to_bytes()), group);
        }
    }
}
