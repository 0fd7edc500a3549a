//! A handle on one running group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use highwater_storage::GroupLog;
use highwater_types::{GroupId, NodeId, ProcessEpoch, Term, mutant};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Instant as _, Raft};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::acks::Acks;
use crate::apply_gate::ApplyGate;
use crate::doubt::Doubt;
use crate::driver::Driver;
use crate::error::ConsensusError;
use crate::follower_room::FollowerRoom;
use crate::liveness::Liveness;
use crate::proposal_run::ProposalRuns;
use crate::rejoin::Rejoining;
use crate::settings::lease;
use crate::state_machine::StateMachine;
use crate::transport::Transport;
use crate::type_config::Types;

/// How long building a snapshot may take before a purge is put off.
const PURGE_DEADLINE: Duration = Duration::from_secs(10);

/// A group as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupStatus {
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// The current term.
    pub term: Term,
    /// Whether this node leads.
    pub is_leader: bool,
    /// Whether this node leads, has applied an entry of its own term, so that its high watermark is not too low (R18), and
    /// is sure that nobody else can have been elected (R14).
    pub is_serving: bool,
    /// Why the group is kept out of service, when it is.
    pub quarantined: Option<String>,
    /// The voters: one set, or two while the group moves from the first to the second. Each has to agree by majority.
    pub voters: Arc<[BTreeSet<NodeId>]>,
    /// The members without a vote.
    pub learners: Arc<BTreeSet<NodeId>>,
}

impl GroupStatus {
    /// Whether `agrees` holds for a majority of the voters.
    pub(crate) fn has_majority(&self, agrees: impl Fn(NodeId) -> bool) -> bool {
        self.voters.iter().all(|set| set.iter().filter(|voter| agrees(**voter)).count() * 2 > set.len())
    }

    /// Every voter once.
    pub(crate) fn all_voters(&self) -> BTreeSet<NodeId> {
        self.voters.iter().flatten().copied().collect()
    }
}

/// What a group's handles and its driver share.
pub(crate) struct Shared {
    pub(crate) log: Arc<GroupLog>,
    pub(crate) raft: Option<Raft<Types, StateMachine>>,
    /// As the core says; see [`Group::status`].
    pub(crate) status: watch::Receiver<GroupStatus>,
    pub(crate) gate: Arc<ApplyGate>,
    pub(crate) room: Arc<FollowerRoom>,
    pub(crate) acks: Arc<Acks>,
    pub(crate) runs: Arc<ProposalRuns>,
    pub(crate) node: NodeId,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) driver: Arc<Driver>,
    /// The leader that this replica heard last.
    pub(crate) heard_leader: Mutex<Option<HeardLeader>>,
    /// Held while a leader's request is taken in. openraft may not be sent entries and a snapshot at once (openraft issue 2116).
    pub(crate) inbound: tokio::sync::Mutex<()>,
    /// Set while the leadership is handed over: proposals wait.
    pub(crate) handing_over: watch::Sender<bool>,
    /// Held while the members are changed, and while another is asked to take over: a successor that lacks the entry about the members is
    /// not elected, and this node may vote no more by then.
    pub(crate) members: Arc<tokio::sync::Mutex<()>>,
    pub(crate) transport: Arc<dyn Transport>,
    /// Changes when the start of the log is to go: who waits with entries for a node that is away lets go of them.
    pub(crate) purging: watch::Sender<u64>,
    /// Who this replica is.
    pub(crate) doubt: Doubt,
    /// Which other replicas are not, or no more, who the group takes them for.
    pub(crate) rejoining: Arc<Rejoining>,
    /// Whether a majority stood by this leader when the driver looked last.
    pub(crate) was_supported: AtomicBool,
    /// Closed when nothing applies entries any more, which openraft's shutdown does not wait for.
    pub(crate) applied_term: watch::Receiver<Term>,
}

/// A leader that a replica heard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeardLeader {
    pub(crate) term: Term,
    /// Its process.
    pub(crate) epoch: ProcessEpoch,
    /// When it was heard last.
    pub(crate) at: Instant,
}

/// A handle on a group of this node. Cheap to clone.
#[derive(Clone)]
pub struct Group {
    pub(crate) shared: Arc<Shared>,
}

impl Group {
    /// The group's id.
    pub fn id(&self) -> GroupId {
        self.shared.log.id()
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.shared.node
    }

    /// The group's log on this node.
    pub fn log(&self) -> &Arc<GroupLog> {
        &self.shared.log
    }

    /// Who leads and whether this node serves, now.
    pub fn status(&self) -> GroupStatus {
        let mut status = self.shared.status.borrow().clone();
        status.is_serving = status.is_serving && self.has_support(&status);
        status
    }

    /// Follows who leads. [`Group::status`] is stricter about serving: a leader that is cut off stops serving, and goes on when it is
    /// not any more, without a change that is seen here. [`Group::until_settled`] waits for that, and
    /// [`GroupHost::changes`](crate::GroupHost::changes) tells of it.
    pub fn watch(&self) -> watch::Receiver<GroupStatus> {
        self.shared.status.clone()
    }

    /// Whether this replica is the only voter, so that nobody else can lead. A member of this node's number that it was before, with data
    /// that are gone, is another.
    pub fn is_sole_voter(&self) -> bool {
        let voters = self.status().voters;
        !voters.is_empty() && voters.iter().all(|set| set.iter().eq([&self.shared.node])) && self.is_listed()
    }

