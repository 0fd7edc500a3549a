//! Replicas whose next entries the leader has purged: they are given the state where its log starts, jump to it, and go on
//! from there (R17).
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use highwater_consensus::{Desired, Durability, Group, GroupOptions, Origin, Proposal, Reconciled};
use highwater_types::{GroupId, NodeId, Offset};
use support::cluster::Cluster;
use support::{Counter, SERVING, expected, wait_until};

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
/// Enough for more than one segment.
const ROUND: u64 = 900;

fn other_than(leader: NodeId) -> NodeId {
    *NODES.iter().find(|node| **node != leader).unwrap()
}

/// Moves the log start to `offset` and has `node` purge what lies below, as far as whole segments go.
async fn purge_below(cluster: &Cluster, node: NodeId, offset: u64) {
    let group = cluster.group(node);
    let before = group.log().bounds().0;
    let start = Bytes::copy_from_slice(&i64::try_from(offset).unwrap().to_le_bytes());
    group.propose(Proposal::Control(start)).await.unwrap();
    cluster.host(node).checkpoint().await.unwrap();
    wait_until(|| group.log().bounds().0 > before).await;
}

/// Whether two replicas hold and know the same.
fn are_equal(cluster: &Cluster, one: NodeId, other: NodeId) -> bool {
    let seen = |node| {
        let log = cluster.group(node).log().clone();
        (log.watermarks(), log.snapshot(), log.applied().1.map(|entry| entry.id), cluster.values(node))
    };
    seen(one) == seen(other)
}

#[tokio::test]
async fn a_follower_that_was_away_during_a_purge_jumps_and_then_holds_the_same() {
    let cluster = Cluster::new(31);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    let away = other_than(leader);
    for value in 0..10 {
        cluster.produce(leader, value).await.unwrap();
    }
    wait_until(|| cluster.values(away) == expected(0..10)).await;
    cluster.kill(away);
    for value in 10..ROUND {
        cluster.produce(leader, value).await.unwrap();
    }
    purge_below(&cluster, leader, ROUND - 50).await;
    let purged = cluster.group(leader).log().bounds().0;
    cluster.start(away).await;
    wait_until(|| are_equal(&cluster, leader, away)).await;
    assert_eq!(cluster.values(away), expected(ROUND - 50..ROUND));
    let log = cluster.group(away).log().clone();
    assert!(log.bounds().0 >= purged, "it was given the entries one by one");
    let segments = log.segments().unwrap().segments();
    assert!(segments[0].base > Offset(10), "its log starts at {}", segments[0].base);
    // It goes on as any other, and what it jumped over does not come back.
    cluster.produce(leader, ROUND).await.unwrap();
    cluster.host(away).checkpoint().await.unwrap();
    cluster.kill(away);
    cluster.start(away).await;
    wait_until(|| are_equal(&cluster, leader, away)).await;
    assert_eq!(cluster.values(away), expected(ROUND - 50..ROUND + 1));
}

#[tokio::test]
async fn a_follower_that_jumped_can_lead_and_bring_up_another() {
    let cluster = Cluster::new(32);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    let away = other_than(leader);
    cluster.kill(away);
    for value in 0..ROUND {
        cluster.produce(leader, value).await.unwrap();
    }
    purge_below(&cluster, leader, ROUND - 50).await;
    cluster.start(away).await;
    wait_until(|| are_equal(&cluster, leader, away)).await;
    // Now one that has nothing at all, and only the one that jumped to learn from.
    let third = *NODES.iter().find(|node| **node != leader && **node != away).unwrap();
    wait_until(|| are_equal(&cluster, leader, third)).await;
    cluster.kill(leader);
    let successor = cluster.leader_among(|node| node != leader).await;
    let rest = if successor == away { third } else { away };
    for value in ROUND..2 * ROUND {
        cluster.produce(successor, value).await.unwrap();
    }
    purge_below(&cluster, successor, 2 * ROUND - 50).await;
    cluster.start(leader).await;
    wait_until(|| are_equal(&cluster, successor, leader) && are_equal(&cluster, successor, rest)).await;
    assert_eq!(cluster.values(leader), expected(2 * ROUND - 50..2 * ROUND));
}

