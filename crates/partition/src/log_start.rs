//! Moving the log start: retention and delete-records. Both only decide and propose; the
//! start moves when the entry is applied, on every replica alike (R8).

use highwater_storage::Watermarks;
use highwater_storage::segment::SegmentInfo;
use highwater_types::{Offset, TimestampMs, TopicConfig};
use tokio::time::{Instant, timeout_at};

use crate::command::{LogStartReason, PartitionCommand};
use crate::error::PartitionError;
use crate::partition::Partition;
use crate::replica::Replica;

/// Which records to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteBefore {
    /// Those before this offset.
    Offset(Offset),
    /// All that are committed.
    HighWatermark,
}

/// What one pass of retention did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetentionPass {
    /// Whether the last segment was closed as older than `segment.ms`.
    pub rolled: bool,
    /// The new log start and why it moved, when it did.
    pub moved: Option<(Offset, LogStartReason)>,
}

impl<R: Replica> Partition<R> {
    /// Deletes records and returns the log start then. Records that are gone already are no
    /// error. Cancel-safe: the entry may be applied all the same.
    ///
    /// # Errors
    /// [`PartitionError::OffsetOutOfRange`] beyond the high watermark; otherwise why the entry was
    /// not applied, as for [`Partition::append`].
    pub async fn delete_records(
        &self,
        before: DeleteBefore,
        deadline: Instant,
    ) -> Result<Offset, PartitionError> {
        self.inner.serving_status()?;
        let watermarks = self.inner.replica.watermarks();
        let (log_start, high_watermark) = (watermarks.log_start(), watermarks.high_watermark());
        let offset = match before {
            DeleteBefore::Offset(offset) => offset,
            DeleteBefore::HighWatermark => high_watermark,
        };
        if offset > high_watermark || offset < Offset::ZERO {
            return Err(PartitionError::OffsetOutOfRange { offset, log_start, high_watermark });
        }
        if offset > log_start {
            self.move_log_start(offset, LogStartReason::DeleteRecords, deadline).await?;
        }
        Ok(self.inner.replica.watermarks().log_start())
    }

    /// One pass of retention: closes the last segment when it is due and moves the log start
    /// past the segments that `retention.ms` and `retention.bytes` let go. Does nothing on a replica
    /// that does not lead. Cancel-safe. May block on the disk for a roll.
    ///
    /// # Errors
    /// Why the segment could not be closed or the entry was not applied.
    pub async fn enforce_retention(
        &self,
        now: TimestampMs,
        deadline: Instant,
    ) -> Result<RetentionPass, PartitionError> {
        if self.inner.serving_status().is_err() {
            return Ok(RetentionPass::default());
        }
        let replica = &self.inner.replica;
        let rolled = replica.roll_if_expired(now)?;
        let watermarks = replica.watermarks();
        let moved = retained_from(&replica.segments(), watermarks, &self.config(), now);
        if let Some((offset, reason)) = moved {
            self.move_log_start(offset, reason, deadline).await?;
        }
        Ok(RetentionPass { rolled, moved })
    }

    async fn move_log_start(
        &self,
        offset: Offset,
        reason: LogStartReason,
        deadline: Instant,
    ) -> Result<(), PartitionError> {
        let command = PartitionCommand::SetLogStart { offset, reason };
        match timeout_at(deadline, self.inner.propose(command)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(PartitionError::DeadlinePassed),
        }
    }
}

/// Where the log should start: always the end of a segment. `None` when it stays.
fn retained_from(
    segments: &[SegmentInfo],
    watermarks: Watermarks,
    config: &TopicConfig,
    now: TimestampMs,
) -> Option<(Offset, LogStartReason)> {
    let log_start = watermarks.log_start();
    // What lies below the log start is gone already, though its file may still be there.
    let live: Vec<&SegmentInfo> = segments.iter().filter(|segment| segment.next > log_start).collect();
    let by_time = config
        .retention_ms
        .and_then(|retention_ms| expired_before(&live, now, retention_ms))
        .map(|offset| (offset, LogStartReason::RetentionTime));
    let by_size = config
        .retention_bytes
        .and_then(|retention_bytes| surplus_before(&live, retention_bytes))
        .map(|offset| (offset, LogStartReason::RetentionBytes));
    // A segment list may be newer than the watermarks; nothing beyond them is decided on.
    [by_time, by_size]
        .into_iter()
        .flatten()
        .filter(|(offset, _)| *offset <= watermarks.high_watermark())
        .max_by_key(|(offset, _)| *offset)
}

/// The end of the leading segments whose records are all older than `retention_ms`. A segment
/// without any timestamp goes together with the next one that goes.
fn expired_before(segments: &[&SegmentInfo], now: TimestampMs, retention_ms: i64) -> Option<Offset> {
    let oldest_kept = TimestampMs(now.0.saturating_sub(retention_ms));
    segments
        .iter()
        .take_while(|segment| segment.max_timestamp < oldest_kept)
        .filter(|segment| segment.max_timestamp != TimestampMs::NONE)
        .last()
        .map(|segment| segment.next)
}

/// The end of the leading segments without which the rest still has `retention_bytes`.
fn surplus_before(segments: &[&SegmentInfo], retention_bytes: u64) -> Option<Offset> {
    let total: u64 = segments.iter().map(|segment| segment.size.0).sum();
    let mut surplus = total.saturating_sub(retention_bytes);
    let mut before = None;
    for segment in segments {
        if segment.size.0 > surplus {
            break;
        }
        surplus -= segment.size.0;
        before = Some(segment.next);
    }
    before
}
