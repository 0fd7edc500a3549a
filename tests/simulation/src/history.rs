//! What clients sent, were told and have read, and what of it contradicts the promises.
//!
//! - *inconsistent-offsets*: two values at one offset of a partition.
//! - *duplicate*: one value of an idempotent producer at more than one offset.
//! - *lost-write*: an acknowledged value is not at its offset in the end.
//! - *unseen*: a value that somebody has read is not there in the end.
//! - *G1a*: a value was read whose sending definitely failed.
//! - *poll-skip*, *nonmonotonic-poll*: a consumer is given other offsets than the next.
//! - *order*: acknowledged values of an idempotent producer are not in the order in which they were sent.
//! - *watermark*: a high watermark or a log start goes back, or does not contain what was acknowledged before it was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use highwater_types::{Offset, PartitionIndex};
use parking_lot::Mutex;

/// Most contradictions that are kept of one run: the first explain the others.
const VIOLATIONS_MAX: usize = 20;

/// A value: who sent it, as which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value {
    pub(crate) producer: u32,
    pub(crate) number: u64,
}

impl Value {
    /// Its bytes: the text of it, and so many more.
    pub(crate) fn encode(self, padding: usize) -> Vec<u8> {
        let mut bytes = format!("{}:{}:", self.producer, self.number).into_bytes();
        bytes.resize(bytes.len() + padding, b'.');
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = bytes.splitn(3, |byte| *byte == b':');
        let producer = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        let number = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        Some(Self { producer, number })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.producer, self.number)
    }
}

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) topic: String,
    pub(crate) partition: PartitionIndex,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// On its way, or nobody can say.
    Unknown,
    Acked(Offset),
    Refused,
}

struct Sent {
    place: Place,
    is_idempotent: bool,
    outcome: Outcome,
}

#[derive(Default)]
struct Books {
    sent: BTreeMap<Value, Sent>,
    /// What is known to be at an offset, from an acknowledgement or from reading.
    known: BTreeMap<Place, BTreeMap<Offset, Value>>,
    /// The offsets at which each value is.
    offsets: BTreeMap<Value, BTreeSet<Offset>>,
    /// The end of what was acknowledged.
    acked_end: BTreeMap<Place, Offset>,
    /// Below it somebody asked to delete.
    deleted: BTreeMap<Place, Offset>,
    read: u64,
    violations: Vec<String>,
}

/// What a run comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    pub(crate) acked: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    pub(crate) read: u64,
}

/// The books of one run. Shared by all clients.
#[derive(Default)]
pub(crate) struct History(Mutex<Books>);

impl History {
    /// A value is about to be sent. Until more is known it may or may not be stored.
    pub(crate) fn sending(&self, value: Value, place: &Place, is_idempotent: bool) {
        let sent = Sent { place: place.clone(), is_idempotent, outcome: Outcome::Unknown };
        self.0.lock().sent.insert(value, sent);
    }

    /// The value was acknowledged.
    pub(crate) fn acked(&self, value: Value, offset: Offset) {
        let mut books = self.0.lock();
        let Some(sent) = books.sent.get_mut(&value) else { return };
        sent.outcome = Outcome::Acked(offset);
        let place = sent.place.clone();
        let end = books.acked_end.entry(place.clone()).or_insert(Offset::ZERO);
        *end = (*end).max(offset.next());
        books.is_at(&place, offset, value, "acknowledged");
    }

    /// The value's sending definitely failed.
    pub(crate) fn refused(&self, value: Value) {
        if let Some(sent) = self.0.lock().sent.get_mut(&value) {
            sent.outcome = Outcome::Refused;
        }
    }

    /// Somebody read these bytes there.
    pub(crate) fn read(&self, place: &Place, offset: Offset, bytes: &[u8]) {
        let mut books = self.0.lock();
        books.read += 1;
        match Value::decode(bytes) {
            Some(value) if books.sent.get(&value).is_some_and(|sent| sent.place == *place) => {
                books.is_at(place, offset, value, "read");
            }
            Some(value) => books.violation(format!("G1a: {value} at {place} {offset} was not sent there")),
            None => {
                books.violation(format!("G1a: {place} {offset} has {} bytes that nobody sent", bytes.len()))
            }
        }
    }

    /// The end of what is acknowledged of a partition at this moment.
    pub(crate) fn acked_end(&self, place: &Place) -> Offset {
        self.0.lock().acked_end.get(place).copied().unwrap_or(Offset::ZERO)
    }

    /// Somebody asks to delete what is below this offset: from now on it may be gone.
    pub(crate) fn deleting(&self, place: &Place, below: Offset) {
        let mut books = self.0.lock();
        let deleted = books.deleted.entry(place.clone()).or_insert(Offset::ZERO);
        *deleted = (*deleted).max(below);
    }

    /// Below it values may be gone.
    pub(crate) fn deleted(&self, place: &Place) -> Offset {
        self.0.lock().deleted.get(place).copied().unwrap_or(Offset::ZERO)
    }

    /// Something contradicts a promise.
    pub(crate) fn violation(&self, what: String) {
        self.0.lock().violation(what);
    }

    /// All of a partition was read after everything was over: what is there now stays.
    pub(crate) fn settle(&self, place: &Place, end: Offset) {
        let mut books = self.0.lock();
        let books = &mut *books;
        let known = books.known.get(place).cloned().unwrap_or_default();
        if let Some((offset, value)) = known.range(end..).next() {
            books.violation(format!("unseen: {place} ends at {end}, and {value} was at {offset}"));
        }
        let mut last: BTreeMap<u32, (Offset, u64)> = BTreeMap::new();
        for (offset, value) in known {
            let Some(sent) = books.sent.get(&value) else { continue };
            if !sent.is_idempotent || !matches!(sent.outcome, Outcome::Acked(_)) {
                continue;
            }
            if let Some((before, number)) = last.insert(value.producer, (offset, value.number))
                && number > value.number
            {
                let what = format!(
                    "order: {place} has {}:{number} at {before} and {value} at {offset}",
                    value.producer
                );
                books.violation(what);
            }
        }
    }

