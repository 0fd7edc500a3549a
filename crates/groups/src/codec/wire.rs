//! The protobuf messages. Numbers of fields and of enum values never change and are never used again; what a
//! build does not know, it refuses by the version.

use prost::{Enumeration, Message, Oneof};

/// The records of one decision, or a piece of a snapshot.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Records {
    /// In the log only: a snapshot has it in its header.
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(message, repeated, tag = "2")]
    pub(super) records: Vec<Record>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Record {
    #[prost(string, tag = "1")]
    pub(super) group: String,
    #[prost(oneof = "Change", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub(super) change: Option<Change>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Change {
    #[prost(message, tag = "2")]
    Group(Group),
    #[prost(message, tag = "3")]
    Deleted(Deleted),
    #[prost(message, tag = "4")]
    Member(Member),
    /// The member's id.
    #[prost(string, tag = "5")]
    MemberRemoved(String),
    #[prost(message, tag = "6")]
    Target(Target),
    /// The assignment epoch.
    #[prost(uint32, tag = "7")]
    Assigned(u32),
    #[prost(message, tag = "8")]
    Current(Current),
    #[prost(message, tag = "9")]
    Offset(Offset),
    #[prost(message, tag = "10")]
    OffsetDeleted(Partition),
    /// The topic's id.
    #[prost(bytes, tag = "11")]
    TopicForgotten(Vec<u8>),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Deleted {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(super) enum Kind {
    Unspecified = 0,
    Consumer = 1,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Group {
    #[prost(enumeration = "Kind", tag = "1")]
    pub(super) kind: i32,
    #[prost(uint32, tag = "2")]
    pub(super) epoch: u32,
    #[prost(message, repeated, tag = "3")]
    pub(super) topics: Vec<NamedTopic>,
    #[prost(int64, optional, tag = "4")]
    pub(super) empty_since_ms: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NamedTopic {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) topic: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub(super) count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(super) enum Assignor {
    Unspecified = 0,
    Uniform = 1,
    Range = 2,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Member {
    #[prost(string, tag = "1")]
    pub(super) member: String,
    #[prost(string, optional, tag = "2")]
    pub(super) instance: Option<String>,
    #[prost(string, tag = "3")]
    pub(super) client_id: String,
    #[prost(string, tag = "4")]
    pub(super) client_host: String,
    #[prost(string, repeated, tag = "5")]
    pub(super) topics: Vec<String>,
    /// None is `Unspecified`.
    #[prost(enumeration = "Assignor", tag = "6")]
    pub(super) assignor: i32,
    #[prost(uint64, tag = "7")]
    pub(super) rebalance_timeout_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Target {
    #[prost(string, tag = "1")]
    pub(super) member: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) topics: Vec<Topic>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Topic {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) topic: Vec<u8>,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) indexes: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(super) enum State {
    Unspecified = 0,
    Stable = 1,
    Unrevoked = 2,
    Unreleased = 3,
    Away = 4,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Current {
    #[prost(string, tag = "1")]
    pub(super) member: String,
    #[prost(uint32, tag = "2")]
    pub(super) epoch: u32,
    #[prost(uint32, tag = "3")]
    pub(super) stated_epoch: u32,
    #[prost(uint32, tag = "4")]
    pub(super) revision: u32,
    #[prost(enumeration = "State", tag = "5")]
    pub(super) state: i32,
    #[prost(message, repeated, tag = "6")]
    pub(super) held: Vec<TopicHeld>,
    #[prost(message, repeated, tag = "7")]
    pub(super) revoking: Vec<TopicHeld>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TopicHeld {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) topic: Vec<u8>,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) indexes: Vec<u32>,
    /// Since which epoch, for each of the indexes.
    #[prost(uint32, repeated, tag = "3")]
    pub(super) since: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Partition {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) topic: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) index: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Offset {
    #[prost(message, optional, tag = "1")]
    pub(super) partition: Option<Partition>,
    #[prost(int64, tag = "2")]
    pub(super) offset: i64,
    #[prost(int32, optional, tag = "3")]
    pub(super) leader_epoch: Option<i32>,
    #[prost(string, tag = "4")]
    pub(super) metadata: String,
    #[prost(int64, tag = "5")]
    pub(super) committed_at_ms: i64,
}
