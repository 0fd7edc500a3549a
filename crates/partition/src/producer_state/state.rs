//! The applied state: a function of the committed batches, in their order, and of
//! nothing else.
//!
//! Time is the *log's time*: the largest timestamp that any batch so far carried. It never
//! goes back, so that a batch with an old timestamp does not make its producer look silent;
//! and how far one batch can push it forward is bounded by `message.timestamp.after.max.ms`.
//!
//! Invariants: `by_silence` holds exactly the producers, each at its newest batch's offset;
//! since both offsets and the log's time only rise, its first is the one silent longest.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use highwater_records::BatchHeader;
use highwater_types::limits::{PRODUCER_EXPIRY_MS, PRODUCERS_PER_PARTITION_MAX};
use highwater_types::{Offset, ProducerId, TimestampMs};

use super::entry::{ProducerEntry, Written};
use super::error::ProducerSnapshotError;
use super::sequenced::Sequenced;
use super::snapshot;

/// What a partition remembers of its producers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerState {
    log_time: TimestampMs,
    producers: BTreeMap<ProducerId, ProducerEntry>,
    by_silence: BTreeSet<(Offset, ProducerId)>,
    producers_max: usize,
}

impl Default for ProducerState {
    /// The state before the first batch.
    fn default() -> Self {
        Self::with_producers_max(PRODUCERS_PER_PARTITION_MAX)
    }
}

impl ProducerState {
    /// An empty state that remembers at most so many producers.
    pub(super) fn with_producers_max(producers_max: usize) -> Self {
        Self {
            log_time: TimestampMs::NONE,
            producers: BTreeMap::new(),
            by_silence: BTreeSet::new(),
            producers_max,
        }
    }

    /// Follows a committed batch, with a producer id or without. The log is the truth: what
    /// it holds is taken as it is and not checked again. Batches come in order of offsets.
    pub fn apply(&mut self, header: &BatchHeader) {
        self.log_time = self.log_time.max(header.max_timestamp);
        // A control batch has a producer id and no sequence. It takes no part here.
        if let Ok(Some(batch)) = Sequenced::of(header) {
            self.remember(&batch, header);
        }
        self.forget();
    }

    /// Producers that are remembered.
    pub fn producer_count(&self) -> usize {
        self.producers.len()
    }

    /// The state as bytes: protobuf with a version, equal for equal states.
    pub fn snapshot(&self) -> Bytes {
        snapshot::encode(self.log_time, &self.producers)
    }

    /// The state that a snapshot was taken of.
    ///
    /// # Errors
    /// The bytes are not a snapshot, or contradict themselves. There is no partial restore:
    /// a producer that is missing could write a batch a second time.
    pub fn restore(snapshot: &[u8]) -> Result<Self, ProducerSnapshotError> {
        Self::restore_with(snapshot, PRODUCERS_PER_PARTITION_MAX)
    }

    pub(super) fn restore_with(snapshot: &[u8], producers_max: usize) -> Result<Self, ProducerSnapshotError> {
        let (log_time, producers) = snapshot::decode(snapshot)?;
        let silence = |(id, entry): (&ProducerId, &ProducerEntry)| (entry.newest().base_offset, *id);
        let by_silence = producers.iter().map(silence).collect();
        Ok(Self { log_time, producers, by_silence, producers_max })
    }

    /// What is known of a producer.
    pub(super) fn entry(&self, producer: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&producer)
    }

    fn remember(&mut self, batch: &Sequenced, header: &BatchHeader) {
        let written = Written {
            first: batch.first,
            last: batch.last,
            base_offset: header.base_offset,
            timestamp: header.max_timestamp,
        };
        let before = self.producers.get(&batch.producer);
        if before.is_some_and(|before| before.epoch > batch.epoch) {
            return;
        }
        if let Some(before) = before {
            self.by_silence.remove(&(before.newest().base_offset, batch.producer));
        }
        match self.producers.get_mut(&batch.producer) {
            Some(entry) if entry.epoch == batch.epoch => {
                entry.push(written);
                entry.last_seen = self.log_time;
            }
            _ => {
                let entry = ProducerEntry::new(batch.epoch, self.log_time, written);
                self.producers.insert(batch.producer, entry);
            }
        }
        self.by_silence.insert((written.base_offset, batch.producer));
    }

    /// Forgets who was silent too long, and who was silent longest when there are too many.
    fn forget(&mut self) {
        while let Some((_, producer)) = self.by_silence.first() {
            let entry = &self.producers[producer];
            let silent_ms = self.log_time.0.saturating_sub(entry.last_seen.0);
            if silent_ms <= PRODUCER_EXPIRY_MS && self.producers.len() <= self.producers_max {
                break;
            }
            self.producers.remove(producer);
            self.by_silence.pop_first();
        }
    }
}
