//! All groups of a node: start, stop, checkpoint, purge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use highwater_storage::segment::DamagedSegment;
use highwater_storage::{Applier, Entry, GroupLog, GroupOptions, Payload, Store};
use highwater_types::{Clock, GroupId, NodeId, ProcessEpoch, Random, Term};
use openraft::Raft;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::acks::Acks;
use crate::apply_gate::ApplyGate;
use crate::doubt::Doubt;
use crate::driver::{self, Driver};
use crate::error::{ConsensusError, RefusedRequest};
use crate::follower_room::FollowerRoom;
use crate::following::Following;
use crate::group::{Group, GroupStatus, Shared, fatal_error};
use crate::incarnations::Incarnations;
use crate::liveness::{Liveness, Ping, Pong};
use crate::log_store::LogStore;
use crate::membership::{self, MemberInfo};
use crate::message::Member;
use crate::network::Peers;
use crate::proposal_run::ProposalRuns;
use crate::rejoin::Rejoining;
use crate::runtime::with_random;
use crate::settings::settings;
use crate::state_machine::StateMachine;
use crate::throttle::Throttle;
use crate::transport::Transport;
use crate::type_config::Types;

/// How long the first status of a started group may take.
const STATUS_DEADLINE: Duration = Duration::from_secs(10);
/// How long what is applied when a group is stopped may take to end.
const WORKER_DEADLINE: Duration = Duration::from_secs(10);

