//! Every verdict by name, and random histories against a naive model. A failing seed is
//! printed; `SEED=<n>` runs that one alone.

use std::collections::BTreeMap;

use highwater_records::{Attributes, BatchHeader, Compression};
use highwater_types::limits::{PRODUCER_EXPIRY_MS, PRODUCER_WINDOW_BATCHES};
use highwater_types::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use super::*;

fn header(producer: i64, epoch: i16, sequence: i32, count: i32) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(0),
        size_in_bytes: BatchHeader::LEN,
        partition_leader_epoch: LeaderEpoch(0),
        crc: 0,
        attributes: Attributes::new(Compression::None, false),
        base_timestamp: TimestampMs(0),
        max_timestamp: TimestampMs(0),
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: Sequence(sequence),
        record_count: count,
    }
}

fn at(offset: i64, time_ms: i64, batch: BatchHeader) -> BatchHeader {
    BatchHeader { base_offset: Offset(offset), max_timestamp: TimestampMs(time_ms), ..batch }
}

/// The state after these batches, one after the other.
fn after(batches: &[BatchHeader]) -> ProducerState {
    let mut state = ProducerState::default();
    let mut offset = 0;
    for batch in batches {
        state.apply(&at(offset, 0, *batch));
        offset += i64::from(batch.record_count);
    }
    state
}

fn verdict(state: &ProducerState, batch: BatchHeader) -> Result<Verdict, ErrorCode> {
    InFlight::default().check(state, &batch).map_err(|error| error.code())
}

fn duplicate(offset: i64) -> Result<Verdict, ErrorCode> {
    Ok(Verdict::Duplicate { base_offset: Offset(offset), timestamp: TimestampMs(0) })
}

const NEW: Result<Verdict, ErrorCode> = Ok(Verdict::New);
const UNKNOWN: Result<Verdict, ErrorCode> = Err(ErrorCode::UnknownProducerId);
const OUT_OF_ORDER: Result<Verdict, ErrorCode> = Err(ErrorCode::OutOfOrderSequence);
const FENCED: Result<Verdict, ErrorCode> = Err(ErrorCode::InvalidProducerEpoch);

#[test]
fn each_batch_continues_the_one_before_it() {
    let state = after(&[header(1, 0, 0, 3), header(2, 0, 0, 1), header(1, 0, 3, 2)]);
    for (batch, expected) in [
        (header(1, 0, 5, 1), NEW),
        (header(1, 0, 0, 3), duplicate(0)),
        (header(1, 0, 3, 2), duplicate(4)),
        (header(2, 0, 0, 1), duplicate(3)),
        (header(1, 0, 6, 1), OUT_OF_ORDER),
        (header(1, 0, 4, 1), OUT_OF_ORDER),
        (header(1, 0, 3, 1), OUT_OF_ORDER),
        (header(1, 0, 0, 5), OUT_OF_ORDER),
        (header(3, 0, 0, 1), NEW),
        (header(-1, -1, -1, 1), NEW),
    ] {
        assert_eq!(verdict(&state, batch), expected, "{batch:?}");
    }
}

#[test]
fn a_new_epoch_begins_at_zero_and_fences_the_old_one() {
    let state = after(&[header(1, 3, 0, 1), header(1, 3, 1, 1)]);
    assert_eq!(verdict(&state, header(1, 4, 0, 1)), NEW);
    assert_eq!(verdict(&state, header(1, 4, 2, 1)), OUT_OF_ORDER);
    assert_eq!(verdict(&state, header(1, 2, 0, 1)), FENCED);
    let state = after(&[header(1, 3, 0, 1), header(1, 4, 0, 1)]);
    assert_eq!(verdict(&state, header(1, 3, 0, 1)), FENCED);
    assert_eq!(verdict(&state, header(1, 4, 0, 1)), duplicate(1));
}

#[test]
fn a_batch_that_came_before_its_producers_first_is_refused_and_does_not_overtake_it() {
    let nothing = ProducerState::default();
    assert_eq!(verdict(&nothing, header(1, 2, 5, 5)), UNKNOWN);
    assert_eq!(verdict(&nothing, header(1, 2, 0, 5)), NEW);
    let state = after(&[header(1, 2, 0, 5)]);
    assert_eq!(verdict(&state, header(1, 2, 5, 5)), NEW);
}

