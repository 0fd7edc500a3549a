//! The handle of a partition's segments: one writer, many readers, all through `&self`.
//!
//! What readers see is published in one step under one lock, which nobody holds during IO:
//! the extents of the segments and the run table. Writers queue on a lock of their own.
//!
//! Lock order: `writer`, then `published`.

use std::path::PathBuf;
use std::sync::Arc;

use highwater_types::limits::BATCH_BYTES_MAX;
use highwater_types::{Offset, RaftIndex, Term};
use parking_lot::{Mutex, MutexGuard, RwLock};

use super::checkpoint::Durability;
use super::error::SegmentError;
use super::extent::Extent;
use super::map_budget::MapBudget;
use super::run_table::{Located, RunTable};
use super::segment_file::Segment;
use super::view::SegmentView;
use crate::disk::Disk;

/// Most bytes that positions in a segment may reach: they are 32-bit in the index.
const SEGMENT_BYTES_LIMIT: u64 = (1 << 32) - 2 * BATCH_BYTES_MAX as u64;

/// How a log cuts itself into segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentOptions {
    /// A segment takes no batch that would make it larger than this (`segment.bytes`). One batch
    /// may be larger than that, and a full disk may delay a roll.
    pub segment_bytes: u64,
    /// A segment whose first batch is so old takes no more (`segment.ms`).
    pub segment_ms: i64,
    /// Bytes between index entries (`index.interval.bytes`).
    pub index_interval_bytes: u64,
}

impl Default for SegmentOptions {
    /// Kafka's defaults.
    fn default() -> Self {
        Self { segment_bytes: 1 << 30, segment_ms: 7 * 24 * 60 * 60 * 1000, index_interval_bytes: 4096 }
    }
}

impl SegmentOptions {
    /// # Panics
    /// When positions in such a segment would not fit 32 bits.
    fn check(&self) {
        assert!(
            self.segment_bytes <= SEGMENT_BYTES_LIMIT,
            "segments of {} bytes do not fit 32-bit positions",
            self.segment_bytes
        );
    }
}

/// The committed batches of one partition.
pub struct SegmentedLog {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) budget: Arc<MapBudget>,
    pub(crate) durability: Arc<Durability>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) published: RwLock<Published>,
}

/// What only the writer needs.
pub(crate) struct Writer {
    pub(crate) options: SegmentOptions,
    /// Bytes of disk that the active segment's file has.
    pub(crate) allocated: u64,
    /// Bytes promised to appends that are on their way.
    pub(crate) reserved: u64,
    /// Position of the active segment's last index entry; unknown after it was opened.
    pub(crate) indexed_at: Option<u64>,
    /// Whether the directory is known to exist.
    pub(crate) dir_exists: bool,
    /// Whether nothing may be changed.
    pub(crate) read_only: bool,
}

/// What readers see.
pub(crate) struct Published {
    /// In order; each starts where the one before it ends.
    pub(crate) segments: Vec<PublishedSegment>,
    pub(crate) runs: RunTable,
    /// Segments that left the log and whose files still exist.
    pub(crate) detached: Vec<Detached>,
    /// Segments whose files are gone, as far as readers may still hold slices of them.
    pub(crate) deleted: Vec<PublishedSegment>,
    /// How many checkpoints were captured.
    pub(crate) checkpoints: u64,
}

/// A segment and how far it is published.
#[derive(Clone)]
pub(crate) struct PublishedSegment {
    pub(crate) segment: Arc<Segment>,
    pub(crate) extent: Extent,
}

/// A segment that left the log.
pub(crate) struct Detached {
    pub(crate) segment: PublishedSegment,
    /// How many checkpoints had been captured then; all of these may list it.
    pub(crate) checkpoints: u64,
}

impl Published {
    pub(crate) fn new(runs: RunTable) -> Self {
        Self { segments: Vec::new(), runs, detached: Vec::new(), deleted: Vec::new(), checkpoints: 0 }
    }

    /// The segment that takes appends, if there is one.
    pub(crate) fn active(&self) -> Option<&PublishedSegment> {
        self.segments.last().filter(|last| !last.extent.sealed)
    }

    pub(crate) fn start_offset(&self) -> Offset {
        self.segments.first().map_or(self.runs.next_offset(), |first| first.extent.base)
    }

