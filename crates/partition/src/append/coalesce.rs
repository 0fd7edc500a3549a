//! Builds the waiting records of several callers into one batch, so that small producers
//! share the cost of an entry. Order is kept; every caller learns its own offset.

use std::collections::VecDeque;

use highwater_records::{Batch, BatchBuilder, RecordsError};
use highwater_types::TimestampMs;
use highwater_types::limits::BATCH_RECORDS_MAX;

use super::{Request, Work};
use crate::new_record::NewRecord;

/// Most bytes that callers' records are put together to.
pub(super) const COALESCED_BATCH_BYTES_MAX: usize = 1 << 20;

/// How much of the head of a queue goes into one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Number of requests.
    pub(super) requests: usize,
    /// Whether nothing more can join: it is full, or something else waits behind it.
    pub(super) is_closed: bool,
}

impl Run {
    /// The requests with records at the head of the queue that fit one batch together; at
    /// least one if the first is such a request.
    pub(super) fn at_head(queue: &VecDeque<Request>, batch_bytes_max: usize) -> Self {
        let bytes_max = batch_bytes_max.min(COALESCED_BATCH_BYTES_MAX);
        let (mut bytes, mut records) = (0, 0);
        for (requests, request) in queue.iter().enumerate() {
            let Work::Records(more) = &request.work else {
                return Self { requests, is_closed: true };
            };
            bytes += request.bytes;
            records += more.len();
            if requests > 0 && (bytes > bytes_max || records > BATCH_RECORDS_MAX) {
                return Self { requests, is_closed: true };
            }
        }
        Self { requests: queue.len(), is_closed: false }
    }
}

/// The batch of all `records`; those without a timestamp get `now`.
pub(super) fn build_batch<'a>(
    records: impl IntoIterator<Item = &'a NewRecord>,
    now: TimestampMs,
) -> Result<Batch, RecordsError> {
    let mut builder = BatchBuilder::new();
    for record in records {
        builder.append(
            record.key.as_deref(),
            record.value.as_deref(),
            &record.headers,
            record.timestamp.unwrap_or(now),
        )?;
    }
    builder.build()
}
