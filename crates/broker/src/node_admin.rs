//! What an operator wants of a node: its mode, how far that is carried out, and its removal.
//!
//! A mode is a wish in the metadata. Leaders carry it out ([`crate::supervisor`], [`crate::draining`]); here it is stated, and
//! looked at. Asking again changes nothing.

use std::collections::BTreeSet;

use highwater_controller::{
    MetadataCommand, MetadataError, MetadataImage, NodeMode, NodeRecord, Stuck, TopicRecord, plan_drain,
};
use highwater_types::limits::REFUSAL_EXAMPLES_MAX;
use highwater_types::{ErrorCode, Incarnation, NodeId, PartitionId};

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::gathered::{Gathered, list};
use crate::overview::{NodeStatus, may_lead};
use crate::reassigning::Reassigning;

/// A node that is to leave the cluster for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoveNode {
    /// The node.
    pub node: NodeId,
    /// The life of its data directory that is meant; none takes the present one.
    pub incarnation: Option<Incarnation>,
    /// Whether to remove it though it is alive and was not drained.
    pub force: bool,
}

/// A node, and how far its mode is carried out.
#[derive(Debug, Clone)]
pub struct NodeDescription {
    /// The node.
    pub status: NodeStatus,
    /// What its mode waits for.
    pub progress: NodeProgress,
    /// The version of the metadata this was held against.
    pub metadata_version: u64,
}

/// How far a node's mode is carried out.
#[derive(Debug, Clone, Default)]
pub struct NodeProgress {
    /// Partitions that it leads and is to hand over.
    pub leaders_left: usize,
    /// Replicas that are still to move away.
    pub replicas_left: usize,
    /// Whether it is to hand over the lead of the metadata group.
    pub is_metadata_leader_left: bool,
    /// Whether another node is to vote on the metadata in its place.
    pub is_metadata_vote_left: bool,
    /// Partitions that prefer it as leader, and that another node leads.
    pub leaders_awaited: usize,
    /// The moves under way to or from it.
    pub moves: Vec<Reassigning>,
    /// What cannot go on by itself.
    pub stuck: Vec<StuckPartition>,
    /// Partitions that nobody leads while the node is away, for it has the only replica: a restart takes them down.
    pub unavailable_meanwhile: usize,
}

impl NodeProgress {
    /// Whether nothing is left to be done.
    pub fn is_done(&self) -> bool {
        let left = self.leaders_left + self.replicas_left + self.leaders_awaited;
        left == 0 && !self.is_metadata_leader_left && !self.is_metadata_vote_left
    }
}

/// A partition of which something cannot be done for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub id: PartitionId,
    /// Why, and what helps.
    pub reason: String,
}

impl Broker {
    /// Says what is wanted of a node. Returns the metadata version that shows it.
    ///
    /// # Errors
    /// When there is no such node; after `TIMEOUT` it is unknown whether it was said.
    pub async fn set_node_mode(&self, node: NodeId, mode: NodeMode) -> Result<u64, BrokerError> {
        let set = MetadataCommand::SetNodeMode { node, mode, at: self.clock.now() };
        Ok(self.propose(&set).await?.version.0)
    }

    /// A node, and how far its mode is carried out.
    ///
    /// # Errors
    /// When there is no such node.
    pub async fn describe_node(&self, node: NodeId) -> Result<NodeDescription, BrokerError> {
        find_node(&self.image(), node)?;
        let gathered = self.gather().await;
        let record = find_node(&gathered.image, node)?.clone();
        let held = gathered.image.placement_nodes().into_iter().find(|held| held.id == node);
        let status = self.node_status(&gathered, &record, held.map(|held| (held.replicas, held.leaders)));
        Ok(NodeDescription {
            status,
            progress: self.progress(&gathered, &record),
            metadata_version: gathered.image.version().0,
        })
    }

