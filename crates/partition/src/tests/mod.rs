//! Scenarios of one partition over a replica that fails on command.

mod append;
mod applier;
mod fake_replica;
mod producers;
mod read;
mod retention;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use highwater_records::{Batch, BatchBuilder};
use highwater_types::{
    Clock, PartitionId, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicConfig, TopicId,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::fake_replica::FakeReplica;
use crate::error::PartitionError;
use crate::{Appended, NewRecord, Partition};

/// When the scenarios begin.
const START: TimestampMs = TimestampMs(1_700_000_000_000);

struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> TimestampMs {
        TimestampMs(self.0.load(Ordering::SeqCst))
    }
}

/// A partition, and the ends of the wires that it hangs on.
struct Scenario {
    partition: Partition<FakeReplica>,
    replica: FakeReplica,
    config: watch::Sender<Arc<TopicConfig>>,
    clock: Arc<TestClock>,
}

impl Scenario {
    /// A serving leader with these settings.
    fn new(settings: &[(&str, &str)]) -> Self {
        let overrides: BTreeMap<String, String> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = TopicConfig::from_overrides(&overrides).unwrap();
        let config = watch::Sender::new(Arc::new(config));
        let (replica, applied) = FakeReplica::new();
        let clock = Arc::new(TestClock(AtomicI64::new(START.0)));
        let id = PartitionId { topic: TopicId(uuid::Uuid::from_u128(7)), index: PartitionIndex(0) };
        let partition = Partition::new(id, replica.clone(), applied, config.subscribe(), clock.clone());
        Self { partition, replica, config, clock }
    }

    /// Appends, within a minute.
    async fn append(&self, batch: Batch) -> Result<Appended, PartitionError> {
        self.partition.append(batch, in_a_minute()).await
    }

    /// Starts to append and goes on.
    fn append_later(&self, batch: Batch) -> JoinHandle<Result<Appended, PartitionError>> {
        let partition = self.partition.clone();
        tokio::spawn(async move { partition.append(batch, in_a_minute()).await })
    }

    /// Starts to append records and goes on.
    fn records_later(&self, values: &[&str]) -> JoinHandle<Result<Appended, PartitionError>> {
        let partition = self.partition.clone();
        let records = values.iter().map(|value| new_record(value)).collect();
        tokio::spawn(async move { partition.append_records(records, in_a_minute()).await })
    }

    /// Lets everything happen that can.
    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until so many proposals are pending.
    async fn until_pending(&self, count: usize) {
        self.until(|| self.replica.pending() == count).await;
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        for _ in 0..10_000 {
            if condition() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the condition was never met");
    }
}

fn in_a_minute() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// A batch of records at these times.
fn batch_at(times: &[i64]) -> Batch {
    let mut builder = BatchBuilder::new();
    for time in times {
        builder.append(None, Some(b"value"), &[], TimestampMs(*time)).unwrap();
    }
    builder.build().unwrap()
}

/// A batch of `count` records.
fn batch_of(count: usize) -> Batch {
    batch_at(&vec![START.0; count])
}

/// A batch of an idempotent producer.
fn sequenced(producer: i64, epoch: i16, sequence: i32, count: usize) -> Batch {
    let mut builder =
        BatchBuilder::new().producer(ProducerId(producer), ProducerEpoch(epoch), Sequence(sequence));
    for _ in 0..count {
        builder.append(None, Some(b"value"), &[], START).unwrap();
    }
    builder.build().unwrap()
}

fn new_record(value: &str) -> NewRecord {
    NewRecord { value: Some(Bytes::copy_from_slice(value.as_bytes())), ..NewRecord::default() }
}

/// An outcome in as many words as scenarios need.
async fn outcome_within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(600), wait).await.expect("the outcome comes")
}
