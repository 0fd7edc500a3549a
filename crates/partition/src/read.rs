//! Reading: batches below the high watermark, waiting for more of them, and the offset of a
//! position or a time.
//!
//! What is below the high watermark never changes, so every replica that holds it may
//! serve it; but where the log ends only a leader that serves can say (R18).

use std::sync::Arc;

use bytes::Bytes;
use highwater_types::limits::FETCH_BYTES_MAX;
use highwater_types::{Offset, TimestampMs};
use tokio::time::{Instant, sleep_until};

use crate::error::PartitionError;
use crate::partition::Partition;
use crate::replica::Replica;
use crate::waiters::{DataWaiter, WaitRegistration};

/// What a fetch returns.
#[derive(Debug, Clone)]
pub struct FetchSlices {
    /// Whole batches, as slices of the log that need no copy; each slice holds one or more.
    pub batches: Vec<Bytes>,
    /// Bytes in all.
    pub bytes: usize,
    /// Where the next fetch continues.
    pub next_offset: Offset,
    /// The first offset that is not committed.
    pub high_watermark: Offset,
    /// The first offset that can be read.
    pub log_start: Offset,
}

/// Which offset is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The log start.
    Earliest,
    /// The high watermark.
    Latest,
    /// The record with the latest timestamp; the first of several.
    MaxTimestamp,
    /// The first record with this timestamp or a later one.
    AtTime(TimestampMs),
}

impl<R: Replica> Partition<R> {
    /// The batches from the one that contains `offset` on, which may start before it: at most
    /// `max_bytes` (and never more than [`FETCH_BYTES_MAX`]), but the first batch whatever its
    /// size. None at the high watermark. Cancel-safe.
    ///
    /// # Errors
    /// [`PartitionError::OffsetOutOfRange`] outside the log; [`PartitionError::NotServing`] above
    /// what a new leader knows; [`PartitionError::CutOff`] at the end and above, for what comes may go to another leader;
    /// [`PartitionError::NotLeader`] and [`PartitionError::ReadFailed`].
    pub async fn fetch(&self, offset: Offset, max_bytes: usize) -> Result<FetchSlices, PartitionError> {
        let replica = &self.inner.replica;
        self.check_readable(offset)?;
        let watermarks = replica.watermarks();
        let below = watermarks.high_watermark();
        let mut fetched = FetchSlices {
            batches: Vec::new(),
            bytes: 0,
            next_offset: offset,
            high_watermark: below,
            log_start: watermarks.log_start(),
        };
        if offset >= below {
            return Ok(fetched);
        }
        let max_bytes = max_bytes.min(FETCH_BYTES_MAX);
        let read = async {
            replica.read_ahead(offset, below, max_bytes).await?;
            replica.read(offset, below, max_bytes)
        };
        let slices = match read.await {
            Ok(slices) => slices,
            Err(error) => {
                // Retention may have taken the segment away since the check.
                self.check_readable(offset)?;
                return Err(error);
            }
        };
        fetched.bytes = slices.bytes;
        fetched.next_offset = slices.next_offset;
        fetched.batches = slices.slices;
        Ok(fetched)
    }

