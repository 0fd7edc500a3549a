//! How the cluster is: every node is asked at one time, and what they say is held against what the metadata want.
//!
//! Nothing here is decided or remembered. A node that does not answer is a finding, never a failure of the question.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use highwater_controller::{NodeMode, NodeRecord, TopicRecord};
use highwater_types::{ClusterId, ErrorCode, NodeId, PartitionId};
use tokio::time::timeout;

use crate::broker::{Broker, CLIENT_LISTENER, PEER_LISTENER};
use crate::error::BrokerError;
use crate::gathered::Gathered;
use crate::replicas::ReplicaRole;
use crate::report::NodeReport;

/// How long a node has to say how it is.
const REPORT_DEADLINE: Duration = Duration::from_secs(2);
/// The same for one that seems to be away.
const AWAY_DEADLINE: Duration = Duration::from_millis(500);

/// How the cluster is.
#[derive(Debug, Clone)]
pub struct ClusterStatus {
    /// The cluster's id.
    pub cluster_id: ClusterId,
    /// The level of features in use.
    pub feature_level: u32,
    /// Who leads the metadata group, so that it can be changed.
    pub controller: Option<NodeId>,
    /// Who votes on the metadata.
    pub metadata_voters: BTreeSet<NodeId>,
    /// The version of the metadata this was held against.
    pub metadata_version: u64,
    /// The node that answers.
    pub answering_node: NodeId,
    /// The nodes, by id.
    pub nodes: Vec<NodeStatus>,
    /// How many topics there are.
    pub topics: usize,
    /// How many partitions.
    pub partitions: u32,
    /// Partitions that no node that answers leads.
    pub unavailable: Vec<PartitionProblem>,
    /// Partitions that have a leader and fewer replicas in sync than wanted.
    pub under_replicated: Vec<PartitionProblem>,
    /// Partitions with a replica that is out of service because its data is damaged.
    pub quarantined: Vec<PartitionProblem>,
    /// How many partitions are being moved.
    pub reassignments: usize,
}

impl ClusterStatus {
    /// Whether all is well: the one judgement, for every client alike.
    pub fn is_healthy(&self) -> bool {
        let problems = [&self.unavailable, &self.under_replicated, &self.quarantined];
        self.controller.is_some()
            && problems.iter().all(|problems| problems.is_empty())
            && self.nodes.iter().all(|node| node.report.as_ref().is_ok_and(NodeReport::takes_records))
    }
}

/// A node: what the cluster wants of it, and how it is.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// What the cluster knows of it.
    pub record: NodeRecord,
    /// Where clients reach it.
    pub address: String,
    /// Where its peers reach it.
    pub peer_address: String,
    /// What it is in the metadata group; none while no leader of that is known.
    pub metadata_role: Option<ReplicaRole>,
    /// How many partitions are placed on it.
    pub replicas: u32,
    /// Of how many of these it is the preferred leader.
    pub preferred_leaders: u32,
    /// Whether the answering node reaches it and is reached by it.
    pub is_reachable: bool,
    /// How long ago the answering node heard of it.
    pub last_seen: Option<Duration>,
    /// What it says of itself, or why it does not.
    pub report: Result<NodeReport, BrokerError>,
}

/// A partition with a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionProblem {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub id: PartitionId,
    /// Who leads it.
    pub leader: Option<NodeId>,
    /// The nodes whose replicas have it.
    pub nodes: Vec<NodeId>,
    /// What it is.
    pub reason: String,
}

impl Broker {
    /// How the cluster is. Returns after a few seconds, whoever does not answer.
    ///
    /// # Errors
    /// While the cluster has no identity yet.
    pub async fn cluster_status(&self) -> Result<ClusterStatus, BrokerError> {
        let gathered = self.gather().await;
        let image = &gathered.image;
        let Some(cluster) = image.cluster() else {
            return Err(BrokerError::new(ErrorCode::Unavailable, "the cluster has no identity yet"));
        };
        let status = self.metadata_group.status();
        let is_moving = |(topic, id): &(&Arc<TopicRecord>, PartitionId)| {
            topic.partition(id.index).is_some_and(|record| record.reassignment.is_some())
        };
        Ok(ClusterStatus {
            cluster_id: cluster.id,
            feature_level: cluster.feature_level.0,
            controller: self.metadata_group.present_leader(),
            metadata_voters: status.voters.iter().flatten().copied().collect(),
            metadata_version: image.version().0,
            answering_node: self.options.node,
            nodes: self.node_statuses(&gathered),
            topics: image.topics().len(),
            partitions: image.partition_count(),
            unavailable: gathered.unavailable(),
            under_replicated: gathered.under_replicated(),
            quarantined: gathered.quarantined(),
            reassignments: gathered.partitions().filter(is_moving).count(),
        })
    }

