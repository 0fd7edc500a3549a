//! Appending committed batches.
//!
//! One append writes as many batches as fit the active segment with one vectored write, head
//! and body of each as they lie in memory, and then publishes them in one step. A failed write
//! publishes nothing and may be repeated: it goes to the same place.

use std::io::IoSlice;

use highwater_records::StampedBatch;
use highwater_types::{RaftIndex, Term, TimestampMs};

use super::damaged::mark;
use super::error::SegmentError;
use super::extent::Extent;
use super::run_table::RunBatch;
use super::segment_file::LOG;
use super::segmented_log::{PublishedSegment, SegmentedLog, Writer};
use super::space::{Room, is_full};
use super::walker::Floor;

/// Most batches in one vectored write: two parts each, of the kernel's 1024.
const BATCHES_PER_WRITE_MAX: usize = 512;
/// Offsets of one segment are 32-bit in its index.
const SEGMENT_OFFSETS_MAX: i64 = u32::MAX as i64;

/// A committed batch on its way into the log.
#[derive(Debug, Clone, Copy)]
pub struct Append<'a> {
    /// The batch, stamped with the offset and the epoch that consensus gave it.
    pub batch: &'a StampedBatch,
    /// Its Raft index.
    pub index: RaftIndex,
    /// Its term, which the epoch says too.
    pub term: Term,
}

impl SegmentedLog {
    /// Appends one batch; see [`append_all`](Self::append_all).
    pub fn append(
        &self,
        batch: &StampedBatch,
        index: RaftIndex,
        term: Term,
        now: TimestampMs,
    ) -> Result<(), SegmentError> {
        self.append_all(&[Append { batch, index, term }], now)
    }

