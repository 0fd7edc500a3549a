//! One segment as published at one moment, for reading without a lock.

use std::sync::Arc;

use bytes::Bytes;
use highwater_records::{Batch, StampedBatch};
use highwater_types::Offset;

use super::error::{Damage, SegmentError};
use super::extent::Extent;
use super::log_slices::LogSlices;
use super::run_table::Run;
use super::segment_file::{LOG, Segment};
use super::source::MappedSource;
use super::sparse_index::SparseIndex;
use super::walker::{BatchWalker, Floor, WalkedBatch};
use crate::disk::Mapping;

/// A snapshot of one segment: all in it is written and will never change.
pub(crate) struct SegmentView {
    pub(crate) segment: Arc<Segment>,
    pub(crate) extent: Extent,
    pub(crate) runs: Vec<Run>,
}

/// A walk over a view's mapping.
pub(crate) struct ViewWalk {
    pub(crate) walker: BatchWalker<MappedSource>,
    mapping: Arc<dyn Mapping>,
}

impl ViewWalk {
    /// The bytes of a batch that the walk has passed.
    pub(crate) fn slice(&self, batch: &WalkedBatch) -> Bytes {
        Arc::clone(&self.mapping).slice(batch.at.position..batch.end())
    }

    /// A batch that the walk has passed, with its checksum checked.
    pub(crate) fn checked_batch(&mut self, batch: &WalkedBatch) -> Result<Batch, SegmentError> {
        self.walker.check_body(batch)?;
        Batch::parse(self.slice(batch)).map_err(|error| self.walker.damaged_at(batch.at.position, error.into()))
    }
}

impl SegmentView {
    /// A walk from the place that `find` picks from the index. A place whose header contradicts the
    /// index gets the index rebuilt; when the header itself is damaged, that is the error.
    pub(crate) fn walk_from(&self, find: impl Fn(&mut SparseIndex) -> Floor) -> Result<ViewWalk, SegmentError> {
        let at = self.segment.with_index(&self.extent, &self.runs, &find)?;
        let mut walk = self.walk_at(at)?;
        if at.position == 0 || (at.position < self.extent.size && walk.walker.peek().is_ok()) {
            return Ok(walk);
        }
        self.segment.rebuild_index(&self.extent, &self.runs)?;
        let at = self.segment.with_index(&self.extent, &self.runs, &find)?;
        self.walk_at(at)
    }

    /// Whole batches from the one that holds `from` up to `below`; the first one whatever its size.
    pub(crate) fn read(
        &self,
        from: Offset,
        below: Offset,
        bytes_max: usize,
    ) -> Result<LogSlices, SegmentError> {
        let mut walk = self.walk_from(|index| index.floor_of_offset(from))?;
        let mut out = LogSlices::empty(from);
        let mut start = None;
        let mut end = 0;
        while let Some(batch) = walk.walker.peek()? {
            let (header, size) = (&batch.header, batch.header.size_in_bytes);
            if header.next_offset() <= from {
                walk.walker.next()?;
                continue;
            }
            let fits = out.batches == 0 || out.bytes + size <= bytes_max;
            if header.next_offset() > below || !fits {
                break;
            }
            walk.walker.next()?;
            if start.is_none() {
                start = Some(batch.at.position);
                out.base_offset = header.base_offset;
            }
            end = batch.end();
            out.next_offset = header.next_offset();
            out.bytes += size;
            out.batches += 1;
        }
        if let Some(start) = start {
            out.slices.push(Arc::clone(&walk.mapping).slice(start..end));
        }
        Ok(out)
    }

    /// Brings the pages from the batch of `from` on into memory.
    pub(crate) fn read_ahead(&self, from: Offset, bytes_max: usize) -> Result<(), SegmentError> {
        let at = self.segment.with_index(&self.extent, &self.runs, |index| index.floor_of_offset(from))?;
        let Extent { size, sealed, .. } = self.extent;
        let mapping = self.segment.mapping(size, sealed)?;
        let start = at.position.min(size);
        let end = size.min(start.saturating_add(bytes_max as u64));
        mapping.populate(start..end).map_err(|source| SegmentError::io("read", self.segment.path(LOG), source))
    }

    /// The batches from `ordinal` on, with their checksums checked, each handed to `take` until it
    /// returns `false`.
    pub(crate) fn batches_from(
        &self,
        ordinal: u32,
        mut take: impl FnMut(u32, StampedBatch) -> bool,
    ) -> Result<(), SegmentError> {
        let mut walk = self.walk_from(|index| index.floor_of_ordinal(ordinal))?;
        while let Some(batch) = walk.walker.next()? {
            if batch.at.ordinal < ordinal {
                continue;
            }
            let stamped = StampedBatch::from_batch(walk.checked_batch(&batch)?);
            if !take(batch.at.ordinal, stamped) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The error for damage at a position of the log file.
    pub(crate) fn damaged_at(&self, position: u64, damage: Damage) -> SegmentError {
        SegmentError::Corrupt {
            file: self.segment.path(LOG),
            position: highwater_types::FilePosition(position),
            damage,
        }
    }

    fn walk_at(&self, at: Floor) -> Result<ViewWalk, SegmentError> {
        let Extent { size, next, sealed, .. } = self.extent;
        let mapping = self.segment.mapping(size, sealed)?;
        let source = MappedSource::new(Arc::clone(&mapping), size);
        let walker = BatchWalker::new(source, self.segment.path(LOG), size, Some(next), self.runs.clone(), at);
        Ok(ViewWalk { walker, mapping })
    }
}
