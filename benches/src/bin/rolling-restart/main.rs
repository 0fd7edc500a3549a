//! How long producers wait while the nodes of a cluster are restarted one after another, each in maintenance mode, at
//! half of the load that the cluster can take.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::time::Duration;

use clap::Parser;
use highwater_benches::{
    BenchError, LoadShape, LocalCluster, Place, Probes, Quantiles, SteadyLoad, create_topic, rate_taken,
    until_mode_done,
};
use highwater_client::{Client, v1::NodeMode};
use tokio::time::{Instant, sleep};

/// Nodes, which are also the replicas of each partition.
const NODES: usize = 3;
/// The topic.
const TOPIC: &str = "rolling-restart";
/// How long the load runs before the first restart, and between two.
const PAUSE: Duration = Duration::from_secs(2);

/// Restarts nodes in maintenance mode under load, and prints the longest gaps that producers saw
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// How many restarts
    #[arg(long, default_value_t = 20)]
    restarts: usize,
    /// Partitions of the topic
    #[arg(long, default_value_t = 3)]
    partitions: u32,
    /// Bytes of each value
    #[arg(long, default_value_t = 1024)]
    value_bytes: usize,
    /// Records per second [default: half of what the cluster takes, which is measured first]
    #[arg(long)]
    rate: Option<f64>,
}

#[tokio::main]
async fn main() -> Result<(), BenchError> {
    let arguments = Arguments::parse();
    let mut cluster = LocalCluster::start(&arguments.place, NODES)?;
    let client = Client::connect(cluster.servers())?;
    create_topic(&client, TOPIC, arguments.partitions, NODES).await?;
    let records_per_second = match arguments.rate {
        Some(rate) => rate,
        None => rate_taken(&client, TOPIC, arguments.value_bytes).await? / 2.0,
    };
    println!(
        "{} partitions of {NODES} replicas, values of {} B, {records_per_second:.0} records/s",
        arguments.partitions, arguments.value_bytes
    );
    let shape = LoadShape {
        topic: TOPIC.to_owned(),
        partitions: arguments.partitions,
        value_bytes: arguments.value_bytes,
        records_per_second,
    };
    let load = SteadyLoad::start(&client, shape)?;
    sleep(PAUSE).await;
    let quiet = (Instant::now(), Instant::now() + PAUSE);
    sleep(PAUSE).await;
    let mut restarts = Vec::new();
    for node in cluster.ids().cycle().take(arguments.restarts) {
        let began = Instant::now();
        let stopped = restart(&client, &mut cluster, node).await?;
        restarts.push(Restart { node, began, stopped, ended: Instant::now() });
        sleep(PAUSE).await;
    }
    let probes = load.stop().await?;
    println!("without restarts, longest gaps: {}", Quantiles::of(probes.longest_gaps(quiet.0, quiet.1)));
    for restart in &restarts {
        println!("{}", restart.tell(&probes));
    }
    let gaps = |restart: &Restart| probes.longest_gaps(restart.began, restart.ended);
    let gaps = Quantiles::of(restarts.iter().flat_map(gaps).collect());
    let times = Quantiles::of(restarts.iter().map(|restart| restart.ended - restart.began).collect());
    println!("{} restarts took {times}", restarts.len());
    println!("longest gap of each partition in each restart: {gaps}");
    if let (Some(first), Some(last)) = (restarts.first(), restarts.last()) {
        println!("send to acknowledgement meanwhile: {}", probes.latencies(first.began, last.ended));
    }
    Ok(())
}

/// When what of a restart happened.
struct Restart {
    node: usize,
    began: Instant,
    stopped: Instant,
    ended: Instant,
}

impl Restart {
    /// The longest gap of all partitions, and when it began.
    fn tell(&self, probes: &Probes) -> String {
        let after = |at: Instant| at.saturating_duration_since(self.began).as_millis();
        let gap = match probes.longest_gap(self.began, self.ended) {
            Some((at, gap)) => format!("{:.1} ms, {} ms after it began", gap.as_secs_f64() * 1e3, after(at)),
            None => "none".to_owned(),
        };
        let (stopped, ended) = (after(self.stopped), after(self.ended));
        format!("node {}: stopped after {stopped} ms, done after {ended} ms; longest gap {gap}", self.node)
    }
}

/// Maintenance mode, a clean stop, a start, and back to work. When it was about to stop.
async fn restart(client: &Client, cluster: &mut LocalCluster, node: usize) -> Result<Instant, BenchError> {
    until_mode_done(client, node, NodeMode::Maintenance).await?;
    let stopped = Instant::now();
    // What waits for a process must not hold up the load.
    tokio::task::block_in_place(|| {
        cluster.stop(node)?;
        cluster.restart(node)
    })?;
    until_mode_done(client, node, NodeMode::Active).await?;
    Ok(stopped)
}
