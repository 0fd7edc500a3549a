//! One producer as the partition remembers it.

use std::collections::VecDeque;

use highwater_types::limits::PRODUCER_WINDOW_BATCHES;
use highwater_types::{Offset, ProducerEpoch, Sequence, TimestampMs};

use super::sequenced::{Position, Sequenced};

/// A batch that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    pub(super) base_offset: Offset,
    /// The batch's largest timestamp, which is the time of the append with `LogAppendTime`.
    pub(super) timestamp: TimestampMs,
}

/// A producer's newest epoch and its last batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProducerEntry {
    pub(super) epoch: ProducerEpoch,
    /// The log's time when the producer last wrote.
    pub(super) last_seen: TimestampMs,
    /// `1 ≤ len ≤ PRODUCER_WINDOW_BATCHES`, oldest first, all of `epoch`, offsets rising.
    batches: VecDeque<Written>,
}

impl ProducerEntry {
    /// A producer that wrote its first batch, or the first of a new epoch.
    pub(super) fn new(epoch: ProducerEpoch, last_seen: TimestampMs, batch: Written) -> Self {
        Self { epoch, last_seen, batches: VecDeque::from([batch]) }
    }

    /// Adds a batch; the oldest beyond the window is forgotten.
    pub(super) fn push(&mut self, batch: Written) {
        if self.batches.len() == PRODUCER_WINDOW_BATCHES {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
    }

    /// The remembered batches, oldest first.
    pub(super) fn batches(&self) -> impl ExactSizeIterator<Item = &Written> {
        self.batches.iter()
    }

    /// The newest batch.
    pub(super) fn newest(&self) -> &Written {
        self.batches.back().expect("an entry comes with a batch and keeps one")
    }

    /// Where the producer stands.
    pub(super) fn position(&self) -> Position {
        Position { epoch: self.epoch, last: self.newest().last }
    }

    /// The batch in the log that `batch` repeats.
    pub(super) fn find(&self, batch: &Sequenced) -> Option<&Written> {
        let same = |it: &&Written| it.first == batch.first && it.last == batch.last;
        self.batches.iter().find(same).filter(|_| self.epoch == batch.epoch)
    }
}
