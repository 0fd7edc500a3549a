//! What administrators do with the nodes meanwhile: leaders are moved, nodes are in maintenance, replicas are placed elsewhere, and
//! nodes are drained, removed and added again.

use std::sync::Arc;
use std::time::Duration;

use highwater_client::v1::plan_reassignment_request::Goal;
use highwater_client::v1::{
    ApplyReassignmentRequest, AssignmentGoal, BalanceGoal, CancelReassignmentsRequest, NodeMode,
    PartitionAssignment, RemoveNodeRequest, SetNodeModeRequest, TransferLeaderRequest,
};
use highwater_client::{Admin, Client, ClientError};
use highwater_types::NodeId;
use tokio::time::{sleep, timeout};

use super::{CALL_WITHIN, REPLICAS, Shared};
use crate::chance::Chance;

/// How long an administrator waits until a mode is carried out.
const MODE_WITHIN: Duration = Duration::from_secs(8);

/// Goes on until the load is over, whatever comes of it.
pub(super) async fn run(shared: Arc<Shared>) {
    let administrator = Administrator::new(&shared, "members");
    while shared.is_loading() {
        sleep(Duration::from_millis(administrator.chance.within(100..2500))).await;
        let (what, done) = administrator.next().await;
        match done {
            Ok(()) => shared.trace.note(format_args!("{what}: done")),
            Err(error) => shared.trace.note(format_args!("{what}: {error}")),
        }
    }
}

/// Ends what is under way: every node is active again, and every move is made.
pub(super) async fn finish(shared: &Shared) {
    let administrator = Administrator::new(shared, "members in the end");
    while let Err(error) = administrator.end().await {
        shared.trace.note(format_args!("the nodes are not as they should be: {error}"));
        sleep(Duration::from_millis(200)).await;
    }
}

struct Administrator<'a> {
    shared: &'a Shared,
    chance: Chance,
    client: Client,
}

/// Why something was not done.
type Failure = Box<dyn std::error::Error + Send + Sync>;

impl<'a> Administrator<'a> {
    fn new(shared: &'a Shared, name: &str) -> Self {
        Self { shared, chance: shared.chance(name), client: shared.client(name) }
    }

    fn admin(&self) -> Admin {
        self.client.admin()
    }

    fn any_node(&self) -> u64 {
        self.chance.within(1..self.shared.load.nodes + 1)
    }

    async fn next(&self) -> (String, Result<(), Failure>) {
        let node = self.any_node();
        // With as many nodes as replicas there is no other place for one.
        let kinds = if self.shared.load.nodes > u64::from(REPLICAS) { 6 } else { 2 };
        match self.chance.below(kinds) {
            0 => (format!("a leader for node {node}"), self.transfer(node).await),
            1 => (format!("maintenance of node {node}"), self.maintain(node).await),
            2 => ("other replicas".to_owned(), self.reassign().await),
            3 => ("balance".to_owned(), self.apply(Goal::Balance(BalanceGoal {})).await),
            4 => ("moves turned around".to_owned(), self.cancel().await),
            _ => (format!("removal of node {node}"), self.replace(node).await),
        }
    }

    async fn transfer(&self, to_node_id: u64) -> Result<(), Failure> {
        let places = self.shared.load.places();
        let place = self.chance.pick(&places);
        let (topic, partition) = (place.topic.clone(), place.partition.0);
        let request =
            TransferLeaderRequest { topic, partition, to_node_id, ..TransferLeaderRequest::default() };
        within(self.admin().transfer_leader(request)).await.map(drop)
    }

    async fn maintain(&self, node: u64) -> Result<(), Failure> {
        let done = self.mode(node, NodeMode::Maintenance).await;
        sleep(Duration::from_millis(self.chance.below(2000))).await;
        self.mode(node, NodeMode::Active).await?;
        done
    }

    /// Sets a node's mode and waits for a while until it is carried out.
    async fn mode(&self, node: u64, mode: NodeMode) -> Result<(), Failure> {
        within(self.admin().set_node_mode(SetNodeModeRequest { node_id: node, mode: mode.into() })).await?;
        let carried_out = async {
            while !self.is_done(node).await {
                sleep(Duration::from_millis(100)).await;
            }
        };
        Ok(timeout(MODE_WITHIN, carried_out).await?)
    }

    async fn is_done(&self, node: u64) -> bool {
        let told = within(self.admin().describe_node(NodeId(node))).await;
        told.is_ok_and(|told| told.progress.is_some_and(|progress| progress.is_done))
    }

    async fn reassign(&self) -> Result<(), Failure> {
        let places = self.shared.load.places();
        let place = self.chance.pick(&places);
        let mut nodes: Vec<u64> = (1..=self.shared.load.nodes).collect();
        let replica_node_ids = (0..REPLICAS).map(|_| {
            let index = usize::try_from(self.chance.below(nodes.len() as u64)).unwrap_or(0);
            nodes.remove(index)
        });
        let assignment = PartitionAssignment {
            topic: place.topic.clone(),
            partition: place.partition.0,
            replica_node_ids: replica_node_ids.collect(),
            ..PartitionAssignment::default()
        };
        self.apply(Goal::Assignment(AssignmentGoal { partitions: vec![assignment] })).await
    }

    async fn apply(&self, goal: Goal) -> Result<(), Failure> {
        let plan = within(self.admin().plan_reassignment(goal)).await?.plan;
        let request = ApplyReassignmentRequest { plan, validate_only: false };
        within(self.admin().apply_reassignment(request)).await.map(drop)
    }

    async fn cancel(&self) -> Result<(), Failure> {
        let request = CancelReassignmentsRequest { all: true, ..CancelReassignmentsRequest::default() };
        within(self.admin().cancel_reassignments(request)).await.map(drop)
    }

    /// Empties a node and removes it. Whoever looks after its machine adds it again, on an empty disk.
    async fn replace(&self, node: u64) -> Result<(), Failure> {
        let drained = self.mode(node, NodeMode::Draining).await;
        if drained.is_ok() && self.chance.one_in(2) {
            let request = RemoveNodeRequest { node_id: node, ..RemoveNodeRequest::default() };
            within(self.admin().remove_node(request)).await?;
            // It comes back as another, which is active.
            return Ok(());
        }
        self.mode(node, NodeMode::Active).await?;
        drained
    }

    async fn end(&self) -> Result<(), Failure> {
        for node in 1..=self.shared.load.nodes {
            let request = SetNodeModeRequest { node_id: node, mode: NodeMode::Active.into() };
            within(self.admin().set_node_mode(request)).await?;
        }
        let moves = within(self.admin().list_reassignments()).await?.reassignments.len();
        match moves {
            0 => Ok(()),
            _ => Err(format!("{moves} moves are under way").into()),
        }
    }
}

async fn within<T>(call: impl Future<Output = Result<T, ClientError>>) -> Result<T, Failure> {
    Ok(timeout(CALL_WITHIN, call).await??)
}
