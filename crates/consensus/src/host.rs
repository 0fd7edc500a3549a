//! All groups of a node: start, stop, checkpoint, purge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use highwater_storage::{Applier, GroupLog, GroupOptions, Store};
use highwater_types::{Clock, GroupId, NodeId, Random, Term};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{EmptyNode, Raft, ServerState};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::apply_gate::ApplyGate;
use crate::error::ConsensusError;
use crate::follower_room::FollowerRoom;
use crate::group::{Group, GroupStatus, fatal_error};
use crate::log_store::LogStore;
use crate::network::Peers;
use crate::runtime::with_random;
use crate::settings::settings;
use crate::state_machine::StateMachine;
use crate::transport::Transport;
use crate::type_config::Types;

/// Where a group's log comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The metadata calls the group new: it begins with these voters, the same at each of them. On a replica that
    /// has a log already it changes nothing.
    New(BTreeSet<NodeId>),
    /// The group has a past: it goes on from the log that is here, and a replica without one waits, without a vote (R16).
    Existing,
}

/// What a host runs on. All of it is passed in, so that a simulation can own it.
pub struct HostParts {
    /// The node.
    pub node: NodeId,
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
    groups: Mutex<BTreeMap<GroupId, Group>>,
    failure: watch::Sender<Option<String>>,
}

impl GroupHost {
    /// A host without groups.
    pub fn new(parts: HostParts) -> Arc<Self> {
        Arc::new(Self { parts, groups: Mutex::default(), failure: watch::Sender::new(None) })
    }