    /// What the final reading of all partitions has found against what was promised.
    pub(crate) fn finish(&self, found: &BTreeMap<Place, BTreeSet<Offset>>) {
        let mut books = self.0.lock();
        let mut wrong = Vec::new();
        for (value, sent) in &books.sent {
            let deleted = books.deleted.get(&sent.place).copied().unwrap_or(Offset::ZERO);
            let is_there = |offset: &Offset| {
                *offset < deleted || found.get(&sent.place).is_some_and(|all| all.contains(offset))
            };
            let at = books.offsets.get(value).cloned().unwrap_or_default();
            match sent.outcome {
                Outcome::Acked(offset) if !is_there(&offset) => {
                    wrong.push(format!("lost-write: {value} was acknowledged at {} {offset}", sent.place));
                }
                Outcome::Refused if !at.is_empty() => {
                    wrong.push(format!("G1a: {value} was refused and is at {} {at:?}", sent.place));
                }
                _ => {}
            }
            for offset in at.iter().filter(|offset| !is_there(offset)) {
                wrong.push(format!(
                    "unseen: {value} was at {} {offset} and is not there in the end",
                    sent.place
                ));
            }
        }
        wrong.into_iter().for_each(|what| books.violation(what));
    }

    /// The figures so far.
    pub(crate) fn figures(&self) -> Figures {
        let books = self.0.lock();
        let mut figures = Figures { read: books.read, ..Figures::default() };
        for sent in books.sent.values() {
            match sent.outcome {
                Outcome::Acked(_) => figures.acked += 1,
                Outcome::Refused => figures.refused += 1,
                Outcome::Unknown => figures.unknown += 1,
            }
        }
        figures
    }

    /// The contradictions found so far.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.0.lock().violations.clone()
    }
}

impl Books {
    fn is_at(&mut self, place: &Place, offset: Offset, value: Value, how: &str) {
        let there = self.known.entry(place.clone()).or_default();
        let other = *there.entry(offset).or_insert(value);
        if other != value {
            let what =
                format!("inconsistent-offsets: {place} {offset} had {other}, and {value} was {how} there");
            self.violation(what);
            return;
        }
        let offsets = self.offsets.entry(value).or_default();
        offsets.insert(offset);
        if offsets.len() > 1 && self.sent.get(&value).is_some_and(|sent| sent.is_idempotent) {
            let what = format!("duplicate: {value} is at {place} {offsets:?}");
            self.violation(what);
        }
    }

    fn violation(&mut self, what: String) {
        if self.violations.len() < VIOLATIONS_MAX && !self.violations.contains(&what) {
            self.violations.push(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { topic: "t".into(), partition: PartitionIndex(0) }
    }

    fn value(number: u64) -> Value {
        Value { producer: 1, number }
    }

    /// A history of three values that were sent, each at the offset of its number if it was acknowledged.
    fn sent(acked: &[u64]) -> History {
        let history = History::default();
        for number in 0..3 {
            history.sending(value(number), &place(), true);
        }
        for number in acked {
            history.acked(value(*number), Offset(i64::try_from(*number).unwrap()));
        }
        history
    }

    fn found(offsets: &[i64]) -> BTreeMap<Place, BTreeSet<Offset>> {
        [(place(), offsets.iter().copied().map(Offset).collect())].into()
    }

    fn first(history: &History) -> String {
        let violations = history.violations();
        violations.first().map_or_else(String::new, |what| what.split(':').next().unwrap_or("").to_owned())
    }

    #[test]
    fn a_whole_history_has_nothing_against_it() {
        let history = sent(&[0, 1]);
        for number in 0..3 {
            history.read(&place(), Offset(number), &value(u64::try_from(number).unwrap()).encode(5));
        }
        history.settle(&place(), Offset(3));
        history.finish(&found(&[0, 1, 2]));
        assert_eq!(history.violations(), Vec::<String>::new());
        assert_eq!(history.figures(), Figures { acked: 2, refused: 0, unknown: 1, read: 3 });
    }

    #[test]
    fn each_contradiction_is_named() {
        let history = sent(&[0, 1]);
        history.finish(&found(&[0]));
        assert_eq!(first(&history), "lost-write");

        let history = sent(&[0]);
        history.read(&place(), Offset(0), &value(1).encode(0));
        assert_eq!(first(&history), "inconsistent-offsets");

        let history = sent(&[0]);
        history.read(&place(), Offset(1), &value(0).encode(0));
        assert_eq!(first(&history), "duplicate");

        let history = sent(&[]);
        history.refused(value(2));
        history.read(&place(), Offset(0), &value(2).encode(0));
        history.finish(&found(&[0]));
        assert_eq!(first(&history), "G1a");

        let history = sent(&[]);
        history.read(&place(), Offset(0), b"9:9:");
        assert_eq!(first(&history), "G1a");

        let history = sent(&[]);
        history.acked(value(1), Offset(0));
        history.acked(value(0), Offset(1));
        history.settle(&place(), Offset(2));
        assert_eq!(first(&history), "order");

        let history = sent(&[]);
        history.read(&place(), Offset(7), &value(0).encode(0));
        history.settle(&place(), Offset(7));
        assert_eq!(first(&history), "unseen");
    }
}
