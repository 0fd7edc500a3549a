//! The entries above the applied one, in index order: what may still be truncated.
//!
//! Invariant: indexes are dense, from one above the applied entry.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use highwater_types::{FilePosition, Offset, RaftIndex};

use crate::disk::Disk;
use crate::entry::{Entry, LogId, Payload};
use crate::journal::Position;
use crate::journal::file::live_path;
use crate::journal::frame::{Change, FrameHeader};

/// An entry that only the journal's file holds, since a recovery found it there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) header: FrameHeader,
    pub(crate) generation: u64,
    pub(crate) payload_at: FilePosition,
    /// CRC32C of the payload: the file may have been damaged, or recycled, since it was scanned.
    pub(crate) payload_crc: u32,
}

impl Stored {
    pub(crate) fn id(&self) -> LogId {
        self.header.entry_id().expect("only entries are kept in the tail")
    }

    /// Reads the entry from the journal's file.
    ///
    /// # Errors
    /// What is wrong, as text: the disk failed, or the file does not hold the entry.
    pub(crate) fn read(&self, disk: &Arc<dyn Disk>, journal_directory: &Path) -> Result<Entry, String> {
        let path = live_path(journal_directory, self.generation);
        let mut payload = vec![0; self.header.payload_len as usize];
        disk.open(&path)
            .and_then(|file| file.read_exact_at(&mut payload, self.payload_at.0))
            .map_err(|error| error.to_string())?;
        if crc32c::crc32c(&payload) != self.payload_crc {
            return Err(format!("{} no longer holds it at {}", path.display(), self.payload_at));
        }
        match self.header.change(payload.into()) {
            Some(Change::Append(entry)) => Ok(entry),
            _ => Err(format!("{} does not hold it at {}", path.display(), self.payload_at)),
        }
    }
}

/// One entry of the tail.
#[derive(Debug, Clone)]
pub(crate) enum TailEntry {
    /// In memory.
    Loaded(Entry),
    /// In the journal's file.
    Stored(Stored),
}

impl TailEntry {
    pub(crate) fn id(&self) -> LogId {
        match self {
            Self::Loaded(entry) => entry.id,
            Self::Stored(stored) => stored.id(),
        }
    }
}

#[derive(Debug)]
struct Slot {
    entry: TailEntry,
    /// The offset after the entry.
    next_offset: Offset,
    written: Option<Position>,
}

/// The tail of a group's log.
#[derive(Debug)]
pub(crate) struct Tail {
    slots: VecDeque<Slot>,
    first: RaftIndex,
    start_offset: Offset,
    bytes: usize,
}

impl Tail {
    /// An empty tail whose first entry will be `first` and whose first batch will start at `start_offset`.
    pub(crate) fn new(first: RaftIndex, start_offset: Offset) -> Self {
        Self { slots: VecDeque::new(), first, start_offset, bytes: 0 }
    }

    /// The offset after the last entry: the log end.
    pub(crate) fn next_offset(&self) -> Offset {
        self.slots.back().map_or(self.start_offset, |slot| slot.next_offset)
    }

    /// The offset after the entry `id`, when the tail holds it.
    pub(crate) fn offset_after(&self, id: LogId) -> Option<Offset> {
        let place = id.index.0.checked_sub(self.first.0)?;
        let slot = self.slots.get(usize::try_from(place).ok()?)?;
        (slot.entry.id() == id).then_some(slot.next_offset)
    }

    /// Where the first batch of the tail starts.
    pub(crate) fn start_offset(&self) -> Offset {
        self.start_offset
    }

