//! Replicas that moved away, lost their data by that, and are placed on their node again: while they catch up, their log tells of
//! memberships in which this node was a voter, which they are not.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use highwater_consensus::{Append, Desired, PeerRequest, Reconciled, Sender};
use highwater_types::{Incarnation, NodeId, Offset, ProcessEpoch};
use support::cluster::{Cluster, group_id};
use support::expected;
use tokio::time::{Instant, sleep};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);
const D: NodeId = NodeId(4);
/// How long what must not happen is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Enough that a copy takes several requests.
const RECORDS: u64 = 1500;
/// So long each of them takes, so that a test can step in between.
const REQUEST: Duration = Duration::from_millis(50);

async fn until(what: &str, cluster: &Cluster, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "in time: {what}: {}", cluster.account());
        sleep(Duration::from_millis(5)).await;
    }
}

async fn never_led_by(cluster: &Cluster, nodes: &[NodeId]) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        for node in nodes {
            assert!(!cluster.group(*node).status().is_leader, "node {node} leads: {}", cluster.account());
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Has whoever leads take steps until the voters are these and one of them leads. Returns how many it took.
async fn move_to(cluster: &Cluster, voters: &[NodeId]) -> usize {
    let desired =
        Desired { voters: voters.iter().map(|node| cluster.member(*node)).collect(), ..Desired::default() };
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut steps = 0;
    loop {
        assert!(Instant::now() < deadline, "the members are these in time: {}", cluster.account());
        let leader = cluster.leader().await;
        let group = cluster.group(leader);
        match group.reconcile(&desired).await {
            Ok(Reconciled::Done) => return steps,
            Ok(Reconciled::Stepped) => steps += 1,
            // It is to leave, and all else is done. What fails is tried again.
            Ok(Reconciled::CatchingUp(lag)) if lag.is_empty() => drop(group.hand_over(voters[0]).await),
            Ok(Reconciled::CatchingUp(_)) | Err(_) => {}
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn produce(cluster: &Cluster, values: std::ops::Range<u64>) {
    for value in values {
        let leader = cluster.leader().await;
        assert_eq!(cluster.produce(leader, value).await.unwrap(), Offset(i64::try_from(value).unwrap()));
    }
}

/// How many entries a node's replica has.
fn entries(cluster: &Cluster, node: NodeId) -> u64 {
    cluster.group(node).log().bounds().1.map_or(0, |last| last.index.0 + 1)
}

/// Brings a replica without data to `voters`, and stops when it has a part of the `least`, at most, of what the leader has.
async fn copy_a_part(cluster: &Cluster, node: NodeId, voters: &[NodeId], most: u64) {
    let leader = cluster.leader().await;
    cluster.slow(leader, node, REQUEST);
    let partly = until("a part is copied", cluster, || entries(cluster, node) > 0);
    tokio::select! {
        () = partly => {}
        _ = move_to(cluster, voters) => panic!("it was copied as a whole"),
    }
    let copied = entries(cluster, node);
    println!("{copied} entries are copied");
    assert!(copied < most, "{copied} entries are copied");
    let named = cluster.group(node).status().voters.iter().flatten().copied().collect::<BTreeSet<_>>();
    assert!(named.contains(&node), "its log names it as a voter: {named:?}");
}

#[tokio::test(start_paused = true)]
async fn the_only_replica_that_moved_away_and_comes_back_does_not_lead_before_it_has_all() {
    for seed in 1..=3 {
        println!("seed {seed}");
        let cluster = Cluster::new(seed);
        cluster.start_all(&[A]).await;
        cluster.start(B).await;
        produce(&cluster, 0..RECORDS / 2).await;
        move_to(&cluster, &[B]).await;
        cluster.remove(A).await;
        produce(&cluster, RECORDS / 2..RECORDS).await;

        cluster.place(A).await;
        copy_a_part(&cluster, A, &[A], RECORDS / 2).await;
        cluster.kill(B);
        never_led_by(&cluster, &[A]).await;
        // Nor when it starts with such a log.
        cluster.kill(A);
        cluster.start(A).await;
        assert!(entries(&cluster, A) > 0);
        never_led_by(&cluster, &[A]).await;

        cluster.heal();
        cluster.start(B).await;
        assert_eq!(cluster.leader().await, B);
        assert_eq!(cluster.values(B), expected(0..RECORDS));
        move_to(&cluster, &[A]).await;
        until("it leads", &cluster, || cluster.group(A).status().is_serving).await;
        assert_eq!(cluster.values(A), expected(0..RECORDS));
        produce(&cluster, RECORDS..RECORDS + 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_comes_back_elects_nobody_by_a_membership_from_before_it_moved_away() {
    for seed in 1..=3 {
        println!("seed {seed}");
        let cluster = Cluster::new(seed);
        cluster.start_all(&[A, B, C]).await;
        cluster.start(D).await;
        produce(&cluster, 0..RECORDS).await;
        let leader = cluster.leader().await;
        let [back, behind] =
            [0, 1].map(|place| [A, B, C].into_iter().filter(|node| *node != leader).nth(place).unwrap());
        until("all have it", &cluster, || cluster.values(behind) == expected(0..RECORDS)).await;
        // One replica knows nothing of the move.
        cluster.isolate(behind);
        move_to(&cluster, &[leader, behind, D]).await;
        cluster.remove(back).await;
        produce(&cluster, RECORDS..RECORDS + 100).await;

        cluster.place(back).await;
        copy_a_part(&cluster, back, &[leader, behind, back], RECORDS / 2).await;
        // Those two are a majority of whom they know as voters, and see nobody else.
        cluster.kill(leader);
        cluster.heal();
        cluster.isolate(D);
        never_led_by(&cluster, &[back, behind]).await;

        cluster.heal();
        cluster.start(leader).await;
        let voters = [leader, behind, back];
        move_to(&cluster, &voters).await;
        for node in voters {
            until("it has all", &cluster, || cluster.values(node) == expected(0..RECORDS + 100)).await;
        }
        // It counts again.
        cluster.kill(D);
        cluster.kill(behind);
        produce(&cluster, RECORDS + 100..RECORDS + 110).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_comes_and_goes_is_another_one_each_time_and_is_taken_in_at_once() {
    let cluster = Cluster::new(1);
    cluster.start_all(&[A, B, C]).await;
    cluster.start(D).await;
    cluster.remove(D).await;
    produce(&cluster, 0..10).await;
    let leader = cluster.leader().await;
    let leaves = [A, B, C].into_iter().find(|node| *node != leader).unwrap();
    let stay: Vec<NodeId> = [A, B, C].into_iter().filter(|node| *node != leaves).collect();
    move_to(&cluster, &stay).await;
    let mut lives = Vec::new();
    for round in 0..4 {
        cluster.place(D).await;
        // It joins, and the voters change.
        assert_eq!(move_to(&cluster, &[stay[0], stay[1], D]).await, 2, "round {round}");
        until("it has all", &cluster, || cluster.values(D) == expected(0..10)).await;
        lives.push(cluster.group(D).log().incarnation());
        if round % 2 == 0 {
            cluster.kill(D);
            cluster.start(D).await;
            assert_eq!(cluster.group(D).log().incarnation(), lives[round], "it is who it was after a crash");
        }
        // The voters change, and it leaves.
        assert_eq!(move_to(&cluster, &stay).await, 2, "round {round}");
        cluster.remove(D).await;
    }
    assert!(lives.is_sorted() && lives[0].is_some(), "{lives:?}");
    assert_eq!(lives.iter().collect::<BTreeSet<_>>().len(), lives.len(), "{lives:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_taken_for_another_says_so_to_the_leader_though_it_knows_nobody() {
    for seed in 1..=3 {
        println!("seed {seed}");
        let cluster = Cluster::new(seed);
        cluster.start_all(&[A, B, C]).await;
        cluster.knows_nobody(D);
        cluster.start(D).await;
        produce(&cluster, 0..3).await;
        // Somebody takes it for the one whose data was here before. It would be taken in as another than it is from here on.
        let leader = cluster.leader().await;
        let vote = cluster.group(leader).log().vote().unwrap();
        let heartbeat = Append { vote, previous: None, entries: Vec::new(), committed: None };
        let from = Sender { node: leader, epoch: ProcessEpoch(1) };
        let append = PeerRequest::Append(heartbeat);
        let _ = cluster.host(D).receive(from, Incarnation(1), group_id(), append).await;

        cluster.slow(leader, D, REQUEST);
        let voters = [A, B, C, D].map(|node| cluster.member(node)).into();
        let desired = Desired { voters, ..Desired::default() };
        assert_eq!(cluster.group(leader).reconcile(&desired).await.unwrap(), Reconciled::Stepped);
        // Before it became that.
        cluster.kill(D);
        cluster.heal();
        cluster.start(D).await;
        let whole = until("it is a voter as who it is", &cluster, || cluster.is_whole());
        tokio::select! {
            () = whole => {}
            () = cluster.supervise() => {}
        }
        produce(&cluster, 3..4).await;
        until("it has all", &cluster, || cluster.values(D) == expected(0..4)).await;
    }
}
