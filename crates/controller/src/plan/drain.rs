//! How to empty a node: each replica on it goes to the node with the fewest, on a rack that the
//! partition does not use if there is one. Where the node was the preferred leader, the replica on the
//! node that leads the fewest partitions becomes it.

use highwater_types::{NodeId, PartitionId, PartitionIndex};

use super::load::Load;
use crate::error::MetadataError;
use crate::image::MetadataImage;
use crate::partition::PartitionPhase;
use crate::partition_move::PartitionMove;

/// How to empty a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DrainPlan {
    /// What to move, in order of the partitions.
    pub moves: Vec<PartitionMove>,
    /// What stays on the node for now.
    pub stuck: Vec<Stuck>,
}

/// A partition that cannot leave a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// The partition.
    pub partition: PartitionId,
    /// Why: [`MetadataError::StillCreating`] or [`MetadataError::ReplicationFactor`].
    pub reason: MetadataError,
}

/// Plans to empty a node, whatever its mode.
///
/// # Errors
/// [`MetadataError::UnknownNode`].
pub fn plan_drain(image: &MetadataImage, node: NodeId, seed: u64) -> Result<DrainPlan, MetadataError> {
    if image.node(node).is_none() {
        return Err(MetadataError::UnknownNode { node });
    }
    let mut load = Load::of(image, seed);
    let mut plan = DrainPlan::default();
    for topic in image.topics() {
        for (index, record) in (0..).zip(&topic.partitions) {
            let Some(position) = record.replicas.iter().position(|replica| *replica == node) else { continue };
            let partition = PartitionId { topic: topic.id, index: PartitionIndex(index) };
            if record.phase == PartitionPhase::Creating {
                plan.stuck.push(Stuck { partition, reason: MetadataError::StillCreating });
                continue;
            }
            let Some(target) = least_loaded(&load, &record.replicas, node) else {
                let nodes = load.serving().filter(|(serving, _)| *serving != node).count();
                let requested = topic.replication_factor();
                let reason = MetadataError::ReplicationFactor { requested, nodes };
                plan.stuck.push(Stuck { partition, reason });
                continue;
            };
            let replicas_before = record.replicas.to_vec();
            let mut replicas = replicas_before.clone();
            replicas[position] = target;
            load.move_replica(node, target);
            if position == 0 {
                prefer_least_leading(&mut load, &mut replicas, node);
            }
            plan.moves.push(PartitionMove { partition, replicas, replicas_before });
        }
    }
    Ok(plan)
}

/// The node that takes the replica of the one that is emptied.
fn least_loaded(load: &Load, replicas: &[NodeId], leaving: NodeId) -> Option<NodeId> {
    let free = load.serving().filter(|(node, _)| !replicas.contains(node) && *node != leaving);
    let least =
        free.min_by_key(|(node, held)| (load.on_rack_of(*node, replicas, leaving), held.replicas, held.rank));
    least.map(|(node, _)| node)
}

/// Puts the replica first whose node leads the fewest partitions, among those that serve.
fn prefer_least_leading(load: &mut Load, replicas: &mut [NodeId], leaving: NodeId) {
    let least = (0..replicas.len()).min_by_key(|position| {
        let node = load.node(replicas[*position]);
        (node.mode, node.leaders, node.rank)
    });
    let least = least.expect("a partition has replicas");
    replicas.swap(0, least);
    load.move_leader(leaving, replicas[0]);
}