#[test]
fn sequences_start_over_at_zero_after_the_largest() {
    let state = after(&[header(1, 0, i32::MAX - 1, 2)]);
    assert_eq!(verdict(&state, header(1, 0, 0, 1)), NEW);
    assert_eq!(verdict(&state, header(1, 0, i32::MAX, 1)), OUT_OF_ORDER);
    let state = after(&[header(1, 0, i32::MAX - 1, 4)]);
    assert_eq!(verdict(&state, header(1, 0, 2, 1)), NEW);
    assert_eq!(verdict(&state, header(1, 0, i32::MAX - 1, 4)), duplicate(0));
}

#[test]
fn a_duplicate_beyond_the_window_is_refused_and_not_written_twice() {
    let batches: Vec<_> = (0..=PRODUCER_WINDOW_BATCHES as i32).map(|it| header(1, 0, it, 1)).collect();
    let state = after(&batches);
    assert_eq!(verdict(&state, batches[0]), OUT_OF_ORDER);
    for (offset, batch) in (0..).zip(&batches).skip(1) {
        assert_eq!(verdict(&state, *batch), duplicate(offset));
    }
}

#[test]
fn a_negative_epoch_or_sequence_of_a_producer_is_refused() {
    for batch in [header(1, -1, 0, 1), header(1, 0, -1, 1)] {
        let refused = verdict(&ProducerState::default(), batch);
        assert_eq!(refused, Err(ErrorCode::InvalidRecord));
        assert_eq!(after(&[batch]).producer_count(), 0);
    }
}

#[test]
fn a_silent_producer_is_forgotten_by_the_logs_time_whoever_carries_it() {
    let mut state = ProducerState::default();
    state.apply(&at(0, 1000, header(1, 0, 0, 1)));
    state.apply(&at(1, 1000 + PRODUCER_EXPIRY_MS, header(-1, -1, -1, 1)));
    assert_eq!(state.producer_count(), 1);
    state.apply(&at(2, 1001 + PRODUCER_EXPIRY_MS, header(-1, -1, -1, 1)));
    assert_eq!(state.producer_count(), 0);
    assert_eq!(verdict(&state, header(1, 0, 9, 1)), UNKNOWN);
    assert_eq!(verdict(&state, header(1, 1, 0, 1)), NEW);
}

#[test]
fn a_producer_of_old_timestamps_is_not_silent_while_it_writes() {
    let mut state = ProducerState::default();
    state.apply(&at(0, 10 * PRODUCER_EXPIRY_MS, header(-1, -1, -1, 1)));
    state.apply(&at(1, 5, header(1, 0, 0, 1)));
    state.apply(&at(2, 10 * PRODUCER_EXPIRY_MS + 1, header(-1, -1, -1, 1)));
    assert_eq!(state.producer_count(), 1);
}

#[test]
fn of_too_many_producers_the_one_silent_longest_goes() {
    let mut state = ProducerState::with_producers_max(3);
    for (offset, producer) in (0..).zip([1, 2, 3, 1, 4]) {
        let sequence = i32::from(offset == 3);
        state.apply(&at(offset, 0, header(producer, 0, sequence, 1)));
    }
    assert_eq!(state.producer_count(), 3);
    assert_eq!(verdict(&state, header(2, 0, 0, 1)), NEW);
    assert_eq!(verdict(&state, header(1, 0, 1, 1)), duplicate(3));
}

#[test]
fn a_batch_in_flight_is_found_and_the_next_one_follows_it() {
    let state = after(&[header(1, 0, 0, 1)]);
    let mut in_flight = InFlight::default();
    in_flight.insert(&header(1, 0, 1, 2), 10);
    in_flight.insert(&header(-1, -1, -1, 2), 11);
    in_flight.insert(&header(1, 0, 3, 1), 12);
    assert_eq!(in_flight.len(), 2);
    let check = |batch| in_flight.check(&state, &batch).map_err(|error| error.code());
    assert_eq!(check(header(1, 0, 1, 2)), Ok(Verdict::InFlight { number: 10 }));
    assert_eq!(check(header(1, 0, 3, 1)), Ok(Verdict::InFlight { number: 12 }));
    assert_eq!(check(header(1, 0, 0, 1)), duplicate(0));
    assert_eq!(check(header(1, 0, 4, 1)), NEW);
    assert_eq!(check(header(1, 0, 1, 1)), OUT_OF_ORDER);
    assert_eq!(check(header(2, 0, 0, 1)), NEW);
    assert_eq!(check(header(2, 0, 4, 1)), UNKNOWN);
}

