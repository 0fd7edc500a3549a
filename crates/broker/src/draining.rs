//! What the leader of the metadata group does for nodes that are to leave or to rest: it gives what a draining node holds to others,
//! a part at a time, and hands over the lead of the metadata when the node is its own.
//!
//! Everything it goes by is in the metadata. Whoever leads next goes on from there, and a move that was asked for already
//! is not asked for again.

use std::collections::{BTreeMap, BTreeSet};

use highwater_controller::{MetadataCommand, MetadataImage, NodeMode, plan_drain, plan_metadata_voters};
use highwater_types::{NodeId, PartitionId, PartitionIndex};

use crate::broker::Broker;
use crate::overview::may_lead;

/// Partitions that drains move at one time: what moves takes room and bandwidth from what is produced.
const MOVES_AT_ONCE: usize = 16;
/// The same with those that stand still, because nobody leads them.
const MOVES_AT_ONCE_MAX: usize = 1000;
/// Voters of the metadata group, once there are as many nodes.
const METADATA_VOTERS: usize = 3;
/// Most of them.
const METADATA_VOTERS_MAX: usize = 5;

impl Broker {
    /// Moves the next replicas away from nodes that are draining. Returns whether it has to be looked at again soon.
    pub(crate) async fn drain_nodes(&self, image: &MetadataImage) -> bool {
        let draining = image.nodes().filter(|node| node.mode == NodeMode::Draining);
        let draining: Vec<NodeId> = draining.map(|node| node.id).collect();
        if draining.is_empty() {
            return false;
        }
        let (running, all) = self.moves_under_way(image);
        let mut room = MOVES_AT_ONCE.saturating_sub(running).min(MOVES_AT_ONCE_MAX.saturating_sub(all));
        let mut moves = Vec::new();
        let mut taken = BTreeSet::new();
        for node in draining {
            let Ok(plan) = plan_drain(image, node, self.random.next_u64()) else { continue };
            for wanted in plan.moves {
                // A partition on two such nodes leaves one after the other.
                if room > 0 && taken.insert(wanted.partition) {
                    room -= 1;
                    moves.push(wanted);
                }
            }
        }
        if moves.is_empty() {
            return false;
        }
        let count = moves.len();
        let at = self.clock.now();
        let reassign = MetadataCommand::ReassignPartitions { moves, replication_factors: BTreeMap::new(), at };
        match self.propose(&reassign).await {
            Ok(_) => {
                tracing::info!(count, "replicas begin to move away from nodes that are being drained");
                false
            }
            Err(error) => {
                tracing::debug!(%error, "replicas could not be moved away from a node that is being drained");
                true
            }
        }
    }

    /// How many partitions move: those with a leader that is there, and all.
    fn moves_under_way(&self, image: &MetadataImage) -> (usize, usize) {
        let (mut running, mut all) = (0, 0);
        for topic in image.topics() {
            for (index, record) in (0..).map(PartitionIndex).zip(&topic.partitions) {
                if record.reassignment.is_some() {
                    let leader = self.known_leader(PartitionId { topic: topic.id, index });
                    running += usize::from(leader.is_some_and(|leader| self.is_there(leader)));
                    all += 1;
                }
            }
        }
        (running, all)
    }

    /// Hands over the lead of the metadata group while this node is about to stop or to leave. Returns whether it is still to be done.
    pub(crate) async fn hand_over_metadata(&self, image: &MetadataImage) -> bool {
        let own = self.options.node;
        if image.node(own).is_some_and(|node| may_lead(node.mode)) {
            return false;
        }
        let Some(successor) = self.metadata_successor(image, own) else { return false };
        match self.metadata_group.hand_over(successor).await {
            Ok(()) => tracing::info!(%successor, "handed the lead of the cluster's metadata over"),
            Err(error) => {
                tracing::debug!(%successor, %error, "the lead of the cluster's metadata stays here for now");
            }
        }
        true
    }

    /// Who is to lead the metadata group in the place of `node`.
    pub(crate) fn metadata_successor(&self, image: &MetadataImage, node: NodeId) -> Option<NodeId> {
        let status = self.metadata_group.status();
        let voters: BTreeSet<NodeId> = status.voters.iter().flatten().copied().collect();
        let can_lead = |voter: &NodeId| {
            let record = image.node(*voter);
            *voter != node && record.is_some_and(|record| may_lead(record.mode)) && self.is_there(*voter)
        };
        voters.into_iter().find(can_lead)
    }

    /// Who should vote on the metadata, from who does.
    pub(crate) fn planned_metadata_voters(
        &self,
        image: &MetadataImage,
        current: &BTreeSet<NodeId>,
    ) -> Option<BTreeSet<NodeId>> {
        let alive = image.nodes().map(|node| node.id).filter(|node| self.is_there(*node));
        // A voter that is away for a moment stays one: to replace it for good takes a person's word.
        let away = current.iter().filter(|node| image.node(**node).is_some()).copied();
        let trusted: BTreeSet<NodeId> = away.chain(alive).collect();
        let wanted = METADATA_VOTERS.max(current.len() | 1).min(METADATA_VOTERS_MAX);
        plan_metadata_voters(image, current, wanted, &trusted).ok()
    }

    /// Whether a node is this one, or alive and reachable both ways.
    pub(crate) fn is_there(&self, node: NodeId) -> bool {
        node == self.options.node || self.hosting.host().is_reachable(node)
    }
}
