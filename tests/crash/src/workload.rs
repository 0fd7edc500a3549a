//! Producers under load, and the ledger of what was acknowledged to them.
//!
//! A record's value is a function of the seed, its producer and its number, so that whoever reads it
//! back knows every byte it must have.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use highwater_client::{Client, ClientConfig, Delivery, Producer, ProducerConfig, ProducerRecord};
use highwater_types::{Offset, PartitionIndex};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;

use crate::CrashError;

/// Records that one producer has on their way at most.
const IN_FLIGHT_MAX: usize = 512;
/// Records that are sent beyond those that are waited for, so that there always is load.
const AHEAD: u64 = 500;
/// Longest value, in bytes.
const VALUE_BYTES_MAX: usize = 2000;

/// One record: the topic, and who sent it as which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// Which producer.
    pub producer: u32,
    /// Its number, from 0, over all topics.
    pub number: u64,
}

impl RecordId {
    /// The record's value: its identity in text, then bytes that follow from it and the seed.
    pub fn value(self, seed: u64) -> Bytes {
        let mut random = SmallRng::seed_from_u64(
            seed ^ (u64::from(self.producer) << 48) ^ self.number.wrapping_mul(0x9e37_79b9),
        );
        let mut value = format!("{}:{}:", self.producer, self.number).into_bytes();
        let mut tail = vec![0; random.random_range(0..VALUE_BYTES_MAX)];
        random.fill_bytes(&mut tail);
        value.extend(tail);
        value.into()
    }

    /// The identity in a value; `None` when it has none.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut parts = value.splitn(3, |byte| *byte == b':');
        let producer = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        let number = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        Some(Self { producer, number })
    }
}

/// Where records were acknowledged: by topic, partition and offset.
pub type Acked = BTreeMap<(usize, PartitionIndex, Offset), RecordId>;

/// What was acknowledged so far.
#[derive(Default)]
pub struct Ledger {
    acked: Mutex<Acked>,
    count: AtomicU64,
}

impl Ledger {
    async fn note(
        &self,
        topic: usize,
        partition: PartitionIndex,
        offset: Offset,
        id: RecordId,
    ) -> Result<(), CrashError> {
        self.count.fetch_add(1, Ordering::Relaxed);
        match self.acked.lock().await.insert((topic, partition, offset), id) {
            None => Ok(()),
            Some(other) => Err(CrashError::Broken(format!(
                "offset {offset} of partition {partition} of topic {topic} was acknowledged for {other:?} and for {id:?}"
            ))),
        }
    }

    /// How many records were acknowledged.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// A copy of what was acknowledged.
    pub async fn acked(&self) -> Acked {
        self.acked.lock().await.clone()
    }
}

/// Several producers that send to several topics until they are told to stop. They send little beyond what is waited for,
/// or what is read back after each crash would grow without bounds.
pub struct Workload {
    ledger: Arc<Ledger>,
    pace: Arc<Pace>,
    stopping: Arc<AtomicBool>,
    clients: Vec<Arc<Producer>>,
    tasks: Vec<JoinHandle<Result<u64, CrashError>>>,
}