#[test]
fn an_epoch_in_flight_fences_the_applied_one() {
    let state = after(&[header(1, 0, 0, 1)]);
    let mut in_flight = InFlight::default();
    in_flight.insert(&header(1, 1, 0, 1), 1);
    let check = |batch| in_flight.check(&state, &batch).map_err(|error| error.code());
    assert_eq!(check(header(1, 0, 1, 1)), FENCED);
    assert_eq!(check(header(1, 1, 1, 1)), NEW);
}

#[test]
fn a_batch_is_known_all_the_way_from_flight_to_the_log() {
    let mut state = ProducerState::default();
    let mut in_flight = InFlight::default();
    let batch = header(1, 0, 0, 1);
    in_flight.insert(&batch, 1);
    state.apply(&at(0, 0, batch));
    assert_eq!(in_flight.check(&state, &batch), Ok(Verdict::InFlight { number: 1 }));
    in_flight.remove(1);
    assert!(in_flight.is_empty());
    assert_eq!(verdict(&state, batch), duplicate(0));
    in_flight.remove(1);
}

#[test]
fn after_a_lost_leadership_only_the_log_counts() {
    let state = after(&[header(1, 0, 0, 1)]);
    let mut in_flight = InFlight::default();
    in_flight.insert(&header(1, 0, 1, 1), 1);
    in_flight.insert(&header(1, 0, 2, 1), 2);
    in_flight.clear();
    assert!(in_flight.is_empty());
    assert_eq!(in_flight.check(&state, &header(1, 0, 1, 1)), Ok(Verdict::New));
    assert!(in_flight.check(&state, &header(1, 0, 2, 1)).is_err());
    in_flight.remove(2);
}

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn seeds() -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..60).collect(),
    }
}

/// A leader under producers that repeat, skip and bump epochs; it loses its place at times.
struct Leader {
    random: Seeded,
    log: Vec<BatchHeader>,
    state: ProducerState,
    in_flight: InFlight,
    /// What is proposed and not settled, oldest first.
    proposed: Vec<(u64, BatchHeader)>,
    next_number: u64,
    /// What producers sent, to be sent again.
    sent: Vec<BatchHeader>,
    producers_max: usize,
}

impl Leader {
    fn new(seed: u64, producers_max: usize) -> Self {
        Self {
            random: Seeded(seed),
            log: Vec::new(),
            state: ProducerState::with_producers_max(producers_max),
            in_flight: InFlight::default(),
            proposed: Vec::new(),
            next_number: 0,
            sent: Vec::new(),
            producers_max,
        }
    }

    fn draw(&mut self) -> BatchHeader {
        if !self.sent.is_empty() && self.random.below(3) == 0 {
            let recent = self.random.below(self.sent.len().min(12) as u64) as usize;
            return self.sent[self.sent.len() - 1 - recent];
        }
        let producer = self.random.below(6) as i64 - 1;
        let count = self.random.below(3) as i32 + 1;
        if producer < 0 {
            return header(-1, -1, -1, count);
        }
        let last = self.sent.iter().rev().find(|it| it.producer_id.0 == producer);
        let (epoch, next) =
            last.map_or((0, 0), |last| (last.producer_epoch.0, last.base_sequence.plus(last.record_count).0));
        match self.random.below(12) {
            0 => header(producer, epoch + 1, 0, count),
            1 => header(producer, epoch, next.saturating_add(1), count),
            2 => header(producer, epoch, i32::MAX - 1, count),
            _ => header(producer, epoch, next, count),
        }
    }

    fn step(&mut self) {
        match self.random.below(10) {
            0 => self.lose_leadership(),
            1..=4 => self.settle_oldest(),
            _ => {
                let batch = self.draw();
                if batch.producer_id.is_some() {
                    self.sent.push(batch);
                }
                if self.in_flight.check(&self.state, &batch) == Ok(Verdict::New) {
                    self.in_flight.insert(&batch, self.next_number);
                    self.proposed.push((self.next_number, batch));
                    self.next_number += 1;
                }
            }
        }
    }

    fn settle_oldest(&mut self) {
        if self.proposed.is_empty() {
            return;
        }
        let (number, batch) = self.proposed.remove(0);
        self.commit(batch);
        self.in_flight.remove(number);
    }

