//! What a batch must be before it may enter the log. Pure: the clock's reading and the
//! topic's configuration come as arguments. The producer's sequence is not checked here but
//! where batches get their order.
//!
//! Data that no consumer could read must not enter, so every batch is checked to its last
//! record, decompressing as a stream.

use highwater_records::{Batch, RecordsError};
use highwater_types::limits::BATCH_RECORDS_MAX;
use highwater_types::{TimestampMs, TimestampType, TopicConfig};

use crate::error::PartitionError;
use crate::new_record::NewRecord;

/// Checks a batch from outside, the cheap checks first.
pub(crate) fn check_batch(batch: &Batch, config: &TopicConfig, now: TimestampMs) -> Result<(), PartitionError> {
    check_size(batch.size_in_bytes(), config)?;
    batch.verify_from_producer()?;
    if batch.is_transactional() {
        return Err(PartitionError::Transactional);
    }
    batch.verify_records()?;
    if let Some(bounds) = TimeBounds::of(config, now) {
        bounds.check(batch.max_timestamp())?;
        // The header has only the latest timestamp. The usual topic has no bound on the
        // earliest, so that this second walk is rare.
        if bounds.earliest > TimestampMs(0) {
            for record in batch.records() {
                bounds.check(record?.timestamp)?;
            }
        }
    }
    Ok(())
}

/// Checks records that are to be built into a batch.
pub(crate) fn check_records(
    records: &[NewRecord],
    config: &TopicConfig,
    now: TimestampMs,
) -> Result<(), PartitionError> {
    if records.is_empty() {
        return Err(RecordsError::EmptyBatch.into());
    }
    if records.len() > BATCH_RECORDS_MAX {
        let max = BATCH_RECORDS_MAX;
        return Err(RecordsError::TooManyRecords { max }.into());
    }
    check_size(records.iter().map(NewRecord::payload_bytes).sum(), config)?;
    let bounds = TimeBounds::of(config, now);
    for (index, record) in records.iter().enumerate() {
        record.check(index)?;
        if let (Some(bounds), Some(timestamp)) = (&bounds, record.timestamp) {
            bounds.check(timestamp)?;
        }
    }
    Ok(())
}

/// Checks the size of a batch.
pub(crate) fn check_size(bytes: usize, config: &TopicConfig) -> Result<(), PartitionError> {
    let max = config.max_message_bytes;
    if bytes > max {
        return Err(PartitionError::BatchTooLarge { bytes, max });
    }
    Ok(())
}

/// The producer's timestamps that a topic takes now, both inclusive (R9).
struct TimeBounds {
    earliest: TimestampMs,
    latest: TimestampMs,
}

impl TimeBounds {
    /// None where the log's own time replaces the producer's.
    fn of(config: &TopicConfig, now: TimestampMs) -> Option<Self> {
        if config.message_timestamp_type == TimestampType::LogAppendTime {
            return None;
        }
        let before_max = config.message_timestamp_before_max_ms;
        let after_max = config.message_timestamp_after_max_ms;
        Some(Self {
            earliest: TimestampMs(now.0.saturating_sub(before_max)),
            latest: TimestampMs(now.0.saturating_add(after_max)),
        })
    }

    /// "No timestamp" is within every bound, as in Kafka.
    fn check(&self, timestamp: TimestampMs) -> Result<(), PartitionError> {
        if timestamp == TimestampMs::NONE || (self.earliest..=self.latest).contains(&timestamp) {
            return Ok(());
        }
        Err(PartitionError::TimestampOutOfBounds { timestamp, earliest: self.earliest, latest: self.latest })
    }
}
