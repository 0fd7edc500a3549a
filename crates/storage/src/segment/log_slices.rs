//! What reads return: whole batches, as slices of the mappings.

use bytes::Bytes;
use highwater_records::StampedBatch;
use highwater_types::{Offset, RaftIndex, Term};

/// Consecutive whole batches. The slices keep their mappings alive, also after the segment
/// was deleted.
#[derive(Debug, Clone)]
pub struct LogSlices {
    /// The base offset of the first batch; `next_offset` when there is none.
    pub base_offset: Offset,
    /// The offset after the last batch: where the next read continues.
    pub next_offset: Offset,
    /// Bytes in all.
    pub bytes: usize,
    /// How many batches.
    pub batches: usize,
    /// One slice for each segment that was read, in order; each holds whole batches.
    pub slices: Vec<Bytes>,
}

impl LogSlices {
    /// No batches, at `offset`.
    pub(crate) fn empty(offset: Offset) -> Self {
        Self { base_offset: offset, next_offset: offset, bytes: 0, batches: 0, slices: Vec::new() }
    }

    /// Whether there is no batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches == 0
    }

    /// Adds the batches of another segment.
    pub(crate) fn extend(&mut self, more: Self) {
        if more.is_empty() {
            return;
        }
        if self.is_empty() {
            self.base_offset = more.base_offset;
        }
        self.next_offset = more.next_offset;
        self.bytes += more.bytes;
        self.batches += more.batches;
        self.slices.extend(more.slices);
    }
}

/// A batch with its identity in the Raft log.
#[derive(Debug, Clone)]
pub struct IndexedBatch {
    /// Its Raft index.
    pub index: RaftIndex,
    /// Its term.
    pub term: Term,
    /// The batch; its checksum was checked.
    pub batch: StampedBatch,
}
