//! Everything that producers and readers saw, held against the promises as it comes in.
//!
//! It trusts neither the cluster nor the client, and does no IO. The definitions are those of the public tests of such
//! systems: what is *lost* was acknowledged and never read, *two values* were seen at one offset, a *duplicate* is one value
//! at two offsets, *reordered* is what a producer sent later and stands earlier, a record *came back* that its producer was
//! told had certainly failed. A record whose outcome is unknown may be there or not.

mod partition;
mod verdict;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use highwater_crash::workload::RecordId;
use highwater_types::Offset;

use crate::topics::TOPICS;

use partition::{Partition, Reading};

pub use verdict::{Promise, Verdict};

/// A partition of one of the topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The topic's place in the list.
    pub topic: usize,
    /// The partition.
    pub partition: u32,
}

impl Place {
    /// All partitions of all topics.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TOPICS.len())
            .flat_map(|topic| (0..TOPICS[topic].partitions).map(move |partition| Self { topic, partition }))
    }

    /// How it is called.
    pub fn name(self) -> String {
        format!("{}-{}", TOPICS[self.topic].name, self.partition)
    }
}

/// Who reads: each follows its partitions by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reader(pub u32);

/// How the sending of a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Pending,
    Acked,
    /// It may be there.
    Unknown,
    /// It certainly is not there, and never will be.
    Failed,
}

struct Sent {
    place: Place,
    outcome: Outcome,
    /// Where it was read first.
    read_at: Option<Offset>,
}

/// See the module.
#[derive(Default)]
pub struct History {
    partitions: BTreeMap<Place, Partition>,
    sent: BTreeMap<RecordId, Sent>,
    readings: BTreeMap<(Reader, Place), Reading>,
    verdict: Verdict,
}

impl History {
    /// A record is about to be sent there.
    pub fn sending(&mut self, id: RecordId, place: Place) {
        self.sent.insert(id, Sent { place, outcome: Outcome::Pending, read_at: None });
    }

    /// A record was acknowledged at this offset.
    pub fn acked(&mut self, id: RecordId, offset: Offset) {
        let Some(sent) = self.sent.get_mut(&id) else { return };
        sent.outcome = Outcome::Acked;
        let place = sent.place;
        self.verdict.acked += 1;
        let other = self.partition(place).acked(offset, id);
        if let Some(other) = other {
            self.broken(Promise::TwoValues, place, offset, || format!("{other:?} and {id:?}, acknowledged"));
        }
    }

    /// A record was not acknowledged; `unknown` if it may be there all the same.
    pub fn failed(&mut self, id: RecordId, unknown: bool) {
        let Some(sent) = self.sent.get_mut(&id) else { return };
        let (place, read_at) = (sent.place, sent.read_at);
        sent.outcome = if unknown { Outcome::Unknown } else { Outcome::Failed };
        if unknown {
            self.verdict.unknown += 1;
            return;
        }
        self.verdict.failed += 1;
        if let Some(offset) = read_at {
            self.broken(Promise::CameBack, place, offset, || format!("{id:?} was read and then failed"));
        }
    }

    /// A reader begins at this offset, or begins anew.
    pub fn begins(&mut self, reader: Reader, place: Place, offset: Offset) {
        self.readings.insert((reader, place), Reading::at(offset));
    }

    /// A reader got a record. `id` is whose value it is, byte for byte; `None` for bytes that nobody sent.
    pub fn read(&mut self, reader: Reader, place: Place, offset: Offset, id: Option<RecordId>) {
        self.follow(reader, place, offset);
        let Some(id) = id else {
            return self.broken(Promise::Altered, place, offset, || "bytes that nobody sent".to_owned());
        };
        let Some(sent) = self.sent.get_mut(&id).filter(|sent| sent.place == place) else {
            return self.broken(Promise::Altered, place, offset, || format!("{id:?} was not sent here"));
        };
        let (outcome, first) = (sent.outcome, *sent.read_at.get_or_insert(offset));
        let partition = self.partitions.entry(place).or_default();
        match partition.read(offset, id) {
            partition::Read::Known => return,
            partition::Read::New => self.verdict.read += 1,
            partition::Read::Other(other) => {
                return self
                    .broken(Promise::TwoValues, place, offset, || format!("{other:?} and {id:?}, read"));
            }
        }
        if outcome == Outcome::Failed {
            self.broken(Promise::CameBack, place, offset, || format!("{id:?} had certainly failed"));
        }
        if first != offset {
            if TOPICS[place.topic].idempotent {
                self.broken(Promise::Once, place, offset, || format!("{id:?} is at {first} too"));
            } else {
                self.verdict.repeated += 1;
            }
        }
    }

