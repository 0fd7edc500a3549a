//! Leaders that hand over: under load, and while what the three say to each other is slow, late or lost.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use highwater_types::NodeId;
use support::cluster::Cluster;
use support::{SERVING, expected, wait_until};
use tokio::task::yield_now;
use tokio::time::timeout;

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

/// The leader and the two others.
async fn three(cluster: &Cluster) -> (NodeId, NodeId, NodeId) {
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    let mut others = NODES.into_iter().filter(|node| *node != leader);
    (leader, others.next().unwrap(), others.next().unwrap())
}

/// Has `node` take a value, which must not take for ever.
async fn takes(cluster: &Cluster, node: NodeId, value: u64) {
    let taken = timeout(SERVING, cluster.produce(node, value)).await;
    taken.expect("answered").unwrap_or_else(|error| panic!("node {node}, value {value}: {error}"));
}

#[tokio::test]
async fn a_successor_that_always_lacks_what_is_on_its_way_takes_over_under_load_that_never_rests() {
    let cluster = Arc::new(Cluster::new(31));
    let (leader, successor, _) = three(&cluster).await;
    // The other two make a majority, so the leader's log is always longer than what it knows the successor to have.
    cluster.slow(leader, successor, Duration::from_millis(10));
    let (is_over, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let producers: Vec<_> = (0..8)
        .map(|_| {
            let (cluster, is_over, next) = (cluster.clone(), is_over.clone(), next.clone());
            tokio::spawn(async move {
                let (mut acked, mut leader) = (Vec::new(), leader);
                while !is_over.load(Ordering::Relaxed) {
                    let value = next.fetch_add(1, Ordering::Relaxed);
                    match timeout(SERVING, cluster.produce(leader, value)).await.expect("answered") {
                        Ok(_) => acked.push(value),
                        Err(_) => leader = cluster.leader().await,
                    }
                }
                acked
            })
        })
        .collect();
    wait_until(|| next.load(Ordering::Relaxed) > 100).await;
    cluster.group(leader).hand_over(successor).await.unwrap();
    assert_eq!(cluster.leader().await, successor);
    let so_far = next.load(Ordering::Relaxed);
    wait_until(|| next.load(Ordering::Relaxed) > so_far + 100).await;
    is_over.store(true, Ordering::Relaxed);
    let mut acked = Vec::new();
    for producer in producers {
        acked.extend(producer.await.unwrap());
    }
    for node in NODES {
        wait_until(|| {
            let values = cluster.values(node);
            let once: BTreeSet<&String> = values.iter().collect();
            assert_eq!(once.len(), values.len(), "on node {node} a value is there twice");
            acked.iter().all(|value| once.contains(&format!("value {value:08}")))
        })
        .await;
    }
}

#[tokio::test]
async fn who_handed_over_leaves_its_successor_the_time_to_say_that_it_leads() {
    let cluster = Cluster::new(34);
    cluster.start_all(&NODES).await;
    // Each hands over once: one of them is the first to stand where nobody leads.
    for _ in NODES {
        let old = cluster.leader().await;
        let successor = NODES[usize::try_from(old.0).unwrap() % NODES.len()];
        let say_late = |by| NODES.iter().for_each(|other| cluster.slow(successor, *other, by));
        say_late(Duration::from_millis(100));
        let term = cluster.group(old).status().term;
        cluster.group(old).hand_over(successor).await.unwrap();
        assert_eq!(cluster.leader().await, successor);
        let next = cluster.group(successor).status().term;
        assert_eq!(next.0, term.0 + 1, "nobody stood against node {successor}");
        say_late(Duration::ZERO);
    }
}

#[tokio::test]
async fn a_request_to_take_over_that_arrives_late_makes_no_second_leader() {
    let cluster = Cluster::new(32);
    let (old, successor, _) = three(&cluster).await;
    takes(&cluster, old, 0).await;
    cluster.hold_take_overs();
    let handed_over = cluster.group(old).hand_over(successor).await;
    assert!(handed_over.is_err(), "the successor heard nothing");
    let leader = cluster.leader_among(|node| node != successor).await;
    takes(&cluster, leader, 1).await;
    // The third hears both, and these two do not hear each other.
    cluster.cut(leader, successor);
    cluster.cut(successor, leader);
    cluster.deliver_take_overs().await;
    for value in 2..100 {
        takes(&cluster, leader, value).await;
        assert!(cluster.group(leader).status().is_serving);
        assert!(!cluster.group(successor).status().is_serving);
    }
    cluster.heal();
    for node in NODES {
        wait_until(|| cluster.values(node) == expected(0..100)).await;
    }
}

#[tokio::test]
async fn a_leader_that_was_followed_up_does_not_serve_on_an_acknowledgement_that_comes_late() {
    let cluster = Cluster::new(33);
    let (old, successor, third) = three(&cluster).await;
    takes(&cluster, old, 0).await;
    cluster.hold_answers(third, old);
    takes(&cluster, old, 1).await;
    // The successor hears the leader, and is not heard.
    cluster.cut(successor, old);
    let before = cluster.group(old);
    let handed_over = before.hand_over(successor).await;
    assert!(handed_over.is_err(), "the successor's answer is lost");
    cluster.leader_among(|node| node == successor).await;
    assert!(!before.status().is_serving);
    // From before the third voted for the successor.
    cluster.let_one_answer_go(third, old).await;
    for _ in 0..1000 {
        yield_now().await;
        assert!(!before.status().is_serving, "the third follows another leader");
    }
    cluster.heal();
    takes(&cluster, cluster.leader().await, 2).await;
    for node in NODES {
        wait_until(|| cluster.values(node) == expected(0..3)).await;
    }
}
