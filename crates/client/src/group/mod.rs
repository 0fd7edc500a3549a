//! Consumer groups: many consumers share the partitions of topics, and the cluster remembers how far they have got.
//!
//! A member keeps itself in its group, by heartbeats, and reads what it is given from the partitions' leaders. What an answer of the
//! coordinator means is decided by `highwater-groups`, which the coordinator is made of as well.

mod agenda;
mod calls;
mod committing;
mod config;
mod consumer;
mod description;
mod handing_out;
mod keeper;
mod listener;
mod offsets;
mod progress;
mod rebalancing;
mod record;
mod shared;
mod starts;

pub use committing::OffsetCommitter;
pub use config::{CommitMode, GroupConsumerConfig};
pub use consumer::GroupConsumer;
pub use description::{
    GroupDescription, GroupList, GroupPartition, GroupState, GroupSummary, MemberDescription,
};
pub use listener::{RebalanceListener, Revocation};
pub use offsets::{CommittedOffset, OffsetCommit, TopicPartition};

pub use record::{GroupBatch, GroupRecord, PartitionLag};

pub(crate) use calls::GroupCalls;
pub(crate) use offsets::{by_topic, outcomes};
