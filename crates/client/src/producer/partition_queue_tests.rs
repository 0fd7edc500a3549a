//! The queue's decisions, one by one: what is sent again, under which sequence, and what is given up.

use std::sync::Arc;
use std::time::Duration;

use highwater_records::BatchBuilder;
use highwater_types::{SystemRandom, TimestampMs};

use super::*;

const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// A queue whose time stands still unless a test moves it.
struct Bench {
    queue: PartitionQueue,
    now: Instant,
    next_number: u64,
    next_correlation: u64,
}

/// What was put on the wire: the batch's number, the epoch and the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    correlation: CorrelationId,
    number: u64,
    epoch: i16,
    sequence: i32,
}

impl Bench {
    fn new(identity: Identity) -> Self {
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1), Arc::new(SystemRandom));
        let queue = PartitionQueue::new(Some(identity), backoff.clone(), backoff);
        Self { queue, now: Instant::now(), next_number: 0, next_correlation: 100 }
    }

    fn idempotent() -> Self {
        Self::new(Identity { id: ProducerId(7), epoch: ProducerEpoch(0) })
    }

    /// Pushes batches of two records each.
    fn push(&mut self, batches: usize) {
        for _ in 0..batches {
            let mut records = BatchBuilder::new();
            for _ in 0..2 {
                records.append(None, Some(b"v"), &[], TimestampMs(1)).expect("a small record");
            }
            let number = BatchNumber(self.next_number);
            self.next_number += 1;
            self.queue.push(Batch::new(number, self.now, self.now + DELIVERY_TIMEOUT, records));
        }
    }

    /// Sends all that may be sent.
    fn send(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        loop {
            let correlation = CorrelationId(self.next_correlation);
            let Some(to_send) = self.queue.next_to_send(self.now, correlation) else { return sent };
            self.next_correlation += 1;
            let (number, epoch, sequence) =
                (to_send.batch.number.0, to_send.identity.epoch.0, to_send.sequence.0);
            sent.push(Sent { correlation, number, epoch, sequence });
        }
    }

    /// Lets the longest backoff pass, then sends.
    fn send_later(&mut self) -> Vec<Sent> {
        self.now += Duration::from_secs(2);
        self.send()
    }

    fn ack(&mut self, sent: Sent) {
        let (batch, outcome) = self.queue.on_ack(sent.correlation, Offset(0)).expect("it was in flight");
        assert_eq!(batch.number.0, sent.number);
        assert!(outcome.is_ok());
    }

    fn refuse(&mut self, sent: Sent, code: ErrorCode) -> Option<ClientError> {
        let finished = self.queue.on_error(sent.correlation, ErrorDetail::new(code, "test"), self.now);
        finished.map(|(batch, outcome)| {
            assert_eq!(batch.number.0, sent.number);
            outcome.expect_err("a refusal is no success")
        })
    }

    fn lose_connection(&mut self) {
        let reason = "reset".to_owned();
        self.queue.on_connection_lost(&ClientError::Connection { server: "a:1".to_owned(), reason });
    }
}

fn places(sent: &[Sent]) -> Vec<(u64, i16, i32)> {
    sent.iter().map(|sent| (sent.number, sent.epoch, sent.sequence)).collect()
}

#[test]
fn no_more_batches_are_in_flight_than_the_partition_remembers() {
    let mut bench = Bench::idempotent();
    bench.push(8);
    let sent = bench.send();
    assert_eq!(places(&sent), [(0, 0, 0), (1, 0, 2), (2, 0, 4), (3, 0, 6), (4, 0, 8)]);
    bench.ack(sent[0]);
    assert_eq!(places(&bench.send()), [(5, 0, 10)]);
}

#[test]
fn a_lost_connection_sends_everything_again_in_order_with_the_same_sequences() {
    let mut bench = Bench::idempotent();
    bench.push(3);
    let first = bench.send();
    bench.ack(first[0]);
    bench.lose_connection();
    assert_eq!(places(&bench.send()), [(1, 0, 2), (2, 0, 4)]);
}

#[test]
fn a_retriable_error_drains_and_sends_again_in_order_with_the_same_sequences() {
    let mut bench = Bench::idempotent();
    bench.push(3);
    let first = bench.send();
    assert_eq!(bench.refuse(first[0], ErrorCode::NoSpace), None);
    assert!(bench.send_later().is_empty(), "two are still in flight");
    assert_eq!(bench.refuse(first[1], ErrorCode::OutOfOrderSequence), None);
    assert_eq!(bench.refuse(first[2], ErrorCode::OutOfOrderSequence), None);
    assert_eq!(places(&bench.send_later()), [(0, 0, 0), (1, 0, 2), (2, 0, 4)]);
}

#[test]
fn a_definite_failure_moves_what_follows_to_a_new_epoch() {
    let mut bench = Bench::idempotent();
    bench.push(4);
    let first = bench.send();
    bench.ack(first[0]);
    let error = bench.refuse(first[1], ErrorCode::MessageTooLarge).expect("final");
    assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge));
    assert!(bench.send().is_empty(), "what follows is still in flight");
    bench.refuse(first[2], ErrorCode::OutOfOrderSequence);
    bench.refuse(first[3], ErrorCode::OutOfOrderSequence);
    assert_eq!(places(&bench.send_later()), [(2, 1, 0), (3, 1, 2)]);
}

