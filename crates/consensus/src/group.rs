//! A handle on one running group.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use highwater_records::Batch;
use highwater_storage::{GroupLog, LogId, Reservation};
use highwater_types::{GroupId, NodeId, Offset, Term};
use openraft::Raft;
use openraft::errors::ClientWriteError;
use openraft::impls::OneshotResponder;
use openraft::raft::ClientWriteResult;
use openraft::type_config::alias::OneshotReceiverOf;
use tokio::sync::watch;

use crate::apply_gate::ApplyGate;
use crate::convert;
use crate::error::ConsensusError;
use crate::follower_room::FollowerRoom;
use crate::state_machine::StateMachine;
use crate::type_config::{Command, Types};

/// How long a snapshot, which holds no data, may take before a purge is put off.
const PURGE_DEADLINE: Duration = Duration::from_secs(10);

/// What a group is asked to take into its log.
pub enum Proposal {
    /// A batch, with the room that was set aside for it.
    Batch {
        /// The batch, verified; the log stamps its offset and epoch.
        batch: Batch,
        /// Given back when the batch was applied or never will be.
        reservation: Reservation,
    },
    /// A command of the state machine above the log.
    Control(Bytes),
}

/// A proposal that was committed and applied.
#[derive(Debug, Clone)]
pub struct Proposed {
    /// The entry it became.
    pub id: LogId,
    /// A batch's first offset.
    pub base_offset: Option<Offset>,
    /// The state machine's answer.
    pub response: Bytes,
}

/// A group as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupStatus {
    /// Who leads.
    pub leader: Option<NodeId>,
    /// The current term.
    pub term: Term,
    /// Whether this node leads.
    pub is_leader: bool,
    /// Whether this node leads and has applied an entry of its own term, so that its high watermark is not too low (R18).
    pub is_serving: bool,
    /// Why the group is kept out of service, when it is.
    pub quarantined: Option<String>,
}

/// A handle on a group of this node. Cheap to clone.
#[derive(Clone)]
pub struct Group {
    log: Arc<GroupLog>,
    raft: Option<Raft<Types, StateMachine>>,
    status: watch::Receiver<GroupStatus>,
    gate: Arc<ApplyGate>,
    room: Arc<FollowerRoom>,
}

impl Group {
    pub(crate) fn new(
        log: Arc<GroupLog>,
        raft: Option<Raft<Types, StateMachine>>,
        status: watch::Receiver<GroupStatus>,
        gate: Arc<ApplyGate>,
        room: Arc<FollowerRoom>,
    ) -> Self {
        Self { log, raft, status, gate, room }
    }

    /// The group's id.
    pub fn id(&self) -> GroupId {
        self.log.id()
    }

    /// The group's log on this node.
    pub fn log(&self) -> &Arc<GroupLog> {
        &self.log
    }

    /// Who leads and whether this node serves.
    pub fn status(&self) -> GroupStatus {
        self.status.borrow().clone()
    }

    /// Follows [`Group::status`].
    pub fn watch(&self) -> watch::Receiver<GroupStatus> {
        self.status.clone()
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

    /// Proposes one entry and waits until it is committed, applied and as durable as the group's options say.
    ///
    /// Not cancel-safe in the sense that a dropped call may still take effect.
    ///
    /// # Errors
    /// See [`ConsensusError`].
    pub async fn propose(&self, proposal: Proposal) -> Result<Proposed, ConsensusError> {
        self.enqueue(proposal).await.await
    }

    /// Proposes entries, in this order in the log. All are queued when the call returns; each handle completes
    /// when its entry is applied or has failed.
    pub async fn propose_many(&self, proposals: Vec<Proposal>) -> Vec<ProposalHandle> {
        let mut handles = Vec::with_capacity(proposals.len());
        for proposal in proposals {
            handles.push(self.enqueue(proposal).await);
        }
        handles
    }

    async fn enqueue(&self, proposal: Proposal) -> ProposalHandle {
        let Some(raft) = &self.raft else {
            let reason = self.status().quarantined.unwrap_or_default();
            return ProposalHandle::failed(ConsensusError::Quarantined { reason });
        };
        let (command, reservation) = match proposal {
            Proposal::Batch { batch, mut reservation } => {
                // The segment takes as much as the batch has, so what goes beyond would be set aside for ever.
                reservation.trim(batch.size_in_bytes());
                (Command::Proposed(batch), Some(reservation))
            }
            Proposal::Control(bytes) => (Command::Control(bytes), None),
        };
        let (responder, receiver) = OneshotResponder::new_pair();
        match raft.client_write_ff(command, Some(responder)).await {
            Ok(()) => ProposalHandle { state: HandleState::Waiting(receiver), reservation },
            Err(fatal) => ProposalHandle::failed(fatal_error(&fatal)),
        }
    }

    /// Purges the start of the log when that is worth it. See [`GroupLog::purge_point`].
    ///
    /// # Errors
    /// When the group has stopped.
    pub(crate) async fn purge(&self) -> Result<(), ConsensusError> {
        let (Some(raft), Some(upto)) = (&self.raft, self.log.purge_point()) else { return Ok(()) };
        // A snapshot would wait behind it.
        if self.gate.is_waiting() {
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
        trigger.purge_log(upto.index.0).await.map_err(|fatal| fatal_error(&fatal))
    }

    /// Completes when a committed entry cannot be applied for want of room on the disk; the group goes on by itself
    /// once there is some. Cancel-safe.
    pub async fn wait_for_full_disk(&self) {
        self.gate.until_waiting().await;
    }

    pub(crate) fn gate(&self) -> &ApplyGate {
        &self.gate
    }

    pub(crate) fn room(&self) -> &FollowerRoom {
        &self.room
    }

    pub(crate) fn raft(&self) -> Option<&Raft<Types, StateMachine>> {
        self.raft.as_ref()
    }
}

/// A proposal under way. Dropping it does not take the proposal back.
pub struct ProposalHandle {
    state: HandleState,
    reservation: Option<Reservation>,
}

enum HandleState {
    Waiting(OneshotReceiverOf<Types, ClientWriteResult<Types>>),
    Failed(Option<ConsensusError>),
}

impl ProposalHandle {
    fn failed(error: ConsensusError) -> Self {
        Self { state: HandleState::Failed(Some(error)), reservation: None }
    }
}

impl Future for ProposalHandle {
    type Output = Result<Proposed, ConsensusError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.state {
            HandleState::Failed(error) => {
                return Poll::Ready(Err(error.take().unwrap_or(ConsensusError::Stopped)));
            }
            HandleState::Waiting(receiver) => std::task::ready!(Pin::new(receiver).poll(context)),
        };
        let reservation = self.reservation.take();
        Poll::Ready(match result {
            Ok(Ok(response)) => {
                if let Some(reservation) = reservation {
                    reservation.consumed();
                }
                Ok(Proposed {
                    id: convert::log_id(&response.log_id),
                    base_offset: response.data.base_offset,
                    response: response.data.response,
                })
            }
            Ok(Err(ClientWriteError::ForwardToLeader(forward))) => {
                Err(ConsensusError::NotLeader { leader: forward.leader_id.map(NodeId) })
            }
            Ok(Err(error)) => Err(ConsensusError::Failed { reason: error.to_string() }),
            Err(_) => Err(ConsensusError::Stopped),
        })
    }
}

pub(crate) fn fatal_error(fatal: &openraft::errors::Fatal<Types>) -> ConsensusError {
    match fatal {
        openraft::errors::Fatal::Stopped => ConsensusError::Stopped,
        other => ConsensusError::Failed { reason: other.to_string() },
    }
}
