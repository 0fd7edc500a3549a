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
use super::source::{AnySource, FileSource, MappedSource};
use super::sparse_index::SparseIndex;
use super::walker::{BatchWalker, Floor, WalkedBatch};
use crate::disk::{Mapping, is_device_failure};

/// A snapshot of one segment: all in it is written and will never change.
pub(crate) struct SegmentView {
    pub(crate) segment: Arc<Segment>,
    pub(crate) extent: Extent,
    pub(crate) runs: Vec<Run>,
}

/// A walk over a view: over its mapping, or by pread where damage is known.
pub(crate) struct ViewWalk {
    pub(crate) walker: BatchWalker<AnySource>,
    /// `None` where damage is known.
    mapping: Option<Arc<dyn Mapping>>,
}

impl ViewWalk {
    /// The bytes of a batch that the walk has passed: a slice of the mapping, or a copy.
    fn slice(&mut self, batch: &WalkedBatch) -> Result<Bytes, SegmentError> {
        match &self.mapping {
            Some(mapping) => Ok(Arc::clone(mapping).slice(batch.at.position..batch.end())),
            None => self.walker.copy(batch),
        }
    }

    /// A batch that the walk has passed, with its checksum checked.
    pub(crate) fn checked_batch(&mut self, batch: &WalkedBatch) -> Result<Batch, SegmentError> {
        self.walker.check_body(batch)?;
        let bytes = self.slice(batch)?;
        Batch::parse(bytes).map_err(|error| self.walker.damaged_at(batch.at.position, error.into()))
    }
}

impl SegmentView {
    /// A walk from the place that `find` picks from the index. A place whose header contradicts the
    /// index gets the index rebuilt; when the header itself is damaged, that is the error.
    pub(crate) fn walk_from(&self, find: impl Fn(&mut SparseIndex) -> Floor) -> Result<ViewWalk, SegmentError> {
        let is_damaged = self.segment.damage().is_set();
        let at = match self.segment.with_index(&self.extent, &self.runs, &find) {
            // The index cannot be completed over the damage.
            Err(_) if is_damaged => Floor::start(self.extent.base),
            found => found?,
        };
        let mut walk = self.walk_at(at)?;
        if is_damaged && at.position > 0 && walk.walker.peek().is_err() {
            return self.walk_at(Floor::start(self.extent.base));
        }
        if is_damaged || at.position == 0 || (at.position < self.extent.size && walk.walker.peek().is_ok()) {
            return Ok(walk);
        }
        self.segment.rebuild_index(&self.extent, &self.runs)?;
        let at = self.segment.with_index(&self.extent, &self.runs, &find)?;
        self.walk_at(at)
    }

    /// Whole batches from the one that holds `from` up to `below`; the first one whatever its size. Where damage is known,
    /// checksums are checked, and what is returned ends before the damage.
    pub(crate) fn read(
        &self,
        from: Offset,
        below: Offset,
        bytes_max: usize,
    ) -> Result<LogSlices, SegmentError> {
        let mut walk = self.walk_from(|index| index.floor_of_offset(from))?;
        if walk.mapping.is_none() {
            return read_checked(&mut walk, from, below, bytes_max);
        }
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
        if let (Some(start), Some(mapping)) = (start, walk.mapping) {
            out.slices.push(mapping.slice(start..end));
        }
        Ok(out)
    }

    /// Brings the pages from the batch of `from` on into memory, and checks the checksums of the batches in them: what comes from
    /// the disk is checked when it comes. Where damage is known there is nothing to do.
    pub(crate) fn read_ahead(&self, from: Offset, bytes_max: usize) -> Result<(), SegmentError> {
        if self.segment.damage().is_set() {
            return Ok(());
        }
        let at = self.segment.with_index(&self.extent, &self.runs, |index| index.floor_of_offset(from))?;
        let Extent { size, sealed, .. } = self.extent;
        let mapping = self.segment.mapping(size, sealed)?;
        let start = at.position.min(size);
        let end = size.min(start.saturating_add(bytes_max as u64));
        mapping.populate(start..end).map_err(|source| match is_device_failure(&source) {
            true => self.damaged_at(start, Damage::Unreadable { reason: source.to_string() }),
            false => SegmentError::io("read", self.segment.path(LOG), source),
        })?;
        let mut walk = self.walk_from(|index| index.floor_of_offset(from))?;
        while let Some(batch) = walk.walker.peek()? {
            // Only what was populated: the load of another page may be a signal.
            if batch.end() > end {
                break;
            }
            walk.walker.next()?;
            walk.walker.check_body(&batch)?;
        }
        Ok(())
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
        let (source, mapping) = if self.segment.damage().is_set() {
            (AnySource::File(FileSource::new(self.segment.file()?, size)), None)
        } else {
            let mapping = self.segment.mapping(size, sealed)?;
            (AnySource::Mapped(MappedSource::new(Arc::clone(&mapping), size)), Some(mapping))
        };
        let walker = BatchWalker::new(source, self.segment.path(LOG), size, Some(next), self.runs.clone(), at);
        Ok(ViewWalk { walker, mapping })
    }
}

/// As [`SegmentView::read`], for a walk that cannot trust what it reads.
fn read_checked(
    walk: &mut ViewWalk,
    from: Offset,
    below: Offset,
    bytes_max: usize,
) -> Result<LogSlices, SegmentError> {
    let mut out = LogSlices::empty(from);
    loop {
        let next = walk.walker.peek();
        let batch = match next {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(out),
            Err(_) if !out.is_empty() => return Ok(out),
            Err(error) => return Err(error),
        };
        let (header, size) = (&batch.header, batch.header.size_in_bytes);
        let is_before = header.next_offset() <= from;
        if !is_before && (header.next_offset() > below || (!out.is_empty() && out.bytes + size > bytes_max)) {
            return Ok(out);
        }
        walk.walker.next()?;
        if is_before {
            continue;
        }
        match walk.walker.check_body(&batch).and_then(|()| walk.slice(&batch)) {
            Ok(bytes) => {
                if out.is_empty() {
                    out.base_offset = header.base_offset;
                }
                out.next_offset = header.next_offset();
                out.bytes += size;
                out.batches += 1;
                out.slices.push(bytes);
            }
            Err(_) if !out.is_empty() => return Ok(out),
            Err(error) => return Err(error),
        }
    }
}
