//! What the sender did so far, for those who only want to know: counts, the first failure, what
//! stands in the way.

use highwater_types::{ErrorCode, Offset};
use parking_lot::Mutex;

use crate::error::ClientError;
use crate::producer::batch::Batch;

/// Counts of a producer since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProducerStats {
    /// Records that were acknowledged.
    pub records_acked: u64,
    /// Records that failed for good.
    pub records_failed: u64,
    /// Batches that were acknowledged.
    pub batches_acked: u64,
}

#[derive(Debug, Default)]
struct Entries {
    stats: ProducerStats,
    /// The first failure that no flush reported yet.
    failure: Option<ClientError>,
    /// The latest thing that stood in the way, whether or not anything failed of it.
    last_error: Option<ClientError>,
    /// Counts how often the cluster said that a topic is not what the producer took it for.
    topics_generation: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: Mutex<Entries>,
}

impl Ledger {
    /// Counts a batch that is done.
    pub(crate) fn count(&self, batch: &Batch, outcome: &Result<Offset, ClientError>) {
        let records = u64::try_from(batch.record_count()).unwrap_or_default();
        let mut entries = self.entries.lock();
        match outcome {
            Ok(_) => {
                entries.stats.records_acked += records;
                entries.stats.batches_acked += 1;
                entries.last_error = None;
            }
            Err(error) => {
                entries.stats.records_failed += records;
                entries.topics_generation += u64::from(is_topic_gone(error));
                if entries.failure.is_none() {
                    entries.failure = Some(error.clone());
                }
            }
        }
    }

    pub(crate) fn note_error(&self, error: &ClientError) {
        self.entries.lock().last_error = Some(error.clone());
    }

    pub(crate) fn stats(&self) -> ProducerStats {
        self.entries.lock().stats
    }

    pub(crate) fn last_error(&self) -> Option<ClientError> {
        self.entries.lock().last_error.clone()
    }

    pub(crate) fn take_failure(&self) -> Option<ClientError> {
        self.entries.lock().failure.take()
    }

    /// What was learnt of topics under another generation has to be asked for again.
    pub(crate) fn topics_generation(&self) -> u64 {
        self.entries.lock().topics_generation
    }
}

/// Whether the topic was deleted, or is another one of the same name.
pub(crate) fn is_topic_gone(error: &ClientError) -> bool {
    matches!(error.code(), Some(ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition))
}
