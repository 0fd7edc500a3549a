//! Replicas whose batches lie in page caches lose their power (R20).
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_consensus::Durability;
use highwater_types::{NodeId, Offset};
use support::cluster::Cluster;
use support::expected;
use tokio::time::{Instant, sleep};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);
const ALL: [NodeId; 3] = [A, B, C];
/// How long what must not happen is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

async fn cluster(seed: u64) -> Arc<Cluster> {
    println!("seed {seed}");
    let cluster = Arc::new(Cluster::with(seed, Durability::Memory));
    cluster.start_all(&ALL).await;
    let supervised = cluster.clone();
    tokio::spawn(async move { supervised.supervise().await });
    cluster
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Nothing but time is needed until every replica is a voter again.
async fn until_whole(cluster: &Cluster) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !cluster.is_whole() {
        assert!(Instant::now() < deadline, "all are members again: {}", cluster.account());
        sleep(Duration::from_millis(20)).await;
    }
}

async fn produce(cluster: &Cluster, values: std::ops::Range<u64>) -> BTreeMap<u64, Offset> {
    let mut acked = BTreeMap::new();
    for value in values {
        let leader = cluster.leader().await;
        if let Ok(offset) = cluster.produce(leader, value).await {
            acked.insert(value, offset);
        }
    }
    acked
}

async fn until_all_have(cluster: &Cluster, end: Offset) {
    let has_all = |node: &NodeId| cluster.group(*node).log().watermarks().high_watermark() >= end;
    until("every replica has the log", || ALL.iter().all(has_all)).await;
}

