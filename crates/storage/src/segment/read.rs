//! Reading: by offset for consumers, by Raft index for replication. All reads return slices of
//! the mappings and hold no lock while they walk.

use highwater_records::StampedBatch;
use highwater_types::{Offset, RaftIndex, Term};

use super::error::SegmentError;
use super::log_slices::{IndexedBatch, LogSlices};
use super::run_table::Located;
use super::segmented_log::SegmentedLog;
use super::view::SegmentView;

impl SegmentedLog {
    /// Whole batches from the one that holds `from` on: at most `bytes_max` in all, but the first
    /// whatever its size, and none that reaches beyond `below` (exclusive). Nothing when `from` is
    /// at or above `below` or the end of the log. May return less than there is; what it
    /// returns ends at a batch's end.
    ///
    /// Headers are checked against the run table on the way (R5), checksums are not: the
    /// reader of the records does that, and [`read_ahead`](Self::read_ahead) for what comes from the disk. In a segment that is
    /// known to be damaged they are, and what is returned ends before the damage. May block on the disk.
    pub fn read(&self, from: Offset, below: Offset, bytes_max: usize) -> Result<LogSlices, SegmentError> {
        let mut out = LogSlices::empty(from);
        let Some(mut view) = self.published.read().view_of(from)? else {
            return Ok(out);
        };
        let mut at = from;
        while at < below && (out.is_empty() || out.bytes < bytes_max) {
            let part = self.noting(&view, |view| view.read(at, below, bytes_max.saturating_sub(out.bytes)));
            let mut part = match part {
                Ok(part) => part,
                // Retention was faster than this reader: its files may be gone.
                Err(_) if self.has_left(&view) && out.is_empty() => return Err(self.out_of_range(from)),
                Err(_) if self.has_left(&view) => break,
                // What is whole before the damage is whole.
                Err(error) if error.is_damage() && !out.is_empty() => break,
                Err(error) => return Err(error),
            };
            // Only the very first batch may be larger than what is asked for.
            if !out.is_empty() && out.bytes + part.bytes > bytes_max {
                break;
            }
            let whole = part.next_offset == view.extent.next;
            part.slices.retain(|slice| !slice.is_empty());
            out.extend(part);
            if !whole {
                break;
            }
            at = view.extent.next;
            // What retention takes away meanwhile only ends this read early.
            match self.published.read().view_of(at) {
                Ok(Some(next)) => view = next,
                _ => break,
            }
        }
        Ok(out)
    }

    /// Reads the disk pages of a coming [`read`](Self::read) into memory, so that it does not block;
    /// an unreadable sector is found here instead of being a signal there (R7), and so is a wrong checksum. Damage is no error
    /// here: the read meets its mark, and gives what is whole before it. Blocks on the disk.
    pub fn read_ahead(&self, from: Offset, below: Offset, bytes_max: usize) -> Result<(), SegmentError> {
        let view = self.published.read().view_of(from)?;
        let Some(view) = view.filter(|_| from < below) else { return Ok(()) };
        match self.noting(&view, |view| view.read_ahead(from, bytes_max)) {
            Err(error) if error.is_damage() => Ok(()),
            result => result,
        }
    }

    /// The batch of a Raft index, with its checksum checked, and its term; `None` when the index is
    /// no batch or no longer held.
    pub fn batch_at_index(&self, index: RaftIndex) -> Result<Option<(StampedBatch, Term)>, SegmentError> {
        let found = self.batches_at_indexes(index, index.next(), 0)?;
        Ok(found.into_iter().next().map(|found| (found.batch, found.term)))
    }

    /// The batches with Raft indexes from `from` up to, not including, `below`, in order, with their
    /// checksums checked: at most `bytes_max` bytes, but the first one whatever its size. Indexes that
    /// are no batch are left out; what is returned has no gaps but those. When retention takes some of them
    /// away meanwhile, nothing is returned.
    pub fn batches_at_indexes(
        &self,
        from: RaftIndex,
        below: RaftIndex,
        bytes_max: usize,
    ) -> Result<Vec<IndexedBatch>, SegmentError> {
        let mut out = Vec::new();
        let mut bytes_left = bytes_max;
        let mut at = from;
        while let Some((view, first)) = self.view_of_index(at, below) {
            let mut full = false;
            let mut last = None;
            let walked = self.noting(&view, |view| {
                view.batches_from(first.ordinal, |ordinal, batch| {
                    let Some((index, term)) = identify(view, ordinal).filter(|(index, _)| *index < below)
                    else {
                        full = true;
                        return false;
                    };
                    let size = batch.size_in_bytes();
                    if !out.is_empty() && size > bytes_left {
                        full = true;
                        return false;
                    }
                    bytes_left = bytes_left.saturating_sub(size);
                    out.push(IndexedBatch { index, term, batch });
                    last = Some(index);
                    // Stops before the next one is read and checked in vain.
                    full = bytes_left == 0 || index.next() >= below;
                    !full
                })
            });
            match walked {
                // What retention took away is not held, and nothing before it either.
                Err(_) if self.has_left(&view) => return Ok(Vec::new()),
                // What is whole before the damage is whole.
                Err(error) if error.is_damage() && !out.is_empty() => return Ok(out),
                result => result?,
            }
            match last {
                Some(last) if !full => at = last.next(),
                _ => break,
            }
        }
        Ok(out)
    }

    /// Whether retention has taken a view's segment out of the log.
    pub(crate) fn has_left(&self, view: &SegmentView) -> bool {
        self.start_offset() > view.extent.base
    }

    fn out_of_range(&self, offset: Offset) -> SegmentError {
        let published = self.published.read();
        let (start, next) = (published.start_offset(), published.runs.next_offset());
        SegmentError::OutOfRange { offset, start, next }
    }

    /// The segment with the first batch at or above `from`, and where in it that batch is.
    fn view_of_index(&self, from: RaftIndex, below: RaftIndex) -> Option<(SegmentView, Located)> {
        let published = self.published.read();
        let index = published.runs.next_batch_index(from).filter(|index| *index < below)?;
        let located = published.runs.locate(index)?;
        let at = published.segments.binary_search_by_key(&located.run.segment, |segment| segment.extent.base);
        at.ok().map(|at| (published.view(&published.segments[at]), located))
    }
}

/// Raft index and term of the batch with `ordinal` in a view.
fn identify(view: &SegmentView, ordinal: u32) -> Option<(RaftIndex, Term)> {
    let after = view.runs.partition_point(|run| run.ordinal <= ordinal);
    let run = view.runs[..after].last()?;
    Some((RaftIndex(run.first_index.0 + u64::from(ordinal - run.ordinal)), run.term))
}
