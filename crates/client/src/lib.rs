//! Async client of a Highwater cluster: producer, consumer, admin.
//!
//! It knows the API and the batch format, never how a node works inside. It is told of some nodes and learns of the others
//! from them; what belongs to a partition goes to that partition's leader, and follows it when it moves. Connections are
//! made when they are needed and made again when they break, with growing waits in between; all queues are
//! bounded. Every public async function says whether it is cancel-safe.

mod admin;
mod client;
mod cluster;
mod config;
mod connections;
mod consumer;
mod error;
mod founding;
mod group;
mod handler;
mod partitioner;
mod producer;
mod reader;
mod topic;

pub use admin::Admin;
pub use client::Client;
pub use config::{ClientConfig, Dial};
pub use consumer::{ConsumedBatch, Consumer, ConsumerConfig, OutOfRange, StartPosition};
pub use error::ClientError;
pub use founding::{Contact, Introduced, NodeState};
pub use group::{
    CommitMode, CommittedOffset, GroupBatch, GroupConsumer, GroupConsumerConfig, GroupDescription, GroupList,
    GroupPartition, GroupRecord, GroupState, GroupSummary, MemberDescription, OffsetCommit, OffsetCommitter,
    PartitionLag, RebalanceListener, Revocation, TopicPartition,
};
pub use handler::{AfterFailure, GroupHandler, GroupHandlerConfig, RecordHandler};
pub use partitioner::{murmur2, partition_for_key};
pub use producer::{Delivered, Delivery, Producer, ProducerConfig, ProducerRecord, ProducerStats};

/// How a group's partitions are shared.
pub use highwater_groups::Assignor;
/// The API's messages, which [`Admin`] takes and returns.
pub use highwater_proto::v1;
/// Headers, consumed records and compression are the batch format's own.
pub use highwater_records::{Compression, Header, Record};
