//! A steady load, and when its acknowledgements came.
//!
//! One producer sends the same number of records to each partition every few milliseconds. The last record of each such
//! burst is a probe: when it was sent and acknowledged is kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use highwater_client::{Client, Delivery, Producer, ProducerConfig, ProducerRecord};
use highwater_types::PartitionIndex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{BenchError, Quantiles};

/// How often a burst is sent.
const BURST_EVERY: Duration = Duration::from_millis(5);
/// Probes of one partition that wait for their acknowledgement; beyond them the load waits too.
const PROBES_WAITING_MAX: usize = 100_000;

/// What to send.
#[derive(Debug, Clone)]
pub struct LoadShape {
    /// The topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: u32,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// Records per second, over all partitions.
    pub records_per_second: f64,
}

/// A record whose acknowledgement was waited for.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// When it was handed to the producer.
    pub sent: Instant,
    /// When its acknowledgement was there.
    pub acked: Instant,
}

/// See the module.
pub struct SteadyLoad {
    stop: watch::Sender<bool>,
    sending: JoinHandle<Result<(), BenchError>>,
    collecting: Vec<JoinHandle<Result<Vec<Probe>, BenchError>>>,
}

impl SteadyLoad {
    /// Begins to send.
    ///
    /// # Errors
    /// When there can be no producer.
    pub fn start(client: &Client, shape: LoadShape) -> Result<Self, BenchError> {
        let producer = client.producer(ProducerConfig::default())?;
        let (stop, stopped) = watch::channel(false);
        let (mut probes, mut collecting) = (Vec::new(), Vec::new());
        for _ in 0..shape.partitions {
            let (sender, receiver) = mpsc::channel(PROBES_WAITING_MAX);
            probes.push(sender);
            collecting.push(tokio::spawn(collect(receiver)));
        }
        let sending = tokio::spawn(send(producer, shape, probes, stopped));
        Ok(Self { stop, sending, collecting })
    }

    /// Stops sending and waits for what is under way. The probes of each partition, in their order.
    ///
    /// # Errors
    /// When a record was not acknowledged.
    pub async fn stop(self) -> Result<Probes, BenchError> {
        self.stop.send_replace(true);
        self.sending.await.map_err(|_| BenchError::Gone)??;
        let mut partitions = Vec::new();
        for collecting in self.collecting {
            partitions.push(collecting.await.map_err(|_| BenchError::Gone)??);
        }
        Ok(Probes { partitions })
    }
}

/// The probes of a load.
#[derive(Debug, Clone)]
pub struct Probes {
    partitions: Vec<Vec<Probe>>,
}

impl Probes {
    /// For each partition the longest time between two acknowledgements, of those that overlap the time between the two instants.
    pub fn longest_gaps(&self, from: Instant, to: Instant) -> Vec<Duration> {
        let gaps = |probes: &Vec<Probe>| {
            let pairs = probes.iter().zip(probes.iter().skip(1));
            let within = pairs.filter(|(before, after)| after.acked >= from && before.acked <= to);
            within.map(|(before, after)| after.acked - before.acked).max().unwrap_or_default()
        };
        self.partitions.iter().map(gaps).collect()
    }

    /// The longest of these over all partitions, and when it began.
    pub fn longest_gap(&self, from: Instant, to: Instant) -> Option<(Instant, Duration)> {
        let pairs = self.partitions.iter().flat_map(|probes| probes.iter().zip(probes.iter().skip(1)));
        let within = pairs.filter(|(before, after)| after.acked >= from && before.acked <= to);
        within.map(|(before, after)| (before.acked, after.acked - before.acked)).max_by_key(|(_, gap)| *gap)
    }

    /// From handing over to acknowledgement, of what was sent between the two instants.
    pub fn latencies(&self, from: Instant, to: Instant) -> Quantiles {
        let probes = self.partitions.iter().flatten();
        let within = probes.filter(|probe| (from..=to).contains(&probe.sent));
        Quantiles::of(within.map(|probe| probe.acked - probe.sent).collect())
    }
}

/// Sends bursts at their times; one that is late is made up for.
async fn send(
    producer: Producer,
    shape: LoadShape,
    probes: Vec<mpsc::Sender<(Instant, Delivery)>>,
    stopped: watch::Receiver<bool>,
) -> Result<(), BenchError> {
    let (producer, value) = (Arc::new(producer), Bytes::from(vec![b'x'; shape.value_bytes]));
    let per_burst = shape.records_per_second * BURST_EVERY.as_secs_f64() / f64::from(shape.partitions.max(1));
    let mut ticks = interval(BURST_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut due = 0.0;
    while !*stopped.borrow() {
        ticks.tick().await;
        due += per_burst;
        let count = due as usize;
        due -= count as f64;
        for (partition, probes) in (0..).map(PartitionIndex).zip(&probes) {
            let mut last = None;
            for _ in 0..count {
                let record =
                    ProducerRecord { partition: Some(partition), ..ProducerRecord::value(value.clone()) };
                last = Some((Instant::now(), producer.send(&shape.topic, record).await?));
            }
            if let Some(probe) = last {
                probes.send(probe).await.map_err(|_| BenchError::Gone)?;
            }
        }
    }
    producer.flush().await?;
    Ok(())
}

/// Acknowledgements of one partition come in the order of its records.
async fn collect(mut probes: mpsc::Receiver<(Instant, Delivery)>) -> Result<Vec<Probe>, BenchError> {
    let mut collected = Vec::new();
    while let Some((sent, delivery)) = probes.recv().await {
        delivery.await?;
        collected.push(Probe { sent, acked: Instant::now() });
    }
    Ok(collected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_counts_where_it_overlaps_the_time_looked_at() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let probe = |ms| Probe { sent: at(ms), acked: at(ms + 1) };
        let probes = Probes { partitions: vec![[0, 10, 20, 120, 130].map(probe).to_vec(), Vec::new()] };
        let ms = Duration::from_millis;
        assert_eq!(probes.longest_gaps(at(0), at(200)), [ms(100), ms(0)]);
        assert_eq!(probes.longest_gaps(at(100), at(110)), [ms(100), ms(0)]);
        assert_eq!(probes.longest_gaps(at(0), at(5)), [ms(10), ms(0)]);
        assert_eq!(probes.longest_gap(at(0), at(200)), Some((at(21), ms(100))));
        assert_eq!(probes.latencies(at(0), at(200)).percentile(100), ms(1));
    }
}
