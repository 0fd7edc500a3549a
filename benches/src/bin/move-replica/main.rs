//! What producers notice while a large replica is moved to another node, and while a follower stands still or is slow.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::time::Duration;

use clap::Parser;
use highwater_benches::{
    BenchError, LoadShape, LocalCluster, Place, Probes, SteadyLoad, create_topic, fill, move_replica,
    rate_taken,
};
use highwater_client::Client;
use tokio::time::{Instant, sleep};

/// Nodes: one more than replicas.
const NODES: usize = 4;
/// Replicas of the partition.
const REPLICAS: usize = 3;
/// The topic.
const TOPIC: &str = "move-replica";

/// A slow follower runs for so long, and then stands still for so long.
const SLOW_RUNS: Duration = Duration::from_millis(20);
const SLOW_STANDS: Duration = Duration::from_millis(180);

/// Moves a replica while a producer goes on, then pauses a follower, then slows it, and prints what the producer noticed of each
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Mebibytes of values in the replica that is moved
    #[arg(long, default_value_t = 1024)]
    mebibytes: usize,
    /// Bytes of each value
    #[arg(long, default_value_t = 1024)]
    value_bytes: usize,
    /// Records per second [default: half of what the cluster takes, which is measured first]
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds of each part: before, with a follower paused, with one slow, after that
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

#[tokio::main]
async fn main() -> Result<(), BenchError> {
    let arguments = Arguments::parse();
    let cluster = LocalCluster::start(&arguments.place, NODES)?;
    let client = Client::connect(cluster.servers())?;
    create_topic(&client, TOPIC, 1, REPLICAS).await?;
    fill(&client, TOPIC, arguments.mebibytes << 20, arguments.value_bytes).await?;
    let records_per_second = match arguments.rate {
        Some(rate) => rate,
        None => rate_taken(&client, TOPIC, arguments.value_bytes).await? / 2.0,
    };
    let value_bytes = arguments.value_bytes;
    println!(
        "a partition of {REPLICAS} replicas, values of {value_bytes} B, {records_per_second:.0} records/s"
    );
    let load = SteadyLoad::start(
        &client,
        LoadShape { topic: TOPIC.to_owned(), partitions: 1, value_bytes, records_per_second },
    )?;
    let seconds = Duration::from_secs(arguments.seconds);
    sleep(Duration::from_secs(2)).await;
    let before = spent(sleep(seconds)).await;

    let began = Instant::now();
    let moved = move_replica(&client, TOPIC).await?;
    let moving = (began, Instant::now());
    sleep(Duration::from_secs(2)).await;

    cluster.signal(moved.follower, "STOP")?;
    let paused = spent(sleep(seconds)).await;
    cluster.signal(moved.follower, "CONT")?;
    let resumed = spent(sleep(seconds)).await;
    let began = Instant::now();
    while began.elapsed() < seconds {
        sleep(SLOW_RUNS).await;
        cluster.signal(moved.follower, "STOP")?;
        sleep(SLOW_STANDS).await;
        cluster.signal(moved.follower, "CONT")?;
    }
    let slowed = (began, Instant::now());
    let after = spent(sleep(seconds)).await;
    let probes = load.stop().await?;

    print_line("before", &probes, before);
    let (from, to) = (moved.from, moved.to);
    print_line(&format!("replica moved from node {from} to {to}"), &probes, moving);
    print_line(&format!("follower {} paused", moved.follower), &probes, paused);
    print_line("follower resumed", &probes, resumed);
    print_line(&format!("follower {} slow", moved.follower), &probes, slowed);
    print_line("after that", &probes, after);
    Ok(())
}

/// When it began and ended.
async fn spent(work: impl Future<Output = ()>) -> (Instant, Instant) {
    let began = Instant::now();
    work.await;
    (began, Instant::now())
}

fn print_line(what: &str, probes: &Probes, (from, to): (Instant, Instant)) {
    let seconds = (to - from).as_secs_f64();
    println!("{what:<34} {seconds:>6.1} s   send to acknowledgement {}", probes.latencies(from, to));
}
