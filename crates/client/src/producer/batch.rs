//! Records of one partition that are sent together, from the first record to the outcome.

use highwater_records::{BatchBuilder, RecordsError};
use highwater_types::{PartitionIndex, TimestampMs};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use crate::producer::record::{BatchOutcome, Delivery, ProducerRecord};

/// Identifies a batch within its producer; counts up in the order of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct BatchNumber(pub(crate) u64);

/// Records on their way. Its memory counts against the producer's buffer until it is dropped.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) number: BatchNumber,
    pub(crate) created: Instant,
    pub(crate) deadline: Instant,
    pub(crate) records: BatchBuilder,
    outcome: watch::Sender<Option<BatchOutcome>>,
    memory: Option<OwnedSemaphorePermit>,
}

impl Batch {
    pub(crate) fn new(number: BatchNumber, created: Instant, deadline: Instant, records: BatchBuilder) -> Self {
        Self { number, created, deadline, records, outcome: watch::Sender::new(None), memory: None }
    }

    /// Adds a record. When that fails, the batch is as it was.
    pub(crate) fn append(
        &mut self,
        record: &ProducerRecord,
        timestamp: TimestampMs,
        partition: PartitionIndex,
        memory: OwnedSemaphorePermit,
    ) -> Result<Delivery, RecordsError> {
        let index = i64::try_from(self.records.record_count()).expect("a batch's records fit 63 bits");
        self.records.append(record.key.as_deref(), record.value.as_deref(), &record.headers, timestamp)?;
        match &mut self.memory {
            Some(held) => held.merge(memory),
            none => *none = Some(memory),
        }
        Ok(Delivery { partition, index, outcome: self.outcome.subscribe() })
    }

    /// Number of records, as sequences count.
    pub(crate) fn record_count(&self) -> i32 {
        i32::try_from(self.records.record_count()).expect("the limit on records fits 31 bits")
    }

    /// Tells all records how it ended.
    pub(crate) fn complete(self, outcome: BatchOutcome) {
        self.outcome.send_replace(Some(outcome));
    }
}
