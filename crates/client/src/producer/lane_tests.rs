//! A lane, move by move.

use std::sync::Arc;
use std::time::Duration;

use highwater_proto::v1::ErrorDetail;
use highwater_records::BatchBuilder;
use highwater_types::{
    ErrorCode, Offset, PartitionIndex, ProducerEpoch, ProducerId, SystemRandom, TimestampMs,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{DETOUR_AFTER, Lane, QUICK_MOVES, Wanted};
use crate::cluster::Whereabouts;
use crate::producer::batch::{Batch, BatchNumber};
use crate::producer::partition_queue::{CorrelationId, Identity, PartitionQueue};
use crate::producer::record::ProducerRecord;
use highwater_types::Backoff;

const STALL: Duration = Duration::from_millis(500);

struct Bench {
    lane: Lane,
    now: Instant,
    next: u64,
}

impl Bench {
    fn new() -> Self {
        let identity = Identity { id: ProducerId(1), epoch: ProducerEpoch(0) };
        let wait = Duration::from_millis(100);
        let backoff = Backoff::new(wait, wait, Arc::new(SystemRandom));
        let queue = PartitionQueue::new(Some(identity), backoff.clone(), backoff);
        Self { lane: Lane::new(queue), now: Instant::now(), next: 0 }
    }

    fn push(&mut self) {
        let memory = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a permit");
        let deadline = self.now + Duration::from_secs(600);
        let mut batch = Batch::new(BatchNumber(self.next), self.now, deadline, BatchBuilder::new());
        batch
            .append(&ProducerRecord::value("a record"), TimestampMs(1), PartitionIndex(0), memory)
            .expect("fits");
        self.next += 1;
        self.lane.queue.push(batch);
    }

    fn turn(&mut self, whereabouts: &Whereabouts, failing_for: Option<Duration>) -> Wanted {
        self.lane.turn(whereabouts, failing_for, &"any:1".into(), STALL, self.now)
    }

    /// Sends what can be sent; the correlations and sequences of it.
    fn send(&mut self) -> Vec<(CorrelationId, i32)> {
        let mut sent = Vec::new();
        while let Some(to_send) = self.lane.queue.next_to_send(self.now, CorrelationId(self.next)) {
            sent.push((CorrelationId(self.next), to_send.sequence.0));
            self.next += 1;
            self.lane.on_sent(self.now);
        }
        sent
    }

    fn route(&self) -> Option<&str> {
        self.lane.route().map(|route| &**route)
    }
}

fn at(address: &str) -> Whereabouts {
    Whereabouts::At(address.into())
}

#[test]
fn what_is_in_flight_is_waited_for_until_it_stalls_and_then_sent_again_to_the_new_leader() {
    let mut bench = Bench::new();
    bench.push();
    bench.push();
    assert!(bench.turn(&at("a:1"), None).moved);
    let first = bench.send();
    assert_eq!(first.len(), 2);
    let wanted = bench.turn(&at("b:1"), None);
    assert_eq!((wanted.moved, wanted.wake), (false, Some(bench.now + STALL)));
    assert_eq!(bench.route(), Some("a:1"));
    bench.now += STALL;
    assert!(bench.turn(&at("b:1"), None).moved);
    assert_eq!(bench.route(), Some("b:1"));
    let again: Vec<_> = bench.send().into_iter().map(|(_, sequence)| sequence).collect();
    assert_eq!(again, [0, 1], "in order, with the same sequences");
    assert!(bench.lane.queue.on_ack(first[0].0, Offset(0)).is_none(), "nobody waits for the old answer");
}

#[test]
fn a_batch_without_an_answer_makes_the_lane_look_once_each_stall() {
    let mut bench = Bench::new();
    bench.push();
    bench.turn(&at("a:1"), None);
    bench.send();
    assert!(!bench.turn(&at("a:1"), None).look);
    bench.now += STALL;
    assert!(bench.turn(&at("a:1"), None).look);
    let wanted = bench.turn(&at("a:1"), None);
    assert_eq!((wanted.look, wanted.wake), (false, Some(bench.now + STALL)));
}

#[test]
fn without_a_leader_nothing_is_sent_until_a_detour_is_due() {
    let mut bench = Bench::new();
    bench.push();
    assert!(bench.turn(&Whereabouts::Nobody, None).look);
    assert_eq!(bench.route(), None);
    bench.now += DETOUR_AFTER;
    bench.turn(&Whereabouts::Nobody, None);
    assert_eq!(bench.route(), Some("any:1"));
    bench.turn(&at("a:1"), Some(Duration::ZERO));
    assert_eq!(bench.route(), Some("a:1"), "it may be back in a moment");
    bench.turn(&at("a:1"), Some(DETOUR_AFTER));
    assert_eq!(bench.route(), Some("any:1"));
}

#[test]
fn nodes_that_name_each_other_are_not_asked_as_fast_as_they_answer() {
    let mut bench = Bench::new();
    bench.push();
    for move_number in 1..=QUICK_MOVES + 2 {
        let address = if move_number % 2 == 0 { "a:1" } else { "b:1" };
        assert!(bench.turn(&at(address), None).moved);
        let sent = bench.send();
        assert_eq!(sent.is_empty(), move_number > QUICK_MOVES, "move {move_number}");
        for (correlation, _) in sent {
            let refused = ErrorDetail::new(ErrorCode::NotLeader, "the other one does");
            assert!(bench.lane.queue.on_error(correlation, refused, bench.now).is_none());
            bench.lane.on_answer(false, bench.now);
        }
    }
    bench.now += Duration::from_millis(100);
    assert_eq!(bench.send().len(), 1, "after a wait it goes on");
}