    fn commit(&mut self, batch: BatchHeader) {
        let offset = self.log.last().map_or(0, |last| last.next_offset().0);
        let now = self.log.len() as i64 * (PRODUCER_EXPIRY_MS / 40);
        let skew = self.random.below(1_000_000) as i64;
        let batch = at(offset, now + skew, batch);
        self.log.push(batch);
        self.state.apply(&batch);
    }

    /// Some of what is proposed, a prefix, is committed all the same; the rest is gone.
    fn lose_leadership(&mut self) {
        let committed = self.random.below(self.proposed.len() as u64 + 1) as usize;
        for (_, batch) in std::mem::take(&mut self.proposed).into_iter().take(committed) {
            self.commit(batch);
        }
        self.in_flight.clear();
    }
}

fn replay(log: &[BatchHeader], producers_max: usize) -> ProducerState {
    let mut state = ProducerState::with_producers_max(producers_max);
    log.iter().for_each(|batch| state.apply(batch));
    state
}

#[test]
fn any_restart_from_the_log_or_a_snapshot_gives_the_same_verdicts() {
    for seed in seeds() {
        println!("SEED={seed}");
        let mut leader = Leader::new(seed, 4);
        for _ in 0..300 {
            leader.step();
        }
        let max = leader.producers_max;
        assert_eq!(replay(&leader.log, max), leader.state);
        for cut in 0..=leader.log.len() {
            let (before, rest) = leader.log.split_at(cut);
            let first = replay(before, max);
            let snapshot = first.snapshot();
            let mut second = ProducerState::restore_with(&snapshot, max).expect("its own snapshot");
            assert_eq!((&second, second.snapshot()), (&first, snapshot), "cut at {cut}");
            rest.iter().for_each(|batch| second.apply(batch));
            assert_eq!(second, leader.state, "cut at {cut}");
        }
        let restored = ProducerState::restore_with(&leader.state.snapshot(), max);
        let restored = restored.expect("its own snapshot");
        for batch in &leader.sent {
            assert_eq!(verdict(&restored, *batch), verdict(&leader.state, *batch));
        }
    }
}

#[test]
fn no_sequence_of_a_remembered_producer_is_in_the_log_twice_or_out_of_order() {
    for seed in seeds() {
        println!("SEED={seed}");
        let mut leader = Leader::new(seed, 100);
        for _ in 0..300 {
            leader.step();
        }
        // By producer: the epoch and the next sequence, and the log's time at its last batch.
        let mut model: BTreeMap<i64, (i16, i32, i64)> = BTreeMap::new();
        let mut log_time = 0;
        for batch in leader.log {
            log_time = log_time.max(batch.max_timestamp.0);
            model.retain(|_, (_, _, seen)| log_time - *seen <= PRODUCER_EXPIRY_MS * 9 / 10);
            if !batch.producer_id.is_some() {
                continue;
            }
            let (epoch, first) = (batch.producer_epoch.0, batch.base_sequence.0);
            if let Some((known_epoch, next, _)) = model.get(&batch.producer_id.0) {
                let expected = if epoch == *known_epoch { *next } else { 0 };
                assert!(epoch >= *known_epoch && first == expected, "{batch:?}");
            }
            let next = batch.base_sequence.plus(batch.record_count).0;
            model.insert(batch.producer_id.0, (epoch, next, log_time));
        }
    }
}

#[test]
fn damaged_snapshots_are_refused_or_read_as_a_possible_state_without_a_panic() {
    let mut leader = Leader::new(3, 10);
    for _ in 0..200 {
        leader.step();
    }
    let snapshot = leader.state.snapshot().to_vec();
    for position in 0..snapshot.len() {
        for bit in 0..8 {
            let mut damaged = snapshot.clone();
            damaged[position] ^= 1 << bit;
            for bytes in [&damaged[..], &snapshot[..position]] {
                if let Ok(mut state) = ProducerState::restore(bytes) {
                    let again = ProducerState::restore(&state.snapshot());
                    assert_eq!(again.as_ref(), Ok(&state));
                    state.apply(&at(1 << 40, i64::MAX, header(1, 0, 0, 1)));
                }
            }
        }
    }
    assert!(ProducerState::restore(&[]).is_err());
    let newer = ProducerState::restore(&[0x08, 0x02]);
    assert_eq!(newer, Err(ProducerSnapshotError::UnknownVersion { version: 2, newest: 1 }));
}
