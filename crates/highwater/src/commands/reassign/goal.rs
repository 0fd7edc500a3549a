//! What a plan is for.

use std::str::FromStr;

use clap::{ArgGroup, Args};
use highwater_client::v1;
use highwater_client::v1::plan_reassignment_request::Goal;

use crate::views::PartitionName;

/// See the module.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("goal").required(true))]
pub(crate) struct GoalArgs {
    /// Even out what the active nodes hold and lead
    #[arg(long, group = "goal")]
    balance: bool,
    /// Empty this node
    #[arg(long, group = "goal", value_name = "NODE")]
    drain: Option<u64>,
    /// Bring a partition to these nodes, the preferred leader first, such as orders-0=1,2,4; may be repeated. For another
    /// replication factor give all partitions of the topic
    #[arg(long = "assign", group = "goal", value_name = "TOPIC-N=NODES")]
    assignments: Vec<Assignment>,
}

/// The replicas that a partition is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Assignment {
    partition: PartitionName,
    nodes: Vec<u64>,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected a partition and its nodes, such as orders-0=1,2,4".to_owned();
        let (partition, nodes) = text.rsplit_once('=').ok_or_else(expected)?;
        let nodes = nodes.split(',').map(|node| node.trim().parse().map_err(|_| expected()));
        Ok(Self { partition: partition.parse()?, nodes: nodes.collect::<Result<_, _>>()? })
    }
}

impl GoalArgs {
    /// As the API has it.
    pub(super) fn into_goal(self) -> Goal {
        if let Some(node_id) = self.drain {
            return Goal::Drain(v1::DrainGoal { node_id });
        }
        if self.balance {
            return Goal::Balance(v1::BalanceGoal {});
        }
        let assignment = |assigned: Assignment| v1::PartitionAssignment {
            topic: assigned.partition.topic,
            topic_id: String::new(),
            partition: assigned.partition.partition,
            replica_node_ids: assigned.nodes,
        };
        Goal::Assignment(v1::AssignmentGoal {
            partitions: self.assignments.into_iter().map(assignment).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_a_partition_and_its_nodes() {
        let assignment: Assignment = "a-b-0=3,1, 2".parse().expect("an assignment");
        assert_eq!(assignment.partition.to_string(), "a-b-0");
        assert_eq!(assignment.nodes, [3, 1, 2]);
        for text in ["", "orders-0", "orders-0=", "orders-0=1,x", "orders=1,2", "orders-0=1,"] {
            assert!(text.parse::<Assignment>().is_err(), "{text}");
        }
    }
}
