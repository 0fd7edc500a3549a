//! Proposing: what a leader is asked to take into the group's log.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use highwater_records::Batch;
use highwater_storage::{LogId, Reservation};
use highwater_types::{NodeId, Offset, Term};
use openraft::Raft;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::ClientWriteError;
use openraft::impls::OneshotResponder;
use openraft::raft::ClientWriteResult;
use openraft::type_config::alias::OneshotReceiverOf;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::convert;
use crate::error::ConsensusError;
use crate::group::{Group, fatal_error};
use crate::proposal_run::{ProposalRuns, Ticket};
use crate::settings::lease;
use crate::state_machine::StateMachine;
use crate::type_config::{Command, Response, Types};

/// How long a parked leader waits for its followers before it takes a proposal.
const UNPARK_DEADLINE: Duration = Duration::from_secs(1);

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

impl Group {
    /// Proposes one entry and waits until it is committed, applied and as durable as the group's options say.
    ///
    /// Not cancel-safe in the sense that a dropped call may still take effect.
    ///
    /// # Errors
    /// See [`ConsensusError`].
    pub async fn propose(&self, proposal: Proposal) -> Result<Proposed, ConsensusError> {
        match self.propose_many(None, vec![proposal]).await.pop() {
            Some(handle) => handle.await,
            None => Err(ConsensusError::Stopped),
        }
    }

    /// Proposes entries, in this order in the log. All are queued when the call returns; each handle completes
    /// when its entry is applied or has failed. With a `term` they enter the log in that term or not at all: what the caller
    /// checked them against counts for no other.
    ///
    /// When one of these batches fails, those behind it that were proposed before its handle said so fail as well:
    /// nothing overtakes a batch.
    pub async fn propose_many(&self, term: Option<Term>, proposals: Vec<Proposal>) -> Vec<ProposalHandle> {
        let ready = match &self.shared.raft {
            None => {
                let reason = self.status().quarantined.unwrap_or_default();
                Err(ConsensusError::Quarantined { reason })
            }
            Some(raft) => self.unpark(raft).await.map(|()| raft),
        };
        match ready {
            Err(error) => proposals.iter().map(|proposal| self.refuse(proposal, error.clone())).collect(),
            Ok(raft) => {
                let mut handles = Vec::with_capacity(proposals.len());
                for proposal in proposals {
                    handles.push(self.enqueue(raft, term, proposal).await);
                }
                handles
            }
        }
    }

    /// The handle of what the core is not even asked for. A batch takes its place in the order all the same: the next may be proposed, and
    /// the core be willing again, before the proposer learns that this one failed.
    fn refuse(&self, proposal: &Proposal, error: ConsensusError) -> ProposalHandle {
        let in_run = match proposal {
            Proposal::Batch { .. } => Some((Arc::clone(&self.shared.runs), self.shared.runs.next())),
            Proposal::Control(_) => None,
        };
        ProposalHandle { state: HandleState::Failed(Some(error)), reservation: None, in_run }
    }

    async fn enqueue(
        &self,
        raft: &Raft<Types, StateMachine>,
        term: Option<Term>,
        proposal: Proposal,
    ) -> ProposalHandle {
        let mut in_run = None;
        let (command, reservation) = match proposal {
            Proposal::Batch { batch, mut reservation } => {
                // The segment takes as much as the batch has, so what goes beyond would be set aside for ever.
                reservation.trim(batch.size_in_bytes());
                let ticket = self.shared.runs.next();
                in_run = Some((Arc::clone(&self.shared.runs), ticket));
                (Command::Proposed(batch, ticket), Some(reservation))
            }
            Proposal::Control(bytes) => (Command::Control(bytes), None),
        };
        let (responder, receiver) = OneshotResponder::new_pair();
        let mut write = raft.write(command).responder(responder);
        if let Some(term) = term {
            write = write.with_leader(term.0);
        }
        let state = match write.await {
            Ok(()) => HandleState::Waiting(receiver),
            Err(fatal) => HandleState::Failed(Some(fatal_error(&fatal))),
        };
        ProposalHandle { state, reservation, in_run }
    }

    /// Makes sure that a majority has acknowledged this leader lately: a leader of a parked group takes no proposal before (R13).
    pub(crate) async fn unpark(&self, raft: &Raft<Types, StateMachine>) -> Result<(), ConsensusError> {
        {
            let status = self.shared.status.borrow();
            // Who does not lead is told so by the core.
            if !status.is_leader || status.has_majority(|voter| voter == self.shared.node) {
                return Ok(());
            }
        }
        self.until_handed_over().await;
        self.shared.driver.attend(self.id());
        let lease = lease(self.id());
        if self.has_lease(lease / 2) {
            return Ok(());
        }
        let mut metrics = raft.data_metrics();
        let acknowledged = async {
            loop {
                // A heartbeat may be lost, so it is sent again.
                raft.trigger().heartbeat().await.map_err(|fatal| fatal_error(&fatal))?;
                let send_again = Instant::now() + lease / 8;
                while timeout_at(send_again, metrics.changed()).await.is_ok_and(|changed| changed.is_ok()) {
                    if self.has_lease(lease / 2) || !self.shared.status.borrow().is_leader {
                        return Ok(());
                    }
                }
                if !self.shared.status.borrow().is_leader {
                    return Ok(());
                }
                // Of a core that has ended the metrics do not change, at once.
                sleep_until(send_again).await;
            }
        };
        timeout(UNPARK_DEADLINE, acknowledged).await.unwrap_or(Err(ConsensusError::NotLeader { leader: None }))
    }
}

/// A proposal under way. Dropping it does not take the proposal back.
pub struct ProposalHandle {
    state: HandleState,
    reservation: Option<Reservation>,
    /// A batch's place among those that must not overtake each other.
    in_run: Option<(Arc<ProposalRuns>, Ticket)>,
}

enum HandleState {
    Waiting(OneshotReceiverOf<Types, ClientWriteResult<Types>>),
    Failed(Option<ConsensusError>),
}

impl Future for ProposalHandle {
    type Output = Result<Proposed, ConsensusError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.state {
            HandleState::Failed(error) => Err(error.take().unwrap_or(ConsensusError::Stopped)),
            HandleState::Waiting(receiver) => outcome(std::task::ready!(Pin::new(receiver).poll(context)).ok()),
        };
        let (reservation, in_run) = (self.reservation.take(), self.in_run.take());
        match &result {
            Ok(_) => {
                if let Some(reservation) = reservation {
                    reservation.consumed();
                }
            }
            Err(_) => {
                if let Some((runs, ticket)) = in_run {
                    runs.failed(ticket);
                }
            }
        }
        Poll::Ready(result)
    }
}

/// What the core's answer means. None when the core went away.
fn outcome(result: Option<ClientWriteResult<Types>>) -> Result<Proposed, ConsensusError> {
    match result {
        Some(Ok(response)) => match response.data {
            Response::Applied { base_offset, response: answer } => {
                Ok(Proposed { id: convert::log_id(&response.log_id), base_offset, response: answer })
            }
            Response::Overtaking => Err(ConsensusError::Overtaking),
        },
        Some(Err(ClientWriteError::ForwardToLeader(forward))) => {
            Err(ConsensusError::NotLeader { leader: forward.leader_id.map(NodeId) })
        }
        Some(Err(ClientWriteError::LogEntryDiscarded(_))) => Err(ConsensusError::Discarded),
        Some(Err(error)) => Err(ConsensusError::Failed { reason: error.to_string() }),
        None => Err(ConsensusError::Stopped),
    }
}
