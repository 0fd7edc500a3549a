//! Requests and answers about topics. Names, numbers and configs are unchecked text
//! here; `controller` and `types` hold the rules.

use std::time::Duration;

use highwater_types::{ConfigOverrides, NodeId, Offset, PartitionIndex, TopicId};

use crate::error::BrokerError;
use crate::replicas::ReplicaState;
use crate::request::TopicRef;

/// A topic to create.
#[derive(Debug, Clone)]
pub struct CreateTopic {
    /// The name.
    pub name: String,
    /// How many partitions; `None` takes the cluster's default.
    pub partitions: Option<u32>,
    /// How many replicas each has; `None` takes the cluster's default.
    pub replication_factor: Option<u32>,
    /// Configs that differ from the defaults.
    pub configs: ConfigOverrides,
    /// Whether only to check.
    pub validate_only: bool,
    /// How long partitions that come up may be waited for, where that is less than the node would wait.
    pub wait_max: Option<Duration>,
}

/// A topic that was created, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id; `None` when it was only checked.
    pub id: Option<TopicId>,
    /// Its number of partitions.
    pub partitions: u32,
    /// Its number of replicas.
    pub replication_factor: u32,
    /// The metadata version that shows it.
    pub metadata_version: u64,
    /// How many of its partitions do not take records yet; they come up by themselves.
    pub pending: u32,
}

/// Which topics to list.
#[derive(Debug, Clone, Default)]
pub struct ListTopics {
    /// Only names that begin with this.
    pub name_prefix: String,
    /// Whether to list the cluster's own topics too.
    pub include_internal: bool,
    /// Only names after this one.
    pub after: Option<String>,
    /// Most topics to return.
    pub limit: usize,
}

/// A page of topics.
#[derive(Debug, Clone)]
pub struct ListedTopics {
    /// The topics by name.
    pub topics: Vec<TopicSummary>,
    /// Whether there are more after the last.
    pub more: bool,
    /// The metadata version that shows them.
    pub metadata_version: u64,
}

/// A topic in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSummary {
    /// The name.
    pub name: String,
    /// The id.
    pub id: TopicId,
    /// How many partitions.
    pub partitions: u32,
    /// How many replicas each has.
    pub replication_factor: u32,
    /// Whether it is one of the cluster's own.
    pub internal: bool,
}

/// A topic in full.
#[derive(Debug, Clone)]
pub struct TopicDescription {
    /// What the list shows too.
    pub summary: TopicSummary,
    /// The partitions, from 0.
    pub partitions: Vec<PartitionDescription>,
    /// What differs from the defaults.
    pub configs: ConfigOverrides,
}

/// A partition.
#[derive(Debug, Clone)]
pub struct PartitionDescription {
    /// Its number.
    pub partition: PartitionIndex,
    /// Who leads it.
    pub leader: Option<NodeId>,
    /// The leader's term.
    pub leader_epoch: u64,
    /// The nodes that have a replica.
    pub replicas: Vec<NodeId>,
    /// Nodes that may still have one, though it moves away from them.
    pub leaving: Vec<NodeId>,
    /// The replicas in full, as far as this node can tell; empty when the watermarks were not asked for.
    pub states: Vec<ReplicaState>,
    /// The watermarks, when they were asked for, or why they are not known.
    pub offsets: Option<Result<PartitionOffsets, BrokerError>>,
}

/// The watermarks and the size of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// The first offset that exists.
    pub log_start: Offset,
    /// The first offset that is not committed.
    pub high_watermark: Offset,
    /// Bytes of its segments.
    pub size_bytes: u64,
}

/// A change of a topic's configs: all of it, or nothing.
#[derive(Debug, Clone)]
pub struct AlterTopic {
    /// The topic.
    pub topic: TopicRef,
    /// Configs to set.
    pub set: ConfigOverrides,
    /// Names to take back to their defaults.
    pub reset: Vec<String>,
    /// Whether only to check.
    pub validate_only: bool,
}

/// More partitions for a topic.
#[derive(Debug, Clone)]
pub struct AddPartitions {
    /// The topic.
    pub topic: TopicRef,
    /// How many there are to be in the end.
    pub total: u32,
    /// Whether only to check.
    pub validate_only: bool,
    /// How long partitions that come up may be waited for, where that is less than the node would wait.
    pub wait_max: Option<Duration>,
}

/// Partitions that were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddedPartitions {
    /// The metadata version that shows them.
    pub metadata_version: u64,
    /// How many of the topic's partitions do not take records yet; they come up by themselves.
    pub pending: u32,
}

/// How far to delete in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteRecords {
    /// The partition.
    pub partition: PartitionIndex,
    /// The first offset to keep; `None` is the high watermark.
    pub before: Option<Offset>,
}
