//! The leader's overlay: batches that are proposed and not applied yet.
//!
//! It starts empty, and an empty overlay over the applied state is the truth only while
//! nothing earlier can still be applied. So whoever uses it clears it when leadership ends,
//! and admits no producer before an entry of its own term is applied. After a proposal whose
//! outcome is not known it admits none either until all that was proposed is settled: a
//! retry could otherwise overtake its own producer's later batch.

use std::collections::{BTreeMap, VecDeque};

use highwater_records::BatchHeader;
use highwater_types::{Offset, ProducerId, TimestampMs};

use super::error::SequenceError;
use super::sequenced::{Position, Sequenced};
use super::state::ProducerState;

/// What a batch is to the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It comes next: propose it.
    New,
    /// It is in the log.
    Duplicate {
        /// Where: the offset of its first record.
        base_offset: Offset,
        /// The largest timestamp that it has there.
        timestamp: TimestampMs,
    },
    /// It is proposed: wait for the original's outcome.
    InFlight {
        /// The number that the original was inserted under.
        number: u64,
    },
}

/// What is proposed and not applied, by producer.
#[derive(Debug, Default)]
pub struct InFlight {
    /// Never an empty queue; each in the order of the proposals.
    producers: BTreeMap<ProducerId, VecDeque<Proposed>>,
    /// The producer of each number in the queues.
    numbers: BTreeMap<u64, ProducerId>,
}

#[derive(Debug, Clone, Copy)]
struct Proposed {
    number: u64,
    batch: Sequenced,
}

impl InFlight {
    /// Compares a batch with what its producer has in flight and in the log. A batch without
    /// a producer id is always new. Changes nothing.
    ///
    /// # Errors
    /// The batch cannot follow; see [`SequenceError`].
    pub fn check(&self, applied: &ProducerState, header: &BatchHeader) -> Result<Verdict, SequenceError> {
        let Some(batch) = Sequenced::of(header)? else {
            return Ok(Verdict::New);
        };
        let entry = applied.entry(batch.producer);
        let proposed = self.producers.get(&batch.producer);
        if let Some(original) = proposed.and_then(|all| all.iter().find(|it| it.batch == batch)) {
            return Ok(Verdict::InFlight { number: original.number });
        }
        if let Some(original) = entry.and_then(|entry| entry.find(&batch)) {
            let (base_offset, timestamp) = (original.base_offset, original.timestamp);
            return Ok(Verdict::Duplicate { base_offset, timestamp });
        }
        let newest = proposed
            .and_then(VecDeque::back)
            .map(|newest| Position { epoch: newest.batch.epoch, last: newest.batch.last });
        batch.follow(newest.or_else(|| entry.map(|entry| entry.position())))?;
        Ok(Verdict::New)
    }

    /// Adds a batch that is about to be proposed. [`InFlight::check`] must just have called
    /// it new, and numbers must rise. A batch without a producer id is left out.
    pub fn insert(&mut self, header: &BatchHeader, number: u64) {
        let Ok(Some(batch)) = Sequenced::of(header) else {
            return;
        };
        let newest = self.numbers.last_key_value().map(|(newest, _)| *newest);
        assert!(newest.is_none_or(|newest| newest < number), "numbers rise: {newest:?}, {number}");
        self.numbers.insert(number, batch.producer);
        self.producers.entry(batch.producer).or_default().push_back(Proposed { number, batch });
    }

    /// Takes out a batch that is applied, and with it those that its producer proposed
    /// earlier: they are applied too, or never will be. A number that is not in flight, for
    /// it was cleared, is nothing. Call it after [`ProducerState::apply`], never before: in
    /// between, the batch would be known to neither.
    pub fn remove(&mut self, number: u64) {
        let Some(producer) = self.numbers.get(&number).copied() else {
            return;
        };
        let Some(queue) = self.producers.get_mut(&producer) else {
            return;
        };
        while let Some(oldest) = queue.front().filter(|oldest| oldest.number <= number) {
            self.numbers.remove(&oldest.number);
            queue.pop_front();
        }
        if queue.is_empty() {
            self.producers.remove(&producer);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.producers.clear();
        self.numbers.clear();
    }

    /// Batches in flight that have a producer id.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether nothing with a producer id is in flight.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}