    /// Whether `offset` is within what this replica may read, its end included.
    fn check_readable(&self, offset: Offset) -> Result<(), PartitionError> {
        let serving = self.inner.serving_status();
        if let Err(error @ (PartitionError::NotLeader { .. } | PartitionError::Stopped)) = serving {
            return Err(error);
        }
        // Taken after the status: a leader that serves has a watermark that counts.
        let watermarks = self.inner.replica.watermarks();
        let (log_start, high_watermark) = (watermarks.log_start(), watermarks.high_watermark());
        if offset >= log_start && offset < high_watermark {
            return Ok(());
        }
        if offset > high_watermark || offset < log_start {
            // Beyond what is proven, only the leader knows what is out of range.
            if offset > high_watermark {
                serving?;
            }
            return Err(PartitionError::OffsetOutOfRange { offset, log_start, high_watermark });
        }
        // At the very end. A quarantined replica has no more to come, and one that is cut off may not hear of it; a new leader
        // may have more.
        match serving {
            Err(error @ (PartitionError::Quarantined { .. } | PartitionError::CutOff)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Waits until `min_bytes` are readable at and after `from`, counted from the moment of the
    /// call, or until the reader has to look again for another reason: data that was there already,
    /// a new leader, a moved log start, the group's end. `false` when the deadline passed first. Cancel-safe.
    pub async fn wait_for_data(&self, from: Offset, min_bytes: usize, deadline: Instant) -> bool {
        let waiter = DataWaiter::new(min_bytes);
        let mut changes = self.inner.replica.watch();
        changes.mark_unchanged();
        let _registration = self.register(&waiter, from);
        tokio::select! {
            () = waiter.wait() => true,
            _ = changes.changed() => true,
            () = sleep_until(deadline) => false,
        }
    }

    /// Lets a waiter, which may wait on other partitions too, count the bytes that become
    /// readable here. `from` is where its reader has read up to: when the high watermark is
    /// beyond that already, or nothing is to be expected here, the waiter is woken at once. Keep the registration while waiting.
    pub fn register(&self, waiter: &Arc<DataWaiter>, from: Offset) -> WaitRegistration {
        let registration = self.inner.applied.waiters.register(Arc::clone(waiter));
        // Looked at after the registration, so that nothing that wakes readers falls in between.
        if self.inner.replica.watermarks().high_watermark() > from || self.check_readable(from).is_err() {
            waiter.wake();
        }
        registration
    }

    /// Makes every waiting reader look again: call it after the group was stopped.
    pub fn wake_waiters(&self) {
        self.inner.applied.waiters.wake_all();
    }

    /// Makes every waiting reader look again if what comes may not be heard of here: call it when this node may have lost the leadership,
    /// or the support of the other replicas.
    pub fn wake_waiters_unless_leading(&self) {
        let waiters = &self.inner.applied.waiters;
        if waiters.is_empty() {
            return;
        }
        match self.inner.serving_status() {
            Ok(_) | Err(PartitionError::NotServing) => {}
            Err(_) => waiters.wake_all(),
        }
    }

    /// The offset that a query names, with its timestamp, which is [`TimestampMs::NONE`] for
    /// the bounds of the log. In a quarantine the bounds are those of what is proven whole. `None` when no record qualifies. May block on the disk for
    /// queries by time.
    ///
    /// # Errors
    /// What keeps this replica from knowing the answer.
    pub fn list_offset(&self, query: OffsetQuery) -> Result<Option<(Offset, TimestampMs)>, PartitionError> {
        let replica = &self.inner.replica;
        match self.inner.serving_status() {
            // What is proven whole can be read, so its bounds can be asked for.
            Err(PartitionError::Quarantined { .. }) if replica.is_readable() => {}
            other => drop(other?),
        }
        let watermarks = replica.watermarks();
        let (log_start, high_watermark) = (watermarks.log_start(), watermarks.high_watermark());
        match query {
            OffsetQuery::Earliest => Ok(Some((log_start, TimestampMs::NONE))),
            OffsetQuery::Latest => Ok(Some((high_watermark, TimestampMs::NONE))),
            OffsetQuery::AtTime(time) => replica.offset_for_time(time, log_start, high_watermark),
            OffsetQuery::MaxTimestamp => match replica.max_timestamp()? {
                Some((offset, time)) if offset < log_start => {
                    self.max_timestamp_within(log_start, high_watermark, time)
                }
                found => Ok(found),
            },
        }
    }

    /// The latest timestamp in `from .. below` where the log's latest, `at_most`, lies outside:
    /// records were deleted up to the middle of a segment. Whether a record is at or after a time
    /// is monotonous in the time, so halving finds the last time that has one.
    fn max_timestamp_within(
        &self,
        from: Offset,
        below: Offset,
        at_most: TimestampMs,
    ) -> Result<Option<(Offset, TimestampMs)>, PartitionError> {
        let replica = &self.inner.replica;
        let mut latest = replica.offset_for_time(TimestampMs::NONE, from, below)?;
        let (mut low, mut high) = (TimestampMs::NONE.0, at_most.0);
        while low < high {
            let middle = low + (high - low + 1) / 2;
            match replica.offset_for_time(TimestampMs(middle), from, below)? {
                Some((offset, time)) => {
                    latest = Some((offset, time));
                    low = time.0.max(middle);
                }
                None => high = middle - 1,
            }
        }
        Ok(latest)
    }
}
