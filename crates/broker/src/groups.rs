//! Consumer groups on this node: the shards that it holds, and the way from a group's name to the one that coordinates it.
//!
//! A group belongs to a shard by its name. The shards are the partitions of a topic of the cluster's own, which is created with the first
//! group; whoever leads a shard coordinates its groups.

mod admin;
mod cluster_topics;
mod membership;
mod offsets;
mod routing;

use std::sync::Arc;

use highwater_coordinator::Topics;
use highwater_groups::GroupsConfig;
use tokio_util::sync::CancellationToken;

pub use admin::{GroupDescription, GroupSummary};
pub(crate) use cluster_topics::ClusterTopics;
pub use membership::{Membership, MembershipChange};
pub use offsets::{CommitOffsets, FetchedOffset, GroupPartitionRef, NewOffset};

/// What the shards of a node run on.
pub(crate) struct GroupsParts {
    pub(crate) topics: Arc<dyn Topics>,
    pub(crate) config: GroupsConfig,
    pub(crate) stopping: CancellationToken,
}
