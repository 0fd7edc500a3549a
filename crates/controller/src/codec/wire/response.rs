//! The messages of responses.

use prost::{Enumeration, Message, Oneof};

/// The answer to a command.
#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct Response {
    #[prost(uint32, tag = "1")]
    pub(in crate::codec) version: u32,
    /// The version of the metadata; absent from a refusal.
    #[prost(uint64, tag = "2")]
    pub(in crate::codec) metadata_version: u64,
    #[prost(oneof = "ResponseKind", tags = "3, 4, 5, 6, 7, 8")]
    pub(in crate::codec) kind: Option<ResponseKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(in crate::codec) enum ResponseKind {
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
pub(in crate::codec) struct Refused {
    #[prost(enumeration = "RefusalCode", tag = "1")]
    pub(in crate::codec) code: i32,
    #[prost(string, tag = "2")]
    pub(in crate::codec) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct Done {}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct TopicCreated {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::codec) topic: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(in crate::codec) partitions: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::codec) struct ProducerIds {
    #[prost(int64, tag = "1")]
    pub(in crate::codec) first: i64,
    #[prost(int64, tag = "2")]
    pub(in crate::codec) count: i64,
}

/// The kinds of errors that a refusal can be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(in crate::codec) enum RefusalCode {
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
    NodeRemoved = 12,
}