    /// Asks every node how it is.
    pub(crate) async fn gather(&self) -> Gathered {
        let image = self.image();
        let asked = image.nodes().map(|node| async move { (node.id, self.ask(node).await) });
        let nodes: BTreeMap<_, _> = join_all(asked).await.into_iter().collect();
        let (mut led, mut attention) = (BTreeMap::new(), BTreeMap::new());
        for (node, report) in nodes.iter().filter_map(|(node, report)| Some((*node, report.as_ref().ok()?))) {
            led.extend(report.led.iter().map(|(id, size)| (*id, (node, *size))));
            attention.extend(report.attention.iter().cloned());
        }
        Gathered { image, nodes, led, attention }
    }

    async fn ask(&self, node: &NodeRecord) -> Result<NodeReport, BrokerError> {
        if node.id == self.options.node {
            return Ok(self.report().await);
        }
        let Some(address) = node.addresses.get(CLIENT_LISTENER) else {
            let message = format!("node {} does not say where it can be reached", node.id);
            return Err(BrokerError::new(ErrorCode::Unavailable, message));
        };
        let deadline = if self.hosting.host().is_reachable(node.id) { REPORT_DEADLINE } else { AWAY_DEADLINE };
        timeout(deadline, self.remote.report(node.id, address)).await.unwrap_or_else(|_| {
            let ms = deadline.as_millis();
            let message = format!("node {} at {address} did not answer within {ms} ms", node.id);
            Err(BrokerError::new(ErrorCode::Unavailable, message))
        })
    }

    fn node_statuses(&self, gathered: &Gathered) -> Vec<NodeStatus> {
        let held = gathered.image.placement_nodes().into_iter();
        let held: BTreeMap<NodeId, (u32, u32)> =
            held.map(|node| (node.id, (node.replicas, node.leaders))).collect();
        let status = |node: &NodeRecord| self.node_status(gathered, node, held.get(&node.id).copied());
        gathered.image.nodes().map(status).collect()
    }

    pub(crate) fn node_status(
        &self,
        gathered: &Gathered,
        node: &NodeRecord,
        held: Option<(u32, u32)>,
    ) -> NodeStatus {
        let own = node.id == self.options.node;
        let metadata = self.metadata_group.status();
        let metadata_role = metadata.leader.map(|_| {
            if metadata.voters.iter().any(|voters| voters.contains(&node.id)) {
                ReplicaRole::Voter
            } else if metadata.learners.contains(&node.id) {
                ReplicaRole::Learner
            } else {
                ReplicaRole::Missing
            }
        });
        let host = self.hosting.host();
        let (replicas, preferred_leaders) = held.unwrap_or_default();
        let address = |listener: &str| node.addresses.get(listener).cloned().unwrap_or_default();
        let not_asked = || BrokerError::new(ErrorCode::Unavailable, "the node was not asked");
        NodeStatus {
            record: node.clone(),
            address: address(CLIENT_LISTENER),
            peer_address: address(PEER_LISTENER),
            metadata_role,
            replicas,
            preferred_leaders,
            is_reachable: own || host.is_reachable(node.id),
            last_seen: if own { Some(Duration::ZERO) } else { host.last_heard(node.id) },
            report: gathered.nodes.get(&node.id).cloned().unwrap_or_else(|| Err(not_asked())),
        }
    }
}

/// Whether a node in this mode may lead.
pub(crate) fn may_lead(mode: NodeMode) -> bool {
    mode == NodeMode::Serving
}
