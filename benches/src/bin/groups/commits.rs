//! Commits through one coordinator, at a steady rate, beside a load that takes half of what the machine can do.

use std::sync::Arc;
use std::time::Duration;

use highwater_benches::{
    BenchError, LoadShape, LocalCluster, Place, Quantiles, SteadyLoad, create_topic, rate_taken,
};
use highwater_client::{Client, OffsetCommit, TopicPartition};
use highwater_types::{Offset, PartitionIndex};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

const LOAD: &str = "load";
const TOPIC: &str = "commits";
const GROUP: &str = "commits";
const NODES: usize = 3;
const LOAD_PARTITIONS: u32 = 3;
const PARTITIONS: u32 = 100;
const MEASURED_FOR: Duration = Duration::from_secs(20);
/// Tasks that commit, each at its part of the rate.
const TASKS: u32 = 100;

/// See the module.
#[expect(clippy::print_stdout, reason = "its output is what it is for")]
pub(crate) async fn measure(place: &Place, per_second: u32) -> Result<(), BenchError> {
    let cluster = LocalCluster::start(place, NODES)?;
    let client = Client::connect(cluster.servers())?;
    create_topic(&client, LOAD, LOAD_PARTITIONS, NODES).await?;
    create_topic(&client, TOPIC, PARTITIONS, NODES).await?;
    let taken = rate_taken(&client, LOAD, 1024).await?;
    let shape = LoadShape {
        topic: LOAD.to_owned(),
        partitions: LOAD_PARTITIONS,
        value_bytes: 1024,
        records_per_second: taken / 2.0,
    };
    let load = SteadyLoad::start(&client, shape)?;
    let client = Arc::new(client);
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..TASKS {
        tasks.spawn(commit(Arc::clone(&client), number, per_second));
    }
    let mut all = Vec::new();
    while let Some(times) = tasks.join_next().await {
        all.extend(times.map_err(|_| BenchError::Gone)??);
    }
    let rate = all.len() as f64 / began.elapsed().as_secs_f64();
    let probes = load.stop().await?;
    println!("commits at {per_second} a second beside {:.0} records/s of 1 KiB (half load)", taken / 2.0);
    println!("  committed a second                   {rate:.0}");
    println!("  from its time to its answer          {}", Quantiles::of(all));
    println!("  producers meanwhile                  {}", probes.latencies(began, Instant::now()));
    Ok(())
}

/// Commits at its part of the rate: each has a time that it is due at, however long those before it take.
async fn commit(client: Arc<Client>, number: u32, per_second: u32) -> Result<Vec<Duration>, BenchError> {
    let mut ticks = interval(Duration::from_secs(1) * TASKS / per_second.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = Instant::now();
    let mut times = Vec::new();
    let partition = TopicPartition::new(TOPIC, PartitionIndex(number % PARTITIONS));
    while began.elapsed() < MEASURED_FOR {
        let due = ticks.tick().await;
        let offset = Offset(i64::try_from(times.len()).unwrap_or(i64::MAX));
        let commit = OffsetCommit::new(partition.clone(), offset);
        client.admin().commit_offsets(GROUP, &[commit]).await?.into_iter().collect::<Result<(), _>>()?;
        times.push(due.elapsed());
    }
    Ok(times)
}
