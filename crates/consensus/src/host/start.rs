//! How a group starts: from its log to a running core, or to a handle on one that is out of service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use highwater_storage::segment::DamagedSegment;
use highwater_storage::{Applier, Entry, GroupLog, GroupOptions, Payload};
use highwater_types::{GroupId, NodeId, Term};
use openraft::Raft;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{GroupHost, stop};
use crate::acks::Acks;
use crate::apply_gate::ApplyGate;
use crate::doubt::Doubt;
use crate::error::ConsensusError;
use crate::follower_room::FollowerRoom;
use crate::following::Following;
use crate::group::{Group, GroupStatus, Shared, fatal_error};
use crate::log_store::LogStore;
use crate::membership::{self, MemberInfo};
use crate::message::Member;
use crate::network::Peers;
use crate::proposal_run::ProposalRuns;
use crate::rejoin::Rejoining;
use crate::runtime::with_random;
use crate::settings::settings;
use crate::state_machine::StateMachine;
use crate::type_config::Types;

/// How long the first status of a started group may take.
const STATUS_DEADLINE: Duration = Duration::from_secs(10);

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

/// What the handle on a group shares with what its core runs on.
struct Joint {
    gate: Arc<ApplyGate>,
    room: Arc<FollowerRoom>,
    acks: Arc<Acks>,
    runs: Arc<ProposalRuns>,
    rejoining: Arc<Rejoining>,
    purging: watch::Sender<u64>,
}

/// The core, and what is heard of it.
struct Core {
    raft: Option<Raft<Types, StateMachine>>,
    status: watch::Receiver<GroupStatus>,
    applied_term: watch::Receiver<Term>,
}

impl GroupHost {
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
                        Err(error) if error.is_damage() => {
                            let reason = match error {
                                ConsensusError::Quarantined { reason } => reason,
                                other => other.to_string(),
                            };
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
        let joint = self.joint(id);
        let (gate, room) = (joint.gate.clone(), joint.room.clone());
        let applied_term = log.applied().0.map_or(Term::ZERO, |applied| applied.term);
        let (term_sender, applied_term) = watch::channel(applied_term);
        let clock = self.parts.clock.clone();
        let machine = StateMachine::new(log.clone(), clock, term_sender, gate.clone(), room);
        // What is known committed is applied again here.
        let log_store = LogStore::new(log.clone(), joint.runs.clone(), gate.clone());
        let raft =
            Raft::new(self.node().0, settings(id)?, self.network(&log, &joint), log_store.clone(), machine);
        let raft = with_random(self.parts.random.clone(), raft).await.map_err(|fatal| {
            match (log_store.damage(), gate.failure()) {
                (Some(damage), _) => ConsensusError::Quarantined { reason: damage.to_owned() },
                (None, Some(failure)) => ConsensusError::Log(failure),
                (None, None) => fatal_error(&fatal),
            }
        })?;
        gate.open();
        let (status_sender, status) = watch::channel(GroupStatus::default());
        let following = Following {
            raft: raft.clone(),
            applied_term: applied_term.clone(),
            status: status_sender,
            id,
            failure: self.failure.clone(),
            gate,
            driver: self.driver.clone(),
            changes: self.changes.clone(),
        };
        tokio::spawn(following.run());
        let group = self.handle(log, joint, Core { raft: Some(raft.clone()), status, applied_term });
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

    fn joint(&self, id: GroupId) -> Joint {
        Joint {
            gate: Arc::new(ApplyGate::new()),
            room: Arc::default(),
            acks: Arc::default(),
            runs: Arc::default(),
            rejoining: Arc::new(Rejoining::new(id, self.driver.clone(), self.changes.clone())),
            purging: watch::Sender::new(0),
        }
    }

    fn network(&self, log: &Arc<GroupLog>, joint: &Joint) -> Peers {
        Peers {
            node: self.node(),
            group: log.id(),
            transport: self.parts.transport.clone(),
            acks: joint.acks.clone(),
            liveness: self.liveness.clone(),
            purging: joint.purging.subscribe(),
            log: log.clone(),
            catch_up: self.catch_up.clone(),
            rejoining: joint.rejoining.clone(),
        }
    }

    fn handle(&self, log: Arc<GroupLog>, joint: Joint, core: Core) -> Group {
        let Joint { gate, room, acks, runs, rejoining, purging } = joint;
        let Core { raft, status, applied_term } = core;
        let shared = Shared {
            doubt: Doubt::new(self.member().incarnation, self.incarnations.clone(), log.clone()),
            log,
            raft,
            status,
            gate,
            room,
            acks,
            runs,
            node: self.node(),
            liveness: self.liveness.clone(),
            driver: self.driver.clone(),
            heard_leader: Mutex::new(None),
            inbound: tokio::sync::Mutex::new(()),
            handing_over: watch::Sender::new(false),
            members: Arc::default(),
            transport: self.parts.transport.clone(),
            was_supported: AtomicBool::new(false),
            applied_term,
            purging,
            rejoining,
        };
        Group { shared: Arc::new(shared) }
    }

    /// A group without a Raft core.
    fn quarantined(&self, log: Arc<GroupLog>, reason: String) -> Group {
        let (sender, status) =
            watch::channel(GroupStatus { quarantined: Some(reason), ..GroupStatus::default() });
        // Nothing ever changes it; leaking one small allocation per damaged group keeps waiters from seeing a closed channel.
        std::mem::forget(sender);
        let (_, applied_term) = watch::channel(Term::ZERO);
        let joint = self.joint(log.id());
        self.handle(log, joint, Core { raft: None, status, applied_term })
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
