//! The tour's producers: one per partition, at a steady pace, with a ledger of what was acknowledged where.

use std::time::Duration;

use highwater_client::{Client, ClientError, Delivery, Producer, ProducerConfig, ProducerRecord};
use highwater_types::{Offset, PartitionIndex};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::record;
use crate::error::CliError;

/// How often each producer sends, and how many records: 2,000 a second.
const PACE: Duration = Duration::from_millis(10);
const RECORDS_AT_A_TIME: u64 = 20;
/// Most records on their way to one partition.
const UNDERWAY_MAX: usize = 16_384;
/// How long a record is tried. Longer than any step of the tour may take.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// A record that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acked {
    pub(super) number: u64,
    pub(super) offset: Offset,
    pub(super) sent: Instant,
    pub(super) acked: Instant,
}

/// What became of one partition's records. They are numbered from 0.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) partition: u32,
    pub(super) acked: Vec<Acked>,
    /// Those of which nobody knows whether they are there.
    pub(super) failed: u64,
}

struct Underway {
    number: u64,
    sent: Instant,
    delivery: Delivery,
}

/// See the module.
pub(super) struct Workload {
    stop: watch::Sender<bool>,
    /// When the newest acknowledged record of each partition was sent.
    newest: Vec<watch::Receiver<Option<Instant>>>,
    senders: Vec<JoinHandle<Result<(), ClientError>>>,
    ledgers: Vec<JoinHandle<Ledger>>,
}

impl Workload {
    pub(super) fn start(client: &Client, topic: &'static str, partitions: u32) -> Result<Self, CliError> {
        let (stop, stopped) = watch::channel(false);
        let mut workload = Self { stop, newest: Vec::new(), senders: Vec::new(), ledgers: Vec::new() };
        for partition in 0..partitions {
            let config = ProducerConfig { delivery_timeout: DELIVERY_TIMEOUT, ..ProducerConfig::default() };
            let producer = client.producer(config)?;
            let (underway, deliveries) = mpsc::channel(UNDERWAY_MAX);
            let (news, newest) = watch::channel(None);
            workload.newest.push(newest);
            workload.senders.push(tokio::spawn(send(producer, topic, partition, underway, stopped.clone())));
            workload.ledgers.push(tokio::spawn(keep(partition, deliveries, news)));
        }
        Ok(workload)
    }

    /// Waits until every partition acknowledged a record that was sent after this.
    pub(super) async fn acked_since(&mut self, since: Instant) -> Result<(), CliError> {
        for newest in &mut self.newest {
            // A ledger that ended has all there will be.
            let _ = newest.wait_for(|sent| sent.is_some_and(|sent| sent > since)).await;
        }
        Ok(())
    }

    /// Ends it when everything that was sent has its outcome.
    pub(super) async fn stop(self) -> Result<Vec<Ledger>, CliError> {
        self.stop.send_replace(true);
        for sender in self.senders {
            sender.await.map_err(|error| CliError::Start(error.into()))??;
        }
        let mut ledgers = Vec::new();
        for ledger in self.ledgers {
            ledgers.push(ledger.await.map_err(|error| CliError::Start(error.into()))?);
        }
        Ok(ledgers)
    }
}

async fn send(
    producer: Producer,
    topic: &str,
    partition: u32,
    underway: mpsc::Sender<Underway>,
    stopped: watch::Receiver<bool>,
) -> Result<(), ClientError> {
    let mut pace = interval(PACE);
    // After a wait for room it goes on at its pace.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    while !*stopped.borrow() {
        pace.tick().await;
        for _ in 0..RECORDS_AT_A_TIME {
            let record = ProducerRecord {
                partition: Some(PartitionIndex(partition)),
                ..ProducerRecord::key_value(record::key(number), record::value(partition, number))
            };
            let sent = Instant::now();
            let delivery = producer.send(topic, record).await?;
            if underway.send(Underway { number, sent, delivery }).await.is_err() {
                return Ok(());
            }
            number += 1;
        }
    }
    drop(underway);
    producer.close().await
}

async fn keep(
    partition: u32,
    mut deliveries: mpsc::Receiver<Underway>,
    news: watch::Sender<Option<Instant>>,
) -> Ledger {
    let mut ledger = Ledger { partition, acked: Vec::new(), failed: 0 };
    while let Some(Underway { number, sent, delivery }) = deliveries.recv().await {
        match delivery.wait().await {
            Ok(delivered) => {
                ledger.acked.push(Acked { number, offset: delivered.offset, sent, acked: Instant::now() });
                news.send_replace(Some(sent));
            }
            Err(_) => ledger.failed += 1,
        }
    }
    ledger
}
