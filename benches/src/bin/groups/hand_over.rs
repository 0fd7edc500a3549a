//! One of 50 members leaves, and one is killed: how long its partitions stand still, and what the others notice.

use std::sync::Arc;
use std::time::Duration;

use highwater_benches::{BenchError, LoadShape, LocalCluster, Place, Quantiles, SteadyLoad, create_topic};
use highwater_client::Client;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::member::{Seen, join, read};

const TOPIC: &str = "hand-over";
const GROUP: &str = "fifty";
const NODES: usize = 3;
const MEMBERS: usize = 50;
const PARTITIONS: u32 = 100;
/// A record of each partition comes this often.
const RECORDS_PER_SECOND: f64 = 10_000.0;
/// How often a member leaves, and another one comes in its place.
const LEAVES: usize = 10;
/// How long the load runs between two changes.
const CALM: Duration = Duration::from_secs(3);
/// Within this time a group settles, or the measurement ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long silence of a member is put up with, on top of what the nodes say.
const SESSION: Duration = Duration::from_secs(15);

/// See the module.
#[expect(clippy::print_stdout, reason = "its output is what it is for")]
pub(crate) async fn measure(place: &Place) -> Result<(), BenchError> {
    let cluster = LocalCluster::start(place, NODES)?;
    let client = Client::connect(cluster.servers())?;
    create_topic(&client, TOPIC, PARTITIONS, NODES).await?;
    let seen = Arc::new(Seen::default());
    let mut members = Vec::new();
    for member in 0..MEMBERS {
        members.push(Some(start(&client, member, &seen)?));
    }
    let shape = LoadShape {
        topic: TOPIC.to_owned(),
        partitions: PARTITIONS,
        value_bytes: 100,
        records_per_second: RECORDS_PER_SECOND,
    };
    let load = SteadyLoad::start(&client, shape)?;
    settle(&seen).await?;
    sleep(CALM).await;

    let (mut waits, mut others_gaps, mut calm_gaps, mut disturbed) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (leaver, leave) in members.iter_mut().enumerate().take(LEAVES) {
        let theirs = seen.owned_by(leaver);
        let (before, began) = (seen.taken(), Instant::now());
        if let Some(leave) = leave.take() {
            // It reads until it is told.
            let _ = leave.send(());
        }
        sleep(CALM).await;
        settle(&seen).await?;
        // What was taken from the one that left is not counted.
        disturbed += seen.taken() - before - theirs.len() as u64;
        for partition in 0..PARTITIONS {
            if theirs.contains(&partition) {
                waits.extend(first_of_another(&seen, partition, leaver, began));
            } else {
                others_gaps.push(longest_gap(&seen, partition, began, began + CALM));
                calm_gaps.push(longest_gap(&seen, partition, began - CALM, began));
            }
        }
        *leave = Some(start(&client, MEMBERS + leaver, &seen)?);
        sleep(CALM).await;
        settle(&seen).await?;
    }
    println!(
        "one of {MEMBERS} leaves, {LEAVES} times, {PARTITIONS} partitions, {RECORDS_PER_SECOND} records/s"
    );
    println!("  its partitions flow again after      {}", Quantiles::of(waits));
    println!("  longest gap of the others meanwhile  {}", Quantiles::of(others_gaps));
    println!("  the same while nothing happens       {}", Quantiles::of(calm_gaps));
    println!("  partitions taken from others         {disturbed}");
    drop(load.stop().await?);
    kill(&cluster, &client).await
}

/// A member whose process is gone: its runtime ends with all its tasks, and nobody says a word.
#[expect(clippy::print_stdout, reason = "its output is what it is for")]
async fn kill(cluster: &LocalCluster, client: &Client) -> Result<(), BenchError> {
    let (topic, group) = ("killed", "killed");
    create_topic(client, topic, 10, NODES).await?;
    let seen = Arc::new(Seen::default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(BenchError::io("starting a runtime"))?;
    let (servers, theirs) = (cluster.servers(), Arc::clone(&seen));
    let (_never, leave) = oneshot::channel();
    runtime.spawn(async move {
        let client = Client::connect(servers)?;
        let consumer = join(&client, (group, topic), 0, &theirs)?;
        read(consumer, 0, theirs, leave).await
    });
    let shape =
        LoadShape { topic: topic.to_owned(), partitions: 10, value_bytes: 100, records_per_second: 1000.0 };
    let load = SteadyLoad::start(client, shape)?;
    let consumer = join(client, (group, topic), 1, &seen)?;
    let (_stays, leave) = oneshot::channel();
    tokio::spawn(read(consumer, 1, Arc::clone(&seen), leave));
    let shares = || seen.owned_by(0).len() == 5 && seen.owned_by(1).len() == 5;
    until("both members share", shares).await?;
    sleep(CALM).await;
    let orphans = seen.owned_by(0);
    let began = Instant::now();
    runtime.shutdown_background();
    until("the other one has all", || {
        orphans.iter().all(|partition| first_of_another(&seen, *partition, 0, began).is_some())
    })
    .await?;
    let waits = orphans.iter().filter_map(|partition| first_of_another(&seen, *partition, 0, began)).collect();
    println!(
        "a member is killed, session {SESSION:?}: its partitions flow again after {}",
        Quantiles::of(waits)
    );
    drop(load.stop().await?);
    Ok(())
}

fn start(client: &Client, member: usize, seen: &Arc<Seen>) -> Result<oneshot::Sender<()>, BenchError> {
    let consumer = join(client, (GROUP, TOPIC), member, seen)?;
    let (sender, leave) = oneshot::channel();
    tokio::spawn(read(consumer, member, Arc::clone(seen), leave));
    Ok(sender)
}

/// Waits until every partition has an owner and none has changed hands for a while.
async fn settle(seen: &Seen) -> Result<(), BenchError> {
    until("every partition is owned", || seen.owned() == PARTITIONS as usize).await
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), BenchError> {
    let waited = timeout(PATIENCE, async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.map_err(|_| BenchError::NotDone {
        what: what.to_owned(),
        seconds: PATIENCE.as_secs(),
        waits_for: "see the nodes' logs".to_owned(),
    })
}

/// How long after `since` another member than that one got a record of the partition.
fn first_of_another(seen: &Seen, partition: u32, member: usize, since: Instant) -> Option<Duration> {
    let arrivals = seen.arrivals(partition);
    let first = arrivals.iter().find(|(at, who)| *at >= since && *who != member);
    first.map(|(at, _)| *at - since)
}

fn longest_gap(seen: &Seen, partition: u32, from: Instant, to: Instant) -> Duration {
    let arrivals = seen.arrivals(partition);
    let within = arrivals.windows(2).filter(|pair| pair[1].0 >= from && pair[0].0 <= to);
    within.map(|pair| pair[1].0 - pair[0].0).max().unwrap_or_default()
}