impl Workload {
    /// Starts producers of these numbers against `address`. Each rides through restarts of the node.
    ///
    /// # Errors
    /// When a client cannot be set up.
    pub fn start(
        address: &str,
        topics: &[String],
        producers: Range<u32>,
        seed: u64,
    ) -> Result<Self, CrashError> {
        let ledger = Arc::new(Ledger::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let pace = Arc::new(Pace { sent: AtomicU64::new(0), limit: watch::Sender::new(AHEAD) });
        let (mut clients, mut tasks) = (Vec::new(), Vec::new());
        for producer in producers {
            let client = Client::with_config(ClientConfig::new([address]))?;
            let config = ProducerConfig { batch_bytes: 16 << 10, ..ProducerConfig::default() };
            let client = Arc::new(client.producer(config)?);
            clients.push(Arc::clone(&client));
            let sender = Sender {
                client,
                topics: topics.to_vec(),
                producer,
                seed,
                ledger: Arc::clone(&ledger),
                pace: Arc::clone(&pace),
            };
            tasks.push(tokio::spawn(sender.run(Arc::clone(&stopping))));
        }
        Ok(Self { ledger, pace, stopping, clients, tasks })
    }

    /// What was acknowledged.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Waits until so many more records are acknowledged.
    ///
    /// # Errors
    /// When a producer fails, or nothing is acknowledged for long.
    pub async fn wait_for(&self, more: u64) -> Result<(), CrashError> {
        let target = self.ledger.count() + more;
        self.pace.limit.send_replace(target + AHEAD);
        let mut last = (self.ledger.count(), tokio::time::Instant::now());
        while self.ledger.count() < target {
            if self.tasks.iter().any(JoinHandle::is_finished) {
                return Err(CrashError::Broken("a producer gave up".to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            let count = self.ledger.count();
            if count > last.0 {
                last = (count, tokio::time::Instant::now());
            } else if last.1.elapsed() > Duration::from_secs(60) {
                let why: Vec<_> = self.clients.iter().filter_map(|client| client.last_error()).collect();
                return Err(CrashError::Broken(format!("nothing was acknowledged for 60 s: {why:?}")));
            }
        }
        Ok(())
    }

    /// Lets the producers send as fast as they can, until [`Workload::hold`] or [`Workload::wait_for`].
    pub fn release(&self) {
        self.pace.limit.send_replace(u64::MAX);
    }

    /// Lets the producers send so many records for each that another workload has acknowledged, for as long as it is polled.
    pub async fn follow(&self, other: &Ledger, records_each: u64) -> Infallible {
        loop {
            self.pace.limit.send_replace(other.count() * records_each + AHEAD);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Lets the producers send nothing more than what is on its way.
    pub fn hold(&self) {
        self.pace.limit.send_replace(0);
    }

    /// Gives up at once; returns what was acknowledged until then.
    pub async fn abandon(self) -> Acked {
        for task in &self.tasks {
            task.abort();
        }
        drop(self.clients);
        for task in self.tasks {
            // Aborted, or failed because its node is gone: either is expected.
            let _ = task.await;
        }
        self.ledger.acked().await
    }

    /// Stops sending and waits until every record that was sent is acknowledged. Returns how many were sent.
    ///
    /// # Errors
    /// When a record failed.
    pub async fn finish(self) -> Result<(Arc<Ledger>, u64), CrashError> {
        self.stopping.store(true, Ordering::Relaxed);
        self.release();
        let mut sent = 0;
        for task in self.tasks {
            sent += task.await.map_err(|error| CrashError::Broken(error.to_string()))??;
        }
        Ok((self.ledger, sent))
    }
}

/// How many records may be sent in all.
struct Pace {
    sent: AtomicU64,
    limit: watch::Sender<u64>,
}

impl Pace {
    /// Waits for leave to send one record.
    async fn take(&self) {
        // The sender of the limit lives as long as this.
        let _ = self.limit.subscribe().wait_for(|limit| self.sent.load(Ordering::Relaxed) < *limit).await;
        self.sent.fetch_add(1, Ordering::Relaxed);
    }
}

struct Sender {
    client: Arc<Producer>,
    topics: Vec<String>,
    producer: u32,
    seed: u64,
    ledger: Arc<Ledger>,
    pace: Arc<Pace>,
}

type Sent = (usize, RecordId, Delivery);

impl Sender {
    async fn run(self, stopping: Arc<AtomicBool>) -> Result<u64, CrashError> {
        let (sent, deliveries) = mpsc::channel(IN_FLIGHT_MAX);
        let noting = tokio::spawn(note_all(deliveries, Arc::clone(&self.ledger)));
        let mut random = SmallRng::seed_from_u64(self.seed ^ u64::from(self.producer));
        let mut number = 0;
        while !stopping.load(Ordering::Relaxed) && !noting.is_finished() {
            self.pace.take().await;
            let id = RecordId { producer: self.producer, number };
            let topic = random.random_range(0..self.topics.len());
            let record = ProducerRecord {
                partition: Some(PartitionIndex(random.random_range(0..crate::scenario::PARTITIONS))),
                ..ProducerRecord::value(id.value(self.seed))
            };
            let delivery = self.client.send(&self.topics[topic], record).await?;
            number += 1;
            if sent.send((topic, id, delivery)).await.is_err() {
                break;
            }
        }
        drop(sent);
        noting.await.map_err(|error| CrashError::Broken(error.to_string()))??;
        Ok(number)
    }
}

async fn note_all(mut deliveries: mpsc::Receiver<Sent>, ledger: Arc<Ledger>) -> Result<(), CrashError> {
    while let Some((topic, id, delivery)) = deliveries.recv().await {
        let delivered = delivery.wait().await?;
        ledger.note(topic, delivered.partition, delivered.offset, id).await?;
    }
    Ok(())
}
