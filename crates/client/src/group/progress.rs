//! How far a member has got with the partitions that it owns: what was handed out, what of it is processed, what is committed.
//! Pure.
//!
//! Invariants, for each partition: nothing is committed that is not processed, `processed ≤ position`; and nothing is handed out of a
//! partition after it was stopped.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use highwater_types::{Offset, PartitionId};

use crate::consumer::StartPosition;
use crate::group::{OffsetCommit, TopicPartition};
use crate::reader::ReadingId;
use crate::topic::PartitionKey;

/// One partition.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) key: PartitionKey,
    /// None while it is paused, being given up, or cannot be read.
    reading: Option<ReadingId>,
    /// Where it was begun, or was sought to last.
    start: StartPosition,
    /// The next record to hand out; none until that is known.
    pub(crate) position: Option<Offset>,
    /// Everything before is processed.
    processed: Option<Offset>,
    committed: Option<Offset>,
    /// Whether it was sought, so that what is committed may go back.
    may_rewind: bool,
    /// The end, as was heard last.
    pub(crate) high_watermark: Option<Offset>,
}

impl Owned {
    pub(crate) fn name(&self) -> TopicPartition {
        TopicPartition::new(Arc::clone(&self.key.topic), self.key.partition)
    }
}

/// What was handed out last, before it is written down with its partition: consecutive records of a partition cost little.
#[derive(Debug)]
struct Hand {
    partition: PartitionId,
    /// What of it is processed.
    done: Option<Offset>,
    next: Offset,
}

/// An offset that is to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) partition: PartitionId,
    pub(crate) topic_id: Arc<str>,
    pub(crate) commit: OffsetCommit,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Whether to ask for more says that what was handed out is processed.
    asking_is_done: bool,
    partitions: BTreeMap<PartitionId, Owned>,
    readings: HashMap<ReadingId, PartitionId>,
    hand: Option<Hand>,
    /// What the application may be processing right now.
    busy: Option<PartitionId>,
    /// Counts the ends of readings, so that who hands out notices them.
    version: u64,
}

impl Progress {
    pub(crate) fn new(asking_is_done: bool) -> Self {
        Self {
            asking_is_done,
            partitions: BTreeMap::new(),
            readings: HashMap::new(),
            hand: None,
            busy: None,
            version: 1,
        }
    }

    /// A partition is begun.
    pub(crate) fn begin(
        &mut self,
        partition: PartitionId,
        key: PartitionKey,
        start: StartPosition,
        committed: Option<Offset>,
    ) {
        let owned = Owned {
            key,
            reading: None,
            start,
            position: offset_of(start),
            processed: committed,
            committed,
            may_rewind: false,
            high_watermark: None,
        };
        self.partitions.insert(partition, owned);
    }

    /// It is read, from where [`Progress::start`] says.
    pub(crate) fn read(&mut self, partition: PartitionId, reading: ReadingId) {
        if let Some(owned) = self.partitions.get_mut(&partition) {
            owned.reading = Some(reading);
            self.readings.insert(reading, partition);
        }
    }

    /// Where to read a partition that is not read now: none if it is, or is not owned.
    pub(crate) fn start(&mut self, partition: PartitionId) -> Option<(PartitionKey, StartPosition)> {
        self.write_down();
        let owned = self.partitions.get(&partition).filter(|owned| owned.reading.is_none())?;
        let start = owned.position.map_or(owned.start, StartPosition::Offset);
        Some((owned.key.clone(), start))
    }

    /// Nothing of it is handed out any more. What is to be read no more, if it was.
    pub(crate) fn stop(&mut self, partition: PartitionId) -> Option<ReadingId> {
        self.write_down();
        let reading = self.partitions.get_mut(&partition)?.reading.take()?;
        self.readings.remove(&reading);
        self.version += 1;
        Some(reading)
    }

    /// It is owned no more.
    pub(crate) fn remove(&mut self, partition: PartitionId) -> Option<ReadingId> {
        let reading = self.stop(partition);
        self.partitions.remove(&partition);
        self.hand.take_if(|hand| hand.partition == partition);
        reading
    }

    /// It goes on elsewhere, once it is read again; what is before counts as processed.
    pub(crate) fn seek(&mut self, partition: PartitionId, to: StartPosition) -> Option<ReadingId> {
        let reading = self.stop(partition);
        self.hand.take_if(|hand| hand.partition == partition);
        if let Some(owned) = self.partitions.get_mut(&partition) {
            owned.start = to;
            owned.position = offset_of(to);
            owned.processed = owned.position;
            owned.may_rewind = true;
        }
        reading
    }