/// Where a group's log comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The metadata calls the group new: it begins with these voters, the same at each of them. On a replica that
    /// has a log already it changes nothing.
    New(BTreeSet<Member>),
    /// The group has a past: it goes on from the log that is here. A replica without one is another member than any that its node may have
    /// been there before (R20), and waits, without a vote, until a leader takes it in (R16).
    Existing,
}

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

    /// A group's members are to be looked at again.
    pub(crate) fn note_change(&self) {
        self.changes.send_modify(|count| *count += 1);
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
        let store = &self.parts.store;
        let log = match (store.group(id), &origin) {
            (Some(log), _) => log,
            (None, Origin::New(_)) => store.create_group(id, options)?,
            (None, Origin::Existing) => store.create_another(id, options, self.incarnations.draw(None)).await?,
        };
        log.install(applier)?;
        let group = match log.quarantine() {
            Some(reason) => self.quarantined(log.clone(), reason.to_owned()),
            None => match damage_of_only_replica(self.node(), &log) {
                Some(reason) => {
                    tracing::error!(group = %id, reason, "the only replica's segments are damaged; it is quarantined");
                    self.quarantined(log, reason)
                }
                None => {
                    log.set_options(options);
                    match self.run(log.clone(), origin).await {
                        Ok(group) => group,
                        // Found only now, by the core's look at its log.
                        Err(ConsensusError::Quarantined { reason }) => {
                            tracing::error!(group = %id, reason, "the group's log is damaged; it is quarantined");
                            self.quarantined(log, reason)
                        }
                        Err(error) => return Err(error),
                    }
                }
            },
        };
        self.groups.lock().insert(id, group.clone());
        // Not before: the driver forgets a group that it does not find.
        self.driver.attend(id);
        Ok(group)
    }

    async fn run(&self, log: Arc<GroupLog>, origin: Origin) -> Result<Group, ConsensusError> {
        let id = log.id();
        let applied_term = log.applied().0.map_or(Term::ZERO, |applied| applied.term);
        let (term_sender, term_receiver) = watch::channel(applied_term);
        let gate = Arc::new(ApplyGate::new());
        let (room, runs, acks) =
            (Arc::<FollowerRoom>::default(), Arc::<ProposalRuns>::default(), Arc::<Acks>::default());
        let purging = watch::Sender::new(0);
        let clock = self.parts.clock.clone();
        let machine = StateMachine::new(log.clone(), clock, term_sender, gate.clone(), room.clone());
        // What is known committed is applied again here.
        let log_store = LogStore::new(log.clone(), runs.clone(), gate.clone());
        let peers = Peers {
            node: self.node(),
            group: id,
            transport: self.parts.transport.clone(),
            acks: acks.clone(),
            liveness: self.liveness.clone(),
            purging: purging.subscribe(),
            log: log.clone(),
            catch_up: self.catch_up.clone(),
        };
        let raft = Raft::new(self.node().0, settings(id)?, peers, log_store.clone(), machine);
        let raft = with_random(self.parts.random.clone(), raft).await.map_err(|fatal| {
            match (log_store.damage(), gate.failure()) {
                (Some(damage), _) => ConsensusError::Quarantined { reason: damage.to_owned() },
                (None, Some(failure)) => ConsensusError::Log(failure),
                (None, None) => fatal_error(&fatal),
            }
        })?;
        gate.open();
        let (status_sender, status) = watch::channel(GroupStatus::default());
        let applied_terms = term_receiver.clone();
        let following = Following {
            raft: raft.clone(),
            applied_term: term_receiver,
            status: status_sender,
            id,
            failure: self.failure.clone(),
            gate: gate.clone(),
            driver: self.driver.clone(),
            changes: self.changes.clone(),
        };
        tokio::spawn(following.run());
        let group =
            self.handle(log, Some(raft.clone()), status, gate, room, acks, runs, applied_terms, purging);
        if let Err(error) = self.begin(&group, &raft, origin).await {
            stop(&group).await;
            return Err(error);
        }
        // A task publishes the status. Who looks right after the start must not take a group of many for one without members.
        if raft.voter_ids().next().is_some() {
            let mut published = group.watch();
            let members = published.wait_for(|status| !status.voters.is_empty());
            // Its core may have ended meanwhile, which is told elsewhere.
            let _ = tokio::time::timeout(STATUS_DEADLINE, members).await;
        }
        Ok(group)
    }

    #[allow(clippy::too_many_arguments)]
    fn handle(
        &self,
        log: Arc<GroupLog>,
        raft: Option<Raft<Types, StateMachine>>,
        status: watch::Receiver<GroupStatus>,
        gate: Arc<ApplyGate>,
        room: Arc<FollowerRoom>,
        acks: Arc<Acks>,
        runs: Arc<ProposalRuns>,
        applied_term: watch::Receiver<Term>,
        purging: watch::Sender<u64>,
    ) -> Group {
        let (node, liveness, driver) = (self.node(), self.liveness.clone(), self.driver.clone());
        let doubt = Doubt::new(self.member().incarnation, self.incarnations.clone(), log.clone());
        let shared = Shared {
            log,
            raft,
            status,
            gate,
            room,
            acks,
            runs,
            node,
            liveness,
            driver,
            heard_leader: Mutex::new(None),
            inbound: tokio::sync::Mutex::new(()),
            handing_over: watch::Sender::new(false),
            members: Arc::default(),
            transport: self.parts.transport.clone(),
            was_supported: AtomicBool::new(false),
            applied_term,
            purging,
            doubt,
            rejoining: Rejoining::default(),
        };
        Group { shared: Arc::new(shared) }
    }

    /// A group without a Raft core.
    fn quarantined(&self, log: Arc<GroupLog>, reason: String) -> Group {
        let (sender, status) =
            watch::channel(GroupStatus { quarantined: Some(reason), ..GroupStatus::default() });
        // Nothing ever changes it; leaking one small allocation per damaged group keeps waiters from seeing a closed channel.
        std::mem::forget(sender);
        let gate = Arc::new(ApplyGate::new());
        let (_, applied_term) = watch::channel(Term::ZERO);
        let purging = watch::Sender::new(0);
        self.handle(
            log,
            None,
            status,
            gate,
            Arc::default(),
            Arc::default(),
            Arc::default(),
            applied_term,
            purging,
        )
    }

    /// Lets a group without a past begin, and one with a past go on.
    async fn begin(
        &self,
        group: &Group,
        raft: &Raft<Types, StateMachine>,
        origin: Origin,
    ) -> Result<(), ConsensusError> {
        let id = group.id();
        if raft.is_initialized().await.map_err(|fatal| fatal_error(&fatal))? {
            // Nobody else can lead a group of one voter, so there is no one to wait for. Of several, one stands when the time comes.
            if raft.voter_ids().eq([self.node().0]) && group.is_listed() {
                // What it lost is nowhere else.
                group.log().vouch();
                raft.trigger().elect(false).await.map_err(|fatal| fatal_error(&fatal))?;
            }
            return Ok(());
        }
        match origin {
            Origin::New(voters) => {
                let info = |voter: &Member| (voter.node.0, MemberInfo::of_node(voter.incarnation));
                let members: BTreeMap<u64, MemberInfo> = voters.iter().map(info).collect();
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

/// What is damaged of the segments of a group that has no other member: there is nobody to repair them from.
fn damage_of_only_replica(node: NodeId, log: &GroupLog) -> Option<String> {
    let damaged = log.segments()?.damaged().into_iter().next()?;
    let Some(Entry { payload: Payload::Membership(members), .. }) = log.applied().1 else { return None };
    let members = membership::decode(&members).ok()?;
    let is_alone = members.nodes().all(|(member, _)| *member == node.0);
    let DamagedSegment { file, position, damage, .. } = damaged;
    is_alone.then(|| format!(
        "{} is damaged at position {position}: {damage}; there is no other replica to fetch it from: restore it from a backup",
        file.display()
    ))
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
