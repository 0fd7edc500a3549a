//! The messages of snapshots.

use std::collections::BTreeMap;

use prost::{Enumeration, Message};

use super::{Cluster, Member, Node};

/// The body of a snapshot.
#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct Snapshot {
    #[prost(uint64, tag = "1")]
    pub(in crate::codec) metadata_version: u64,
    #[prost(message, optional, tag = "2")]
    pub(in crate::codec) cluster: Option<Cluster>,
    /// In order of their ids, each once; so are the topics and the tombstones.
    #[prost(message, repeated, tag = "3")]
    pub(in crate::codec) nodes: Vec<Node>,
    #[prost(message, repeated, tag = "4")]
    pub(in crate::codec) topics: Vec<Topic>,
    #[prost(message, repeated, tag = "5")]
    pub(in crate::codec) tombstones: Vec<Tombstone>,
    #[prost(int64, tag = "6")]
    pub(in crate::codec) next_producer_id: i64,
    /// Since feature level 2, in the order in which they went.
    #[prost(message, repeated, tag = "7")]
    pub(in crate::codec) retired: Vec<Retired>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct Retired {
    #[prost(message, optional, tag = "1")]
    pub(in crate::codec) member: Option<Member>,
    #[prost(int64, tag = "2")]
    pub(in crate::codec) at_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct Topic {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::codec) id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(in crate::codec) name: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(in crate::codec) overrides: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "4")]
    pub(in crate::codec) partitions: Vec<Partition>,
    #[prost(int64, tag = "5")]
    pub(in crate::codec) created_at_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct Partition {
    #[prost(uint64, repeated, tag = "1")]
    pub(in crate::codec) replicas: Vec<u64>,
    #[prost(enumeration = "Phase", tag = "2")]
    pub(in crate::codec) phase: i32,
    /// Since feature level 2: the first members, while the phase is `Creating`.
    #[prost(message, repeated, tag = "3")]
    pub(in crate::codec) initial: Vec<Member>,
    /// Since feature level 2.
    #[prost(message, optional, tag = "4")]
    pub(in crate::codec) reassignment: Option<Reassignment>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct Reassignment {
    #[prost(uint64, repeated, tag = "1")]
    pub(in crate::codec) before: Vec<u64>,
    /// In order, each once.
    #[prost(uint64, repeated, tag = "2")]
    pub(in crate::codec) leaving: Vec<u64>,
    #[prost(uint64, tag = "3")]
    pub(in crate::codec) since: u64,
    #[prost(int64, tag = "4")]
    pub(in crate::codec) started_at_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(in crate::codec) enum Phase {
    Unspecified = 0,
    Creating = 1,
    Ready = 2,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct Tombstone {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::codec) topic: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(in crate::codec) name: String,
    #[prost(uint32, tag = "3")]
    pub(in crate::codec) partition_count: u32,
    #[prost(int64, tag = "4")]
    pub(in crate::codec) deleted_at_ms: i64,
    #[prost(int64, tag = "5")]
    pub(in crate::codec) data_kept_until_ms: i64,
    #[prost(uint64, repeated, tag = "6")]
    pub(in crate::codec) holders: Vec<u64>,
}
