//! A plan of moves: what people read before they apply it, and the file that is applied.
//!
//! The file is this, as JSON. What only people need of it may be missing in a file; what it does not know is refused, so
//! that a mistyped name is not an order that nobody carries out.

use std::collections::BTreeMap;

use highwater_client::v1;
use serde::{Deserialize, Serialize};

use super::ids;
use super::partition_name::PartitionName;
use crate::output::{Screen, Table, Tone, bytes, counted};

/// Moves a partition from some replicas to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoveView {
    pub(crate) topic: String,
    /// If it is empty, the topic that has the name.
    #[serde(default)]
    pub(crate) topic_id: String,
    pub(crate) partition: u32,
    /// The nodes that are to have a replica, the preferred leader first.
    pub(crate) replica_node_ids: Vec<u64>,
    /// Those for which the move was planned: when there are others by now, the plan is refused.
    pub(crate) previous_node_ids: Vec<u64>,
    #[serde(default)]
    pub(crate) size_bytes: u64,
}

/// A partition of which something cannot be done for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StuckView {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    /// Why, and what helps, for people.
    pub(crate) reason: String,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// By topic and number.
    pub(crate) moves: Vec<MoveView>,
    /// By topic id, the replication factor that a topic gets; others keep theirs.
    #[serde(default)]
    pub(crate) replication_factors: BTreeMap<String, u32>,
    /// What the plan leaves as it is although it was asked for.
    #[serde(default)]
    pub(crate) stuck: Vec<StuckView>,
    /// How many replicas come to nodes that have none of the partition.
    #[serde(default)]
    pub(crate) replicas_moved: u32,
    /// How many partitions get another preferred leader.
    #[serde(default)]
    pub(crate) leaders_moved: u32,
    /// About how many bytes are copied.
    #[serde(default)]
    pub(crate) bytes_moved: u64,
    /// The metadata version for which it was made.
    #[serde(default)]
    pub(crate) metadata_version: u64,
    /// How many moves the goal needs beyond these.
    #[serde(default)]
    pub(crate) more: u32,
}

impl From<v1::StuckPartition> for StuckView {
    fn from(stuck: v1::StuckPartition) -> Self {
        Self { topic: stuck.topic, partition: stuck.partition, reason: stuck.reason }
    }
}

impl StuckView {
    pub(crate) fn name(&self) -> String {
        PartitionName { topic: self.topic.clone(), partition: self.partition }.to_string()
    }
}

impl From<v1::PlanReassignmentResponse> for Plan {
    fn from(planned: v1::PlanReassignmentResponse) -> Self {
        let plan = planned.plan.unwrap_or_default();
        let moved = |moved: v1::PartitionMove| MoveView {
            topic: moved.topic,
            topic_id: moved.topic_id,
            partition: moved.partition,
            replica_node_ids: moved.replica_node_ids,
            previous_node_ids: moved.previous_node_ids,
            size_bytes: moved.size_bytes,
        };
        Self {
            moves: plan.moves.into_iter().map(moved).collect(),
            replication_factors: plan.replication_factors.into_iter().collect(),
            stuck: planned.stuck.into_iter().map(StuckView::from).collect(),
            replicas_moved: planned.replicas_moved,
            leaders_moved: planned.leaders_moved,
            bytes_moved: planned.bytes_moved,
            metadata_version: planned.metadata_version,
            more: planned.more,
        }
    }
}

impl From<&Plan> for v1::ReassignmentPlan {
    fn from(plan: &Plan) -> Self {
        let moved = |moved: &MoveView| v1::PartitionMove {
            topic: moved.topic.clone(),
            topic_id: moved.topic_id.clone(),
            partition: moved.partition,
            replica_node_ids: moved.replica_node_ids.clone(),
            previous_node_ids: moved.previous_node_ids.clone(),
            size_bytes: moved.size_bytes,
        };
        Self {
            moves: plan.moves.iter().map(moved).collect(),
            replication_factors: plan.replication_factors.clone().into_iter().collect(),
        }
    }
}

impl MoveView {
    pub(crate) fn name(&self) -> String {
        PartitionName { topic: self.topic.clone(), partition: self.partition }.to_string()
    }

    /// What it means, in words: which copies come and go, or who leads.
    fn effect(&self) -> String {
        let missing = |from: &[u64], to: &[u64]| -> Vec<u64> {
            to.iter().filter(|node| !from.contains(node)).copied().collect()
        };
        let comes = missing(&self.previous_node_ids, &self.replica_node_ids);
        let goes = missing(&self.replica_node_ids, &self.previous_node_ids);
        let mut effects = Vec::new();
        if !comes.is_empty() {
            effects.push(format!("copy to {}", ids(&comes)));
        }
        if !goes.is_empty() {
            effects.push(format!("leave {}", ids(&goes)));
        }
        let leader = self.replica_node_ids.first();
        if let Some(leader) = leader.filter(|_| leader != self.previous_node_ids.first()) {
            effects.push(format!("{leader} leads"));
        }
        effects.join(", ")
    }
}

impl Plan {
    /// Whether it moves this partition.
    pub(crate) fn has(&self, topic: &str, partition: u32) -> bool {
        self.moves.iter().any(|moved| moved.partition == partition && moved.topic == topic)
    }

    /// What the plan leaves for another one.
    pub(crate) fn rest(&self) -> Option<String> {
        let count = counted(self.more.into(), "more move");
        (self.more > 0).then(|| format!("there is more to do: plan again for {count} when these are made"))
    }

    /// The plan, and what it costs.
    pub(crate) fn render(&self, screen: &Screen) -> String {
        let mut text = String::new();
        if !self.moves.is_empty() {
            let mut table =
                Table::new(&["PARTITION", "REPLICAS", "PLANNED", "SIZE", "EFFECT"]).spare(&["SIZE", "EFFECT"]);
            for moved in &self.moves {
                let size = if moved.size_bytes > 0 { bytes(moved.size_bytes) } else { String::new() };
                table.row(vec![
                    moved.name(),
                    ids(&moved.previous_node_ids),
                    ids(&moved.replica_node_ids),
                    size,
                    moved.effect(),
                ]);
            }
            text.push_str(&table.render_on(screen));
            let (replicas, leaders) = (self.replicas_moved, self.leaders_moved);
            text.push_str(&format!(
                "\n{}: {} to copy (about {}), {} to hand over\n",
                counted(self.moves.len() as u64, "partition"),
                counted(replicas.into(), "replica"),
                bytes(self.bytes_moved),
                counted(leaders.into(), "leadership"),
            ));
        }
        if let Some(rest) = self.rest() {
            text.push_str(&screen.paint(&rest, Some(Tone::Notice)));
            text.push('\n');
        }
        for (topic, factor) in &self.replication_factors {
            let name =
                self.moves.iter().find(|moved| moved.topic_id == *topic).map_or(topic, |moved| &moved.topic);
            text.push_str(&format!("topic {name} gets replication factor {factor}\n"));
        }
        for stuck in &self.stuck {
            let line = screen.wrap(&format!("{} stays: {}", stuck.name(), stuck.reason), 0);
            text.push_str(&screen.paint(line.trim_end(), Some(Tone::Notice)));
            text.push('\n');
        }
        text
    }
}
