//! The batches of one partition that are sent and not acknowledged, or next to be sent. A pure state machine: it
//! does no IO and reads no clock.
//!
//! Invariants:
//! - batches are sent in order: what is in flight comes before what waits;
//! - batches of two producer epochs are never in flight together;
//! - an idempotent batch is at most [`PRODUCER_WINDOW_BATCHES`] − 1 batches ahead of the oldest that is not
//!   acknowledged, so that the partition still remembers that one if its acknowledgement was lost;
//! - a batch gets a new sequence only when it is certain that it was never appended under its old one.

use std::collections::VecDeque;

use highwater_proto::v1::ErrorDetail;
use highwater_types::limits::PRODUCER_WINDOW_BATCHES;
use highwater_types::{ErrorCode, Offset, ProducerEpoch, ProducerId, Sequence};
use tokio::time::Instant;

use crate::error::ClientError;
use crate::producer::batch::{Batch, BatchNumber};
use highwater_types::Backoff;

/// Who a producer is to one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
}

impl Identity {
    /// What a producer without idempotence has.
    pub(crate) const NONE: Self = Self { id: ProducerId::NONE, epoch: ProducerEpoch(-1) };
}

/// Ties an answer to what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CorrelationId(pub(crate) u64);

/// The place of a batch in the sequence of its producer epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    identity: Identity,
    sequence: Sequence,
    /// Counts the batches of the partition, over all epochs.
    ordinal: u64,
}

#[derive(Debug)]
struct Queued {
    batch: Batch,
    /// Set when the batch is sent for the first time.
    place: Option<Place>,
    in_flight: Option<CorrelationId>,
    /// Whether some send of it never got a definite answer.
    unknown: bool,
}

/// What to put on the wire.
#[derive(Debug)]
pub(crate) struct ToSend<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) identity: Identity,
    pub(crate) sequence: Sequence,
}

/// A batch that is done, and how it ended.
pub(crate) type Finished = (Batch, Result<Offset, ClientError>);

/// See the module.
pub(crate) struct PartitionQueue {
    batches: VecDeque<Queued>,
    /// Absent while a producer id is needed from the cluster.
    identity: Option<Identity>,
    /// The producer id whose epochs are used up.
    spent: Option<ProducerId>,
    next_sequence: Sequence,
    next_ordinal: u64,
    /// Nothing more is sent until all that is in flight is answered.
    draining: bool,
    /// Once drained, batches with this ordinal and above move to a new epoch: it is certain that none of them was
    /// appended under its old place, or ever will be.
    renumber_from: Option<u64>,
    retry_at: Option<Instant>,
    backoff: Backoff,
    /// For refusals that end when the partition has a leader again.
    leader_backoff: Backoff,
    last_error: Option<ClientError>,
}

impl PartitionQueue {
    pub(crate) fn new(identity: Option<Identity>, backoff: Backoff, leader_backoff: Backoff) -> Self {
        Self {
            batches: VecDeque::new(),
            identity,
            spent: None,
            next_sequence: Sequence(0),
            next_ordinal: 0,
            draining: false,
            renumber_from: None,
            retry_at: None,
            backoff,
            leader_backoff,
            last_error: None,
        }
    }

    pub(crate) fn push(&mut self, batch: Batch) {
        self.batches.push_back(Queued { batch, place: None, in_flight: None, unknown: false });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether a batch that is pushed now could be sent at once, for all that this partition knows.
    pub(crate) fn has_room(&self) -> bool {
        // An empty queue always takes one, so that there is a reason to connect.
        let is_held_up = self.draining || self.retry_at.is_some();
        self.batches.is_empty() || (self.batches.len() < self.window() && !is_held_up)
    }

    pub(crate) fn has_in_flight(&self) -> bool {
        self.batches.iter().any(|queued| queued.in_flight.is_some())
    }

    /// What the last refusal complained about is over, for all that is known: no need to wait for the next attempt.
    pub(crate) fn retry_now(&mut self) {
        self.retry_at = None;
    }

    pub(crate) fn needs_identity(&self) -> bool {
        self.identity.is_none() && !self.batches.is_empty()
    }

    /// Whether this producer id is new to the partition.
    pub(crate) fn takes_identity(&self, identity: Identity) -> bool {
        self.spent != Some(identity.id)
    }

    /// A producer id that is new to the partition.
    pub(crate) fn set_identity(&mut self, identity: Identity) {
        self.identity = Some(identity);
        self.next_sequence = Sequence(0);
    }

    /// When to look at this partition again though nothing happened.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let deadline = self.batches.front().map(|front| front.batch.deadline);
        self.retry_at.into_iter().chain(deadline).min()
    }