    /// Appends batches that follow the log's end and each other; `now` is the wall clock, for
    /// `segment.ms`. On return they can be read. They are durable once a checkpoint captured
    /// after that has been synced; until then the journal has them.
    ///
    /// On an error the batches before the failing one may be in the log, as
    /// [`next_offset`](Self::next_offset) tells; the rest can be appended again. What was
    /// reserved always fits; without a reservation this can fail with [`SegmentError::NoSpace`].
    pub fn append_all(&self, batches: &[Append<'_>], now: TimestampMs) -> Result<(), SegmentError> {
        let mut writer = self.writer()?;
        self.check_contiguous(batches)?;
        let mut rest = batches;
        while let Some(first) = rest.first() {
            let active = self.segment_for(&mut writer, first.batch, now)?;
            let count = batches_that_fit(&writer, &active.extent, rest);
            let (group, after) = rest.split_at(count);
            match self.write_group(&mut writer, &active, group, now) {
                Ok(()) => rest = after,
                Err(error) => self.leave_damaged(&mut writer, &active, error)?,
            }
        }
        Ok(())
    }

    /// Ends the active segment when its first batch is older than `segment.ms`. Returns whether it did;
    /// a full disk delays it.
    pub fn roll_if_expired(&self, now: TimestampMs) -> Result<bool, SegmentError> {
        let mut writer = self.writer()?;
        match self.active() {
            Some(active) if is_expired(&writer, &active.extent, now) => self.roll(&mut writer),
            _ => Ok(false),
        }
    }

    /// Ends the active segment, so that retention can take it. Returns whether there was one with
    /// batches; a full disk can delay it when there are reservations.
    pub fn seal_active(&self) -> Result<bool, SegmentError> {
        let mut writer = self.writer()?;
        match self.active() {
            Some(active) if active.extent.size > 0 => self.roll(&mut writer),
            _ => Ok(false),
        }
    }

    /// Seals the active segment; what is reserved moves to a next one.
    pub(crate) fn roll(&self, writer: &mut Writer) -> Result<bool, SegmentError> {
        if writer.reserved == 0 {
            self.seal(writer);
            return Ok(true);
        }
        match self.start_segment(writer, writer.reserved, Room::All) {
            Ok(_) => Ok(true),
            Err(SegmentError::NoSpace { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether all batches follow the end and each other, before anything is written.
    fn check_contiguous(&self, batches: &[Append<'_>]) -> Result<(), SegmentError> {
        let (mut next_offset, mut last) = {
            let published = self.published.read();
            (published.runs.next_offset(), published.runs.last_entry())
        };
        for Append { batch, index, term } in batches {
            let follows = batch.base_offset() == next_offset
                && i64::from(batch.partition_leader_epoch().0) == i64::try_from(term.0).unwrap_or(i64::MAX)
                && last.is_none_or(|(last_index, last_term)| *index > last_index && *term >= last_term);
            if !follows {
                return Err(SegmentError::NotContiguous {
                    base_offset: batch.base_offset(),
                    index: *index,
                    term: *term,
                    next_offset,
                    last_index: last.map(|(index, _)| index),
                    last_term: last.map(|(_, term)| term),
                });
            }
            next_offset = batch.next_offset();
            last = Some((*index, *term));
        }
        Ok(())
    }

    /// The segment that takes `batch`, with room for it: the active one or, after a roll, the next.
    fn segment_for(
        &self,
        writer: &mut Writer,
        batch: &StampedBatch,
        now: TimestampMs,
    ) -> Result<PublishedSegment, SegmentError> {
        let size = batch.size_in_bytes() as u64;
        let room = writer.reserved.max(size);
        let Some(active) = self.active() else {
            return self.start_segment(writer, room, Room::All);
        };
        let extent = &active.extent;
        let full = extent.size > 0
            && (extent.size + size > writer.options.segment_bytes
                || batch.next_offset().0 - extent.base.0 > SEGMENT_OFFSETS_MAX
                || is_expired(writer, extent, now));
        if full {
            match self.start_segment(writer, room, Room::All) {
                Err(SegmentError::NoSpace { .. }) => {}
                result => return result,
            }
        }
        self.grow(writer, &active, size, Room::All)?;
        Ok(active)
    }

    /// When `error` says that the active segment is damaged, which shows when its index has to be made: marks it, and starts the next.
    /// What is damaged of it is repaired from other replicas; batches to come must not wait for that.
    fn leave_damaged(
        &self,
        writer: &mut Writer,
        active: &PublishedSegment,
        error: SegmentError,
    ) -> Result<(), SegmentError> {
        match error {
            SegmentError::Corrupt { file, position, damage } if file == active.segment.path(LOG) => {
                self.start_segment(writer, writer.reserved, Room::All)?;
                mark(active, position, &damage);
                Ok(())
            }
            other => Err(other),
        }
    }

    /// Writes batches that fit the active segment, indexes them and publishes them.
    fn write_group(
        &self,
        writer: &mut Writer,
        active: &PublishedSegment,
        group: &[Append<'_>],
        now: TimestampMs,
    ) -> Result<(), SegmentError> {
        let bytes: u64 = group.iter().map(|append| append.batch.size_in_bytes() as u64).sum();
        self.grow(writer, active, bytes, Room::All)?;
        let mut parts = Vec::with_capacity(2 * group.len());
        for append in group {
            let (head, body) = append.batch.parts();
            parts.push(IoSlice::new(head));
            parts.push(IoSlice::new(body));
        }
        active.segment.write(&mut parts, active.extent.size).map_err(|error| match error {
            // Where blocks cannot be reserved, a full disk shows only now.
            SegmentError::Io { ref source, .. } if is_full(source) => self.no_space(bytes, Room::All),
            other => other,
        })?;
        self.index_group(writer, active, group, now)?;
        self.publish(active, group, now);
        writer.reserved = writer.reserved.saturating_sub(bytes);
        Ok(())
    }

    /// Adds an index entry every so many bytes.
    fn index_group(
        &self,
        writer: &mut Writer,
        active: &PublishedSegment,
        group: &[Append<'_>],
        now: TimestampMs,
    ) -> Result<(), SegmentError> {
        let runs = self.published.read().runs.runs_in(active.extent.base).to_vec();
        let first_ordinal = runs.last().map_or(0, |run| run.ordinal + run.batches);
        let mut extent = active.extent;
        for (ordinal, append) in (first_ordinal..).zip(group) {
            let position = extent.size;
            let due =
                writer.indexed_at.is_none_or(|last| position - last >= writer.options.index_interval_bytes);
            if due && position > 0 {
                let at = Floor { offset: extent.next, position, ordinal };
                let newest = extent.max_timestamp();
                active.segment.with_index(&active.extent, &runs, |index| index.push(at, newest))?;
                writer.indexed_at = Some(position);
            }
            extend(&mut extent, append.batch, now);
        }
        Ok(())
    }

    fn publish(&self, active: &PublishedSegment, group: &[Append<'_>], now: TimestampMs) {
        let mut published = self.published.write();
        let published = &mut *published;
        let last = published.segments.last_mut().filter(|last| !last.extent.sealed);
        let extent = &mut last.expect("the writer's lock keeps the active segment").extent;
        assert_eq!(*extent, active.extent, "only the holder of the writer's lock publishes");
        for append in group {
            published.runs.push(RunBatch {
                index: append.index,
                term: append.term,
                base_offset: append.batch.base_offset(),
                next_offset: append.batch.next_offset(),
                segment: extent.base,
                position: highwater_types::FilePosition(extent.size),
            });
            extend(extent, append.batch, now);
        }
    }
}

fn extend(extent: &mut Extent, batch: &StampedBatch, now: TimestampMs) {
    let header = batch.header();
    extent.extend(
        header.base_offset,
        header.next_offset(),
        header.size_in_bytes as u64,
        header.max_timestamp,
        now,
    );
}

/// How many batches go into the active segment with one write; the first one always does.
fn batches_that_fit(writer: &Writer, extent: &Extent, batches: &[Append<'_>]) -> usize {
    let mut size = extent.size;
    let fits = batches.iter().take(BATCHES_PER_WRITE_MAX).take_while(|append| {
        size += append.batch.size_in_bytes() as u64;
        size <= writer.options.segment_bytes
            && append.batch.next_offset().0 - extent.base.0 <= SEGMENT_OFFSETS_MAX
    });
    fits.count().max(1)
}

/// Whether the first batch is older than `segment.ms`. A clock that went back expires nothing.
fn is_expired(writer: &Writer, extent: &Extent, now: TimestampMs) -> bool {
    extent.size > 0
        && extent.created.is_some_and(|created| now.0.saturating_sub(created.0) >= writer.options.segment_ms)
}
