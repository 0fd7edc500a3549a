//! Groups of three voters over simulated disks and a network inside the test, whose links can be cut.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use highwater_consensus::Proposal;
use highwater_types::{NodeId, Offset};
use support::cluster::Cluster;
use support::{batch, expected, wait_until};

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

#[tokio::test]
async fn what_the_leader_acked_is_on_every_replica_in_the_same_order() {
    let cluster = Cluster::new(11);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    for value in 0..200 {
        assert_eq!(cluster.produce(leader, value).await.unwrap(), Offset(value as i64));
    }
    for node in NODES {
        wait_until(|| cluster.values(node) == expected(0..200)).await;
    }
}

#[tokio::test]
async fn a_leader_that_is_gone_is_replaced_and_nothing_acked_is_lost() {
    let cluster = Cluster::new(12);
    cluster.start_all(&NODES).await;
    let mut next = 0;
    for _ in 0..4 {
        let leader = cluster.leader().await;
        for _ in 0..50 {
            cluster.produce(leader, next).await.unwrap();
            next += 1;
        }
        cluster.kill(leader);
        let successor = cluster.leader().await;
        assert_ne!(successor, leader);
        assert_eq!(cluster.values(successor), expected(0..next));
        cluster.start(leader).await;
    }
    for node in NODES {
        wait_until(|| cluster.values(node) == expected(0..next)).await;
    }
}

#[tokio::test]
async fn a_leader_cut_off_from_its_peers_commits_nothing_and_its_entries_go_when_it_is_back() {
    let cluster = Cluster::new(13);
    cluster.start_all(&NODES).await;
    let old = cluster.leader().await;
    cluster.produce(old, 0).await.unwrap();
    cluster.isolate(old);
    // It still believes to lead, and takes the proposal.
    let log = cluster.group(old).log().clone();
    let lost = batch(666);
    let reservation = log.reserve(lost.size_in_bytes()).unwrap();
    let proposals = vec![Proposal::Batch { batch: lost, reservation }];
    let handle = cluster.group(old).propose_many(None, proposals).await.remove(0);
    let successor = cluster.leader_among(|node| node != old).await;
    for value in 1..20 {
        cluster.produce(successor, value).await.unwrap();
    }
    assert_eq!(cluster.values(old), expected(0..1));
    cluster.heal();
    let outcome = tokio::time::timeout(Duration::from_secs(20), handle).await.expect("answered");
    assert!(outcome.is_err(), "{outcome:?}");
    for node in NODES {
        wait_until(|| cluster.values(node) == expected(0..20)).await;
    }
}

#[tokio::test]
async fn a_minority_that_was_away_catches_up() {
    let cluster = Cluster::new(14);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    let away = *NODES.iter().find(|node| **node != leader).unwrap();
    cluster.kill(away);
    for value in 0..500 {
        cluster.produce(leader, value).await.unwrap();
    }
    cluster.start(away).await;
    wait_until(|| cluster.values(away) == expected(0..500)).await;
    assert_eq!(cluster.group(away).log().watermarks().high_watermark(), Offset(500));
}

#[tokio::test]
async fn two_of_three_gone_stops_the_group_until_one_is_back() {
    let cluster = Cluster::new(15);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    cluster.produce(leader, 0).await.unwrap();
    let others: Vec<NodeId> = NODES.into_iter().filter(|node| *node != leader).collect();
    cluster.kill(others[0]);
    cluster.kill(others[1]);
    let waiting = tokio::time::timeout(Duration::from_millis(300), cluster.produce(leader, 1)).await;
    assert!(!matches!(waiting, Ok(Ok(_))), "acked by a minority: {waiting:?}");
    cluster.start(others[0]).await;
    let leader = cluster.leader().await;
    wait_until(|| cluster.values(leader).starts_with(&expected(0..1))).await;
    let base = cluster.produce(leader, 2).await.unwrap();
    assert!(base >= Offset(1));
}
