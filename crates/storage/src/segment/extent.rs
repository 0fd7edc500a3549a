//! What is published of one segment at one moment: how far it is written, and the
//! facts that retention and lookups by time need without opening a file.
//!
//! Invariants: `base ≤ next`; `size == 0` exactly when `base == next`; a sealed
//! extent never changes again.

use highwater_types::{Offset, TimestampMs};

/// The published state of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The offset of the first record, which names the file.
    pub(crate) base: Offset,
    /// The offset after the last record.
    pub(crate) next: Offset,
    /// Bytes of batches.
    pub(crate) size: u64,
    /// The largest timestamp, once there is a batch.
    pub(crate) newest: Option<Newest>,
    /// When the first batch was appended, by this node's clock.
    pub(crate) created: Option<TimestampMs>,
    /// Whether it takes no more batches.
    pub(crate) sealed: bool,
}

/// The largest timestamp of a segment and where it first occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newest {
    /// The largest timestamp.
    pub(crate) timestamp: TimestampMs,
    /// The base offset of the first batch that has it.
    pub(crate) batch: Offset,
}

impl Extent {
    /// A segment without batches.
    pub(crate) fn empty(base: Offset) -> Self {
        Self { base, next: base, size: 0, newest: None, created: None, sealed: false }
    }

    /// The largest timestamp so far, or [`TimestampMs::NONE`].
    pub(crate) fn max_timestamp(&self) -> TimestampMs {
        self.newest.map_or(TimestampMs::NONE, |newest| newest.timestamp)
    }

    /// Takes a batch that was appended at the end.
    pub(crate) fn extend(&mut self, base: Offset, next: Offset, size: u64, max: TimestampMs, now: TimestampMs) {
        self.created.get_or_insert(now);
        if self.newest.is_none_or(|newest| newest.timestamp < max) {
            self.newest = Some(Newest { timestamp: max, batch: base });
        }
        self.next = next;
        self.size += size;
    }

    /// Whether the extent contradicts itself.
    pub(crate) fn is_consistent(&self) -> bool {
        self.base <= self.next && self.base.0 >= 0 && (self.size == 0) == (self.base == self.next)
    }
}
