//! Why a command was refused, or bytes were not understood.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use highwater_types::limits::PARTITIONS_PER_TOPIC_MAX;
use highwater_types::{
    ClusterId, ConfigError, ErrorCode, Incarnation, NodeId, PartitionId, PartitionIndex, TimestampMs, TopicId,
    TopicName, TopicNameError,
};

use crate::cluster::{FeatureLevel, MetadataVersion};
use crate::response::Refusal;

/// The last second of the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;

/// What can be wrong with a command, a snapshot or a placement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// A command came before the cluster was born.
    #[error("the cluster has no identity yet")]
    NotBorn,
    /// The command speaks of another cluster.
    #[error("this is cluster {actual}, not {claimed}")]
    OtherCluster {
        /// The cluster in the command.
        claimed: ClusterId,
        /// The cluster that this is.
        actual: ClusterId,
    },
    /// A node's build is older than what the cluster uses.
    #[error("node {node} knows feature levels up to {newest}; the cluster uses level {required}")]
    NodeTooOld {
        /// The node.
        node: NodeId,
        /// The newest level that it knows.
        newest: FeatureLevel,
        /// The cluster's level.
        required: FeatureLevel,
    },
    /// Node ids start at 1.
    #[error("0 is not a node id")]
    NodeIdZero,
    /// The cluster has as many nodes as it can.
    #[error("node {node} cannot join: a cluster has at most {max} nodes")]
    TooManyNodes {
        /// The node that was to be registered.
        node: NodeId,
        /// Most nodes, inclusive.
        max: usize,
    },
    /// A data directory registers whose node was removed or has another one by now.
    #[error(
        "node {node} cannot come back with incarnation {incarnation}: {}; start it with an empty data directory",
        fate(*.current, *.at)
    )]
    IncarnationRetired {
        /// The node.
        node: NodeId,
        /// The incarnation that is gone.
        incarnation: Incarnation,
        /// When it was replaced or removed.
        at: TimestampMs,
        /// The node's incarnation now; none when the node was removed.
        current: Option<Incarnation>,
    },
    /// A node has another incarnation than the proposer saw.
    #[error("node {node} has incarnation {actual} by now, not {expected}; look again and retry")]
    OtherIncarnation {
        /// The node.
        node: NodeId,
        /// The incarnation in the command.
        expected: Incarnation,
        /// The incarnation that it has.
        actual: Incarnation,
    },
    /// A node is to be removed that partitions are placed on.
    #[error(
        "node {node} holds replicas of {partitions} partitions ({}); drain it first",
        named(.examples, *.partitions)
    )]
    NodeInUse {
        /// The node.
        node: NodeId,
        /// How many partitions name it.
        partitions: u32,
        /// The first of them.
        examples: Vec<(TopicName, PartitionIndex)>,
    },
    /// A node is to be removed whose vote is counted on meanwhile: another voter has gone.
    #[error(
        "node {node} stays: node {voter}, whose vote on the metadata was to be enough without it, is gone or has another disk by now; \
         look again and retry"
    )]
    VoterGone {
        /// The node that was to be removed.
        node: NodeId,
        /// The voter that is gone.
        voter: NodeId,
    },
    /// A replica is placed on a node that replicas are moved away from.
    #[error("node {node} is being drained and takes no replicas")]
    NodeDraining {
        /// The node.
        node: NodeId,
    },
    /// The cluster does not use the level of features that the command is of.
    #[error("this needs feature level {required}; the cluster uses level {current}: raise it first")]
    FeatureLevelTooLow {
        /// The level from which on the command is possible.
        required: FeatureLevel,
        /// The cluster's level.
        current: FeatureLevel,
    },
    /// The level of features was to go back.
    #[error("the feature level only rises: it is {current}, and {requested} is lower")]
    FeatureLevelLowered {
        /// The level wanted.
        requested: FeatureLevel,
        /// The cluster's level.
        current: FeatureLevel,
    },
    /// Some nodes do not know the level of features.
    #[error("feature level {level} is not known by {}; upgrade or remove them first", levels(.nodes))]
    NodesTooOld {
        /// The level wanted.
        level: FeatureLevel,
        /// The nodes that do not know it, with the newest level that each knows.
        nodes: Vec<(NodeId, FeatureLevel)>,
    },
    /// One command moves too many partitions.
    #[error("{requested} partitions are too many for one change: it moves {max} at most")]
    TooManyMoves {
        /// The partitions in the command.
        requested: usize,
        /// Most partitions, inclusive.
        max: usize,
    },
    /// One command moves a partition twice.
    #[error("partition {partition} is moved twice in one request")]
    DuplicateMove {
        /// The partition.
        partition: PartitionId,
    },
    /// One of the moves is not possible, so none is made.
    #[error("partition {name}-{index} cannot be moved: {reason}")]
    Immovable {
        /// The topic's name.
        name: TopicName,
        /// The partition.
        index: PartitionIndex,
        /// Why.
        reason: Box<Self>,
    },
    /// A move was planned for replicas that the partition does not have any more.
    #[error("its replicas are {} by now, not {}; plan again", list(.actual), list(.expected))]
    StalePlacement {
        /// The replicas that the planner saw.
        expected: Vec<NodeId>,
        /// The replicas that are wanted now.
        actual: Vec<NodeId>,
    },
    /// A partition is to move whose group was not initialized.
    #[error("it is still being created; try again")]
    StillCreating,
    /// A group was said to be settled, with other members than are wanted, or wanted since.
    #[error(
        "partition {partition} is not settled by the reassignment of metadata version {since}: {}",
        match .wanted_since {
            Some(wanted) => format!("that of version {wanted} is under way"),
            None => "none with these replicas is under way".to_owned(),
        }
    )]
    OtherReassignment {
        /// The partition.
        partition: PartitionId,
        /// The reassignment in the command.
        since: MetadataVersion,
        /// The reassignment that is under way.
        wanted_since: Option<MetadataVersion>,
    },
    /// The metadata cannot have so many voters.
    #[error("{requested} metadata voters are not possible: 1, 3 or 5 are")]
    VoterCount {
        /// The voters wanted.
        requested: usize,
    },
    /// The name breaks the rules for topic names.
    #[error(transparent)]
    TopicName(#[from] TopicNameError),
    /// The name is kept for, or missing from, the cluster's own topics.
    #[error("'{name}': names that start with '__' are for the cluster's own topics, and only for those")]
    ReservedTopicName {
        /// The name.
        name: TopicName,
    },
    /// The name is taken.
    #[error("topic '{name}' exists (id {topic})")]
    TopicExists {
        /// The name.
        name: TopicName,
        /// The id of the topic that has it.
        topic: TopicId,
    },
    /// The name is another topic's but for `.` and `_`.
    #[error("topic '{name}' would collide with '{existing}': '.' and '_' are the same in metric names")]
    TopicNameCollides {
        /// The name.
        name: TopicName,
        /// The topic that exists.
        existing: TopicName,
    },
    /// The id was used for another topic.
    #[error("topic id {topic} is in use by another topic or by a deleted one")]
    TopicIdUsed {
        /// The id.
        topic: TopicId,
    },
    /// No live topic has the id.
    #[error("no topic has id {topic}")]
    UnknownTopic {
        /// The id.
        topic: TopicId,
    },
    /// The topic has no such partition.
    #[error("topic {topic} has {partitions} partitions; there is no partition {index}")]
    UnknownPartition {
        /// The topic.
        topic: TopicId,
        /// The index in the command.
        index: PartitionIndex,
        /// The partitions that the topic has.
        partitions: u32,
    },
    /// A topic is to have no partitions, or more than it can.
    #[error("{requested} partitions are not possible: a topic has 1 to {PARTITIONS_PER_TOPIC_MAX}")]
    PartitionCount {
        /// The partitions that the topic would have.
        requested: u64,
    },
    /// Partitions were added to a topic that has others by now.
    #[error("topic {topic} has {actual} partitions by now, not {expected}; look again and retry")]
    PartitionCountChanged {
        /// The topic.
        topic: TopicId,
        /// The partitions that the proposer saw.
        expected: u32,
        /// The partitions that it has.
        actual: u32,
    },
    /// The cluster has as many partitions as it can.
    #[error("{requested} more partitions do not fit: the cluster has {current} of at most {max}")]
    ClusterFull {
        /// The partitions to be added.
        requested: u64,
        /// The partitions of all live topics.
        current: u32,
        /// Most partitions, inclusive.
        max: u32,
    },
    /// More replicas are wanted than there are nodes, or none.
    #[error(
        "replication factor {requested} is not possible: {nodes} node{} can take replicas; choose 1 to {nodes}, or add \
         nodes first",
        if *nodes == 1 { "" } else { "s" }
    )]
    ReplicationFactor {
        /// The replicas wanted of each partition.
        requested: u32,
        /// The nodes that can take them.
        nodes: usize,
    },
    /// Partitions of one topic have different numbers of replicas.
    #[error("partition {index} has {actual} replicas; the topic's replication factor is {expected}")]
    UnevenReplicas {
        /// The first partition that differs.
        index: PartitionIndex,
        /// The replication factor.
        expected: usize,
        /// The partition's replicas.
        actual: usize,
    },
    /// One node is to hold two replicas of a partition.
    #[error("partition {index} names node {node} twice")]
    DuplicateReplica {
        /// The partition.
        index: PartitionIndex,
        /// The node.
        node: NodeId,
    },
    /// A replica is placed on a node that is not registered.
    #[error("node {node} is not registered")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// One command changes one setting twice.
    #[error("'{name}' is changed twice in one request")]
    DuplicateSetting {
        /// The setting.
        name: String,
    },
    /// A block of producer ids has a size that is not possible.
    #[error("{requested} producer ids are not possible: a block has 1 to {max}")]
    ProducerIdCount {
        /// The ids wanted.
        requested: i64,
        /// Most ids in a block, inclusive.
        max: i64,
    },
    /// All of the 2^63 producer ids are used.
    #[error("there are no more producer ids")]
    ProducerIdsExhausted,
    /// The topic is to be forgotten though it lives.
    #[error("topic {topic} is not deleted")]
    TopicNotDeleted {
        /// The topic.
        topic: TopicId,
    },
    /// Data of a deleted topic was to be forgotten too early.
    #[error("data of deleted topic {topic} stays until {}; it is {}", date_time(*.until), date_time(*.at))]
    GracePeriod {
        /// The deleted topic.
        topic: TopicId,
        /// The proposer's time.
        at: TimestampMs,
        /// The end of the grace period, exclusive.
        until: TimestampMs,
    },
    /// Bytes are not what they should be.
    #[error("a metadata {what} is malformed: {detail}")]
    Malformed {
        /// What the bytes should be.
        what: &'static str,
        /// The first thing that is wrong.
        detail: String,
    },
    /// Bytes were written by a newer build.
    #[error("a metadata {what} has format version {version}; this build knows versions up to {newest}")]
    UnknownVersion {
        /// What the bytes are.
        what: &'static str,
        /// The version they state.
        version: u32,
        /// The newest version that this build knows.
        newest: u32,
    },
    /// The cluster uses features that this build does not know.
    #[error("the cluster uses feature level {level}; this build knows 1 to {}", FeatureLevel::NEWEST)]
    UnknownFeatureLevel {
        /// The cluster's level.
        level: FeatureLevel,
    },
    /// A snapshot is damaged.
    #[error("a metadata snapshot is damaged: its checksum is {actual:08x}, not {stated:08x}")]
    Checksum {
        /// The CRC32C in its header.
        stated: u32,
        /// The CRC32C of its body.
        actual: u32,
    },
}