/// Another than the leader.
async fn follower(cluster: &Cluster) -> NodeId {
    let leader = cluster.leader().await;
    ALL.into_iter().find(|node| *node != leader).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_lost_its_newest_batches_comes_back_as_another_member() {
    for seed in 1..=5 {
        let cluster = cluster(seed).await;
        assert_eq!(produce(&cluster, 0..50).await.len(), 50);
        let lost = follower(&cluster).await;
        let before = cluster.group(lost).log().incarnation();
        cluster.kill(lost);
        cluster.start(lost).await;
        assert!(cluster.group(lost).is_in_doubt());
        until_whole(&cluster).await;
        assert!(cluster.group(lost).log().incarnation() > before);
        until_all_have(&cluster, Offset(50)).await;
        assert_eq!(cluster.values(lost), expected(0..50));
        // It counts: with another one away, the two that are left are a majority.
        let leader = cluster.leader().await;
        let away = ALL.into_iter().find(|node| *node != lost && *node != leader).unwrap();
        cluster.kill(away);
        assert_eq!(produce(&cluster, 50..60).await.len(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_in_doubt_does_not_elect_a_leader_without_the_entries_that_it_lost() {
    for seed in 1..=20 {
        let cluster = cluster(seed).await;
        let leader = cluster.leader().await;
        let [lost, behind] =
            [0, 1].map(|place| ALL.into_iter().filter(|node| *node != leader).nth(place).unwrap());
        produce(&cluster, 0..5).await;
        until_all_have(&cluster, Offset(5)).await;
        // One follower misses what the other one and the leader commit.
        cluster.isolate(behind);
        let acked = produce(&cluster, 5..25).await;
        assert!(!acked.is_empty());
        // The leader is cut off, the follower loses its power, and only the two that are not to be trusted together see each other.
        cluster.heal();
        cluster.isolate(leader);
        cluster.kill(lost);
        cluster.start(lost).await;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for node in [lost, behind] {
                assert!(
                    !cluster.group(node).status().is_serving,
                    "seed {seed}: node {node} leads without acked entries"
                );
            }
            sleep(Duration::from_millis(50)).await;
        }
        cluster.heal();
        until_whole(&cluster).await;
        let leader = cluster.leader().await;
        let values = cluster.values(leader);
        for (value, offset) in acked {
            assert_eq!(values[usize::try_from(offset.0).unwrap()], format!("value {value:08}"), "seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_whole_keeps_what_was_acked_though_all_others_lost_their_power() {
    for seed in 1..=10 {
        let cluster = cluster(seed).await;
        let acked = produce(&cluster, 0..40).await;
        let leader = cluster.leader().await;
        for node in ALL.into_iter().filter(|node| *node != leader) {
            cluster.kill(node);
        }
        for node in ALL.into_iter().filter(|node| *node != leader) {
            cluster.start(node).await;
        }
        until_whole(&cluster).await;
        let leader = cluster.leader().await;
        let values = cluster.values(leader);
        for (value, offset) in acked {
            assert_eq!(values[usize::try_from(offset.0).unwrap()], format!("value {value:08}"), "seed {seed}");
        }
        assert!(!produce(&cluster, 40..45).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_gives_up_its_term_before_it_takes_the_shorter_logs_of_all_who_followed_it() {
    let mut shorter = 0;
    for seed in 1..=20 {
        let cluster = cluster(seed).await;
        let acked = produce(&cluster, 0..40).await;
        let leader = cluster.leader().await;
        let others: Vec<NodeId> = ALL.into_iter().filter(|node| *node != leader).collect();
        let end = cluster.group(leader).log().watermarks().log_end();
        until_all_have(&cluster, end).await;
        let term = cluster.group(leader).status().term;
        others.iter().for_each(|node| cluster.kill(*node));
        // Nobody tells it that it leads no more.
        assert!(cluster.group(leader).status().is_leader, "seed {seed}");
        for node in &others {
            cluster.start(*node).await;
        }
        let is_shorter = |node: &NodeId| cluster.group(*node).log().watermarks().log_end() < end;
        shorter += others.iter().filter(|node| is_shorter(node)).count();
        let host = cluster.host(leader);
        tokio::select! {
            () = until_whole(&cluster) => {}
            reason = host.failed() => panic!("seed {seed}: the leader failed: {reason}"),
        }
        assert!(cluster.group(leader).status().term > term, "seed {seed}");
        for node in ALL {
            until_all_have(&cluster, end).await;
            let values = cluster.values(node);
            for (value, offset) in &acked {
                let place = usize::try_from(offset.0).unwrap();
                assert_eq!(values[place], format!("value {value:08}"), "seed {seed}: node {node}");
            }
        }
    }
    assert!(shorter > 0, "no log was shorter after the power cut");
}

#[tokio::test(start_paused = true)]
async fn after_a_power_cut_of_all_the_group_waits_for_every_replica_and_goes_on_with_the_longest_log() {
    for seed in 1..=20 {
        let cluster = cluster(seed).await;
        let acked = produce(&cluster, 0..40).await;
        for node in ALL {
            cluster.kill(node);
        }
        for node in [A, B] {
            cluster.start(node).await;
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            assert!(
                ![A, B].iter().any(|node| cluster.group(*node).status().is_serving),
                "seed {seed}: C is away"
            );
            sleep(Duration::from_millis(50)).await;
        }
        cluster.start(C).await;
        let longest =
            ALL.map(|node| cluster.group(node).log().watermarks().log_end()).into_iter().max().unwrap();
        until_whole(&cluster).await;
        let leader = cluster.leader().await;
        let more = produce(&cluster, 40..50).await;
        assert_eq!(more.len(), 10);
        until_all_have(&cluster, *more.values().max().unwrap()).await;
        let values = cluster.values(leader);
        for (value, offset) in acked.iter().filter(|(_, offset)| **offset < longest) {
            assert_eq!(values[usize::try_from(offset.0).unwrap()], format!("value {value:08}"), "seed {seed}");
        }
        // The rest is gone, and nothing of it is anywhere.
        for value in acked.iter().filter(|(_, offset)| **offset >= longest).map(|(value, _)| value) {
            assert!(!values.contains(&format!("value {value:08}")), "seed {seed}: value {value} moved");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_gave_up_its_damaged_data_is_taken_in_again_from_nothing() {
    for seed in 1..=5 {
        let cluster = cluster(seed).await;
        produce(&cluster, 0..50).await;
        let damaged = follower(&cluster).await;
        cluster.renew(damaged).await;
        assert_eq!(cluster.group(damaged).log().bounds(), (None, None));
        until_whole(&cluster).await;
        until_all_have(&cluster, Offset(50)).await;
        assert_eq!(cluster.values(damaged), expected(0..50));
        // It is still who it is after its power went as well.
        let now = cluster.group(damaged).log().incarnation();
        cluster.kill(damaged);
        cluster.start(damaged).await;
        assert_eq!(cluster.group(damaged).log().incarnation(), now);
        until_whole(&cluster).await;
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_that_sync_everything_are_never_in_doubt() {
    let cluster = Arc::new(Cluster::with(7, Durability::Fsync));
    cluster.start_all(&ALL).await;
    assert_eq!(produce(&cluster, 0..10).await.len(), 10);
    for node in ALL {
        cluster.kill(node);
    }
    for node in ALL {
        cluster.start(node).await;
        assert!(!cluster.group(node).is_in_doubt());
    }
    cluster.leader().await;
    assert_eq!(produce(&cluster, 10..20).await.len(), 10);
    let leader = cluster.leader().await;
    assert_eq!(cluster.values(leader), expected(0..20));
    assert!(cluster.group(leader).log().incarnation().is_none());
}