    /// Who leads the metadata group so that it can be changed, as far as this node can know. [`Group::status`] goes on naming a leader that
    /// is gone until there is another one; here it is nobody once it has been silent for longer than it would take to stand against it. Nor
    /// is it this node while no majority stands by it.
    pub fn present_leader(&self) -> Option<NodeId> {
        let status = self.status();
        let leader = status.leader?;
        let is_heard = || {
            let heard = self.shared.heard_leader.lock().filter(|heard| heard.term == status.term);
            heard.is_some_and(|heard| heard.at.elapsed() < lease(GroupId::Metadata))
        };
        let is_present = if status.is_leader { self.has_support(&status) } else { is_heard() };
        is_present.then_some(leader)
    }

    /// Whether a majority still stands by this leader, so that no other can have been elected. Leads or not is not asked here.
    fn has_support(&self, status: &GroupStatus) -> bool {
        let shared = &*self.shared;
        if status.has_majority(|voter| voter == shared.node) || mutant!(StaleLeader) {
            return true;
        }
        let Some(vote) = shared.log.vote() else { return false };
        if self.id() == GroupId::Metadata {
            return !shared.acks.is_released(vote) && self.has_lease(lease(self.id()));
        }
        status.has_majority(|voter| {
            let run = || shared.liveness.supported_by(voter, Duration::ZERO);
            voter == shared.node || run().is_some_and(|run| shared.acks.supports(voter, vote, run))
        })
    }

    /// Notes whether a majority stands by this leader; says whether that is news. A replica that does not lead has no support.
    pub(crate) fn note_support(&self, status: &GroupStatus) -> bool {
        let is_supported = status.is_leader && self.has_support(status);
        self.shared.was_supported.swap(is_supported, Ordering::Relaxed) != is_supported
    }

    /// Waits while this node leads the group of a partition and does not serve it: until it serves, leads no more, is out of service,
    /// or has stopped. Cancel-safe.
    pub async fn until_settled(&self) {
        let shared = &*self.shared;
        let (mut status, mut supported, mut acked) =
            (self.watch(), shared.liveness.gains(), shared.acks.gains());
        loop {
            let now = self.status();
            if now.is_serving || !now.is_leader || now.quarantined.is_some() {
                return;
            }
            // A group that is parked asks nobody to stand by its leader.
            shared.driver.attend(self.id());
            tokio::select! {
                changed = status.changed() => match changed {
                    Ok(()) => {}
                    Err(_) => return,
                },
                // Their senders live as long as the group.
                _ = supported.changed() => {}
                _ = acked.changed() => {}
            }
        }
    }

    /// Whether a majority acknowledged this leader within `age`.
    pub(crate) fn has_lease(&self, age: Duration) -> bool {
        let Some(raft) = &self.shared.raft else { return false };
        let metrics = raft.data_metrics();
        let acked = metrics.borrow_watched().last_quorum_acked;
        acked.is_some_and(|acked| acked.elapsed() < age)
    }

    /// Waits until this node serves the group.
    ///
    /// # Errors
    /// When it is quarantined or stopped, or does not serve in time.
    pub async fn wait_serving(&self, deadline: Duration) -> Result<(), ConsensusError> {
        let mut status = self.watch();
        let served = status.wait_for(|status| status.is_serving || status.quarantined.is_some());
        match tokio::time::timeout(deadline, served).await {
            Ok(Ok(status)) => match &status.quarantined {
                None => Ok(()),
                Some(reason) => Err(ConsensusError::Quarantined { reason: reason.clone() }),
            },
            Ok(Err(_)) => Err(ConsensusError::Stopped),
            Err(_) => Err(ConsensusError::NoLeader { group: self.id(), waited_ms: deadline.as_millis() }),
        }
    }

    /// Purges the start of the log when that is worth it. See [`GroupLog::purge_point`].
    ///
    /// # Errors
    /// When the group has stopped.
    pub(crate) async fn purge(&self) -> Result<(), ConsensusError> {
        let (Some(raft), Some(upto)) = (&self.shared.raft, self.shared.log.purge_point()) else {
            return Ok(());
        };
        // A snapshot would wait behind it.
        if self.shared.gate.is_waiting() {
            return Ok(());
        }
        let trigger = raft.trigger();
        trigger.snapshot().await.map_err(|fatal| fatal_error(&fatal))?;
        let wait = raft.wait(Some(PURGE_DEADLINE));
        let reached = wait.metrics(
            |metrics| metrics.snapshot.is_some_and(|snapshot| snapshot.index() >= upto.index.0),
            "the snapshot that lets the log be purged",
        );
        reached.await.map_err(|error| ConsensusError::Failed { reason: error.to_string() })?;
        trigger.purge_log(upto.index.0).await.map_err(|fatal| fatal_error(&fatal))?;
        self.shared.purging.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Completes when a committed entry cannot be applied for want of room on the disk; the group goes on by itself
    /// once there is some. Cancel-safe.
    pub async fn wait_for_full_disk(&self) {
        self.shared.gate.until_waiting().await;
    }

    pub(crate) fn raft(&self) -> Option<&Raft<Types, StateMachine>> {
        self.shared.raft.as_ref()
    }
}

pub(crate) fn fatal_error(fatal: &openraft::errors::Fatal<Types>) -> ConsensusError {
    match fatal {
        openraft::errors::Fatal::Stopped => ConsensusError::Stopped,
        other => ConsensusError::Failed { reason: other.to_string() },
    }
}