    /// A reader was told of a partition's watermarks, after those that it was told of before.
    pub fn watermark(&mut self, reader: Reader, place: Place, high_watermark: Offset) {
        let newest = self.readings.entry((reader, place)).or_default().raise_high_watermark(high_watermark);
        if newest > high_watermark {
            self.broken(Promise::Watermark, place, high_watermark, || format!("it was {newest} before"));
        }
    }

    /// Somebody asked for the watermarks, beginning when everything below `floor` had been acknowledged or read.
    pub fn bounds(&mut self, reader: Reader, place: Place, start: Offset, end: Offset, floor: Offset) {
        self.watermark(reader, place, end);
        if end < floor {
            self.broken(Promise::Watermark, place, end, || format!("{floor} was known to be committed"));
        }
        let before = self.partition(place).raise_log_start(start);
        if before > start {
            self.broken(Promise::LogStart, place, start, || format!("it was {before} before"));
        }
    }

    /// The first offset above all that is known to be committed.
    pub fn floor(&self, place: Place) -> Offset {
        self.partitions.get(&place).map_or(Offset::ZERO, Partition::floor)
    }

    /// Where a reader goes on.
    pub fn position(&self, reader: Reader, place: Place) -> Offset {
        self.readings.get(&(reader, place)).map_or(Offset::ZERO, Reading::next)
    }

    /// A promise was found broken that this does not see by itself.
    pub fn found(&mut self, promise: Promise, what: String) {
        self.verdict.add(promise, what);
    }

    /// What is known so far.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Looks at everything once more, when all was read that is there.
    pub fn finish(&mut self) -> &Verdict {
        let mut found = Vec::new();
        for (place, partition) in &self.partitions {
            let start = partition.log_start();
            for (offset, id) in partition.unread_since(start) {
                found.push((Promise::Lost, *place, offset, format!("{id:?} was acknowledged and never read")));
            }
            let mut newest: BTreeMap<u32, u64> = BTreeMap::new();
            for (offset, id) in partition.records() {
                // Only where it was first; and one that was given up may still have arrived later.
                let counts = self.sent.get(&id).is_some_and(|sent| {
                    sent.read_at == Some(offset)
                        && (TOPICS[place.topic].idempotent || sent.outcome != Outcome::Unknown)
                });
                match newest.entry(id.producer) {
                    _ if !counts => {}
                    Entry::Occupied(newest) if *newest.get() > id.number => {
                        let what = format!("{id:?} after number {}", newest.get());
                        found.push((Promise::Order, *place, offset, what));
                    }
                    Entry::Occupied(mut newest) => _ = newest.insert(id.number),
                    Entry::Vacant(empty) => _ = empty.insert(id.number),
                }
            }
        }
        for ((_, place), reading) in &self.readings {
            let start = self.partitions.get(place).map_or(Offset::ZERO, Partition::log_start);
            for (from, to) in reading.skips().iter().filter(|(_, to)| *to > start) {
                found.push((Promise::Skipped, *place, *from, format!("the reader went on at {to}")));
            }
        }
        for (promise, place, offset, what) in found {
            self.broken(promise, place, offset, || what);
        }
        &self.verdict
    }

    fn follow(&mut self, reader: Reader, place: Place, offset: Offset) {
        let next = self.readings.entry((reader, place)).or_default().take(offset);
        // A jump ahead is judged in the end: retention may have been ahead of the reader.
        if offset < next {
            self.broken(Promise::WentBack, place, offset, || format!("the reader was at {next}"));
        }
    }

    fn partition(&mut self, place: Place) -> &mut Partition {
        self.partitions.entry(place).or_default()
    }

    fn broken(&mut self, promise: Promise, place: Place, offset: Offset, what: impl FnOnce() -> String) {
        self.verdict.add(promise, format!("{} at {offset}: {}", place.name(), what()));
    }
}

#[cfg(test)]
#[path = "history/tests.rs"]
mod tests;