    /// The next batch, which is in flight under `correlation` from now on.
    pub(crate) fn next_to_send(&mut self, now: Instant, correlation: CorrelationId) -> Option<ToSend<'_>> {
        self.finish_draining();
        if self.draining || self.retry_at.is_some_and(|retry_at| now < retry_at) {
            return None;
        }
        self.retry_at = None;
        let index = self.batches.iter().position(|queued| queued.in_flight.is_none())?;
        let place = match self.batches[index].place {
            Some(place) => place,
            None => self.next_place()?,
        };
        let front = self.batches.front().and_then(|front| front.place).unwrap_or(place);
        let ahead = usize::try_from(place.ordinal - front.ordinal).unwrap_or(usize::MAX);
        if front.identity != place.identity || ahead >= self.window() {
            return None;
        }
        let queued = &mut self.batches[index];
        if queued.place.is_none() {
            self.next_sequence = place.sequence.plus(queued.batch.record_count());
            self.next_ordinal = place.ordinal + 1;
        }
        queued.place = Some(place);
        queued.in_flight = Some(correlation);
        Some(ToSend { batch: &queued.batch, identity: place.identity, sequence: place.sequence })
    }

    /// The batch was appended.
    pub(crate) fn on_ack(&mut self, correlation: CorrelationId, base_offset: Offset) -> Option<Finished> {
        let index = self.position(correlation)?;
        self.backoff.reset();
        self.leader_backoff.reset();
        self.last_error = None;
        let queued = self.batches.remove(index)?;
        Some((queued.batch, Ok(base_offset)))
    }

    /// The batch was refused. Returns it if that is final.
    pub(crate) fn on_error(
        &mut self,
        correlation: CorrelationId,
        detail: ErrorDetail,
        now: Instant,
    ) -> Option<Finished> {
        let index = self.position(correlation)?;
        let idempotent = self.batches[index].place.is_some_and(|place| place.identity.id.is_some());
        let code = detail.error_code();
        self.batches[index].in_flight = None;
        self.draining = true;
        if idempotent && is_gap(code) {
            return self.on_gap(index, detail, now);
        }
        if !detail.retriable {
            let queued = self.batches.remove(index)?;
            // An earlier send may have worked all the same: this answer is about the last one only.
            if queued.unknown {
                return Some((queued.batch, Err(ClientError::OutcomeUnknown(Box::new(detail)))));
            }
            // What follows it in the sequence can never be appended: it would leave a gap.
            if let Some(place) = queued.place.filter(|_| idempotent) {
                self.renumber(place.ordinal);
            }
            return Some((queued.batch, Err(ClientError::from(detail))));
        }
        if code.is_none_or(|code| code == ErrorCode::Timeout) {
            self.batches[index].unknown = true;
        }
        self.retry_later(now, ClientError::from(detail));
        None
    }

    /// The batch was not sent after all, because it cannot be built. Nothing behind it was sent either.
    pub(crate) fn on_unsendable(&mut self, correlation: CorrelationId, error: ClientError) -> Option<Finished> {
        let index = self.position(correlation)?;
        let queued = self.batches.remove(index)?;
        if let Some(place) = queued.place.filter(|place| place.identity.id.is_some()) {
            self.draining = true;
            self.renumber(place.ordinal);
        }
        Some((queued.batch, Err(error)))
    }

    /// The connection broke, or its answers are waited for no longer: what is in flight may or may not be appended.
    pub(crate) fn on_connection_lost(&mut self, error: &ClientError) {
        for queued in &mut self.batches {
            if queued.in_flight.take().is_some() {
                queued.unknown = true;
                self.last_error = Some(error.clone());
            }
        }
    }

    /// Why nothing can be sent now, for the error of what expires meanwhile.
    pub(crate) fn note_error(&mut self, error: &ClientError) {
        self.last_error = Some(error.clone());
    }

    /// Takes out what was not delivered in time.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Finished> {
        let mut finished = Vec::new();
        while self.batches.front().is_some_and(|front| front.batch.deadline <= now) {
            let Some(queued) = self.batches.pop_front() else { break };
            let error = ClientError::DeliveryTimeout {
                timeout_ms: millis(queued.batch.deadline - queued.batch.created),
                outcome_unknown: queued.unknown || queued.in_flight.is_some(),
                last_error: self.last_error.clone().map(Box::new),
            };
            finished.push((queued.batch, Err(error)));
        }
        finished
    }

    /// Takes out everything, because of an error that no retry helps.
    pub(crate) fn fail_all(&mut self, error: &ClientError) -> Vec<Finished> {
        self.batches.drain(..).map(|queued| (queued.batch, Err(error.clone()))).collect()
    }

    /// The oldest batch.
    pub(crate) fn oldest(&self) -> Option<BatchNumber> {
        self.batches.front().map(|front| front.batch.number)
    }

    /// The partition misses batches before this one, or does not know the producer any more.
    fn on_gap(&mut self, index: usize, detail: ErrorDetail, now: Instant) -> Option<Finished> {
        // What is not the oldest was refused because of an older one, whose own answer decides.
        if index > 0 {
            return None;
        }
        if self.batches[0].unknown {
            let queued = self.batches.pop_front()?;
            return Some((queued.batch, Err(ClientError::OutcomeUnknown(Box::new(detail)))));
        }
        // Never appended, and so nothing behind it was appended either.
        self.renumber(0);
        self.retry_later(now, ClientError::from(detail));
        None
    }

    fn finish_draining(&mut self) {
        if !self.draining || self.has_in_flight() {
            return;
        }
        self.draining = false;
        if let Some(from) = self.renumber_from.take() {
            for queued in &mut self.batches {
                if queued.place.is_some_and(|place| place.ordinal >= from) {
                    queued.place = None;
                    queued.unknown = false;
                }
            }
            self.next_sequence = Sequence(0);
            self.spent = self.identity.map(|identity| identity.id);
            self.identity = self.identity.and_then(next_epoch);
        }
    }

    fn renumber(&mut self, from: u64) {
        self.renumber_from = Some(self.renumber_from.map_or(from, |earlier| earlier.min(from)));
    }

    /// The place of the first batch that has none.
    fn next_place(&self) -> Option<Place> {
        let identity = self.identity?;
        let sequence = if identity.id.is_some() { self.next_sequence } else { Sequence::NONE };
        Some(Place { identity, sequence, ordinal: self.next_ordinal })
    }

    fn retry_later(&mut self, now: Instant, error: ClientError) {
        let backoff = if waits_for_leader(error.code()) { &mut self.leader_backoff } else { &mut self.backoff };
        if self.retry_at.is_none() {
            self.retry_at = Some(now + backoff.next_wait());
        }
        self.last_error = Some(error);
    }

    fn position(&self, correlation: CorrelationId) -> Option<usize> {
        self.batches.iter().position(|queued| queued.in_flight == Some(correlation))
    }

    /// Without sequences only one batch at a time keeps its order through a retry.
    fn window(&self) -> usize {
        if self.identity == Some(Identity::NONE) { 1 } else { PRODUCER_WINDOW_BATCHES }
    }
}

/// Whether the partition refused a batch for its place in the sequence.
fn is_gap(code: Option<ErrorCode>) -> bool {
    matches!(
        code,
        Some(ErrorCode::OutOfOrderSequence | ErrorCode::UnknownProducerId | ErrorCode::InvalidProducerEpoch)
    )
}

/// Whether a refusal is over as soon as there is a leader that serves.
fn waits_for_leader(code: Option<ErrorCode>) -> bool {
    matches!(
        code,
        Some(
            ErrorCode::NotLeader
                | ErrorCode::LeaderNotAvailable
                | ErrorCode::OffsetNotAvailable
                | ErrorCode::Unavailable
        )
    )
}

/// The next epoch, which fences what may still arrive of this one. `None` after the last: a new id is needed.
fn next_epoch(identity: Identity) -> Option<Identity> {
    let epoch = ProducerEpoch(identity.epoch.0.checked_add(1)?);
    Some(Identity { epoch, ..identity })
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "partition_queue_tests.rs"]
mod tests;