    fn progress(&self, gathered: &Gathered, node: &NodeRecord) -> NodeProgress {
        let mut progress = NodeProgress {
            moves: self.reassigning(gathered, |record| record.holders().any(|holder| holder == node.id)),
            ..NodeProgress::default()
        };
        for (topic, id) in gathered.partitions() {
            let Some(record) = topic.partition(id.index) else { continue };
            let leads = gathered.leader(id) == Some(node.id);
            // Between two leaders; the next one may be this node.
            let is_between =
                gathered.leader(id).is_none() && record.is_held_by(node.id) && gathered.is_leadable(record);
            match node.mode {
                NodeMode::Serving => {
                    let is_awaited = is_between || (gathered.leader(id).is_some() && !leads);
                    progress.leaders_awaited +=
                        usize::from(is_awaited && record.replicas.first() == Some(&node.id));
                }
                NodeMode::Maintenance if leads && record.replicas.len() == 1 => {
                    let reason = "the node has the only replica: nobody can lead it while the node is away";
                    progress.stuck.push(stuck(topic, id, reason.to_owned()));
                    progress.unavailable_meanwhile += 1;
                }
                NodeMode::Maintenance => progress.leaders_left += usize::from(leads || is_between),
                NodeMode::Draining => {
                    progress.leaders_left += usize::from(leads || is_between);
                    progress.replicas_left += usize::from(record.is_held_by(node.id));
                }
            }
        }
        if node.mode == NodeMode::Draining
            && let Ok(plan) = plan_drain(&gathered.image, node.id, 0)
        {
            let stuck = plan.stuck.into_iter().filter_map(|one| {
                let topic = gathered.image.topic(one.partition.topic)?;
                Some(cannot_leave(topic, &one))
            });
            progress.stuck.extend(stuck);
        }
        let metadata = self.metadata_group.status();
        let voters: BTreeSet<NodeId> = metadata.voters.iter().flatten().copied().collect();
        if !may_lead(node.mode) && metadata.leader == Some(node.id) {
            progress.is_metadata_leader_left = !self.metadata_successors(&gathered.image, node.id).is_empty();
        }
        if node.mode == NodeMode::Draining && voters.contains(&node.id) {
            let planned = self.planned_metadata_voters(&gathered.image, &voters);
            progress.is_metadata_vote_left = planned.is_some_and(|planned| !planned.contains(&node.id));
        }
        progress
    }

    /// Takes a node out of the cluster for good. Returns the metadata version that shows it.
    ///
    /// # Errors
    /// When partitions are placed on it, or it is alive and was not drained, or there is no such node.
    pub async fn remove_node(&self, request: RemoveNode) -> Result<u64, BrokerError> {
        let node = request.node;
        // A decision about what is lost must not be made from an old image.
        let registered = self.register().await;
        let image = self.image();
        let is_own = node == self.options.node;
        if is_own && image.node(node).is_none() && image.cluster().is_some() {
            // Said again to the node that was removed, which belongs to no cluster any more.
            return Ok(image.version().0);
        }
        match registered {
            // The same, before it shows that: it hears nothing of the metadata any more.
            Err(gone)
                if is_own
                    && gone.code == ErrorCode::NodeRemoved
                    && request.incarnation == Some(self.options.incarnation) =>
            {
                return Ok(gone.metadata_version);
            }
            registered => registered?,
        }
        let Some(record) = image.node(node) else {
            let is_gone = image.retired().iter().any(|gone| gone.node == node);
            return if is_gone { Ok(image.version().0) } else { Err(unknown_node(&image, node)) };
        };
        let incarnation = request.incarnation.unwrap_or(record.incarnation);
        let mut counted_on = Vec::new();
        if incarnation == record.incarnation {
            refuse_last_copies(&image, node)?;
            // Asked, for one that joined a moment ago may answer before it is known to live.
            let answering = self.answering().await;
            // That may have taken seconds, in which another node was removed.
            let image = self.image();
            if let Some(record) = image.node(node) {
                counted_on = self.refuse_unready(&image, record, request.force, &answering)?;
            }
        }
        let remove = MetadataCommand::RemoveNode { node, incarnation, counted_on, at: self.clock.now() };
        let removed = if is_own { self.propose_last(&remove).await } else { self.propose(&remove).await };
        Ok(removed?.version.0)
    }

    /// The nodes that answer when they are asked how they are.
    async fn answering(&self) -> BTreeSet<NodeId> {
        let gathered = self.gather().await;
        gathered.nodes.iter().filter(|(_, report)| report.is_ok()).map(|(node, _)| *node).collect()
    }

