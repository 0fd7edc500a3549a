//! Consumer groups: many consumers share the partitions of topics, and the cluster remembers how far they have got.

mod calls;
mod description;
mod offsets;

pub use description::{
    GroupDescription, GroupList, GroupPartition, GroupState, GroupSummary, MemberDescription,
};
pub use offsets::{CommittedOffset, OffsetCommit, TopicPartition};

pub(crate) use calls::GroupCalls;
pub(crate) use offsets::{by_topic, outcomes};
