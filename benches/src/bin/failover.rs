//! How long producers wait when the node that leads their partitions is killed: to each partition a record at a time is sent, and
//! the time from the kill to the first acknowledgement of a record that was sent after it is taken.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use highwater_benches::{BenchError, LocalCluster, Place, Quantiles};
use highwater_client::{Client, Producer, ProducerConfig, ProducerRecord, v1};
use highwater_types::PartitionIndex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

const TOPIC: &str = "failover";
const NODES: usize = 3;
/// Within this time everything must be acknowledged again, or the measurement ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long leaders are asked for until they are where they belong.
const SETTLE: Duration = Duration::from_secs(90);
/// How long the load runs before each kill.
const WARM_UP: Duration = Duration::from_secs(2);

/// Measures the time without service after a leader's node was killed.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Partitions that the killed node leads
    #[arg(long, default_value_t = 1)]
    partitions: u32,
    /// How often a node is killed, one after the other
    #[arg(long, default_value_t = 5)]
    kills: usize,
    /// How long each partition rests after an acknowledgement, in milliseconds
    #[arg(long, default_value_t = 50)]
    pace_ms: u64,
    /// `fsync` or `memory`
    #[arg(long, default_value = "fsync")]
    durability: String,
}

#[tokio::main]
async fn main() -> Result<(), BenchError> {
    let arguments = Arguments::parse();
    let mut cluster = LocalCluster::start(&arguments.place, NODES)?;
    let client = Client::connect(cluster.servers())?;
    let request = v1::CreateTopicRequest {
        name: TOPIC.to_owned(),
        // Leaders are spread evenly.
        partitions: arguments.partitions * NODES as u32,
        replication_factor: NODES as u32,
        configs: [("durability".to_owned(), arguments.durability.clone())].into(),
        ..v1::CreateTopicRequest::default()
    };
    client.admin().create_topic(request).await?;

    let mut all = Vec::new();
    for kill in 0..arguments.kills {
        let node = kill % NODES + 1;
        let leaders = settled_leaders(&client).await?;
        let times = measure(&mut cluster, &client, &arguments, node, &leaders).await?;
        all.extend(&times);
        println!("kill {:>3} of node {node}, which led {:>4}: {}", kill + 1, times.len(), Quantiles::of(times));
        cluster.restart(node)?;
    }
    println!("all: {}", Quantiles::of(all));
    Ok(())
}

/// Who leads each partition, once it is the one that should.
async fn settled_leaders(client: &Client) -> Result<BTreeMap<u32, u64>, BenchError> {
    let began = Instant::now();
    loop {
        let topic = client.admin().describe_topic(TOPIC, false).await?;
        let is_home = |partition: &v1::PartitionDescription| {
            partition.leader_node_id.is_some()
                && partition.leader_node_id == partition.replica_node_ids.first().copied()
        };
        if topic.partitions.iter().all(is_home) || began.elapsed() > SETTLE {
            let leaders = topic.partitions.iter();
            return Ok(leaders.filter_map(|it| Some((it.partition, it.leader_node_id?))).collect());
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Kills the node under load; the times to the first acknowledgement of what it led.
async fn measure(
    cluster: &mut LocalCluster,
    client: &Client,
    arguments: &Arguments,
    node: usize,
    leaders: &BTreeMap<u32, u64>,
) -> Result<Vec<Duration>, BenchError> {
    let config = ProducerConfig { linger: Duration::ZERO, ..ProducerConfig::default() };
    let producer = Arc::new(client.producer(config)?);
    let (killed, killed_at) = watch::channel(None);
    let mut loads = JoinSet::new();
    let led = leaders.iter().filter(|(_, leader)| **leader == node as u64);
    for (partition, _) in led {
        let pace = Duration::from_millis(arguments.pace_ms.max(1));
        loads.spawn(load(Arc::clone(&producer), *partition, pace, killed_at.clone()));
    }
    sleep(WARM_UP).await;
    cluster.kill(node)?;
    killed.send_replace(Some(Instant::now()));
    let acknowledged = async {
        let mut times = Vec::new();
        while let Some(time) = loads.join_next().await {
            times.push(time.map_err(|_| BenchError::Gone)??);
        }
        Ok::<_, BenchError>(times)
    };
    match timeout(PATIENCE, acknowledged).await {
        Ok(times) => times,
        Err(_) => Err(BenchError::Gone),
    }
}

/// Sends a record at a time until one that was sent after the kill is acknowledged.
async fn load(
    producer: Arc<Producer>,
    partition: u32,
    pace: Duration,
    killed_at: watch::Receiver<Option<Instant>>,
) -> Result<Duration, BenchError> {
    let value = Bytes::from_static(&[b'x'; 100]);
    let mut beat = interval(pace);
    loop {
        beat.tick().await;
        let before = *killed_at.borrow();
        let record = ProducerRecord {
            partition: Some(PartitionIndex(partition)),
            ..ProducerRecord::value(value.clone())
        };
        producer.send(TOPIC, record).await?.wait().await?;
        // Sent before the kill, it may have been acknowledged by the dead.
        if let (Some(_), Some(at)) = (before, *killed_at.borrow()) {
            return Ok(at.elapsed());
        }
    }
}
