//! The task that puts a partition's batches into order: checks sequences, reserves room,
//! proposes all that waits together, and answers.
//!
//! One runs per partition while there is something to append. It owns the overlay of what is
//! in flight, which lives exactly as long as something is; the overlay counts for one term
//! only (R19).

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use highwater_types::{Offset, Term, TimestampMs};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use super::patience::Patience;
use super::{Appended, Reply, Request};
use crate::command::PartitionCommand;
use crate::error::PartitionError;
use crate::partition::Inner;
use crate::producer_state::InFlight;
use crate::replica::{Replica, Write};

/// Room is asked for again after this time at the latest, should the news of it come between
/// asking and waiting.
const NO_ROOM_RETRY: Duration = Duration::from_millis(50);

/// See the module.
pub(crate) struct Appender<R: Replica> {
    pub(super) partition: Arc<Inner<R>>,
    /// Requests that are not proposed yet, in order.
    pub(super) waiting: VecDeque<Request>,
    /// What is proposed and not answered, in order.
    outstanding: VecDeque<(Proposed, R::Handle)>,
    pub(super) in_flight: InFlight,
    /// The term that `in_flight` belongs to.
    in_flight_term: Term,
    /// Those who sent a batch again that is in flight, by the number of its proposal.
    pub(super) duplicates: BTreeMap<u64, Vec<Reply>>,
    next_number: u64,
    /// Batches in flight that the broker built.
    pub(super) built_in_flight: usize,
    /// Whether the head of `waiting` waits for the journal.
    pub(super) waits_for_room: bool,
    patience: Patience,
    /// Whether those who wait for `outstanding` were told that its outcome is unknown.
    has_given_up: bool,
    has_stopped: bool,
}

/// A batch that is proposed.
pub(super) struct Proposed {
    /// Counts the proposals of this appender.
    pub(super) number: u64,
    /// Who gets the outcome, with the number of their first record within the batch; nobody any more once they were told that it is
    /// unknown.
    pub(super) replies: Vec<(Reply, i64)>,
    pub(super) log_append_time: Option<TimestampMs>,
    /// Whether the broker built it.
    pub(super) is_built: bool,
    /// Given back when the batch is applied or has failed.
    pub(super) permits: Vec<OwnedSemaphorePermit>,
}

/// The batches that are proposed together.
pub(super) struct Round<R: Replica> {
    pub(super) writes: Vec<Write<R::Reservation>>,
    pub(super) proposed: Vec<Proposed>,
}

impl<R: Replica> Appender<R> {
    pub(crate) fn new(partition: Arc<Inner<R>>) -> Self {
        Self {
            partition,
            waiting: VecDeque::new(),
            outstanding: VecDeque::new(),
            in_flight: InFlight::default(),
            in_flight_term: Term::ZERO,
            duplicates: BTreeMap::new(),
            next_number: 0,
            built_in_flight: 0,
            waits_for_room: false,
            patience: Patience::new(),
            has_given_up: false,
            has_stopped: false,
        }
    }

    /// Runs until nothing waits and nothing is in flight.
    pub(crate) async fn run(mut self) {
        loop {
            self.partition.queue.drain_into(&mut self.waiting);
            self.propose_waiting().await;
            if self.outstanding.is_empty() && self.waiting.is_empty() {
                if self.partition.queue.try_stop() {
                    self.has_stopped = true;
                    return;
                }
                continue;
            }
            self.next_event().await;
        }
    }

    /// Waits for an outcome, a request, or room; not for ever, while this node does not serve the partition.
    async fn next_event(&mut self) {
        let is_awaited = !self.outstanding.is_empty() && (!self.has_given_up || !self.waiting.is_empty());
        let front = self.outstanding.front_mut().map(|(_, handle)| handle);
        let queue = &self.partition.queue;
        let replica = &self.partition.replica;
        tokio::select! {
            biased;
            Some(outcome) = async { Some(front?.await) } => self.complete_front(outcome),
            () = queue.arrived() => {}
            () = replica.room_changed(), if self.waits_for_room => {}
            () = sleep(NO_ROOM_RETRY), if self.waits_for_room => {}
            () = self.patience.until_look(), if is_awaited => {
                if let Some(error) = self.patience.look(self.partition.serving_status()) {
                    self.give_up(&error);
                }
            }
        }
    }

    /// Proposes as much of what waits as may be proposed now.
    async fn propose_waiting(&mut self) {
        self.waits_for_room = false;
        if self.waiting.is_empty() || !self.settle().await {
            return;
        }
        if let Err(error) = self.enter_term() {
            self.refuse_waiting(&error);
            return;
        }
        let mut round = Round { writes: Vec::new(), proposed: Vec::new() };
        while self.admit_next(&mut round).is_continue() {}
        if round.writes.is_empty() {
            return;
        }
        let handles = self.partition.replica.propose_many(Some(self.in_flight_term), round.writes).await;
        assert_eq!(handles.len(), round.proposed.len(), "every proposal has one handle");
        if self.outstanding.is_empty() {
            self.patience = Patience::new();
        }
        self.has_given_up = false;
        self.outstanding.extend(round.proposed.into_iter().zip(handles));
    }

