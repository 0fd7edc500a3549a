//! Highwater's side: the Rust client with its default settings, which are Kafka's: batches of 64 KiB after at
//! most 5 ms, five in flight, idempotent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use highwater_benches::BenchError;
use highwater_client::{Client, Delivery, Producer, ProducerConfig, ProducerRecord, v1};

use crate::contender::{Kind, Pacing, Run};

/// See the module.
pub(crate) struct Highwater {
    client: Client,
    replicas: u32,
    pacing: Pacing,
    pub(crate) processes: Vec<u32>,
}

impl Highwater {
    pub(crate) fn connect(
        servers: &[String],
        replicas: u32,
        pacing: Pacing,
        processes: Vec<u32>,
    ) -> Result<Self, BenchError> {
        Ok(Self { client: Client::connect(servers)?, replicas, pacing, processes })
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.pacing {
            Pacing::Batches { .. } => Kind::Highwater,
            Pacing::Singles { .. } => Kind::HighwaterSingles,
        }
    }

    pub(crate) async fn create_topic(&self, size: usize) -> Result<(), BenchError> {
        let request = v1::CreateTopicRequest {
            name: self.topic(size),
            partitions: 1,
            replication_factor: self.replicas,
            configs: [("durability".to_owned(), "fsync".to_owned())].into(),
            ..v1::CreateTopicRequest::default()
        };
        self.client.admin().create_topic(request).await?;
        Ok(())
    }

    pub(crate) async fn delete_topic(&self, size: usize) -> Result<(), BenchError> {
        let request = v1::DeleteTopicRequest { topic: self.topic(size), ..v1::DeleteTopicRequest::default() };
        self.client.admin().delete_topic(request).await?;
        Ok(())
    }

    /// From the first record to the last acknowledgement, with a producer that is new each time.
    pub(crate) async fn produce(&self, size: usize) -> Result<Run, BenchError> {
        let (topic, value) = (self.topic(size), Bytes::from(vec![b'x'; size]));
        match self.pacing {
            Pacing::Batches { bytes } => {
                let records = bytes / size.max(1);
                let producer = self.client.producer(ProducerConfig::default())?;
                let began = Instant::now();
                for _ in 0..records {
                    drop(producer.send(&topic, ProducerRecord::value(value.clone())).await?);
                }
                finish(producer, records, began).await
            }
            Pacing::Singles { records, open } => {
                let config = ProducerConfig { linger: Duration::ZERO, ..ProducerConfig::default() };
                let producer = self.client.producer(config)?;
                let mut waiting: VecDeque<Delivery> = VecDeque::with_capacity(open);
                let began = Instant::now();
                for _ in 0..records {
                    if waiting.len() >= open
                        && let Some(oldest) = waiting.pop_front()
                    {
                        oldest.await?;
                    }
                    waiting.push_back(producer.send(&topic, ProducerRecord::value(value.clone())).await?);
                }
                finish(producer, records, began).await
            }
        }
    }

    fn topic(&self, size: usize) -> String {
        match self.pacing {
            Pacing::Batches { .. } => format!("compare-{size}"),
            Pacing::Singles { .. } => format!("compare-singles-{size}"),
        }
    }
}

async fn finish(producer: Producer, records: usize, began: Instant) -> Result<Run, BenchError> {
    producer.flush().await?;
    let seconds = began.elapsed().as_secs_f64();
    producer.close().await?;
    Ok(Run { records, records_per_second: records as f64 / seconds })
}
