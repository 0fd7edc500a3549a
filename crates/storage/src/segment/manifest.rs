//! What a checkpoint remembers of a partition's segments: enough to open them in
//! O(segments) and to tell damage from what was never durable.
//!
//! The manifest states what is durable, so it may be written only after
//! [`CheckpointWork::sync`](super::CheckpointWork::sync) has returned. Integrity is the
//! business of the checkpoint that embeds it: it carries the checksum.
//!
//! Size: at most [`SEGMENT_RECORD_BYTES_MAX`] for each segment and [`RUN_RECORD_BYTES_MAX`]
//! for each run, plus 64 bytes. There is one run for each segment and one more for each
//! change of leader or membership (an entry that is no batch) with batches after it, so
//! retention bounds both.

use highwater_types::{FilePosition, Offset, RaftIndex, Term, TimestampMs};

use super::extent::{Extent, Newest};
use super::run_table::Run;

/// Most bytes that one segment adds to a manifest (varints of up to ten bytes and their tags).
pub const SEGMENT_RECORD_BYTES_MAX: usize = 76;
/// Most bytes that one run adds to a manifest.
pub const RUN_RECORD_BYTES_MAX: usize = 70;

/// The durable state of a partition's segments as of a checkpoint.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SegmentManifest {
    /// The offset after the last durable batch.
    #[prost(int64, tag = "1")]
    pub next_offset: i64,
    /// The segments, in order; only the last may be unsealed.
    #[prost(message, repeated, tag = "2")]
    pub segments: Vec<SegmentRecord>,
    /// The runs, in order.
    #[prost(message, repeated, tag = "3")]
    pub runs: Vec<RunRecord>,
    /// Raft index of the last batch ever appended, if any.
    #[prost(uint64, optional, tag = "4")]
    pub last_index: Option<u64>,
    /// Term of the last batch ever appended, if any.
    #[prost(uint64, optional, tag = "5")]
    pub last_term: Option<u64>,
}

impl SegmentManifest {
    /// The manifest of a log that holds nothing and continues at `start`.
    #[must_use]
    pub fn empty(start: Offset) -> Self {
        Self { next_offset: start.0, ..Self::default() }
    }

    /// The first offset held, or the next one when nothing is.
    #[must_use]
    pub fn start_offset(&self) -> Offset {
        Offset(self.segments.first().map_or(self.next_offset, |segment| segment.base_offset))
    }

    /// The last batch's Raft index and term.
    #[must_use]
    pub fn last_entry(&self) -> Option<(RaftIndex, Term)> {
        Some((RaftIndex(self.last_index?), Term(self.last_term?)))
    }
}

/// One segment in a manifest.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct SegmentRecord {
    /// The base offset, which names the file.
    #[prost(int64, tag = "1")]
    pub base_offset: i64,
    /// The offset after the last durable batch.
    #[prost(int64, tag = "2")]
    pub next_offset: i64,
    /// Bytes of durable data.
    #[prost(uint64, tag = "3")]
    pub size: u64,
    /// The largest timestamp, if the segment has batches.
    #[prost(int64, optional, tag = "4")]
    pub max_timestamp: Option<i64>,
    /// The base offset of the first batch that has the largest timestamp.
    #[prost(int64, tag = "5")]
    pub max_timestamp_batch: i64,
    /// When its first batch was appended, by this node's clock.
    #[prost(int64, optional, tag = "6")]
    pub created_ms: Option<i64>,
    /// Whether it takes no more batches.
    #[prost(bool, tag = "7")]
    pub sealed: bool,
    /// Entries of each index file that are durable.
    #[prost(uint32, tag = "8")]
    pub index_entries: u32,
}

impl SegmentRecord {
    /// The manifest's form of an extent whose index has so many entries.
    pub(crate) fn from_extent(extent: &Extent, index_entries: u32) -> Self {
        Self {
            base_offset: extent.base.0,
            next_offset: extent.next.0,
            size: extent.size,
            max_timestamp: extent.newest.map(|newest| newest.timestamp.0),
            max_timestamp_batch: extent.newest.map_or(0, |newest| newest.batch.0),
            created_ms: extent.created.map(|created| created.0),
            sealed: extent.sealed,
            index_entries,
        }
    }

    /// The extent that the record states.
    pub(crate) fn to_extent(self) -> Extent {
        Extent {
            base: Offset(self.base_offset),
            next: Offset(self.next_offset),
            size: self.size,
            newest: self.max_timestamp.map(|timestamp| Newest {
                timestamp: TimestampMs(timestamp),
                batch: Offset(self.max_timestamp_batch),
            }),
            created: self.created_ms.map(TimestampMs),
            sealed: self.sealed,
        }
    }
}

/// One run in a manifest.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct RunRecord {
    /// Raft index of the first batch.
    #[prost(uint64, tag = "1")]
    pub first_index: u64,
    /// Term of all batches.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Base offset of the first batch.
    #[prost(int64, tag = "3")]
    pub first_offset: i64,
    /// Base offset of the segment.
    #[prost(int64, tag = "4")]
    pub segment: i64,
    /// Position of the first batch in the segment's file.
    #[prost(uint64, tag = "5")]
    pub position: u64,
    /// Batches of the segment before the run.
    #[prost(uint32, tag = "6")]
    pub ordinal: u32,
    /// Batches of the run.
    #[prost(uint32, tag = "7")]
    pub batches: u32,
}

impl RunRecord {
    /// The manifest's form of a run.
    pub(crate) fn from_run(run: &Run) -> Self {
        Self {
            first_index: run.first_index.0,
            term: run.term.0,
            first_offset: run.first_offset.0,
            segment: run.segment.0,
            position: run.position.0,
            ordinal: run.ordinal,
            batches: run.batches,
        }
    }

    /// The run that the record states.
    pub(crate) fn to_run(self: &RunRecord) -> Run {
        Run {
            first_index: RaftIndex(self.first_index),
            term: Term(self.term),
            first_offset: Offset(self.first_offset),
            segment: Offset(self.segment),
            position: FilePosition(self.position),
            ordinal: self.ordinal,
            batches: self.batches,
        }
    }
}
