//! Where records wait until they are sent: one open batch for each partition, and the full ones.
//! Shared by the callers, who fill it, and the sender, who empties it. It never waits while it holds its lock;
//! the memory in it is bounded by the permits that come with each record.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use highwater_records::{BatchBuilder, RecordsError};
use highwater_types::{PartitionIndex, Random, TimestampMs};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use crate::error::ClientError;
use crate::partitioner::partition_for_key;
use crate::producer::batch::{Batch, BatchNumber};
use crate::producer::config::ProducerConfig;
use crate::producer::record::{Delivery, ProducerRecord};
use crate::topic::{PartitionKey, TopicMetadata};

#[derive(Debug, Default)]
struct Waiting {
    full: VecDeque<Batch>,
    open: Option<Batch>,
}

/// What a partition has to send now.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A batch.
    Batch(Batch),
    /// Nothing until then.
    NotBefore(Instant),
    /// Nothing at all.
    Nothing,
}

#[derive(Debug)]
struct State {
    /// In order, so that every run sends in the same.
    waiting: BTreeMap<PartitionKey, Waiting>,
    /// Where keyless records of a topic go until that partition's batch is sent.
    sticky: HashMap<Arc<str>, PartitionIndex>,
    next_batch: BatchNumber,
    /// Batches below this are sent without waiting for more records.
    flush_below: BatchNumber,
    closed: bool,
}

/// See the module.
pub(crate) struct Accumulator {
    state: Mutex<State>,
    /// The sender has something to look at.
    changed: Notify,
    random: Arc<dyn Random>,
    fill_bytes: usize,
    linger: Duration,
    delivery_timeout: Duration,
    template: BatchBuilder,
}

impl Accumulator {
    pub(crate) fn new(config: &ProducerConfig, random: Arc<dyn Random>) -> Self {
        let state = State {
            waiting: BTreeMap::new(),
            sticky: HashMap::new(),
            next_batch: BatchNumber(0),
            flush_below: BatchNumber(0),
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            random,
            fill_bytes: config.fill_bytes(),
            linger: config.linger,
            delivery_timeout: config.delivery_timeout,
            template: BatchBuilder::new().compression(config.compression),
        }
    }

