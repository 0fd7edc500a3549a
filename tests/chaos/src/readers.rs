//! Consumers that read all the while: one of each topic from its start on, and one that begins anew again and again, somewhere
//! in what was written last.

use std::sync::Arc;
use std::time::Duration;

use highwater_client::v1::OffsetPlace;
use highwater_client::{
    Client, ClientError, ConsumedBatch, Consumer, ConsumerConfig, OutOfRange, StartPosition,
};
use highwater_crash::CrashError;
use highwater_crash::workload::RecordId;
use highwater_types::{Offset, PartitionIndex};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{Cluster, NODES};
use crate::history::{Place, Promise, Reader};
use crate::topics::TOPICS;
use crate::workload::Shared;

/// Who reads a topic from its start on has its number; who reads in the end has these.
const LAST_READERS: u32 = 100;
/// Who begins anew.
const WANDERER: Reader = Reader(200);
/// How far back it begins at most.
const WANDERS_BACK: i64 = 2000;
/// How long it waits before it begins anew.
const WANDERS_EVERY: Duration = Duration::from_millis(500);
/// How long one of its ways may take: through any fault.
const WANDERS_WITHIN: Duration = Duration::from_secs(90);

/// See the module.
pub struct Readers {
    tasks: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts all of them.
    ///
    /// # Errors
    /// When a client cannot be set up.
    pub fn start(
        client: impl Fn() -> Result<Client, CrashError>,
        shared: &Arc<Shared>,
    ) -> Result<Self, CrashError> {
        let mut tasks = Vec::new();
        for topic in 0..TOPICS.len() {
            tasks.push(tokio::spawn(follow(client()?, topic, Arc::clone(shared))));
        }
        tasks.push(tokio::spawn(wander(Arc::clone(shared))));
        Ok(Self { tasks })
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The reader that reads a topic from its start on.
fn follower(topic: usize) -> Reader {
    Reader(u32::try_from(topic).unwrap_or_default())
}

/// The partitions whose follower has not got to where it must be.
pub fn behind(shared: &Shared, wanted: &[(Place, Offset)]) -> Vec<String> {
    let history = shared.history.lock();
    let position = |place: Place| history.position(follower(place.topic), place);
    let behind = wanted.iter().filter(|(place, offset)| position(*place) < *offset);
    behind
        .map(|(place, offset)| format!("{} is read up to {} of {offset}", place.name(), position(*place)))
        .collect()
}

/// Reads everything from the start to the end as of now.
///
/// # Errors
/// When it cannot be read in time.
pub async fn read_all(client: &Client, shared: &Shared, within: Duration) -> Result<(), CrashError> {
    let deadline = Instant::now() + within;
    for (topic, number) in (0..TOPICS.len()).zip(LAST_READERS..) {
        let partitions: Vec<_> = (0..TOPICS[topic].partitions).map(PartitionIndex).collect();
        let ends = client.admin().offsets(TOPICS[topic].name, &partitions, OffsetPlace::Latest).await?;
        let mut consumer =
            client.consumer(TOPICS[topic].name, &[], config(topic, StartPosition::Earliest)).await?;
        let reader = Reader(number);
        let mut unread: Vec<(PartitionIndex, Offset)> = Vec::new();
        for (partition, end) in partitions.into_iter().zip(ends) {
            unread.extend(end.filter(|end| *end > Offset::ZERO).map(|end| (partition, end)));
        }
        while !unread.is_empty() {
            let batch = tokio::time::timeout_at(deadline, consumer.next_batch()).await;
            let name = TOPICS[topic].name;
            let broken = |what: String| CrashError::Broken(format!("{name}, reading everything: {what}"));
            let batch = batch.map_err(|_| broken(format!("it stopped short of {unread:?}")))??;
            let batch = batch.ok_or_else(|| broken(format!("the consumer ended before {unread:?}")))?;
            take(shared, reader, topic, &batch);
            unread.retain(|(partition, end)| *partition != batch.partition || batch.next_offset < *end);
        }
    }
    Ok(())
}

fn config(topic: usize, start: StartPosition) -> ConsumerConfig {
    // Where retention goes on, it may be ahead of a reader that a fault held up.
    let out_of_range = if TOPICS[topic].retained { OutOfRange::Earliest } else { OutOfRange::Fail };
    ConsumerConfig { out_of_range, ..ConsumerConfig::starting_at(start) }
}

/// Reads a topic for ever.
async fn follow(client: Client, topic: usize, shared: Arc<Shared>) {
    let start = config(topic, StartPosition::Earliest);
    let mut consumer = match client.consumer(TOPICS[topic].name, &[], start).await {
        Ok(consumer) => consumer,
        Err(error) => return surfaced(&shared, topic, &error),
    };
    loop {
        match consumer.next_batch().await {
            Ok(Some(batch)) => take(&shared, follower(topic), topic, &batch),
            Ok(None) => return,
            Err(error) => surfaced(&shared, topic, &error),
        }
    }
}

/// Reads from somewhere to the end as of then, again and again, told of one node only.
async fn wander(shared: Arc<Shared>) {
    let mut random = SmallRng::seed_from_u64(shared.seed);
    loop {
        sleep(WANDERS_EVERY).await;
        let places: Vec<Place> = Place::all().collect();
        let place = places[random.random_range(0..places.len())];
        let end = shared.history.lock().floor(place);
        if TOPICS[place.topic].retained || end == Offset::ZERO {
            continue;
        }
        let start = Offset(random.random_range((end.0 - WANDERS_BACK).max(0)..end.0));
        let node = NODES[random.random_range(0..NODES.len())];
        match timeout(WANDERS_WITHIN, read_some(node, place, start, end, &shared)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.is_retriable() => {}
            Ok(Err(error)) => surfaced(&shared, place.topic, &error),
            Err(_) => shared.history.lock().found(
                Promise::Heals,
                format!("{} could not be read from {start} to {end} for {WANDERS_WITHIN:?}", place.name()),
            ),
        }
    }
}

async fn read_some(
    node: u8,
    place: Place,
    start: Offset,
    end: Offset,
    shared: &Shared,
) -> Result<(), ClientError> {
    let client = Cluster::client_of(node).map_err(|_| ClientError::NoServers)?;
    let partition = PartitionIndex(place.partition);
    let config = config(place.topic, StartPosition::Offset(start));
    let mut consumer: Consumer = client.consumer(TOPICS[place.topic].name, &[partition], config).await?;
    shared.history.lock().begins(WANDERER, place, start);
    while let Some(batch) = consumer.next_batch().await? {
        take(shared, WANDERER, place.topic, &batch);
        if batch.next_offset >= end {
            break;
        }
    }
    Ok(())
}

fn take(shared: &Shared, reader: Reader, topic: usize, batch: &ConsumedBatch) {
    let place = Place { topic, partition: batch.partition.0 };
    let records: Vec<(Offset, Option<RecordId>)> = batch
        .records
        .iter()
        .map(|record| {
            let value = record.value.as_deref().unwrap_or_default();
            let id = RecordId::parse(value).filter(|id| id.value(shared.seed) == value);
            (record.offset, id)
        })
        .collect();
    let mut history = shared.history.lock();
    for (offset, id) in records {
        history.read(reader, place, offset, id);
    }
    history.watermark(reader, place, batch.high_watermark);
}

fn surfaced(shared: &Shared, topic: usize, error: &ClientError) {
    let what = format!("a consumer of {}: {error}", TOPICS[topic].name);
    shared.history.lock().found(Promise::Surfaced, what);
}
