//! Lookups by time (R9). Timestamps need not be in order: the answer is the smallest offset
//! whose timestamp is at or after the one asked for, not the place where a sorted log would have it.
//!
//! Segment by segment the published maximum says where to look; in the segment the index skips
//! all batches before which every timestamp is too small; then headers and at last records decide.

use highwater_types::{Offset, TimestampMs};

use super::error::{Damage, SegmentError};
use super::extent::Newest;
use super::segmented_log::SegmentedLog;
use super::view::SegmentView;

impl SegmentedLog {
    /// The smallest offset in `from .. below` whose record has a timestamp at or after `time`, and that
    /// timestamp. The checksum of every batch that decides is checked. May block on the disk.
    pub fn offset_for_time(
        &self,
        time: TimestampMs,
        from: Offset,
        below: Offset,
    ) -> Result<Option<(Offset, TimestampMs)>, SegmentError> {
        let views: Vec<SegmentView> = {
            let published = self.published.read();
            let candidates = published.segments.iter().filter(|segment| {
                let extent = &segment.extent;
                extent.newest.is_some_and(|newest| newest.timestamp >= time)
                    && extent.next > from
                    && extent.base < below
            });
            // A batch whose header promises more than its records keep sends the search on,
            // so all candidates are taken; usually the first one answers.
            candidates.map(|segment| published.view(segment)).collect()
        };
        for view in views {
            match self.noting(&view, |view| view.offset_for_time(time, from, below)) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
                // Its files may be gone, and so are its records.
                Err(_) if self.has_left(&view) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The largest timestamp held and the smallest offset that has it.
    pub fn max_timestamp(&self) -> Result<Option<(Offset, TimestampMs)>, SegmentError> {
        let newest = {
            let published = self.published.read();
            let newest =
                published.segments.iter().filter_map(|segment| Some((segment, segment.extent.newest?)));
            // The first of several equals.
            let newest = newest.rev().max_by_key(|(_, newest)| newest.timestamp);
            newest.map(|(segment, newest)| (published.view(segment), newest))
        };
        let Some((view, Newest { timestamp, batch })) = newest else {
            return Ok(None);
        };
        self.noting(&view, |view| view.offset_for_time(timestamp, batch, view.extent.next))
    }
}

impl SegmentView {
    fn offset_for_time(
        &self,
        time: TimestampMs,
        from: Offset,
        below: Offset,
    ) -> Result<Option<(Offset, TimestampMs)>, SegmentError> {
        let mut walk = self.walk_from(|index| {
            let by_time = index.floor_of_time(time);
            let by_offset = index.floor_of_offset(from);
            if by_time.position < by_offset.position { by_offset } else { by_time }
        })?;
        while let Some(batch) = walk.walker.next()? {
            if batch.header.base_offset >= below {
                return Ok(None);
            }
            if batch.header.next_offset() <= from {
                continue;
            }
            // Also when it is passed over: a damaged maximum must not hide its records.
            walk.walker.check_body(&batch)?;
            if batch.header.max_timestamp < time {
                continue;
            }
            for record in walk.checked_batch(&batch)?.records() {
                let record =
                    record.map_err(|error| self.damaged_at(batch.at.position, Damage::Batch(error)))?;
                if record.offset >= below {
                    return Ok(None);
                }
                if record.offset >= from && record.timestamp >= time {
                    return Ok(Some((record.offset, record.timestamp)));
                }
            }
        }
        Ok(None)
    }
}