    /// After a proposal failed, it may still be in the log, and applied later. Until all
    /// that was proposed is settled, the producer state that a batch would be checked against
    /// is not complete: a retry would be taken for new and written twice. A barrier settles
    /// it. Says whether proposing may go on.
    async fn settle(&mut self) -> bool {
        if !self.partition.queue.barrier_required() {
            return true;
        }
        if !self.outstanding.is_empty() {
            return false;
        }
        self.in_flight.clear();
        let outcome = match self.partition.serving_status() {
            Ok(_) => self.pass_barrier().await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {
                self.partition.queue.barrier_passed();
                true
            }
            Err(error) => {
                self.refuse_waiting(&error);
                false
            }
        }
    }

    /// Waits until a barrier is applied; not for ever, while this node does not serve the partition.
    async fn pass_barrier(&mut self) -> Result<(), PartitionError> {
        self.patience = Patience::new();
        let partition = Arc::clone(&self.partition);
        let mut barrier = pin!(partition.propose(PartitionCommand::Barrier));
        loop {
            tokio::select! {
                biased;
                outcome = &mut barrier => return outcome,
                () = self.patience.until_look() => {
                    if let Some(error) = self.patience.look(partition.serving_status()) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Tells those who wait for what is outstanding that its outcome is unknown. It stays outstanding itself, with its room and its
    /// place, until it is applied or has failed: nothing is proposed before that is settled.
    fn give_up(&mut self, error: &PartitionError) {
        let unknown = PartitionError::OutcomeUnknown { reason: error.to_string() };
        for (proposed, _) in &mut self.outstanding {
            let again = self.duplicates.remove(&proposed.number).unwrap_or_default();
            for reply in proposed.replies.drain(..).map(|(reply, _)| reply).chain(again) {
                respond(reply, Err(unknown.clone()));
            }
        }
        self.has_given_up = true;
        self.patience = Patience::new();
        self.partition.queue.require_barrier();
        // What was sent behind it must not overtake its retry.
        self.partition.queue.drain_into(&mut self.waiting);
        self.refuse_waiting(error);
    }

    /// Makes sure that this node leads, and that what is known to be in flight is of the
    /// leader's present term.
    fn enter_term(&mut self) -> Result<(), PartitionError> {
        let status = self.partition.serving_status()?;
        if status.term != self.in_flight_term {
            self.in_flight.clear();
            self.in_flight_term = status.term;
        }
        Ok(())
    }

    /// Answers everybody who waits with an error.
    fn refuse_waiting(&mut self, error: &PartitionError) {
        for request in self.waiting.drain(..) {
            respond(request.reply, Err(error.clone()));
        }
    }

    /// The number of the next proposal.
    pub(super) fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Answers those who wait for the oldest proposal.
    fn complete_front(&mut self, outcome: Result<Option<Offset>, PartitionError>) {
        let (proposed, _) = self.outstanding.pop_front().expect("an outcome belongs to the oldest proposal");
        let Proposed { number, replies, log_append_time, is_built, permits } = proposed;
        if is_built {
            self.built_in_flight -= 1;
        }
        self.patience = Patience::new();
        let again = self.duplicates.remove(&number).unwrap_or_default();
        let replies = replies.into_iter().chain(again.into_iter().map(|reply| (reply, 0)));
        match outcome {
            Ok(base_offset) => {
                self.in_flight.remove(number);
                let base_offset = base_offset.expect("a batch takes offsets");
                let log_start = self.partition.replica.watermarks().log_start();
                for (reply, record) in replies {
                    let appended =
                        Appended { base_offset: base_offset.plus(record), log_append_time, log_start };
                    respond(reply, Ok(appended));
                }
            }
            Err(error) => {
                self.partition.queue.require_barrier();
                for (reply, _) in replies {
                    respond(reply, Err(error.clone()));
                }
                // What was sent behind it must not overtake its retry.
                self.partition.queue.drain_into(&mut self.waiting);
                self.refuse_waiting(&error);
            }
        }
        drop(permits);
    }
}

impl<R: Replica> Drop for Appender<R> {
    /// A broken invariant, or the runtime's end, may stop it in the middle.
    fn drop(&mut self) {
        if !self.has_stopped {
            self.partition.queue.abandon();
        }
    }
}

/// A caller that went away has no use for its outcome.
pub(super) fn respond(reply: Reply, outcome: Result<Appended, PartitionError>) {
    let _ = reply.send(outcome);
}
