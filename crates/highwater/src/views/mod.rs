//! What commands show of a cluster: plain data, taken from the API's answers, with a text for people and, by way of serde, JSON
//! for programs. The names of the fields are the names in the JSON and stay as they are: programs read them.
//!
//! Nothing here asks anybody or prints anything.

mod cluster_status;
mod group;
mod group_member;
mod group_partition;
mod health;
mod node;
mod node_progress;
mod partition;
mod partition_name;
mod plan;
mod reassignment;
mod replica;
mod reset_plan;
#[cfg(test)]
mod tests;

pub(crate) use cluster_status::ClusterStatus;
pub(crate) use group::{GroupStateView, GroupView, LagView, lag_table};
pub(crate) use group_partition::GroupPartitionView;
pub(crate) use node::{NodeMode, NodeView, node_table};
pub(crate) use node_progress::NodeProgress;
pub(crate) use partition::{PartitionView, partition_table};
pub(crate) use partition_name::PartitionName;
pub(crate) use plan::{Plan, StuckView};
pub(crate) use reassignment::{ReassignmentView, reassignment_table};
pub(crate) use reset_plan::{OffsetChange, ResetPlan};

/// Node ids as they are shown: `1,2,3`.
fn ids(nodes: &[u64]) -> String {
    nodes.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// Node ids in a sentence: `node 1`, `nodes 1, 2 and 3`.
fn named_nodes(nodes: &[u64]) -> String {
    match nodes {
        [] => "no node".to_owned(),
        [node] => format!("node {node}"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(u64::to_string).collect();
            format!("nodes {} and {last}", first.join(", "))
        }
    }
}