impl MetadataError {
    /// The kind of error that a client sees.
    pub fn code(&self) -> ErrorCode {
        match self {
            // Whoever places partitions takes other nodes the next time.
            Self::NotBorn | Self::NodeDraining { .. } | Self::StillCreating => ErrorCode::Unavailable,
            Self::IncarnationRetired { .. } => ErrorCode::NodeRemoved,
            Self::Immovable { reason, .. } => reason.code(),
            Self::OtherCluster { .. }
            | Self::NodeTooOld { .. }
            | Self::NodeIdZero
            | Self::TooManyNodes { .. }
            | Self::TopicIdUsed { .. }
            | Self::UnevenReplicas { .. }
            | Self::DuplicateReplica { .. }
            | Self::UnknownNode { .. }
            | Self::OtherIncarnation { .. }
            | Self::NodeInUse { .. }
            | Self::VoterGone { .. }
            | Self::FeatureLevelLowered { .. }
            | Self::NodesTooOld { .. }
            | Self::TooManyMoves { .. }
            | Self::DuplicateMove { .. }
            | Self::StalePlacement { .. }
            | Self::OtherReassignment { .. }
            | Self::VoterCount { .. }
            | Self::ProducerIdCount { .. }
            | Self::TopicNotDeleted { .. }
            | Self::GracePeriod { .. } => ErrorCode::InvalidRequest,
            Self::TopicName(_) | Self::ReservedTopicName { .. } | Self::TopicNameCollides { .. } => {
                ErrorCode::InvalidTopicName
            }
            Self::TopicExists { .. } => ErrorCode::TopicAlreadyExists,
            Self::UnknownTopic { .. } => ErrorCode::UnknownTopicId,
            Self::UnknownPartition { .. } => ErrorCode::UnknownTopicOrPartition,
            Self::PartitionCount { .. } | Self::PartitionCountChanged { .. } | Self::ClusterFull { .. } => {
                ErrorCode::InvalidPartitions
            }
            Self::ReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
            Self::Config(_) | Self::DuplicateSetting { .. } => ErrorCode::InvalidConfig,
            Self::UnknownVersion { .. }
            | Self::UnknownFeatureLevel { .. }
            | Self::FeatureLevelTooLow { .. } => ErrorCode::Unsupported,
            Self::ProducerIdsExhausted | Self::Malformed { .. } | Self::Checksum { .. } => ErrorCode::Internal,
        }
    }

