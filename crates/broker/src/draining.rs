//! What the leader of the metadata group does for nodes that are to leave or to rest: it gives what a draining node holds to others,
//! a part at a time, and hands over the lead of the metadata when the node is its own.
//!
//! Everything it goes by is in the metadata. Whoever leads next goes on from there, and a move that was asked for already
//! is not asked for again.

use std::collections::{BTreeMap, BTreeSet};

use highwater_consensus::MemberStanding;
use highwater_controller::{
    MetadataCommand, MetadataImage, NodeMode, PartitionMove, plan_drain, plan_metadata_voters,
};
use highwater_types::{NodeId, PartitionId, PartitionIndex};

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::overview::may_lead;

/// Partitions that drains move at one time: what moves takes room and bandwidth from what is produced.
const MOVES_AT_ONCE: usize = 16;
/// The same with those that stand still, because nobody leads them.
const MOVES_AT_ONCE_MAX: usize = 1000;
/// Voters of the metadata group, once there are as many nodes.
const METADATA_VOTERS: usize = 3;
/// Most of them.
const METADATA_VOTERS_MAX: usize = 5;

/// What was told of moves that cannot begin, so that it is told once.
#[derive(Debug, Default)]
pub(crate) struct Drains {
    /// Why, by what was to move.
    refused: BTreeMap<PartitionId, String>,
    /// Why none could begin.
    failure: Option<String>,
}

impl Broker {
    /// Moves the next replicas away from nodes that are draining. Returns whether it has to be looked at again soon.
    pub(crate) async fn drain_nodes(&self, image: &MetadataImage, drains: &mut Drains) -> bool {
        let draining = image.nodes().filter(|node| node.mode == NodeMode::Draining);
        let draining: Vec<NodeId> = draining.map(|node| node.id).collect();
        if draining.is_empty() {
            *drains = Drains::default();
            return false;
        }
        let (running, all) = self.moves_under_way(image);
        let room = MOVES_AT_ONCE.saturating_sub(running).min(MOVES_AT_ONCE_MAX.saturating_sub(all));
        let plans = draining.iter().filter_map(|node| plan_drain(image, *node, self.random.next_u64()).ok());
        let planned = plans.flat_map(|plan| plan.moves);
        let next = NextMoves::choose(planned, room, |wanted| {
            self.metadata.check(&self.reassign(vec![wanted.clone()]))
        });
        drains.tell_refused(next.refused);
        if next.moves.is_empty() {
            return false;
        }
        let count = next.moves.len();
        match self.propose(&self.reassign(next.moves)).await {
            Ok(_) => {
                drains.failure = None;
                tracing::info!(count, "replicas begin to move away from nodes that are being drained");
                false
            }
            Err(error) => {
                drains.tell_failure(error.to_string());
                true
            }
        }
    }

    fn reassign(&self, moves: Vec<PartitionMove>) -> MetadataCommand {
        let at = self.clock.now();
        MetadataCommand::ReassignPartitions { moves, replication_factors: BTreeMap::new(), at }
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
        let group = &self.metadata_group;
        let Some(standing) = group.standing() else { return false };
        let mut successors = self.metadata_successors(image, own);
        successors.retain(|node| standing.get(node).is_some_and(MemberStanding::is_in_sync));
        let is_to_be_done = !successors.is_empty();
        for successor in successors {
            match group.hand_over(successor).await {
                Ok(()) => {
                    tracing::info!(%successor, "handed the lead of the cluster's metadata over");
                    break;
                }
                Err(error) => {
                    tracing::debug!(%successor, %error, "the lead of the cluster's metadata was not handed over");
                }
            }
            if !group.status().is_leader {
                break;
            }
        }
        is_to_be_done
    }

    /// Who could lead the metadata group in the place of `node`.
    pub(crate) fn metadata_successors(&self, image: &MetadataImage, node: NodeId) -> Vec<NodeId> {
        let status = self.metadata_group.status();
        let voters: BTreeSet<NodeId> = status.voters.iter().flatten().copied().collect();
        let can_lead = |voter: &NodeId| {
            let record = image.node(*voter);
            *voter != node && record.is_some_and(|record| may_lead(record.mode)) && self.is_there(*voter)
        };
        voters.into_iter().filter(can_lead).collect()
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

impl Drains {
    fn tell_refused(&mut self, refused: BTreeMap<PartitionId, String>) {
        for (partition, reason) in &refused {
            if self.refused.get(partition) != Some(reason) {
                tracing::warn!(%partition, reason, "a replica cannot move away from a node that is being drained; the others go on");
            }
        }
        self.refused.extend(refused);
    }

    fn tell_failure(&mut self, reason: String) {
        if self.failure.as_ref() != Some(&reason) {
            tracing::warn!(
                reason,
                "no replica could move away from a node that is being drained; it is tried again"
            );
        }
        self.failure = Some(reason);
    }
}

/// What a drain does next.
#[derive(Debug, Default)]
struct NextMoves {
    moves: Vec<PartitionMove>,
    /// What cannot be moved, and why.
    refused: BTreeMap<PartitionId, String>,
}

impl NextMoves {
    /// As many of the planned moves as there is room for. One that would be refused takes none: the moves begin with one command, all
    /// or none.
    fn choose(
        planned: impl Iterator<Item = PartitionMove>,
        room: usize,
        check: impl Fn(&PartitionMove) -> Result<(), BrokerError>,
    ) -> Self {
        let mut next = Self::default();
        let mut taken = BTreeSet::new();
        for wanted in planned {
            if next.moves.len() >= room {
                break;
            }
            // A partition on two such nodes leaves one after the other.
            if !taken.insert(wanted.partition) {
                continue;
            }
            match check(&wanted) {
                Ok(()) => next.moves.push(wanted),
                Err(error) => drop(next.refused.insert(wanted.partition, error.to_string())),
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use highwater_types::TopicId;

    use super::*;

    fn partition(index: u32) -> PartitionId {
        PartitionId { topic: TopicId(uuid::Uuid::from_bytes([7; 16])), index: PartitionIndex(index) }
    }

    #[test]
    fn a_move_that_would_be_refused_holds_up_no_other_and_takes_no_room() {
        let planned = [0, 1, 1, 2, 3].map(|index| PartitionMove {
            partition: partition(index),
            replicas: vec![NodeId(2)],
            replicas_before: vec![NodeId(1)],
        });
        let next = NextMoves::choose(planned.into_iter(), 2, |wanted| match wanted.partition.index.0 {
            0 => Err(BrokerError::invalid_request("its topic is gone")),
            _ => Ok(()),
        });
        let moved: Vec<PartitionId> = next.moves.iter().map(|wanted| wanted.partition).collect();
        assert_eq!(moved, [partition(1), partition(2)]);
        assert_eq!(next.refused, BTreeMap::from([(partition(0), "its topic is gone".to_owned())]));
    }
}
