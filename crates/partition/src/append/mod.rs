//! The way of a batch into the log: admitted by its caller, queued, put into order and
//! proposed by the partition's appender, answered when it is applied.
//!
//! Invariants: sequences are checked in the order in which batches are proposed; a batch
//! holds its share of the partition's in-flight bytes and its reservation until it is
//! applied or has failed, whether or not its caller still waits.

mod admit;
mod appender;
mod coalesce;
mod patience;
mod queue;

use highwater_records::Batch;
use highwater_types::{Offset, TimestampMs};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout_at};

pub(crate) use appender::Appender;
pub(crate) use queue::AppendQueue;

use crate::error::PartitionError;
use crate::new_record::NewRecord;

/// A batch that is in the log: durable as its topic's durability says, and applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the caller's first record.
    pub base_offset: Offset,
    /// The time that replaced the producer's, where the topic says so.
    pub log_append_time: Option<TimestampMs>,
    /// The first offset of the log.
    pub log_start: Offset,
}

/// A batch that has its place in the partition's order, and is not yet answered.
#[derive(Debug)]
#[must_use = "the outcome says whether the batch was written"]
pub struct PendingAppend {
    pub(crate) reply: oneshot::Receiver<Result<Appended, PartitionError>>,
    pub(crate) deadline: Instant,
}

impl PendingAppend {
    /// Waits for the outcome, at most until the deadline. Dropping this does not withdraw
    /// the batch.
    ///
    /// # Errors
    /// Why it was not written, or [`PartitionError::DeadlinePassed`] and
    /// [`PartitionError::OutcomeUnknown`] when that is not known.
    pub async fn outcome(self) -> Result<Appended, PartitionError> {
        match timeout_at(self.deadline, self.reply).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => {
                Err(PartitionError::OutcomeUnknown { reason: "the partition's appender ended".to_owned() })
            }
            Err(_) => Err(PartitionError::DeadlinePassed),
        }
    }
}

/// Where an outcome goes.
pub(crate) type Reply = oneshot::Sender<Result<Appended, PartitionError>>;

/// Something to append, admitted.
pub(crate) struct Request {
    pub(crate) work: Work,
    /// [`Work::bytes`], which is not free.
    pub(crate) bytes: usize,
    /// When its caller stops waiting. What is not proposed by then never is.
    pub(crate) deadline: Instant,
    pub(crate) reply: Reply,
    /// Its share of the partition's in-flight bytes.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// What to append.
pub(crate) enum Work {
    /// A batch as its producer built it.
    Batch(Batch),
    /// Records of a producer without an id, to be built into a batch together with others.
    Records(Vec<NewRecord>),
}

impl Work {
    /// Bytes that it counts in the limits: for records an upper bound.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.size_in_bytes(),
            Self::Records(records) => records.iter().map(NewRecord::encoded_bytes_max).sum(),
        }
    }
}
