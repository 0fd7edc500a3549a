//! Letting go of old segments: facts for the decision, detaching, deleting.
//!
//! A detached segment has left the log, but its files stay until a checkpoint that no longer
//! lists it is durable: before that a crash brings it back. Readers' slices outlive both.

use highwater_types::{FilePosition, Offset, RaftIndex, TimestampMs};

use super::checkpoint::CheckpointMark;
use super::error::SegmentError;
use super::run_table::RunTable;
use super::segmented_log::{Detached, Published, SegmentedLog};

/// What retention needs to know of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The first offset.
    pub base: Offset,
    /// The offset after the last record.
    pub next: Offset,
    /// Bytes of batches.
    pub size: FilePosition,
    /// The largest timestamp, or [`TimestampMs::NONE`].
    pub max_timestamp: TimestampMs,
    /// The Raft index of the first batch; `None` while there is none.
    pub first_index: Option<RaftIndex>,
    /// The Raft index of the last batch; `None` while there is none.
    pub last_index: Option<RaftIndex>,
    /// When the first batch was appended, by this node's clock.
    pub created: Option<TimestampMs>,
    /// Whether it takes no more batches.
    pub sealed: bool,
}

impl SegmentedLog {
    /// All segments, in order.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let published = self.published.read();
        let info = |segment: &super::segmented_log::PublishedSegment| {
            let extent = &segment.extent;
            let runs = published.runs.runs_in(extent.base);
            SegmentInfo {
                base: extent.base,
                next: extent.next,
                size: FilePosition(extent.size),
                max_timestamp: extent.max_timestamp(),
                first_index: runs.first().map(|run| run.first_index),
                last_index: runs.last().map(|run| run.last_index()),
                created: extent.created,
                sealed: extent.sealed,
            }
        };
        published.segments.iter().map(info).collect()
    }

    /// About how many bytes the batches after the Raft index take: the segment that it is in counts in proportion.
    #[must_use]
    pub fn bytes_after(&self, index: RaftIndex) -> u64 {
        let published = self.published.read();
        let mut bytes = 0;
        for segment in published.segments.iter().rev() {
            let runs = published.runs.runs_in(segment.extent.base);
            let (Some(first), Some(last)) = (runs.first(), runs.last()) else { continue };
            if last.last_index() <= index {
                break;
            }
            let all = (last.last_index().0 - first.first_index.0 + 1) as f64;
            let after = (last.last_index().0 - index.0.max(first.first_index.0.saturating_sub(1))) as f64;
            bytes += (segment.extent.size as f64 * (after / all)) as u64;
        }
        bytes
    }

    /// Takes the segments that lie wholly below `offset` out of the log; returns how many. When that is
    /// all of them, the active one is sealed and goes too (unless a full disk keeps it, with the
    /// space reserved in it). Their files stay until [`delete_detached`](Self::delete_detached).
    pub fn detach_before(&self, offset: Offset) -> Result<usize, SegmentError> {
        let mut writer = self.writer()?;
        let active = self.active();
        if active.is_some_and(|active| active.extent.size > 0 && active.extent.next <= offset) {
            self.roll(&mut writer)?;
        }
        let mut published = self.published.write();
        let count = published
            .segments
            .iter()
            .take_while(|segment| segment.extent.sealed && segment.extent.next <= offset)
            .count();
        published.detach(count);
        let start = published.start_offset();
        if count > 0 {
            published.runs.drop_before(start);
        }
        Ok(count)
    }

    /// Drops everything and continues at `start`, which is at or above the end: a follower that
    /// jumps, or records deleted beyond the end. Reservations are kept, but their space is not.
    ///
    /// # Panics
    /// When `start` is below the end of the log: offsets never go back.
    pub fn reset(&self, start: Offset) -> Result<(), SegmentError> {
        let mut writer = self.writer()?;
        let mut published = self.published.write();
        let next = published.runs.next_offset();
        assert!(start >= next, "a log that reaches {next} cannot continue at {start}");
        let empty_here = published.segments.last().is_some_and(|last| last.extent.base == start);
        let count = published.segments.len() - usize::from(empty_here);
        published.detach(count);
        published.runs = RunTable::new(start);
        if !empty_here {
            writer.allocated = 0;
            writer.indexed_at = None;
        }
        Ok(())
    }

    /// Deletes the files of the segments that were detached before the checkpoint of `mark` was captured;
    /// returns how many. Call it when that checkpoint is durable: from then on no crash brings them back.
    pub fn delete_detached(&self, mark: CheckpointMark) -> Result<usize, SegmentError> {
        let due: Vec<Detached> = {
            let mut published = self.published.write();
            published.deleted.retain(|deleted| deleted.segment.is_pinned());
            published.detached.extract_if(.., |detached| detached.checkpoints < mark.0).collect()
        };
        let count = due.len();
        let mut due = due.into_iter();
        while let Some(detached) = due.next() {
            let removed = detached.segment.segment.remove_files();
            let mut published = self.published.write();
            if let Err(error) = removed {
                published.detached.push(detached);
                published.detached.extend(due);
                return Err(error);
            }
            if detached.segment.segment.is_pinned() {
                published.deleted.push(detached.segment);
            }
        }
        Ok(count)
    }

    /// Bytes of disk that are not the log's any more and not free yet: of segments that wait for a
    /// checkpoint, and of deleted ones that readers' slices still hold.
    #[must_use]
    pub fn detached_bytes(&self) -> u64 {
        let mut published = self.published.write();
        published.deleted.retain(|deleted| deleted.segment.is_pinned());
        let waiting = published.detached.iter().map(|detached| detached.segment.extent.size);
        waiting.chain(published.deleted.iter().map(|deleted| deleted.extent.size)).sum()
    }

    /// The part of [`detached_bytes`](Self::detached_bytes) that only readers' slices hold.
    #[must_use]
    pub fn pinned_bytes(&self) -> u64 {
        let published = self.published.read();
        let waiting = published.detached.iter().map(|detached| &detached.segment);
        let pinned = waiting.chain(&published.deleted).filter(|segment| segment.segment.is_pinned());
        pinned.map(|segment| segment.extent.size).sum()
    }
}

impl Published {
    /// Takes the first `count` segments out of the log.
    fn detach(&mut self, count: usize) {
        for segment in self.segments.drain(..count) {
            segment.segment.release();
            self.detached.push(Detached { segment, checkpoints: self.checkpoints });
        }
    }
}
