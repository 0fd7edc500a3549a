//! A leader that a majority does not stand by for a moment, and that nobody replaces: it stops serving, and goes on. Time is simulated.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use highwater_consensus::{ConsensusError, Group, Proposal};
use highwater_types::{NodeId, Offset};
use support::cluster::Cluster;
use support::{SERVING, batch, expected};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

/// Three nodes, the one that leads, and the others.
async fn three(seed: u64) -> (Cluster, NodeId, [NodeId; 2]) {
    let cluster = Cluster::new(seed);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    cluster.produce(leader, 0).await.unwrap();
    let others: Vec<NodeId> = NODES.into_iter().filter(|node| *node != leader).collect();
    (cluster, leader, others.try_into().unwrap())
}

async fn until(condition: impl Fn() -> bool) {
    let waited = timeout(SERVING, async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("the condition holds in time");
}

/// Waits as a producer does whose batch has come in the meantime.
async fn waiting_for(group: &Group) -> JoinHandle<()> {
    let waits = {
        let group = group.clone();
        tokio::spawn(async move { group.until_settled().await })
    };
    // Past all that was published before.
    sleep(Duration::from_millis(50)).await;
    assert!(!waits.is_finished() && !group.status().is_serving);
    waits
}

async fn goes_on(cluster: &Cluster, leader: NodeId, waits: JoinHandle<()>) {
    timeout(SERVING, waits).await.expect("whoever waits is told").unwrap();
    assert!(cluster.group(leader).status().is_serving);
    assert_eq!(cluster.produce(leader, 1).await.unwrap(), Offset(1));
    assert_eq!(cluster.values(leader), expected(0..2));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hears_the_others_again_before_they_leave_it_goes_on_and_who_waits_is_told() {
    let (cluster, leader, others) = three(31).await;
    let group = cluster.group(leader);
    let before = group.status();
    // They hear the leader, so they stand by it for a while longer.
    others.into_iter().for_each(|other| cluster.cut(other, leader));
    until(|| !group.status().is_serving).await;
    let waits = waiting_for(&group).await;
    cluster.heal();
    goes_on(&cluster, leader, waits).await;
    assert_eq!(group.status(), before, "nothing has changed but whether it serves");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_hand_over_reached_nobody_serves_on_and_who_waits_is_told() {
    let (cluster, leader, [successor, _]) = three(32).await;
    let group = cluster.group(leader);
    let before = group.status();
    cluster.cut(leader, successor);
    let cannot = group.hand_over(successor).await;
    assert!(cannot.is_err(), "{cannot:?}");
    let waits = tokio::spawn({
        let group = group.clone();
        async move { group.until_settled().await }
    });
    goes_on(&cluster, leader, waits).await;
    assert_eq!(group.status(), before, "nothing has changed");
}

#[tokio::test(start_paused = true)]
async fn a_batch_does_not_overtake_one_that_was_refused_while_the_leader_was_not_sure_of_itself() {
    let (cluster, leader, others) = three(33).await;
    let group = cluster.group(leader);
    let proposal = |value| {
        let batch = batch(value);
        let reservation = group.log().reserve(batch.size_in_bytes()).unwrap();
        vec![Proposal::Batch { batch, reservation }]
    };
    others.into_iter().for_each(|other| cluster.cut(other, leader));
    // Past the time in which it needs no answer to be sure.
    sleep(Duration::from_millis(250)).await;
    let mut refused = group.propose_many(None, proposal(7)).await;
    cluster.heal();
    until(|| group.status().is_serving).await;
    // The proposer does not know yet what became of the first.
    let behind = group.propose_many(None, proposal(8)).await.remove(0).await;
    assert!(matches!(behind, Err(ConsensusError::Overtaking)), "{behind:?}");
    let refused = refused.remove(0).await;
    assert!(matches!(refused, Err(ConsensusError::NotLeader { .. })), "{refused:?}");
    assert_eq!(cluster.produce(leader, 1).await.unwrap(), Offset(1));
    assert_eq!(cluster.values(leader), expected(0..2));
}

/// Waits for a condition as somebody does who looks only when told of a change.
async fn told(changes: &mut watch::Receiver<u64>, condition: impl Fn() -> bool) {
    let looked = timeout(SERVING, async {
        while !condition() {
            changes.changed().await.unwrap();
        }
    });
    looked.await.expect("it is told");
}

#[tokio::test(start_paused = true)]
async fn who_follows_the_changes_is_told_when_a_leader_is_cut_off_and_when_it_is_not_any_more() {
    let (cluster, leader, others) = three(33).await;
    let group = cluster.group(leader);
    let mut changes = cluster.host(leader).changes();
    for round in 0..3 {
        // With the group at rest: nobody proposes anything.
        sleep(Duration::from_secs(5)).await;
        assert!(group.status().is_serving, "round {round}");
        changes.mark_unchanged();
        others.into_iter().for_each(|other| cluster.cut(other, leader));
        told(&mut changes, || !group.status().is_serving).await;
        cluster.heal();
        told(&mut changes, || group.status().is_serving).await;
    }
    cluster.isolate(leader);
    told(&mut changes, || !group.status().is_serving).await;
    cluster.leader_among(|node| node != leader).await;
    assert!(group.status().is_leader && !group.status().is_serving, "it hears of no other");
}
