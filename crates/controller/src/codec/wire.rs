//! The protobuf messages. Numbers of fields and of enum values never change and are
//! never used again; what a build does not know, it refuses by the version. Here is what commands
//! and snapshots share.

mod command;
mod response;
mod snapshot;

use std::collections::BTreeMap;

use prost::{Enumeration, Message};

pub(super) use self::command::*;
pub(super) use self::response::*;
pub(super) use self::snapshot::*;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Cluster {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) feature_level: u32,
    #[prost(int64, tag = "3")]
    pub(super) born_at_ms: i64,
    /// In snapshots only: a cluster is born without.
    #[prost(message, repeated, tag = "4")]
    pub(super) recoveries: Vec<Recovery>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Recovery {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) was: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(super) node: u64,
    #[prost(int64, tag = "3")]
    pub(super) at_ms: i64,
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
    /// Since feature level 2, in snapshots only: a node does not say it about itself.
    #[prost(message, optional, tag = "7")]
    pub(super) wanted: Option<WantedMode>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WantedMode {
    #[prost(enumeration = "Mode", tag = "1")]
    pub(super) mode: i32,
    #[prost(int64, tag = "2")]
    pub(super) since_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(super) enum Mode {
    Unspecified = 0,
    Serving = 1,
    Maintenance = 2,
    Draining = 3,
}

/// A node in one life of its data directory.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Member {
    #[prost(uint64, tag = "1")]
    pub(super) node: u64,
    #[prost(fixed64, tag = "2")]
    pub(super) incarnation: u64,
}
