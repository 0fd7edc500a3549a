//! All groups of a node: start, stop, checkpoint, purge.

mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use highwater_storage::Store;
use highwater_types::{Clock, GroupId, NodeId, ProcessEpoch, Random};
use parking_lot::Mutex;
pub use start::Origin;
use tokio::sync::watch;

use crate::driver::{self, Driver};
use crate::error::{ConsensusError, RefusedRequest};
use crate::group::Group;
use crate::incarnations::Incarnations;
use crate::liveness::{Liveness, Ping, Pong};
use crate::message::Member;
use crate::throttle::Throttle;
use crate::transport::Transport;

/// How long what is applied when a group is stopped may take to end.
const WORKER_DEADLINE: Duration = Duration::from_secs(10);

/// What a host runs on. All of it is passed in, so that a simulation can own it.
pub struct HostParts {
    /// The node, and the life of its data directory.
    pub member: Member,
    /// This start of the node.
    pub epoch: ProcessEpoch,
    /// Where the groups' logs are.
    pub store: Arc<Store>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// What elections draw from.
    pub random: Arc<dyn Random>,
    /// The way to the other nodes.
    pub transport: Arc<dyn Transport>,
}

/// Runs the groups of one node over its store.
pub struct GroupHost {
    parts: HostParts,
    liveness: Arc<Liveness>,
    driver: Arc<Driver>,
    peers: Mutex<BTreeSet<NodeId>>,
    groups: Mutex<BTreeMap<GroupId, Group>>,
    failure: watch::Sender<Option<String>>,
    changes: watch::Sender<u64>,
    pub(crate) catch_up: Arc<Throttle>,
    incarnations: Arc<Incarnations>,
}

impl GroupHost {
    /// A host without groups, and a task that drives those to come for as long as the host lives.
    pub fn new(parts: HostParts) -> Arc<Self> {
        let host = Arc::new(Self {
            liveness: Arc::new(Liveness::new(parts.epoch)),
            driver: Arc::default(),
            peers: Mutex::default(),
            incarnations: Arc::new(Incarnations::new(parts.epoch)),
            parts,
            groups: Mutex::default(),
            failure: watch::Sender::new(None),
            changes: watch::Sender::new(0),
            catch_up: Arc::new(Throttle::new(0)),
        });
        tokio::spawn(driver::drive(Arc::downgrade(&host)));
        host
    }

    /// The node.
    pub fn node(&self) -> NodeId {
        self.parts.member.node
    }

    /// The node, and the life of its data.
    pub fn member(&self) -> Member {
        self.parts.member
    }

    /// Draws who replicas are.
    pub(crate) fn incarnations(&self) -> &Incarnations {
        &self.incarnations
    }

    /// Changes whenever some group's status does, one of its replicas asks to be taken in, or this node leads a group and gains or loses
    /// the support that it needs to serve.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn tell_change(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Whether a node supports this one, which means that it is alive and reachable both ways.
    pub fn is_reachable(&self, node: NodeId) -> bool {
        self.liveness.supported_by(node, Duration::ZERO).is_some()
    }

    /// Says which nodes the cluster has beside this one.
    pub fn set_peers(&self, peers: BTreeSet<NodeId>) {
        *self.peers.lock() = peers;
    }

    /// Exchanges promises with the other nodes, until the host is gone. To be run once, best on a thread of its own: a node
    /// whose CPUs are all busy must not look like a dead one (R14).
    pub fn watch_nodes(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        driver::watch_nodes(Arc::downgrade(self))
    }

    /// Handles the ping of another node.
    ///
    /// # Errors
    /// For a process that a later start of the same node has replaced.
    pub fn receive_ping(&self, from: NodeId, ping: Ping) -> Result<Pong, RefusedRequest> {
        let refused =
            || RefusedRequest::Malformed { reason: format!("node {from} has been started again since") };
        self.liveness.support(from, ping).ok_or_else(refused)
    }

    /// Has every group looked at in which the node takes part.
    pub(crate) fn attend_groups_with(&self, node: NodeId) {
        let groups: Vec<Group> = self.groups.lock().values().cloned().collect();
        for group in groups {
            let status = group.shared.status.borrow();
            let takes_part =
                status.voters.iter().any(|set| set.contains(&node)) || status.learners.contains(&node);
            if takes_part {
                self.driver.attend(group.id());
            }
        }
    }

    pub(crate) fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    pub(crate) fn driver(&self) -> &Arc<Driver> {
        &self.driver
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.parts.transport
    }

    pub(crate) fn peers(&self) -> BTreeSet<NodeId> {
        self.peers.lock().clone()
    }

    /// The store below.
    pub fn store(&self) -> &Arc<Store> {
        &self.parts.store
    }

    /// Waits until a group's core has ended without being told to, and says why: its storage failed, or it panicked. The
    /// node must end then; its restart applies the group's log again. Cancel-safe.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(Some(reason)) => reason,
            // The sender lives as long as this host.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// A running group.
    pub fn group(&self, id: GroupId) -> Option<Group> {
        self.groups.lock().get(&id).cloned()
    }

    /// Stops a group; its data stays. Proposals under way may or may not take effect.
    pub async fn stop_group(&self, id: GroupId) {
        let group = self.groups.lock().remove(&id);
        if let Some(group) = group {
            stop(&group).await;
        }
    }

    /// Stops a group and deletes its data, durably. Only for a topic with a committed tombstone, or a replica that a committed move
    /// took elsewhere (R10).
    ///
    /// # Errors
    /// When the store fails; calling again is safe.
    pub async fn remove_group(&self, id: GroupId) -> Result<(), ConsensusError> {
        self.stop_group(id).await;
        Ok(self.parts.store.remove_group(id).await?)
    }

    /// Takes a checkpoint, then purges what it freed.
    ///
    /// # Errors
    /// As [`Store::checkpoint`]. A full disk passes.
    pub async fn checkpoint(&self) -> Result<(), ConsensusError> {
        self.parts.store.checkpoint().await?;
        let groups: Vec<Group> = self.groups.lock().values().cloned().collect();
        for group in groups {
            if let Err(error) = group.purge().await {
                tracing::warn!(group = %group.id(), %error, "the group's log was not purged");
            }
        }
        Ok(())
    }

    /// Stops every group, takes a last checkpoint and closes the store.
    ///
    /// # Errors
    /// When the checkpoint fails; the next start replays the journal then.
    pub async fn shutdown(&self) -> Result<(), ConsensusError> {
        let ids: BTreeSet<GroupId> = self.groups.lock().keys().copied().collect();
        for id in ids {
            self.stop_group(id).await;
        }
        Ok(self.parts.store.close().await?)
    }
}

/// Ends a group's core, and waits until nothing is applied to its log any more.
async fn stop(group: &Group) {
    group.shared.gate.stop();
    if let Some(raft) = group.raft()
        && let Err(error) = raft.shutdown().await
    {
        tracing::warn!(group = %group.id(), %error, "the group's core did not stop as it should");
    }
    let mut applied_term = group.shared.applied_term.clone();
    let worker_ended = async { while applied_term.changed().await.is_ok() {} };
    if tokio::time::timeout(WORKER_DEADLINE, worker_ended).await.is_err() {
        tracing::warn!(group = %group.id(), "entries are still being applied to a group that was stopped");
    }
}