    /// The error as it travels to the proposer.
    pub fn refusal(&self) -> Refusal {
        Refusal { code: self.code(), message: self.to_string() }
    }
}

/// What became of an incarnation.
fn fate(current: Option<Incarnation>, at: TimestampMs) -> String {
    let at = date_time(at);
    match current {
        Some(current) => format!("incarnation {current} replaced it at {at}"),
        None => format!("the node was removed at {at}"),
    }
}

/// A time as people read it, in UTC; what lies beyond the years that can be written is their first or last second.
fn date_time(at: TimestampMs) -> impl fmt::Display {
    let seconds = u64::try_from(at.0).unwrap_or(0) / 1000;
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds.min(SECONDS_MAX)))
}

fn list(nodes: &[NodeId]) -> String {
    let nodes: Vec<_> = nodes.iter().map(NodeId::to_string).collect();
    format!("[{}]", nodes.join(", "))
}

fn levels(nodes: &[(NodeId, FeatureLevel)]) -> String {
    let nodes: Vec<_> = nodes.iter().map(|(node, newest)| format!("node {node} (up to {newest})")).collect();
    nodes.join(", ")
}

fn named(partitions: &[(TopicName, PartitionIndex)], count: u32) -> String {
    let names: Vec<_> = partitions.iter().map(|(name, index)| format!("{name}-{index}")).collect();
    let more = if u64::from(count) > partitions.len() as u64 { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}
