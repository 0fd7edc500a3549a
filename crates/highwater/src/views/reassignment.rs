//! A move of a partition that is under way.

use highwater_client::v1;
use serde::Serialize;

use super::ids;
use super::partition_name::PartitionName;
use super::replica::{ReplicaView, lag_of};
use crate::output::{Cell, Table, Tone, bytes};

/// See the module. Serialized it is an element of what `reassign status --output json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct ReassignmentView {
    pub(crate) topic: String,
    pub(crate) topic_id: String,
    pub(crate) partition: u32,
    /// The nodes that are to have a replica, the preferred leader first.
    pub(crate) replica_node_ids: Vec<u64>,
    /// Those that had one before: where a cancellation leads.
    pub(crate) previous_node_ids: Vec<u64>,
    /// The nodes whose replicas go when the move is done.
    pub(crate) leaving_node_ids: Vec<u64>,
    /// When it was asked for, in milliseconds since 1970.
    pub(crate) started_at_ms: i64,
    pub(crate) leader_node_id: Option<u64>,
    pub(crate) size_bytes: u64,
    /// What it waits for, for people.
    pub(crate) waits_for: String,
    pub(crate) replicas: Vec<ReplicaView>,
}

impl From<v1::Reassignment> for ReassignmentView {
    fn from(moved: v1::Reassignment) -> Self {
        Self {
            topic: moved.topic,
            topic_id: moved.topic_id,
            partition: moved.partition,
            replica_node_ids: moved.replica_node_ids,
            previous_node_ids: moved.previous_node_ids,
            leaving_node_ids: moved.leaving_node_ids,
            started_at_ms: moved.started_at_ms,
            leader_node_id: moved.leader_node_id,
            size_bytes: moved.size_bytes,
            waits_for: moved.waits_for,
            replicas: moved.replicas.into_iter().map(ReplicaView::from).collect(),
        }
    }
}

impl ReassignmentView {
    pub(crate) fn name(&self) -> String {
        PartitionName { topic: self.topic.clone(), partition: self.partition }.to_string()
    }

    /// How far its replicas are behind; nothing when they are not, or nobody knows.
    pub(crate) fn behind(&self) -> String {
        lag_of(&self.replicas)
    }
}

/// The moves, one in a row.
pub(crate) fn reassignment_table(moves: &[ReassignmentView]) -> Table {
    let headings = ["PARTITION", "FROM", "TO", "LEADER", "SIZE", "BEHIND", "WAITS FOR"];
    let mut table = Table::new(&headings).spare(&["SIZE", "LEADER", "BEHIND"]);
    for moved in moves {
        let leader = match moved.leader_node_id {
            Some(node) => node.to_string().into(),
            None => Cell::toned("none", Some(Tone::Bad)),
        };
        table.row(vec![
            moved.name().into(),
            ids(&moved.previous_node_ids).into(),
            ids(&moved.replica_node_ids).into(),
            leader,
            bytes(moved.size_bytes).into(),
            moved.behind().into(),
            moved.waits_for.clone().into(),
        ]);
    }
    table
}