    /// The segment that holds `offset`; `None` at the end of the log.
    pub(crate) fn view_of(&self, offset: Offset) -> Result<Option<SegmentView>, SegmentError> {
        let (start, next) = (self.start_offset(), self.runs.next_offset());
        if offset < start || offset > next {
            return Err(SegmentError::OutOfRange { offset, start, next });
        }
        if offset == next {
            return Ok(None);
        }
        let after = self.segments.partition_point(|published| published.extent.base <= offset);
        Ok(self.segments[..after].last().map(|published| self.view(published)))
    }

    pub(crate) fn view(&self, published: &PublishedSegment) -> SegmentView {
        SegmentView {
            segment: Arc::clone(&published.segment),
            extent: published.extent,
            runs: self.runs.runs_in(published.extent.base).to_vec(),
        }
    }
}

impl SegmentedLog {
    /// A log that holds nothing and continues at `start`. Touches no file: the directory and the first
    /// file come with the first reservation or batch, which fails with [`SegmentError::NotEmpty`] when
    /// the directory holds segments: only [opening](Self::open) it with a manifest that does not list
    /// them removes data.
    ///
    /// # Panics
    /// When the options allow segments whose positions do not fit 32 bits.
    #[must_use]
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: SegmentOptions,
        maps: Arc<MapBudget>,
        start: Offset,
    ) -> Self {
        Self::with(disk, dir, options, maps, Published::new(RunTable::new(start)))
    }

    pub(crate) fn with(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: SegmentOptions,
        budget: Arc<MapBudget>,
        published: Published,
    ) -> Self {
        options.check();
        let allocated = published.active().map_or(0, |active| active.extent.size);
        let durability = Arc::new(Durability::new(Arc::clone(&disk), dir.clone()));
        let writer =
            Writer { options, allocated, reserved: 0, indexed_at: None, dir_exists: false, read_only: false };
        Self { disk, dir, budget, durability, writer: Mutex::new(writer), published: RwLock::new(published) }
    }

    /// Changes how segments are cut from now on; the index interval from the next segment on.
    ///
    /// # Panics
    /// When the options allow segments whose positions do not fit 32 bits.
    pub fn set_options(&self, options: SegmentOptions) {
        options.check();
        self.writer.lock().options = options;
    }

    /// The disk below.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The writer's lock, unless the log is open for reading only.
    pub(crate) fn writer(&self) -> Result<MutexGuard<'_, Writer>, SegmentError> {
        let writer = self.writer.lock();
        if writer.read_only {
            return Err(SegmentError::ReadOnly { directory: self.dir.clone() });
        }
        Ok(writer)
    }

    /// The first offset held; `next_offset` when nothing is. The partition's log start may lie
    /// inside the first segment, and above this.
    #[must_use]
    pub fn start_offset(&self) -> Offset {
        self.published.read().start_offset()
    }

    /// The offset that the next batch will have.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.published.read().runs.next_offset()
    }

    /// Whether a segment starts at `offset`.
    pub(crate) fn starts_segment(&self, offset: Offset) -> bool {
        let published = self.published.read();
        // The newest is asked for most.
        let bases = published.segments.iter().rev().map(|published| published.extent.base);
        bases.take_while(|base| *base >= offset).any(|base| base == offset)
    }

    /// Bytes of all batches held.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.published.read().segments.iter().map(|published| published.extent.size).sum()
    }

    /// Raft index and term of the last batch ever appended, also when it is no longer held.
    #[must_use]
    pub fn last_entry(&self) -> Option<(RaftIndex, Term)> {
        self.published.read().runs.last_entry()
    }

    /// The term of the batch that holds `offset`.
    #[must_use]
    pub fn term_at(&self, offset: Offset) -> Option<Term> {
        self.published.read().runs.term_at(offset)
    }

    /// See [`RunTable::end_offset_for_term`].
    #[must_use]
    pub fn end_offset_for_term(&self, term: Term) -> Option<(Term, Offset)> {
        self.published.read().runs.end_offset_for_term(term)
    }

    /// Where the batch of a Raft index is; `None` when the index is no batch or no longer held.
    #[must_use]
    pub fn locate(&self, index: RaftIndex) -> Option<Located> {
        self.published.read().runs.locate(index)
    }

    /// A copy of the run table.
    #[must_use]
    pub fn run_table(&self) -> RunTable {
        self.published.read().runs.clone()
    }
}