    pub(crate) fn last(&self) -> Option<LogId> {
        self.slots.back().map(|slot| slot.entry.id())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of payload held in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// # Panics
    /// When the index is not the next one.
    pub(crate) fn push(&mut self, entry: TailEntry, next_offset: Offset, written: Option<Position>) {
        let expected = self.first.0 + self.slots.len() as u64;
        assert_eq!(entry.id().index.0, expected, "entries of a log are dense");
        self.bytes += loaded_bytes(&entry);
        self.slots.push_back(Slot { entry, next_offset, written });
    }

    /// Notes where the entries from `from` to `last`, inclusive, were written. Of entries that were truncated meanwhile the
    /// ones before them still count; what came in their place is told of its own position later, and until then a replay from
    /// this one is right for it too.
    pub(crate) fn written(&mut self, from: RaftIndex, last: LogId, position: Position) {
        let Some(end) = last.index.0.checked_sub(self.first.0) else { return };
        let end = usize::try_from(end).unwrap_or(usize::MAX).saturating_add(1).min(self.slots.len());
        let start = usize::try_from(from.0.saturating_sub(self.first.0)).unwrap_or(usize::MAX).min(end);
        let is_whole = self.get(last.index).is_some_and(|entry| entry.id() == last);
        for slot in self.slots.range_mut(start..end) {
            if is_whole || slot.written.is_none() {
                slot.written = Some(position);
            }
        }
    }

    /// Drops entries above `index`; `None` drops all.
    pub(crate) fn truncate_after(&mut self, index: Option<RaftIndex>) {
        let keep = index.map_or(0, |index| (index.0 + 1).saturating_sub(self.first.0));
        while self.slots.len() as u64 > keep {
            if let Some(slot) = self.slots.pop_back() {
                self.bytes -= loaded_bytes(&slot.entry);
            }
        }
    }

    /// Takes out the first entry, which was applied.
    pub(crate) fn pop_applied(&mut self) -> Option<TailEntry> {
        let slot = self.slots.pop_front()?;
        self.bytes -= loaded_bytes(&slot.entry);
        self.first = self.first.next();
        self.start_offset = slot.next_offset;
        Some(slot.entry)
    }

    /// Takes out the entries up to `last`, which a state from the leader takes in. Those after it stay when they follow it;
    /// otherwise all go, and the next one comes after `last`, at `start_offset`.
    pub(crate) fn advance(&mut self, last: LogId, start_offset: Offset) {
        match self.offset_after(last) {
            Some(_) => {
                while self.first <= last.index {
                    self.pop_applied();
                }
            }
            None => *self = Self::new(last.index.next(), start_offset),
        }
    }

    /// An empty tail in the place of this one.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(self.first, self.start_offset)
    }

    /// Takes out the first entry of a recovered tail, with the offset after it.
    pub(crate) fn pop_stored(&mut self) -> Option<(Stored, Offset)> {
        let slot = self.slots.pop_front()?;
        match slot.entry {
            TailEntry::Stored(stored) => Some((stored, slot.next_offset)),
            TailEntry::Loaded(entry) => {
                panic!("entry {} of a recovered tail is in memory", entry.id)
            }
        }
    }

    pub(crate) fn get(&self, index: RaftIndex) -> Option<&TailEntry> {
        let place = index.0.checked_sub(self.first.0)?;
        self.slots.get(usize::try_from(place).ok()?).map(|slot| &slot.entry)
    }

    /// Reads every entry that is not in memory into it.
    ///
    /// # Errors
    /// What `read` gave; the entries before that are loaded.
    pub(crate) fn load(&mut self, read: impl Fn(&Stored) -> Result<Entry, String>) -> Result<(), String> {
        for slot in &mut self.slots {
            if let TailEntry::Stored(stored) = &slot.entry {
                slot.entry = TailEntry::Loaded(read(stored)?);
                self.bytes += loaded_bytes(&slot.entry);
            }
        }
        Ok(())
    }

    /// The entries that are in memory.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter_map(|slot| match &slot.entry {
            TailEntry::Loaded(entry) => Some(entry),
            TailEntry::Stored(_) => None,
        })
    }

    /// Where the first entry stands in the journal; `None` when it is not written yet.
    pub(crate) fn first_written(&self) -> Option<Position> {
        self.slots.front().and_then(|slot| slot.written)
    }
}

fn loaded_bytes(entry: &TailEntry) -> usize {
    match entry {
        TailEntry::Loaded(entry) => entry.payload.size_bytes(),
        TailEntry::Stored(_) => 0,
    }
}

/// The offset after an entry that starts at `offset`.
pub(crate) fn offset_after(payload: &Payload, offset: Offset) -> Offset {
    match payload {
        Payload::Batch(batch) => batch.next_offset(),
        Payload::Blank | Payload::Membership(_) | Payload::Control(_) => offset,
    }
}
