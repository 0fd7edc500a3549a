//! Sends records: batches them by partition, keeps their order, retries without duplicates,
//! and tells each record's outcome.
//!
//! Callers fill the accumulator; one task per producer sends. Memory is bounded by
//! [`ProducerConfig::buffer_bytes`].

mod accumulator;
mod batch;
mod config;
mod lane;
mod ledger;
mod link;
mod links;
mod partition_queue;
mod record;
mod requests;
mod sender;
mod topics;

use std::sync::Arc;

use highwater_records::BatchBuilder;
use highwater_types::limits::BATCH_BYTES_MAX;
use highwater_types::{Clock, TimestampMs};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::topic::TopicMetadata;

use accumulator::Accumulator;
use batch::BatchNumber;
use ledger::Ledger;
use sender::Sender;
use topics::Topics;

pub use config::ProducerConfig;
pub use ledger::ProducerStats;
pub use record::{Delivered, Delivery, ProducerRecord};

/// What a record costs of the buffer beside its bytes.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// Sends records to any number of topics. Share it by reference or in an `Arc`.
///
/// Records of one partition are appended in the order in which their `send` calls returned. Dropping a producer
/// gives up what is not acknowledged; [`Producer::close`] sends it first.
///
/// Each partition's batches go to its leader over one stream per node. When a leader moves or its node dies, the batches
/// without an answer are sent to the next one, in their order; partitions led elsewhere go on meanwhile. Nothing of that is an
/// error before the delivery timeout. With [`ProducerConfig::idempotence`], the default, it neither duplicates nor reorders;
/// without it a batch whose answer was lost may be appended twice.
pub struct Producer {
    accumulator: Arc<Accumulator>,
    clock: Arc<dyn Clock>,
    config: ProducerConfig,
    memory: Arc<Semaphore>,
    topics: Topics,
    ledger: Arc<Ledger>,
    done_below: watch::Receiver<BatchNumber>,
    sender: JoinHandle<()>,
}

impl Producer {
    pub(crate) fn new(cluster: Arc<Cluster>, config: ProducerConfig) -> Result<Self, ClientError> {
        config.check()?;
        let accumulator = Arc::new(Accumulator::new(&config, Arc::clone(&cluster.config.random)));
        let ledger = Arc::new(Ledger::default());
        let (done, done_below) = watch::channel(BatchNumber::default());
        let sender = Sender::new(
            Arc::clone(&accumulator),
            Arc::clone(&cluster),
            config.idempotence,
            Arc::clone(&ledger),
            done,
        );
        let memory = Arc::new(Semaphore::new(config.buffer_bytes.min(Semaphore::MAX_PERMITS)));
        let clock = Arc::clone(&cluster.config.clock);
        let topics = Topics::new(cluster, config.metadata_age_max);
        let sender = tokio::spawn(sender.run());
        Ok(Self { accumulator, clock, config, memory, topics, ledger, done_below, sender })
    }

    /// Takes a record. Returns once it is in the producer's buffer, after waiting for room there and, for a
    /// topic's first record, for what the cluster says about it; at most for the delivery timeout.
    /// The [`Delivery`] tells how it goes on from there.
    ///
    /// Cancel-safe: a call that is dropped before it returns has sent nothing.
    ///
    /// # Errors
    /// At once when the topic or partition does not exist or the record cannot be sent at all.
    pub async fn send(&self, topic: &str, record: ProducerRecord) -> Result<Delivery, ClientError> {
        let deadline = Instant::now() + self.config.delivery_timeout;
        let topic = self.topic(topic, deadline).await?;
        let memory = self.reserve(&record, deadline).await?;
        let timestamp = record.timestamp.unwrap_or_else(|| self.clock.now());
        self.accumulator.append(&topic, &record, timestamp, memory, Instant::now())
    }

    /// Sends what is buffered without waiting for more, and waits until all of it has its outcome.
    /// Cancel-safe.
    ///
    /// # Errors
    /// The first failure of any record since the flush before this one.
    pub async fn flush(&self) -> Result<(), ClientError> {
        let target = self.accumulator.flush();
        let mut done_below = self.done_below.clone();
        done_below.wait_for(|done_below| *done_below >= target).await.map_err(|_| ClientError::Closed)?;
        self.ledger.take_failure().map_or(Ok(()), Err)
    }

    /// Flushes and ends the producer. Dropped before it returns, it gives up what is not acknowledged.
    ///
    /// # Errors
    /// As [`Producer::flush`].
    pub async fn close(self) -> Result<(), ClientError> {
        let outcome = self.flush().await;
        self.accumulator.close();
        outcome
    }

    /// What was sent so far.
    pub fn stats(&self) -> ProducerStats {
        self.ledger.stats()
    }

    /// The latest thing that stands in the way of sending; `None` when all is well. For showing to a user who waits.
    pub fn last_error(&self) -> Option<ClientError> {
        self.ledger.last_error()
    }

    async fn reserve(
        &self,
        record: &ProducerRecord,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, ClientError> {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let encoded = BatchBuilder::new().size_hint_after(key, value, &record.headers, TimestampMs::NONE);
        let max = self.config.buffer_bytes.min(BATCH_BYTES_MAX);
        let bytes = encoded + RECORD_OVERHEAD_BYTES;
        let too_large = ClientError::RecordTooLarge { bytes, max };
        let permits = u32::try_from(bytes).ok().filter(|_| bytes <= max).ok_or(too_large)?;
        let acquired = Arc::clone(&self.memory).acquire_many_owned(permits);
        match tokio::time::timeout_at(deadline, acquired).await {
            Ok(permit) => permit.map_err(|_| ClientError::Closed),
            Err(_) => Err(self.timed_out(self.last_error())),
        }
    }

    async fn topic(&self, name: &str, deadline: Instant) -> Result<Arc<TopicMetadata>, ClientError> {
        let topic = self.topics.get(name, self.ledger.topics_generation(), deadline).await;
        topic.map_err(|error| if error.is_retriable() { self.timed_out(Some(error)) } else { error })
    }

    fn timed_out(&self, last_error: Option<ClientError>) -> ClientError {
        ClientError::DeliveryTimeout {
            timeout_ms: u64::try_from(self.config.delivery_timeout.as_millis()).unwrap_or(u64::MAX),
            outcome_unknown: false,
            last_error: last_error.map(Box::new),
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.accumulator.close();
        self.sender.abort();
    }
}