    /// The application asks for more: it is done with what it has.
    pub(crate) fn settle(&mut self) -> Option<PartitionId> {
        let settled = self.busy.take()?;
        if let Some(hand) = self.hand.as_mut().filter(|_| self.asking_is_done) {
            hand.done = Some(hand.next);
        }
        Some(settled)
    }

    /// Records up to `next` are handed out.
    pub(crate) fn hand_out(&mut self, partition: PartitionId, next: Offset) {
        self.busy = Some(partition);
        match &mut self.hand {
            Some(hand) if hand.partition == partition => hand.next = next,
            _ => {
                self.write_down();
                self.hand = Some(Hand { partition, done: None, next });
            }
        }
    }

    /// The cluster said where a reading is.
    pub(crate) fn note(&mut self, partition: PartitionId, next: Offset, high_watermark: Offset) {
        self.write_down();
        if let Some(hand) = self.hand.as_mut().filter(|hand| hand.partition == partition) {
            hand.next = next;
        }
        if let Some(owned) = self.partitions.get_mut(&partition) {
            // What was to be read is gone, and it goes on before.
            owned.may_rewind |= owned.position.is_some_and(|position| next < position);
            owned.position = Some(next);
            // Where it begins is worth remembering: else somebody who begins at the end would leave out what comes meanwhile.
            if self.asking_is_done && owned.processed.is_none() {
                owned.processed = Some(next);
            }
            owned.high_watermark = owned.high_watermark.max(Some(high_watermark));
        }
    }

    pub(crate) fn note_high_watermark(&mut self, partition: PartitionId, high_watermark: Offset) {
        if let Some(owned) = self.partitions.get_mut(&partition) {
            owned.high_watermark = owned.high_watermark.max(Some(high_watermark));
        }
    }

    /// All that was handed out is processed.
    pub(crate) fn all_is_done(&mut self) {
        if let Some(hand) = &mut self.hand {
            hand.done = Some(hand.next);
        }
        self.write_down();
        for owned in self.partitions.values_mut() {
            owned.processed = owned.position.or(owned.processed);
        }
    }

    /// What is processed and not committed, of these partitions or of all.
    pub(crate) fn due(&mut self, only: Option<&BTreeSet<PartitionId>>) -> Vec<Due> {
        self.write_down();
        let owned = self.partitions.iter().filter(|(id, _)| only.is_none_or(|only| only.contains(id)));
        let due = |(partition, owned): (&PartitionId, &Owned)| {
            let offset = owned.processed?;
            let goes_back = owned.committed.is_some_and(|committed| offset < committed);
            if owned.committed == Some(offset) || (goes_back && !owned.may_rewind) {
                return None;
            }
            let commit = OffsetCommit { may_rewind: goes_back, ..OffsetCommit::new(owned.name(), offset) };
            Some(Due { partition: *partition, topic_id: Arc::clone(&owned.key.topic_id), commit })
        };
        owned.filter_map(due).collect()
    }

    /// The offset is committed.
    pub(crate) fn committed(&mut self, partition: PartitionId, offset: Offset) {
        if let Some(owned) = self.partitions.get_mut(&partition) {
            owned.committed = Some(offset);
            owned.may_rewind &= owned.processed != Some(offset);
        }
    }

    /// What the application may be processing right now.
    pub(crate) fn busy(&self) -> Option<PartitionId> {
        self.busy
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// What is read there.
    pub(crate) fn of_reading(&self, reading: ReadingId) -> Option<(PartitionId, &Owned)> {
        let partition = self.readings.get(&reading)?;
        Some((*partition, self.partitions.get(partition)?))
    }

    /// All that is owned.
    pub(crate) fn partitions(&mut self) -> &BTreeMap<PartitionId, Owned> {
        self.write_down();
        &self.partitions
    }

    /// The partition of that name, if it is owned.
    pub(crate) fn find(&self, of: &TopicPartition) -> Option<PartitionId> {
        let is_it = |owned: &Owned| owned.key.partition == of.partition && owned.key.topic == of.topic;
        self.partitions.iter().find(|(_, owned)| is_it(owned)).map(|(id, _)| *id)
    }

    fn write_down(&mut self) {
        let Some(hand) = &self.hand else { return };
        if let Some(owned) = self.partitions.get_mut(&hand.partition) {
            owned.position = Some(hand.next);
            owned.processed = hand.done.or(owned.processed);
        }
    }
}

fn offset_of(start: StartPosition) -> Option<Offset> {
    match start {
        StartPosition::Offset(offset) => Some(offset),
        _ => None,
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