#[tokio::test]
async fn a_follower_whose_power_goes_in_the_middle_of_its_jump_jumps_again() {
    let cluster = Cluster::new(33);
    cluster.start_all(&NODES).await;
    let mut next = 0;
    for operations in (0..12).step_by(3) {
        let leader = cluster.leader().await;
        let away = other_than(leader);
        cluster.kill(away);
        let end = next + ROUND;
        while next < end {
            cluster.produce(leader, next).await.unwrap();
            next += 1;
        }
        purge_below(&cluster, leader, next - 50).await;
        cluster.isolate(away);
        cluster.start(away).await;
        cluster.disk(away).crash_after_ops(operations);
        cluster.heal();
        wait_until(|| cluster.disk(away).is_power_cut() || are_equal(&cluster, leader, away)).await;
        cluster.kill(away);
        cluster.start(away).await;
        let leader = cluster.leader().await;
        assert_eq!(cluster.group(away).status().quarantined, None, "after {operations} operations");
        wait_until(|| are_equal(&cluster, leader, away)).await;
        assert_eq!(cluster.values(away), expected(next - 50..next), "after {operations} operations");
    }
}

#[tokio::test]
async fn a_replica_that_was_emptied_gets_the_state_as_a_learner_and_then_votes() {
    let cluster = Cluster::new(35);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    for value in 0..ROUND {
        cluster.produce(leader, value).await.unwrap();
    }
    let emptied = other_than(leader);
    wait_until(|| cluster.values(emptied) == expected(0..ROUND)).await;
    purge_below(&cluster, leader, ROUND - 50).await;
    cluster.wipe(emptied);
    cluster.start(emptied).await;
    // It is another member now: the newest membership comes after the state that it is given.
    let voters = NODES.iter().map(|node| cluster.member(*node)).collect();
    let desired = Desired { voters, ..Desired::default() };
    let settled = async {
        loop {
            let leader = cluster.leader().await;
            match cluster.group(leader).reconcile(&desired).await {
                Ok(Reconciled::Done) => return,
                Ok(Reconciled::Stepped) | Err(_) => {}
                Ok(Reconciled::CatchingUp(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(SERVING, settled).await.expect("the membership settles");
    wait_until(|| are_equal(&cluster, leader, emptied)).await;
    assert_eq!(cluster.values(emptied), expected(ROUND - 50..ROUND));
    let other = *NODES.iter().find(|node| **node != leader && **node != emptied).unwrap();
    cluster.kill(other);
    assert_eq!(cluster.produce(leader, ROUND).await.unwrap(), Offset(i64::try_from(ROUND).unwrap()));
}

async fn start_metadata(cluster: &Cluster, node: NodeId, is_new: bool) -> Group {
    let options = GroupOptions { durability: Durability::Fsync, segments: None };
    let origin = match is_new {
        true => Origin::New(NODES.iter().map(|node| cluster.member(*node)).collect()),
        false => Origin::Existing,
    };
    let machine = Box::new(Counter::default());
    cluster.host(node).start_group(GroupId::Metadata, options, origin, machine).await.unwrap()
}

fn metadata(cluster: &Cluster, node: NodeId) -> Group {
    cluster.host(node).group(GroupId::Metadata).unwrap()
}

async fn metadata_leader(cluster: &Cluster, among: &[NodeId]) -> NodeId {
    let serves = |node: &&NodeId| metadata(cluster, **node).status().is_serving;
    let found = async {
        loop {
            if let Some(node) = among.iter().find(serves) {
                return *node;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SERVING, found).await.expect("a leader of the metadata in time")
}

#[tokio::test]
async fn a_follower_of_a_group_without_batches_is_given_its_whole_state() {
    let cluster = Cluster::new(34);
    cluster.start_all(&NODES).await;
    for node in NODES {
        start_metadata(&cluster, node, true).await;
    }
    let command = || Proposal::Control(Bytes::copy_from_slice(&0_i64.to_le_bytes()));
    let mut away = NODES[0];
    for round in 0..3 {
        let leader = metadata_leader(&cluster, &NODES).await;
        away = other_than(leader);
        cluster.kill(away);
        let present: Vec<NodeId> = NODES.into_iter().filter(|node| *node != away).collect();
        let leader = metadata_leader(&cluster, &present).await;
        let group = metadata(&cluster, leader);
        for _ in 0..400 {
            group.propose(command()).await.unwrap();
        }
        let before = group.log().bounds().0;
        cluster.host(leader).checkpoint().await.unwrap();
        wait_until(|| group.log().bounds().0 > before).await;
        cluster.start(away).await;
        let returned = start_metadata(&cluster, away, false).await;
        wait_until(|| {
            let (applied, state) = returned.log().snapshot();
            applied >= group.log().bounds().0 && (applied, state) == group.log().snapshot()
        })
        .await;
        assert!(returned.log().bounds().0.is_some(), "round {round}: it was given the entries one by one");
    }
    // Its state is its own now.
    cluster.host(away).checkpoint().await.unwrap();
    let seen = metadata(&cluster, away).log().snapshot();
    cluster.kill(away);
    cluster.start(away).await;
    let again = start_metadata(&cluster, away, false).await;
    assert!(again.log().snapshot().0 >= seen.0);
}