    /// Refuses to remove a node that is in use beside the partitions placed on it, which the state machine refuses itself. Returns
    /// which voters on the metadata are counted on without it.
    fn refuse_unready(
        &self,
        image: &MetadataImage,
        node: &NodeRecord,
        force: bool,
        answering: &BTreeSet<NodeId>,
    ) -> Result<Vec<(NodeId, Incarnation)>, BrokerError> {
        let id = node.id;
        if image.nodes().len() == 1 {
            let message = format!("node {id} is the cluster's only node");
            return Err(BrokerError::invalid_request(message));
        }
        let is_alive = |node: NodeId| {
            node == self.options.node || self.hosting.host().is_reachable(node) || answering.contains(&node)
        };
        if is_alive(id) && node.mode != NodeMode::Draining && !force {
            let mode = if node.mode == NodeMode::Serving { "active" } else { "in maintenance" };
            let message = match image.held_by(id).count() {
                0 => format!(
                    "node {id} is alive and {mode}: drain it first, or force its removal (nothing is placed on it)"
                ),
                held => format!(
                    "node {id} is alive and {mode}, and holds replicas of {held} partitions: drain it first"
                ),
            };
            return Err(BrokerError::invalid_request(message));
        }
        // Who is removed is not heard any more, so the others have to be able to go on without its vote.
        let counts = |voter: &&NodeId| **voter != id && image.node(**voter).is_some() && is_alive(**voter);
        let status = self.metadata_group.status();
        let short = status
            .voters
            .iter()
            .find(|voters| voters.contains(&id) && voters.iter().filter(counts).count() * 2 <= voters.len());
        if let Some(voters) = short {
            let voters: Vec<NodeId> = voters.iter().copied().collect();
            let message = format!(
                "node {id} votes on the cluster's metadata, and without it no majority of the voters ({}) can be reached: \
                 drain it, so that its vote moves, or bring the others back, and try again",
                list(&voters)
            );
            return Err(BrokerError::new(ErrorCode::Unavailable, message));
        }
        let voters: BTreeSet<NodeId> =
            status.voters.iter().filter(|voters| voters.contains(&id)).flatten().copied().collect();
        let counted = voters.iter().filter(counts).filter_map(|voter| image.node(*voter));
        Ok(counted.map(|voter| (voter.id, voter.incarnation)).collect())
    }
}

/// Refuses to give up the only replica of a partition, and says of which.
fn refuse_last_copies(image: &MetadataImage, node: NodeId) -> Result<(), BrokerError> {
    let mut names = Vec::new();
    for topic in image.topics() {
        for (index, record) in topic.partitions.iter().enumerate() {
            if record.is_held_by(node) && record.holders().all(|holder| holder == node) {
                names.push(format!("{}-{index}", topic.name));
            }
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    let count = names.len();
    names.truncate(REFUSAL_EXAMPLES_MAX);
    let more = if count > names.len() { ", …" } else { "" };
    let message = format!(
        "node {node} has the only replica of {count} partitions ({}{more}), whose records would be lost: drain it first; \
         if it does not come back, delete these topics first",
        names.join(", ")
    );
    Err(BrokerError::invalid_request(message))
}

/// The node of that id.
pub(crate) fn find_node(image: &MetadataImage, node: NodeId) -> Result<&NodeRecord, BrokerError> {
    image.node(node).ok_or_else(|| unknown_node(image, node))
}

fn unknown_node(image: &MetadataImage, node: NodeId) -> BrokerError {
    let known: Vec<NodeId> = image.nodes().map(|node| node.id).collect();
    let was = image.retired().iter().any(|gone| gone.node == node);
    let fate = if was { "was removed from the cluster" } else { "is not in the cluster" };
    let message = format!("node {node} {fate}; its nodes are {}", list(&known));
    BrokerError::invalid_request(message).with_metadata_version(image.version().0)
}

/// Why a partition cannot leave a node that is drained, and what helps.
pub(crate) fn cannot_leave(topic: &TopicRecord, found: &Stuck) -> StuckPartition {
    let helps = match found.reason {
        MetadataError::ReplicationFactor { .. } => {
            " beside this one; add a node, set one active, or lower the replication factor"
        }
        _ => "",
    };
    stuck(topic, found.partition, format!("{}{helps}", found.reason))
}

fn stuck(topic: &TopicRecord, id: PartitionId, reason: String) -> StuckPartition {
    StuckPartition { topic: topic.name.as_str().to_owned(), id, reason }
}
