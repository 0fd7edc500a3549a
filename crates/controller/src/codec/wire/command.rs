//! The messages of commands.

use std::collections::BTreeMap;

use prost::{Message, Oneof};

use super::{Cluster, Member, Mode, Node, Recovery};

/// A command in the metadata group's log.
#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct Command {
    #[prost(uint32, tag = "1")]
    pub(in crate::codec) version: u32,
    #[prost(oneof = "CommandKind", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17")]
    pub(in crate::codec) kind: Option<CommandKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(in crate::codec) enum CommandKind {
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
    /// The level to rise to.
    #[prost(uint32, tag = "11")]
    RaiseFeatureLevel(u32),
    #[prost(message, tag = "12")]
    SetNodeMode(SetNodeMode),
    #[prost(message, tag = "13")]
    RemoveNode(RemoveNode),
    #[prost(message, tag = "14")]
    ReassignPartitions(ReassignPartitions),
    #[prost(message, tag = "15")]
    CancelReassignments(CancelReassignments),
    #[prost(message, tag = "16")]
    ReassignmentDone(ReassignmentDone),
    #[prost(message, tag = "17")]
    ClusterRecovered(ClusterRecovered),
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct ClusterRecovered {
    #[prost(message, optional, tag = "1")]
    pub(in crate::codec) recovery: Option<Recovery>,
    #[prost(bytes = "vec", tag = "2")]
    pub(in crate::codec) cluster: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct RegisterNode {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::codec) cluster: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub(in crate::codec) node: Option<Node>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct SetNodeMode {
    #[prost(uint64, tag = "1")]
    pub(in crate::codec) node: u64,
    #[prost(enumeration = "Mode", tag = "2")]
    pub(in crate::codec) mode: i32,
    #[prost(int64, tag = "3")]
    pub(in crate::codec) at_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct RemoveNode {
    #[prost(message, optional, tag = "1")]
    pub(in crate::codec) member: Option<Member>,
    #[prost(int64, tag = "2")]
    pub(in crate::codec) at_ms: i64,
    #[prost(message, repeated, tag = "3")]
    pub(in crate::codec) counted_on: Vec<Member>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct Nodes {
    #[prost(uint64, repeated, tag = "1")]
    pub(in crate::codec) ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct CreateTopic {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::codec) topic: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(in crate::codec) name: String,
    #[prost(message, repeated, tag = "3")]
    pub(in crate::codec) placement: Vec<Nodes>,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(in crate::codec) overrides: BTreeMap<String, String>,
    #[prost(bool, tag = "5")]
    pub(in crate::codec) internal: bool,
    #[prost(int64, tag = "6")]
    pub(in crate::codec) at_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct AlterTopicConfigs {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::codec) topic: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub(in crate::codec) changes: Vec<ConfigChange>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct ConfigChange {
    #[prost(string, tag = "1")]
    pub(in crate::codec) name: String,
    /// Absent: back to the default.
    #[prost(string, optional, tag = "2")]
    pub(in crate::codec) value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct AddPartitions {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::codec) topic: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(in crate::codec) partitions_before: u32,
    #[prost(message, repeated, tag = "3")]
    pub(in crate::codec) placement: Vec<Nodes>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct PartitionsReady {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::codec) topic: Vec<u8>,
    #[prost(uint32, repeated, tag = "2")]
    pub(in crate::codec) partitions: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct DeleteTopic {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::codec) topic: Vec<u8>,
    #[prost(int64, tag = "2")]
    pub(in crate::codec) at_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct ForgetTopic {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::codec) topic: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(in crate::codec) node: u64,
    #[prost(int64, tag = "3")]
    pub(in crate::codec) at_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct AllocateProducerIds {
    #[prost(int64, tag = "1")]
    pub(in crate::codec) count: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct PartitionRef {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::codec) topic: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(in crate::codec) index: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct ReassignPartitions {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::codec) moves: Vec<PartitionMove>,
    /// In order of the topics, each once.
    #[prost(message, repeated, tag = "2")]
    pub(in crate::codec) replication_factors: Vec<ReplicationFactor>,
    #[prost(int64, tag = "3")]
    pub(in crate::codec) at_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct PartitionMove {
    #[prost(message, optional, tag = "1")]
    pub(in crate::codec) partition: Option<PartitionRef>,
    #[prost(uint64, repeated, tag = "2")]
    pub(in crate::codec) replicas: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    pub(in crate::codec) replicas_before: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct ReplicationFactor {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::codec) topic: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(in crate::codec) replicas: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct CancelReassignments {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::codec) partitions: Vec<PartitionRef>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct ReassignmentDone {
    #[prost(message, optional, tag = "1")]
    pub(in crate::codec) partition: Option<PartitionRef>,
    #[prost(uint64, repeated, tag = "2")]
    pub(in crate::codec) replicas: Vec<u64>,
    /// The metadata version that asked for them.
    #[prost(uint64, tag = "3")]
    pub(in crate::codec) since: u64,
}
