//! The sparse index of one segment in memory: every so many bytes, where a batch starts,
//! which offset and ordinal it has, and the largest timestamp before it.
//!
//! It is a hint. Entries are in strictly growing order, and the files' checksums keep out
//! what was never written; whoever follows an entry still checks the batch header there.

use highwater_types::{Offset, TimestampMs};

use super::extent::Extent;
use super::index_entry::{IndexChain, IndexEntry, OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES};
use super::run_table::Run;
use super::walker::Floor;

/// The entries of one segment, and how many of them the files have.
#[derive(Debug)]
pub(crate) struct SparseIndex {
    base: Offset,
    entries: Vec<IndexEntry>,
    /// Entries that both files hold, from their start.
    persisted: usize,
    /// The checksums up to there.
    chain: IndexChain,
    /// Whether the files hold something else behind the persisted entries.
    excess: bool,
}

/// Bytes to write to the two index files.
pub(crate) struct PendingEntries {
    /// How many entries the files hold already.
    pub(crate) after: usize,
    /// How many entries these are.
    pub(crate) count: usize,
    /// Whether the files must be cut to `after` entries first.
    pub(crate) cut: bool,
    /// Bytes of the `.index` file.
    pub(crate) offset: Vec<u8>,
    /// Bytes of the `.timeindex` file.
    pub(crate) time: Vec<u8>,
    chain: IndexChain,
}

impl SparseIndex {
    /// An index without entries and without files.
    pub(crate) fn empty(base: Offset) -> Self {
        Self { base, entries: Vec::new(), persisted: 0, chain: IndexChain::new(base), excess: false }
    }

    /// An index without entries that replaces whatever the files hold.
    pub(crate) fn replacing(base: Offset) -> Self {
        Self { excess: true, ..Self::empty(base) }
    }

    /// The longest prefix of the two files that is whole, lies within the extent and fits the runs.
    pub(crate) fn from_files(extent: &Extent, runs: &[Run], offset: &[u8], time: &[u8]) -> Self {
        let mut index = Self::empty(extent.base);
        let (offsets, offset_rest) = offset.as_chunks::<OFFSET_ENTRY_BYTES>();
        let (times, time_rest) = time.as_chunks::<TIME_ENTRY_BYTES>();
        for (offset, time) in offsets.iter().zip(times) {
            let mut chain = index.chain;
            let Ok(entry) = chain.decode(offset, time) else {
                break;
            };
            if !index.accepts(&entry, extent, runs) {
                break;
            }
            index.entries.push(entry);
            index.chain = chain;
        }
        index.persisted = index.entries.len();
        index.excess = !offset_rest.is_empty()
            || !time_rest.is_empty()
            || offsets.len() != index.persisted
            || times.len() != index.persisted;
        index
    }

    /// How many entries there are. A segment has fewer than 2^32 bytes, so this fits.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// Where the last entry points, and the largest timestamp before it.
    pub(crate) fn last(&self) -> (Floor, TimestampMs) {
        match self.entries.last() {
            Some(entry) => (entry.floor(self.base), entry.newest_before),
            None => (Floor::start(self.base), TimestampMs::NONE),
        }
    }

    /// Adds an entry for a batch behind all others.
    pub(crate) fn push(&mut self, at: Floor, newest_before: TimestampMs) {
        let (Ok(relative_offset), Ok(position)) =
            (u32::try_from(at.offset.0 - self.base.0), u32::try_from(at.position))
        else {
            // A segment is rolled long before; a batch without an entry is only found more slowly.
            return;
        };
        let entry = IndexEntry { relative_offset, position, ordinal: at.ordinal, newest_before };
        if self.follows(&entry) {
            self.entries.push(entry);
        }
    }

    /// The last entry at or before `offset`.
    pub(crate) fn floor_of_offset(&self, offset: Offset) -> Floor {
        let relative = offset.0 - self.base.0;
        self.floor(self.entries.partition_point(|entry| i64::from(entry.relative_offset) <= relative))
    }

    /// The last entry at or before the batch with `ordinal`.
    pub(crate) fn floor_of_ordinal(&self, ordinal: u32) -> Floor {
        self.floor(self.entries.partition_point(|entry| entry.ordinal <= ordinal))
    }

    /// The last entry before which every timestamp is below `time`.
    pub(crate) fn floor_of_time(&self, time: TimestampMs) -> Floor {
        self.floor(self.entries.partition_point(|entry| entry.newest_before < time))
    }

    /// Whether the files lack entries or hold others.
    pub(crate) fn is_persisted(&self) -> bool {
        self.persisted == self.entries.len() && !self.excess
    }

    /// What the files lack.
    pub(crate) fn pending(&self) -> PendingEntries {
        let entries = &self.entries[self.persisted..];
        let mut pending = PendingEntries {
            after: self.persisted,
            count: entries.len(),
            cut: self.excess,
            offset: Vec::with_capacity(entries.len() * OFFSET_ENTRY_BYTES),
            time: Vec::with_capacity(entries.len() * TIME_ENTRY_BYTES),
            chain: self.chain,
        };
        for entry in entries {
            let (offset, time) = pending.chain.encode(entry);
            pending.offset.extend_from_slice(&offset);
            pending.time.extend_from_slice(&time);
        }
        pending
    }

    /// Notes that `pending` is in the files.
    pub(crate) fn mark_persisted(&mut self, pending: &PendingEntries) {
        self.persisted = pending.after + pending.count;
        self.chain = pending.chain;
        self.excess = false;
    }

    fn floor(&self, after: usize) -> Floor {
        match self.entries[..after].last() {
            Some(entry) => entry.floor(self.base),
            None => Floor::start(self.base),
        }
    }

    /// Whether an entry may come behind the last one.
    fn follows(&self, entry: &IndexEntry) -> bool {
        match self.entries.last() {
            Some(last) => {
                last.relative_offset < entry.relative_offset
                    && last.position < entry.position
                    && last.ordinal < entry.ordinal
                    && last.newest_before <= entry.newest_before
            }
            None => entry.relative_offset > 0 && entry.position > 0 && entry.ordinal > 0,
        }
    }

    /// Whether an entry from the files may come behind the last one.
    fn accepts(&self, entry: &IndexEntry, extent: &Extent, runs: &[Run]) -> bool {
        let at = entry.floor(self.base);
        if !self.follows(entry) || at.position >= extent.size || at.offset >= extent.next {
            return false;
        }
        let after = runs.partition_point(|run| run.first_offset <= at.offset);
        runs[..after].last().is_some_and(|run| {
            run.position.0 <= at.position && (run.ordinal..run.ordinal + run.batches).contains(&at.ordinal)
        })
    }
}
