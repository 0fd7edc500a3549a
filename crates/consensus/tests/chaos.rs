//! Three voters under faults that a seed draws, in virtual time: nodes lose their power and come back, links are cut one way and both
//! ways, the leadership is handed over, while two producers propose.
//!
//! What must hold: an acknowledged value is at its offset on every replica, no value is at two offsets, a value that was refused is
//! nowhere, each producer's values are in their order, and all replicas hold the same log.
//!
//! `HIGHWATER_SEED=n` runs one seed, `HIGHWATER_SEEDS=n` so many.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_consensus::{ConsensusError, Durability};
use highwater_types::{NodeId, Offset, Random as _};
use parking_lot::Mutex;
use support::cluster::{Cluster, Seeded};
use tokio::time::{Instant, sleep, timeout};

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
const PRODUCERS: u64 = 2;
const FAULTS: u32 = 20;
/// How often each producer proposes.
const PACE: Duration = Duration::from_millis(20);

/// What a seed decides.
struct Chance(Seeded);

impl Chance {
    fn below(&self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn node(&self) -> NodeId {
        NODES[usize::try_from(self.below(3)).unwrap()]
    }
}

#[derive(Default)]
struct Ledger {
    acked: BTreeMap<u64, Offset>,
    refused: Vec<u64>,
    unknown: Vec<u64>,
}

#[test]
fn whatever_befalls_a_minority_acked_values_stay_where_they_are() {
    run_seeds(Durability::Fsync);
}

/// A node loses its power when all replicas are whole again after the power cut before.
#[test]
fn acked_values_in_page_caches_outlive_power_cuts_of_one_node_after_the_other() {
    run_seeds(Durability::Memory);
}

fn run_seeds(durability: Durability) {
    let seeds: Vec<u64> = match (std::env::var("HIGHWATER_SEED"), std::env::var("HIGHWATER_SEEDS")) {
        (Ok(seed), _) => vec![seed.parse().unwrap()],
        (_, Ok(count)) => (1..=count.parse().unwrap()).collect(),
        _ => (1..=3).collect(),
    };
    let (mut acked, mut unknown) = (0, 0);
    for seed in seeds {
        println!("HIGHWATER_SEED={seed}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let (a, u) = runtime.unwrap().block_on(run(seed, durability));
        acked += a;
        unknown += u;
    }
    println!("{acked} acked, {unknown} unknown");
    assert!(acked > 0);
}

async fn run(seed: u64, durability: Durability) -> (usize, usize) {
    let chance = Chance(Seeded::new(seed));
    let cluster = Arc::new(Cluster::with(seed, durability));
    cluster.start_all(&NODES).await;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| tokio::spawn(produce(cluster.clone(), ledger.clone(), producer)))
        .collect();
    let supervisor = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.supervise().await }
    });
    for _ in 0..FAULTS {
        sleep(Duration::from_millis(200 + chance.below(2500))).await;
        let node = chance.node();
        match chance.below(5) {
            0 | 1 => {
                if durability == Durability::Memory {
                    until_whole(seed, &cluster).await;
                }
                cluster.kill(node);
                sleep(Duration::from_millis(chance.below(3000))).await;
                cluster.start(node).await;
            }
            2 => {
                cluster.isolate(node);
                sleep(Duration::from_millis(chance.below(4000))).await;
                cluster.heal();
            }
            3 => {
                cluster.cut(node, chance.node());
                sleep(Duration::from_millis(chance.below(4000))).await;
                cluster.heal();
            }
            _ => {
                let successor = chance.node();
                // Only a leader can, and only to another.
                let _ = cluster.group(node).hand_over(successor).await;
            }
        }
    }
    cluster.heal();
    producers.iter().for_each(|producer| producer.abort());
    let leader = cluster.leader().await;
    // One more value settles what came before it.
    settle(&cluster, leader).await;
    supervisor.abort();
    let ledger = ledger.lock();
    check(seed, &cluster, &ledger);
    (ledger.acked.len(), ledger.unknown.len())
}

/// Proposes one value after the other, each once, at whoever serves.
async fn produce(cluster: Arc<Cluster>, ledger: Arc<Mutex<Ledger>>, producer: u64) {
    for number in 0.. {
        // Virtual time stands still while there is work.
        sleep(PACE).await;
        let value = producer * 1_000_000 + number;
        let leader = cluster.leader().await;
        ledger.lock().unknown.push(value);
        let outcome = timeout(Duration::from_secs(5), cluster.produce(leader, value)).await;
        let mut ledger = ledger.lock();
        match outcome {
            Ok(Ok(offset)) => {
                ledger.unknown.retain(|unknown| *unknown != value);
                ledger.acked.insert(value, offset);
            }
            Ok(Err(ConsensusError::NotLeader { .. } | ConsensusError::Overtaking)) => {
                ledger.unknown.retain(|unknown| *unknown != value);
                ledger.refused.push(value);
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// Nothing but time is needed.
async fn until_whole(seed: u64, cluster: &Cluster) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !cluster.is_whole() {
        assert!(Instant::now() < deadline, "seed {seed}: a replica is not taken in again after a power cut");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn settle(cluster: &Cluster, mut leader: NodeId) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while cluster.produce(leader, 999_999_999).await.is_err() {
        assert!(Instant::now() < deadline, "nobody takes a value after all faults are over");
        leader = cluster.leader().await;
    }
    let end = cluster.group(leader).log().watermarks().high_watermark();
    while NODES.iter().any(|node| cluster.group(*node).log().watermarks().high_watermark() < end) {
        assert!(Instant::now() < deadline, "a replica does not catch up after all faults are over");
        sleep(Duration::from_millis(20)).await;
    }
}

fn check(seed: u64, cluster: &Cluster, ledger: &Ledger) {
    let logs: Vec<Vec<String>> = NODES.iter().map(|node| cluster.values(*node)).collect();
    for log in &logs {
        assert_eq!(log, &logs[0], "seed {seed}: the replicas differ");
    }
    let mut places: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (place, value) in logs[0].iter().enumerate() {
        places.entry(value.trim_start_matches("value ").parse().unwrap()).or_default().push(place);
    }
    for (value, offset) in &ledger.acked {
        let expected = vec![usize::try_from(offset.0).unwrap()];
        assert_eq!(places.get(value), Some(&expected), "seed {seed}: value {value} was acked at {offset}");
    }
    for value in &ledger.refused {
        assert_eq!(places.get(value), None, "seed {seed}: value {value} was refused");
    }
    for value in &ledger.unknown {
        assert!(places.get(value).is_none_or(|places| places.len() == 1), "seed {seed}: value {value} twice");
    }
    for producer in 0..PRODUCERS {
        let own = |value: &u64| *value / 1_000_000 == producer;
        let order: Vec<u64> = logs[0]
            .iter()
            .map(|value| value.trim_start_matches("value ").parse().unwrap())
            .filter(own)
            .collect();
        assert!(order.is_sorted(), "seed {seed}: the values of producer {producer} are out of order");
    }
}
