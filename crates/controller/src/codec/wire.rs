//! The protobuf messages. Numbers of fields and of enum values never change and are
//! never used again; what a build does not know, it refuses by the version.

use std::collections::BTreeMap;

use prost::{Enumeration, Message, Oneof};

/// A command in the metadata group's log.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Command {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(oneof = "CommandKind", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub(super) kind: Option<CommandKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum CommandKind {
    #[prost(message, tag = "2")]
    ClusterBorn(Cluster),
    #[prost(message, tag = "3")]
    RegisterNode(RegisterNode),
    #[prost(message, tag = "4")]
    CreateTopic(CreateTopic),
    #[prost(message, tag = "5")]
    AlterTopicConfigs(AlterTopicConfigs),
    #[prost(message, tag = "6")]
    AddPartitions(AddPartitions),
    #[prost(message, tag = "7")]
    PartitionsReady(PartitionsReady),
    #[prost(message, tag = "8")]
    DeleteTopic(DeleteTopic),
    #[prost(message, tag = "9")]
    ForgetTopic(ForgetTopic),
    #[prost(message, tag = "10")]
    AllocateProducerIds(AllocateProducerIds),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Cluster {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) feature_level: u32,
    #[prost(int64, tag = "3")]
    pub(super) born_at_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RegisterNode {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) cluster: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub(super) node: Option<Node>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(fixed64, tag = "2")]
    pub(super) incarnation: u64,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(super) addresses: BTreeMap<String, String>,
    #[prost(string, optional, tag = "4")]
    pub(super) rack: Option<String>,
    #[prost(uint32, tag = "5")]
    pub(super) feature_level_newest: u32,
    #[prost(int64, tag = "6")]
    pub(super) registered_at_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Nodes {
    #[prost(uint64, repeated, tag = "1")]
    pub(super) ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateTopic {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) topic: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) placement: Vec<Nodes>,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(super) overrides: BTreeMap<String, String>,
    #[prost(bool, tag = "5")]
    pub(super) internal: bool,
    #[prost(int64, tag = "6")]
    pub(super) at_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AlterTopicConfigs {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) topic: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub(super) changes: Vec<ConfigChange>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConfigChange {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// Absent: back to the default.
    #[prost(string, optional, tag = "2")]
    pub(super) value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AddPartitions {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) topic: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) partitions_before: u32,
    #[prost(message, repeated, tag = "3")]
    pub(super) placement: Vec<Nodes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartitionsReady {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) topic: Vec<u8>,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) partitions: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteTopic {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) topic: Vec<u8>,
    #[prost(int64, tag = "2")]
    pub(super) at_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ForgetTopic {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) topic: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(super) node: u64,
    #[prost(int64, tag = "3")]
    pub(super) at_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AllocateProducerIds {
    #[prost(int64, tag = "1")]
    pub(super) count: i64,
}

/// The answer to a command.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    /// The version of the metadata; absent from a refusal.
    #[prost(uint64, tag = "2")]
    pub(super) metadata_version: u64,
    #[prost(oneof = "ResponseKind", tags = "3, 4, 5, 6, 7, 8")]
    pub(super) kind: Option<ResponseKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum ResponseKind {
    #[prost(message, tag = "3")]
    Refused(Refused),
    #[prost(message, tag = "4")]
    Done(Done),
    #[prost(message, tag = "5")]
    TopicCreated(TopicCreated),
    #[prost(uint32, tag = "6")]
    PartitionsAdded(u32),
    /// The end of the grace period, in ms since the epoch.
    #[prost(int64, tag = "7")]
    TopicDeleted(i64),
    #[prost(message, tag = "8")]
    ProducerIds(ProducerIds),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Refused {
    #[prost(enumeration = "RefusalCode", tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Done {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TopicCreated {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) topic: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) partitions: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProducerIds {
    #[prost(int64, tag = "1")]
    pub(super) first: i64,
    #[prost(int64, tag = "2")]
    pub(super) count: i64,
}

/// The kinds of errors that a refusal can be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(super) enum RefusalCode {
    Unspecified = 0,
    InvalidRequest = 1,
    UnknownTopicOrPartition = 2,
    UnknownTopicId = 3,
    TopicAlreadyExists = 4,
    InvalidTopicName = 5,
    InvalidPartitions = 6,
    InvalidReplicationFactor = 7,
    InvalidConfig = 8,
    Unavailable = 9,
    Unsupported = 10,
    Internal = 11,
}

/// The body of a snapshot.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Snapshot {
    #[prost(uint64, tag = "1")]
    pub(super) metadata_version: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) cluster: Option<Cluster>,
    /// In order of their ids, each once; so are the topics and the tombstones.
    #[prost(message, repeated, tag = "3")]
    pub(super) nodes: Vec<Node>,
    #[prost(message, repeated, tag = "4")]
    pub(super) topics: Vec<Topic>,
    #[prost(message, repeated, tag = "5")]
    pub(super) tombstones: Vec<Tombstone>,
    #[prost(int64, tag = "6")]
    pub(super) next_producer_id: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Topic {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(super) overrides: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "4")]
    pub(super) partitions: Vec<Partition>,
    #[prost(int64, tag = "5")]
    pub(super) created_at_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Partition {
    #[prost(uint64, repeated, tag = "1")]
    pub(super) replicas: Vec<u64>,
    #[prost(enumeration = "Phase", tag = "2")]
    pub(super) phase: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(super) enum Phase {
    Unspecified = 0,
    Creating = 1,
    Ready = 2,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Tombstone {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) topic: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(uint32, tag = "3")]
    pub(super) partition_count: u32,
    #[prost(int64, tag = "4")]
    pub(super) deleted_at_ms: i64,
    #[prost(int64, tag = "5")]
    pub(super) data_kept_until_ms: i64,
    #[prost(uint64, repeated, tag = "6")]
    pub(super) holders: Vec<u64>,
}