#[test]
fn a_definite_failure_behind_a_retry_lets_the_older_epoch_finish_first() {
    let mut bench = Bench::idempotent();
    bench.push(3);
    let first = bench.send();
    assert_eq!(bench.refuse(first[0], ErrorCode::Throttled), None);
    assert!(bench.refuse(first[1], ErrorCode::InvalidTimestamp).is_some());
    assert_eq!(bench.refuse(first[2], ErrorCode::OutOfOrderSequence), None);
    let again = bench.send_later();
    assert_eq!(places(&again), [(0, 0, 0)], "epoch 1 would fence it");
    bench.ack(again[0]);
    assert_eq!(places(&bench.send()), [(2, 1, 0)]);
}

#[test]
fn a_batch_that_may_have_been_appended_never_gets_another_sequence() {
    let mut bench = Bench::idempotent();
    bench.push(2);
    bench.send();
    bench.lose_connection();
    let again = bench.send();
    let error = bench.refuse(again[0], ErrorCode::UnknownProducerId).expect("cannot be decided");
    assert!(matches!(error, ClientError::OutcomeUnknown(_)), "{error}");
    // The second is as uncertain as the first, and is answered by itself.
    bench.ack(again[1]);
    assert!(bench.queue.is_empty());
}

#[test]
fn a_batch_that_may_have_been_appended_and_is_refused_when_sent_again_is_no_definite_failure() {
    for mut bench in [Bench::idempotent(), Bench::new(Identity::NONE)] {
        bench.push(1);
        bench.send();
        bench.lose_connection();
        let again = bench.send();
        // The clock went on meanwhile, or the topic's settings changed: that tells nothing of the first time.
        let error = bench.refuse(again[0], ErrorCode::InvalidTimestamp).expect("no retry helps");
        assert!(matches!(error, ClientError::OutcomeUnknown(_)), "{error}");
        assert_eq!(error.code(), Some(ErrorCode::InvalidTimestamp));
    }
}

#[test]
fn a_partition_that_forgot_the_producer_gets_what_it_never_saw_under_a_new_epoch() {
    let mut bench = Bench::idempotent();
    bench.push(1);
    let first = bench.send();
    bench.ack(first[0]);
    bench.push(1);
    let second = bench.send();
    assert_eq!(places(&second), [(1, 0, 2)]);
    assert_eq!(bench.refuse(second[0], ErrorCode::UnknownProducerId), None);
    assert_eq!(places(&bench.send_later()), [(1, 1, 0)]);
}

#[test]
fn a_timeout_is_unknown_and_is_sent_again_within_the_window() {
    let mut bench = Bench::idempotent();
    bench.push(7);
    let first = bench.send();
    assert_eq!(bench.refuse(first[0], ErrorCode::Timeout), None);
    for sent in &first[1..] {
        bench.ack(*sent);
    }
    let again = bench.send_later();
    assert_eq!(places(&again), [(0, 0, 0)], "five more would make the partition forget it");
    bench.ack(again[0]);
    assert_eq!(places(&bench.send()), [(5, 0, 10), (6, 0, 12)]);
}

#[test]
fn what_is_not_delivered_in_time_says_whether_it_may_have_been_appended() {
    let mut bench = Bench::idempotent();
    bench.push(6);
    bench.send();
    bench.now += DELIVERY_TIMEOUT;
    let unknown: Vec<bool> = bench
        .queue
        .expire(bench.now)
        .into_iter()
        .map(|(_, outcome)| match outcome {
            Err(ClientError::DeliveryTimeout { outcome_unknown, .. }) => outcome_unknown,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(unknown, [true, true, true, true, true, false]);
}

#[test]
fn the_last_epoch_of_an_id_is_followed_by_a_new_id() {
    let mut bench = Bench::new(Identity { id: ProducerId(7), epoch: ProducerEpoch(i16::MAX) });
    bench.push(2);
    let first = bench.send();
    assert!(bench.refuse(first[0], ErrorCode::InvalidRecord).is_some());
    bench.refuse(first[1], ErrorCode::UnknownProducerId);
    assert!(bench.send_later().is_empty());
    assert!(bench.queue.needs_identity());
    bench.queue.set_identity(Identity { id: ProducerId(8), epoch: ProducerEpoch(0) });
    assert_eq!(places(&bench.send()), [(1, 0, 0)]);
}

#[test]
fn without_idempotence_one_batch_at_a_time_keeps_the_order() {
    let mut bench = Bench::new(Identity::NONE);
    bench.push(2);
    let first = bench.send();
    assert_eq!(places(&first), [(0, -1, -1)]);
    bench.lose_connection();
    let again = bench.send();
    assert_eq!(places(&again), [(0, -1, -1)]);
    bench.ack(again[0]);
    assert_eq!(places(&bench.send()), [(1, -1, -1)]);
}

#[test]
fn a_queue_that_is_held_up_takes_a_batch_once_it_is_empty() {
    let mut bench = Bench::idempotent();
    bench.push(1);
    let first = bench.send();
    assert_eq!(bench.refuse(first[0], ErrorCode::NoSpace), None);
    assert!(!bench.queue.has_room(), "it waits for its retry");
    bench.now += DELIVERY_TIMEOUT;
    assert_eq!(bench.queue.expire(bench.now).len(), 1);
    assert!(bench.queue.has_room());
    bench.push(1);
    assert_eq!(places(&bench.send()), [(1, 0, 2)]);
}
