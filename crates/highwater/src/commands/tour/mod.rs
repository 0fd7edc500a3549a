//! `highwater tour`: what the cluster promises, shown. Three nodes in a temporary folder, real records, the leader's
//! process killed midway, everything read back and compared with what was acknowledged.
//!
//! It leaves nothing behind: no process, and no folder unless it is itself killed.

mod account;
mod judge;
mod record;
mod replay;
mod workload;

use std::time::Duration;

use highwater_client::{Client, ClientConfig, v1};
use tokio::time::{Instant, sleep, timeout};

use super::dev::{Blow, Layout, LocalCluster, strike};
use super::node_process::{StopSignals, StopWhen};
use crate::error::CliError;
use crate::output::print_text;
use account::Account;
use workload::Workload;

/// The nodes, which are also the replicas of each partition.
const NODES: u8 = 3;
/// The topic, and its partitions.
const TOPIC: &str = "tour";
const PARTITIONS: u32 = 3;
/// How long records flow before the kill, and after all partitions took some again.
const BEFORE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(3);
/// What no step may take longer than.
const STEP_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether all nodes have found each other.
const LOOK: Duration = Duration::from_millis(20);

/// See the module. Fails when anything was lost or duplicated.
pub(crate) async fn run() -> Result<(), CliError> {
    let mut signals = StopSignals::new(StopWhen::Told).map_err(CliError::Start)?;
    let folder = tempfile::Builder::new().prefix("highwater-tour-").tempdir().map_err(CliError::Start)?;
    let mut cluster = LocalCluster::take(Layout::open(folder.path().to_path_buf(), NODES, Some(0))?)?;
    let outcome = tokio::select! {
        outcome = tour(&mut cluster) => outcome,
        () = signals.received() => Err(CliError::TourStopped),
    };
    cluster.kill().await;
    outcome
}

async fn tour(cluster: &mut LocalCluster) -> Result<(), CliError> {
    let begun = Instant::now();
    within("starting the nodes", cluster.start_all()).await?;
    let layout = cluster.layout().clone();
    let client = client(&layout)?;
    within("creating a topic", create_topic(&client)).await?;
    print_text(&format!(
        "{NODES} nodes are up, each a process of its own; topic {TOPIC:?} has {PARTITIONS} partitions of {NODES} replicas \
         ({:.1} s)\nproducing\n",
        begun.elapsed().as_secs_f64()
    ))?;

    let mut workload = Workload::start(&client, TOPIC, PARTITIONS)?;
    within("the first acknowledgements", workload.acked_since(Instant::now())).await?;
    sleep(BEFORE).await;
    let leaders = within("finding the leaders", leaders(&client)).await?;
    let victim = leaders.first().copied().flatten().unwrap_or(1);
    let led = (0..PARTITIONS).zip(&leaders).filter(|(_, leader)| **leader == Some(victim));
    let led: Vec<u32> = led.map(|(partition, _)| partition).collect();
    let pid = strike(&layout, victim, Blow::Kill)?;
    let killed = Instant::now();
    print_text(&format!(
        "kill -9 of node {victim} (process {pid}), which led {} of {PARTITIONS} partitions; producing goes on\n",
        led.len()
    ))?;
    within("going on after the kill", workload.acked_since(killed)).await?;
    sleep(AFTER).await;
    let ledgers = within("the last acknowledgements", workload.stop()).await?;

    print_text("reading everything back\n")?;
    let read = within("reading back", replay::read_back(&client, TOPIC, &ledgers)).await?;
    let account = Account::new(&ledgers, &read, killed, &led);
    print_text(&account.text(begun.elapsed()))?;
    if account.is_kept() { Ok(()) } else { Err(CliError::PromiseBroken) }
}

/// The client of the whole tour. It is told of all nodes, and finds the leaders by itself.
fn client(layout: &Layout) -> Result<Client, CliError> {
    let mut config = ClientConfig::new(layout.servers());
    config.request_timeout = STEP_MAX;
    Ok(Client::with_config(config)?)
}

/// Who leads each partition.
async fn leaders(client: &Client) -> Result<Vec<Option<u8>>, CliError> {
    let described = client.admin().describe_topic(TOPIC, false).await?;
    let leader = |partition: &v1::PartitionDescription| u8::try_from(partition.leader_node_id?).ok();
    Ok(described.partitions.iter().map(leader).collect())
}

/// Creates the topic when all nodes know each other.
async fn create_topic(client: &Client) -> Result<(), CliError> {
    let admin = client.admin();
    while admin.describe_cluster().await?.nodes.len() < usize::from(NODES) {
        sleep(LOOK).await;
    }
    let request = v1::CreateTopicRequest {
        name: TOPIC.to_owned(),
        partitions: PARTITIONS,
        replication_factor: u32::from(NODES),
        ..v1::CreateTopicRequest::default()
    };
    admin.create_topic(request).await?;
    Ok(())
}

/// A step that is not waited for without end.
async fn within<T>(
    doing: &'static str,
    step: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let stuck = CliError::TourStuck { doing, seconds: STEP_MAX.as_secs() };
    timeout(STEP_MAX, step).await.unwrap_or(Err(stuck))
}
