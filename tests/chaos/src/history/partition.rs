//! What is known of one partition, offset by offset, and how far one reader of it is.

use highwater_crash::workload::RecordId;
use highwater_types::Offset;

/// What is known of one offset.
#[derive(Debug, Clone, Copy)]
struct Slot {
    id: RecordId,
    acked: bool,
    read: bool,
}

/// What was read at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// For the first time.
    New,
    /// The same as before.
    Known,
    /// Something else than this, which was read or acknowledged there before.
    Other(RecordId),
}

/// See the module.
#[derive(Default)]
pub(super) struct Partition {
    slots: Vec<Option<Slot>>,
    log_start: Offset,
}

impl Partition {
    /// Notes an acknowledgement. Returns what else is there, if something is.
    pub(super) fn acked(&mut self, offset: Offset, id: RecordId) -> Option<RecordId> {
        let slot = self.slot(offset).get_or_insert(Slot { id, acked: false, read: false });
        if slot.id != id {
            return Some(slot.id);
        }
        // One offset acknowledged twice for one record is an answer that came twice.
        slot.acked = true;
        None
    }

    /// Notes what was read.
    pub(super) fn read(&mut self, offset: Offset, id: RecordId) -> Read {
        let slot = self.slot(offset).get_or_insert(Slot { id, acked: false, read: false });
        if slot.id != id {
            return Read::Other(slot.id);
        }
        if std::mem::replace(&mut slot.read, true) { Read::Known } else { Read::New }
    }

    /// Takes in a log start, and returns the newest that was known before.
    pub(super) fn raise_log_start(&mut self, start: Offset) -> Offset {
        let before = self.log_start;
        self.log_start = before.max(start);
        before
    }

    pub(super) fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The first offset above all that was acknowledged or read.
    pub(super) fn floor(&self) -> Offset {
        offset_of(self.slots.len())
    }

    /// What was acknowledged from `start` on and never read.
    pub(super) fn unread_since(&self, start: Offset) -> impl Iterator<Item = (Offset, RecordId)> {
        self.known().filter(move |(offset, slot)| *offset >= start && slot.acked && !slot.read).map(id_of)
    }

    /// What was read, in the order of offsets.
    pub(super) fn records(&self) -> impl Iterator<Item = (Offset, RecordId)> {
        self.known().filter(|(_, slot)| slot.read).map(id_of)
    }

    fn known(&self) -> impl Iterator<Item = (Offset, &Slot)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(index, slot)| Some((offset_of(index), slot.as_ref()?)))
    }

    fn slot(&mut self, offset: Offset) -> &mut Option<Slot> {
        // Offsets come from nodes that are under test; below zero there is no record.
        let index = usize::try_from(offset.0).unwrap_or_default();
        if self.slots.len() <= index {
            self.slots.resize(index + 1, None);
        }
        &mut self.slots[index]
    }
}

fn offset_of(index: usize) -> Offset {
    Offset(i64::try_from(index).unwrap_or(i64::MAX))
}

fn id_of((offset, slot): (Offset, &Slot)) -> (Offset, RecordId) {
    (offset, slot.id)
}

/// How far one reader is in one partition.
#[derive(Default)]
pub(super) struct Reading {
    next: Offset,
    high_watermark: Offset,
    skips: Vec<(Offset, Offset)>,
}

impl Reading {
    pub(super) fn at(next: Offset) -> Self {
        Self { next, ..Self::default() }
    }

    pub(super) fn next(&self) -> Offset {
        self.next
    }

    /// Goes on after this offset, and returns the one that was expected.
    pub(super) fn take(&mut self, offset: Offset) -> Offset {
        let expected = self.next;
        if offset > expected {
            self.skips.push((expected, offset));
        }
        self.next = self.next.max(offset.next());
        expected
    }

    /// From where to where it went on over what it did not get.
    pub(super) fn skips(&self) -> &[(Offset, Offset)] {
        &self.skips
    }

    /// Takes in a high watermark, and returns the newest that is known now.
    pub(super) fn raise_high_watermark(&mut self, high_watermark: Offset) -> Offset {
        self.high_watermark = self.high_watermark.max(high_watermark);
        self.high_watermark
    }
}