    /// Puts a record into its partition's open batch, or a new one.
    pub(crate) fn append(
        &self,
        topic: &TopicMetadata,
        record: &ProducerRecord,
        timestamp: TimestampMs,
        memory: OwnedSemaphorePermit,
        now: Instant,
    ) -> Result<Delivery, ClientError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(ClientError::Closed);
        }
        let mut partition = self.choose_partition(&mut state, topic, record)?;
        let mut wake = false;
        if self.close_if_full(&mut state, &topic.key(partition), record, timestamp) {
            wake = true;
            // A keyless record goes on to another partition instead of opening a batch here.
            state.sticky.remove(&topic.id);
            partition = self.choose_partition(&mut state, topic, record)?;
            self.close_if_full(&mut state, &topic.key(partition), record, timestamp);
        }
        let State { waiting, next_batch, .. } = &mut *state;
        let waiting = waiting.entry(topic.key(partition)).or_default();
        let delivery = match &mut waiting.open {
            Some(open) => open.append(record, timestamp, partition, memory),
            none => {
                let mut batch =
                    Batch::new(*next_batch, now, now + self.delivery_timeout, self.template.clone());
                let delivery = batch.append(record, timestamp, partition, memory);
                if delivery.is_ok() {
                    next_batch.0 += 1;
                    *none = Some(batch);
                    wake = true;
                }
                delivery
            }
        };
        drop(state);
        if wake {
            self.changed.notify_one();
        }
        delivery.map_err(|error| match error {
            RecordsError::BatchTooLarge { bytes, max } => ClientError::RecordTooLarge { bytes, max },
            other => ClientError::InvalidRecords(other),
        })
    }

    /// Closes the partition's open batch if the record does not fit into it.
    fn close_if_full(
        &self,
        state: &mut State,
        key: &PartitionKey,
        record: &ProducerRecord,
        timestamp: TimestampMs,
    ) -> bool {
        let Some(waiting) = state.waiting.get_mut(key) else { return false };
        let (key, value, headers) = (record.key.as_deref(), record.value.as_deref(), &record.headers);
        let is_full =
            |open: &mut Batch| open.records.size_hint_after(key, value, headers, timestamp) > self.fill_bytes;
        let full = waiting.open.take_if(is_full);
        let is_closed = full.is_some();
        waiting.full.extend(full);
        is_closed
    }

    fn choose_partition(
        &self,
        state: &mut State,
        topic: &TopicMetadata,
        record: &ProducerRecord,
    ) -> Result<PartitionIndex, ClientError> {
        if let Some(partition) = record.partition {
            return topic.check(partition);
        }
        if let Some(key) = &record.key {
            return Ok(partition_for_key(key, topic.partitions));
        }
        let sticky = state.sticky.entry(Arc::clone(&topic.id));
        Ok(*sticky.or_insert_with(|| random_partition(&*self.random, topic.partitions)))
    }

    /// The partitions that have records here.
    pub(crate) fn partitions(&self) -> Vec<PartitionKey> {
        self.state.lock().waiting.keys().cloned().collect()
    }

    /// The next batch of a partition that is to be sent now: a full one, or the open one if it waited long enough or
    /// is to be flushed.
    pub(crate) fn take(&self, key: &PartitionKey, now: Instant) -> Taken {
        let mut state = self.state.lock();
        let (flush_below, closed) = (state.flush_below, state.closed);
        let Some(waiting) = state.waiting.get_mut(key) else { return Taken::Nothing };
        let is_due =
            |open: &mut Batch| closed || open.number < flush_below || open.created + self.linger <= now;
        let batch = waiting.full.pop_front().or_else(|| waiting.open.take_if(is_due));
        let Some(batch) = batch else {
            return waiting
                .open
                .as_ref()
                .map_or(Taken::Nothing, |open| Taken::NotBefore(open.created + self.linger));
        };
        if waiting.full.is_empty() && waiting.open.is_none() {
            state.waiting.remove(key);
        }
        // The next keyless records go elsewhere, so that they spread.
        if state.sticky.get(&key.topic_id) == Some(&key.partition) {
            state.sticky.remove(&key.topic_id);
        }
        Taken::Batch(batch)
    }

    /// Takes out the batches that passed their deadline, and says when the next one does.
    pub(crate) fn expire(&self, now: Instant) -> (Vec<Batch>, Option<Instant>) {
        let mut state = self.state.lock();
        let mut expired = Vec::new();
        let mut next: Option<Instant> = None;
        state.waiting.retain(|_, waiting| {
            while waiting.full.front().is_some_and(|batch| batch.deadline <= now) {
                expired.extend(waiting.full.pop_front());
            }
            if waiting.full.is_empty() {
                expired.extend(waiting.open.take_if(|open| open.deadline <= now));
            }
            let oldest = waiting.full.front().or(waiting.open.as_ref());
            next = next.into_iter().chain(oldest.map(|batch| batch.deadline)).min();
            oldest.is_some()
        });
        (expired, next)
    }

    /// Takes out everything.
    pub(crate) fn drain(&self) -> Vec<Batch> {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        waiting.into_values().flat_map(|waiting| waiting.full.into_iter().chain(waiting.open)).collect()
    }

    /// The lowest batch that is still here; the next one to be made if there is none.
    pub(crate) fn oldest(&self) -> BatchNumber {
        let state = self.state.lock();
        let first =
            |waiting: &Waiting| waiting.full.front().or(waiting.open.as_ref()).map(|batch| batch.number);
        state.waiting.values().filter_map(first).min().unwrap_or(state.next_batch)
    }

    /// Sends everything that is here without waiting for more. Returns the first batch that is not here yet.
    pub(crate) fn flush(&self) -> BatchNumber {
        let mut state = self.state.lock();
        state.flush_below = state.next_batch;
        let target = state.next_batch;
        drop(state);
        self.changed.notify_one();
        target
    }

    /// No record is taken any more.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }

    pub(crate) fn is_closed_and_empty(&self) -> bool {
        let state = self.state.lock();
        state.closed && state.waiting.is_empty()
    }

    /// Waits until there may be something new. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

fn random_partition(random: &dyn Random, partitions: u32) -> PartitionIndex {
    let drawn = random.next_u64() % u64::from(partitions);
    PartitionIndex(u32::try_from(drawn).expect("a remainder of 32 bits fits 32 bits"))
}