    /// The node.
    pub fn node(&self) -> NodeId {
        self.parts.node
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

    /// Starts a group over its log, which is created when there is none. [`Origin::New`] must be said only while the metadata calls
    /// the group new (R16).
    ///
    /// On return the group runs; [`Group::wait_serving`] tells when it leads. A group whose data is damaged
    /// comes back quarantined, with the state of the last checkpoint.
    ///
    /// # Errors
    /// When its log or its state cannot be set up. Calling again is safe, and right when the cause has passed
    /// ([`ConsensusError::is_no_space`]): what was applied before the failure stays applied.
    pub async fn start_group(
        &self,
        id: GroupId,
        options: GroupOptions,
        origin: Origin,
        applier: Box<dyn Applier>,
    ) -> Result<Group, ConsensusError> {
        let log = match self.parts.store.group(id) {
            Some(log) => log,
            None => self.parts.store.create_group(id, options)?,
        };
        log.install(applier)?;
        let group = match log.quarantine() {
            Some(reason) => quarantined(log.clone(), reason.to_owned()),
            None => {
                log.set_options(options);
                match self.run(log.clone(), origin).await {
                    Ok(group) => group,
                    // Found only now, by the core's look at its log.
                    Err(ConsensusError::Quarantined { reason }) => {
                        tracing::error!(group = %id, reason, "the group's log is damaged; it is quarantined");
                        quarantined(log, reason)
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        self.groups.lock().insert(id, group.clone());
        Ok(group)
    }

    async fn run(&self, log: Arc<GroupLog>, origin: Origin) -> Result<Group, ConsensusError> {
        let id = log.id();
        let applied_term = log.applied().0.map_or(Term::ZERO, |applied| applied.term);
        let (term_sender, term_receiver) = watch::channel(applied_term);
        let gate = Arc::new(ApplyGate::new());
        let room = Arc::new(FollowerRoom::default());
        let clock = self.parts.clock.clone();
        let machine = StateMachine::new(log.clone(), clock, term_sender, gate.clone(), room.clone());
        // What is known committed is applied again here.
        let log_store = LogStore::new(log.clone());
        let peers = Peers { node: self.parts.node, group: id, transport: self.parts.transport.clone() };
        let raft = Raft::new(self.parts.node.0, settings(id)?, peers, log_store.clone(), machine);
        let raft = with_random(self.parts.random.clone(), raft).await.map_err(|fatal| {
            match (log_store.damage(), gate.failure()) {
                (Some(damage), _) => ConsensusError::Quarantined { reason: damage.to_owned() },
                (None, Some(failure)) => ConsensusError::Log(failure),
                (None, None) => fatal_error(&fatal),
            }
        })?;
        gate.open();
        let (status_sender, status) = watch::channel(GroupStatus::default());
        let failure = self.failure.clone();
        tokio::spawn(follow_status(raft.clone(), term_receiver, status_sender, id, failure, gate.clone()));
        let group = Group::new(log, Some(raft.clone()), status, gate, room);
        if let Err(error) = self.begin(id, &raft, origin).await {
            stop(&group).await;
            return Err(error);
        }
        Ok(group)
    }

    /// Lets a group without a past begin, and one with a past go on.
    async fn begin(
        &self,
        id: GroupId,
        raft: &Raft<Types, StateMachine>,
        origin: Origin,
    ) -> Result<(), ConsensusError> {
        if raft.is_initialized().await.map_err(|fatal| fatal_error(&fatal))? {
            // Nobody else can lead a group of one voter, so there is no one to wait for. Of several, one stands when the time comes.
            if raft.voter_ids().eq([self.parts.node.0]) {
                raft.trigger().elect(false).await.map_err(|fatal| fatal_error(&fatal))?;
            }
            return Ok(());
        }
        match origin {
            Origin::New(voters) => {
                let members: BTreeMap<u64, EmptyNode> =
                    voters.into_iter().map(|voter| (voter.0, EmptyNode {})).collect();
                let initialized = raft.initialize(members).await;
                initialized.map_err(|error| ConsensusError::Failed { reason: error.to_string() })
            }
            Origin::Existing => {
                tracing::warn!(group = %id, "the group has no data here although it is not new; it waits, without a vote");
                Ok(())
            }
        }
    }

    /// Stops a group; its data stays. Proposals under way may or may not take effect.
    pub async fn stop_group(&self, id: GroupId) {
        let group = self.groups.lock().remove(&id);
        if let Some(group) = group {
            stop(&group).await;
        }
    }

    /// Stops a group and deletes its data, durably. Only for a topic with a committed tombstone (R10).
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

/// Ends a group's core.
async fn stop(group: &Group) {
    group.gate().stop();
    if let Some(raft) = group.raft()
        && let Err(error) = raft.shutdown().await
    {
        tracing::warn!(group = %group.id(), %error, "the group's core did not stop as it should");
    }
}

/// A group without a Raft core. The sender is kept by the task-free receiver's owner, so the status stands.
fn quarantined(log: Arc<GroupLog>, reason: String) -> Group {
    let (sender, status) = watch::channel(GroupStatus { quarantined: Some(reason), ..GroupStatus::default() });
    // Nothing ever changes it; leaking one small allocation per damaged group keeps waiters from seeing a closed channel.
    std::mem::forget(sender);
    Group::new(log, None, status, Arc::new(ApplyGate::new()), Arc::default())
}

/// Publishes who leads and whether this node serves, until the core stops.
async fn follow_status(
    raft: Raft<Types, StateMachine>,
    mut applied_term: watch::Receiver<Term>,
    status: watch::Sender<GroupStatus>,
    id: GroupId,
    failure: watch::Sender<Option<String>>,
    gate: Arc<ApplyGate>,
) {
    let node = raft.node_id().to_owned();
    let mut server = raft.server_metrics();
    let metrics = raft.metrics();
    drop(raft);
    loop {
        let (leader, term, is_leader) = {
            let metrics = server.borrow_and_update();
            let is_leader = metrics.state == ServerState::Leader && metrics.current_leader == Some(node);
            (metrics.current_leader.map(NodeId), Term(metrics.vote.leader_id().term), is_leader)
        };
        let is_serving = is_leader && *applied_term.borrow_and_update() == term;
        let next = GroupStatus { leader, term, is_leader, is_serving, quarantined: None };
        status.send_if_modified(|current| {
            let changed = *current != next;
            *current = next;
            changed
        });
        let changed = tokio::select! {
            changed = server.changed() => changed.is_ok(),
            changed = applied_term.changed() => changed.is_ok(),
        };
        if !changed {
            break;
        }
    }
    let ended = metrics.borrow_watched().running_state.clone();
    if let Err(fatal) = ended
        && !matches!(fatal, openraft::errors::Fatal::Stopped)
        && !gate.is_stopped()
    {
        let reason = format!("the core of group {id} ended: {fatal}");
        tracing::error!(reason, "a group failed; the node must end, its restart applies the group's log again");
        failure.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(reason);
            is_first
        });
    }
}
