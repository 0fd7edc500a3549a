//! Whom the nodes stand by, and for how long. A leader that a majority does not stand by for a moment, and that nobody replaces, stops
//! serving and goes on; one that they stand by nobody replaces, and its group may rest; for one that is gone another stands. Time is
//! simulated.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use highwater_consensus::{
    Ballot, BallotReply, ConsensusError, Group, PeerReply, PeerRequest, Proposal, Sender, Vote,
};
use highwater_types::{NodeId, Offset, ProcessEpoch, Term};
use support::cluster::{Cluster, group_id};
use support::{SERVING, batch, expected, until};
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

#[tokio::test(start_paused = true)]
async fn nobody_is_given_a_vote_against_a_leader_that_a_node_stands_by() {
    let (cluster, leader, [follower, candidate]) = three(34).await;
    // At rest, so that no core has heard of its leader lately: only what the nodes promise each other holds a vote back.
    sleep(Duration::from_secs(5)).await;
    let before = cluster.group(leader).status();
    let vote = Vote { term: Term(before.term.0 + 1), node: candidate, committed: false };
    let from = Sender { node: candidate, epoch: ProcessEpoch(1) };
    for voter in [follower, leader] {
        let log = cluster.group(voter).log().clone();
        let (own, last) = (log.vote(), log.bounds().1);
        let ballot = Ballot { vote, last, is_takeover: false };
        for request in [PeerRequest::PreVote(ballot), PeerRequest::Vote(ballot)] {
            let to = cluster.member(voter).incarnation;
            let reply = cluster.host(voter).receive(from, to, group_id(), request).await.unwrap();
            assert!(matches!(reply, PeerReply::Vote(BallotReply { is_granted: false, .. })), "{reply:?}");
            assert_eq!(log.vote(), own);
        }
    }
    assert_eq!(cluster.produce(leader, 1).await.unwrap(), Offset(1));
    assert_eq!(cluster.group(leader).status(), before);
}

#[tokio::test(start_paused = true)]
async fn a_group_at_rest_says_nothing_and_takes_the_next_record_at_once() {
    let (cluster, leader, _) = three(35).await;
    sleep(Duration::from_secs(5)).await;
    let (before, said) = (cluster.group(leader).status(), cluster.requests());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.requests() - said, 0, "requests in a minute");
    assert_eq!(cluster.produce(leader, 1).await.unwrap(), Offset(1));
    assert_eq!(cluster.group(leader).status(), before);
    for node in NODES {
        until(|| cluster.values(node) == expected(0..2)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_replica_that_is_first_in_line_is_behind_the_next_one_leads() {
    // Either is behind once, so one of the two times it is the first.
    for place in 0..2 {
        let (cluster, leader, others) = three(36).await;
        let (behind, whole) = (others[place], others[1 - place]);
        cluster.isolate(behind);
        for value in 1..21 {
            cluster.produce(leader, value).await.unwrap();
        }
        cluster.kill(leader);
        cluster.heal();
        let leads = timeout(Duration::from_secs(5), cluster.leader_among(|node| node == whole));
        leads.await.unwrap_or_else(|_| panic!("{whole} does not lead: {}", cluster.account()));
        assert_eq!(cluster.values(whole), expected(0..21));
    }
}
