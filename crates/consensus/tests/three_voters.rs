//! Groups of three voters over simulated disks and a network inside the test, whose links can be cut.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use highwater_consensus::{
    Ballot, BallotReply, Desired, PeerReply, PeerRequest, Proposal, Reconciled, RefusedRequest, Sender,
    TakeOver, Vote,
};
use highwater_types::{NodeId, Offset, ProcessEpoch, Term};
use support::cluster::{Cluster, group_id};
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

#[tokio::test]
async fn the_leadership_is_handed_over_while_records_come_in_and_back() {
    let cluster = Cluster::new(16);
    cluster.start_all(&NODES).await;
    let mut leader = cluster.leader().await;
    let mut next = 0;
    for _ in 0..4 {
        for _ in 0..20 {
            cluster.produce(leader, next).await.unwrap();
            next += 1;
        }
        let successor = *NODES.iter().find(|node| **node != leader).unwrap();
        cluster.group(leader).hand_over(successor).await.unwrap();
        leader = cluster.leader().await;
        assert_eq!(leader, successor);
    }
    for node in NODES {
        wait_until(|| cluster.values(node) == expected(0..next)).await;
    }
}

#[tokio::test]
async fn a_leader_that_cannot_hand_over_goes_on_leading() {
    let cluster = Cluster::new(17);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    cluster.produce(leader, 0).await.unwrap();
    let gone = *NODES.iter().find(|node| **node != leader).unwrap();
    cluster.kill(gone);
    assert!(cluster.group(leader).hand_over(gone).await.is_err());
    assert_eq!(cluster.leader().await, leader);
    cluster.produce(leader, 1).await.unwrap();
    assert!(cluster.group(leader).hand_over(NodeId(9)).await.is_err());
}

#[tokio::test]
async fn a_replica_moves_to_a_new_node_and_the_old_one_leaves() {
    let cluster = Cluster::new(18);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    for value in 0..200 {
        cluster.produce(leader, value).await.unwrap();
    }
    let leaving = *NODES.iter().find(|node| **node != leader).unwrap();
    let joining = NodeId(4);
    cluster.start(joining).await;
    let voters: Vec<NodeId> = NODES.into_iter().filter(|node| *node != leaving).chain([joining]).collect();
    reconcile(&cluster, &voters).await;
    wait_until(|| cluster.values(joining) == expected(0..200)).await;
    let status = cluster.group(leader).status();
    assert_eq!(status.voters.len(), 1);
    assert_eq!(status.voters[0], voters.iter().copied().collect());
    // The group lives without the one that left.
    cluster.kill(leaving);
    cluster.kill(leader);
    let successor = cluster.leader().await;
    assert_eq!(cluster.produce(successor, 200).await.unwrap(), Offset(200));
}

#[tokio::test]
async fn a_node_whose_disk_was_emptied_comes_back_as_a_learner_and_then_votes() {
    let cluster = Cluster::new(19);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    for value in 0..100 {
        cluster.produce(leader, value).await.unwrap();
    }
    let emptied = *NODES.iter().find(|node| **node != leader).unwrap();
    cluster.wipe(emptied);
    cluster.start(emptied).await;
    // It neither votes nor takes entries before the leader has it as a new member.
    for value in 100..150 {
        cluster.produce(leader, value).await.unwrap();
    }
    assert_eq!(cluster.group(emptied).log().vote(), None);
    assert_eq!(cluster.group(emptied).log().bounds(), (None, None));
    reconcile(&cluster, &NODES).await;
    wait_until(|| cluster.values(emptied) == expected(0..150)).await;
    let other = *NODES.iter().find(|node| **node != leader && **node != emptied).unwrap();
    cluster.kill(other);
    assert_eq!(cluster.produce(leader, 150).await.unwrap(), Offset(150));
}

#[tokio::test]
async fn a_leader_whose_followers_do_not_reach_it_is_replaced() {
    let cluster = Cluster::new(20);
    cluster.start_all(&NODES).await;
    let old = cluster.leader().await;
    cluster.produce(old, 0).await.unwrap();
    for other in NODES.into_iter().filter(|node| *node != old) {
        cluster.cut(other, old);
    }
    let successor = cluster.leader_among(|node| node != old).await;
    cluster.produce(successor, 1).await.unwrap();
    assert!(!cluster.group(old).status().is_serving);
    cluster.heal();
    for node in NODES {
        wait_until(|| cluster.values(node) == expected(0..2)).await;
    }
}

#[tokio::test]
async fn an_isolated_leader_stops_serving_before_another_serves() {
    let cluster = Cluster::new(21);
    cluster.start_all(&NODES).await;
    for _ in 0..3 {
        let old = cluster.leader().await;
        let before = cluster.group(old);
        cluster.isolate(old);
        // As soon as anybody else serves, the old one must not any more.
        cluster.leader_among(|node| node != old).await;
        assert!(!before.status().is_serving);
        cluster.heal();
    }
}

#[tokio::test]
async fn a_follower_that_restarts_under_a_parked_leader_learns_of_it_and_no_election_is_held() {
    let cluster = Cluster::new(22);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    for value in 0..10 {
        cluster.produce(leader, value).await.unwrap();
    }
    let term = cluster.group(leader).status().term;
    for follower in NODES.into_iter().filter(|node| *node != leader) {
        cluster.kill(follower);
        cluster.start(follower).await;
        wait_until(|| cluster.values(follower) == expected(0..10)).await;
        wait_until(|| cluster.group(follower).status().leader == Some(leader)).await;
    }
    assert_eq!(cluster.group(leader).status().term, term);
}

#[tokio::test]
async fn a_replica_without_a_log_gives_nobody_its_vote() {
    let cluster = Cluster::new(23);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    cluster.produce(leader, 0).await.unwrap();
    let blank = NodeId(4);
    cluster.start(blank).await;
    // Before its data was removed, with all that it had promised, it was a voter; a replica that is behind may take it for one still.
    let candidate = NodeId(2);
    let vote = Vote { term: Term(99), node: candidate, committed: false };
    // Such a request no promise to a leader holds back.
    let ballot = Ballot { vote, last: None, is_takeover: true };
    let from = Sender { node: candidate, epoch: ProcessEpoch(1) };
    let here = cluster.group(blank).log().incarnation().unwrap();
    let ask = async |request| cluster.host(blank).receive(from, here, group_id(), request).await.unwrap();
    let before = cluster.member(blank).incarnation;
    let for_the_one_before =
        cluster.host(blank).receive(from, before, group_id(), PeerRequest::Vote(ballot)).await;
    assert!(
        matches!(for_the_one_before, Err(RefusedRequest::OtherIncarnation { .. })),
        "{for_the_one_before:?}"
    );
    for request in [PeerRequest::Vote(ballot), PeerRequest::PreVote(ballot)] {
        let reply = ask(request).await;
        assert!(matches!(reply, PeerReply::Vote(BallotReply { is_granted: false, .. })), "{reply:?}");
    }
    let take_over = TakeOver { vote: Vote { committed: true, ..vote }, to: blank, last: None };
    assert_eq!(ask(PeerRequest::TakeOver(take_over)).await, PeerReply::TakeOver(false));
    assert_eq!(cluster.group(blank).log().vote(), None);
    // A leader gives it a log, and then a vote.
    let voters: Vec<NodeId> = NODES.into_iter().filter(|node| *node != candidate).chain([blank]).collect();
    reconcile(&cluster, &voters).await;
    wait_until(|| cluster.values(blank) == expected(0..1)).await;
}

#[tokio::test]
async fn a_replica_that_does_not_run_is_no_copy_though_its_node_can_be_reached_and_it_lacks_little() {
    let cluster = Cluster::new(24);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    cluster.produce(leader, 0).await.unwrap();
    let absent = *NODES.iter().find(|node| **node != leader).unwrap();
    let standing = || {
        let standing = *cluster.group(leader).standing()?.get(&absent)?;
        Some((standing.is_reachable, standing.is_in_sync()))
    };
    wait_until(|| standing() == Some((true, true))).await;
    cluster.kill(absent);
    wait_until(|| standing() == Some((false, false))).await;
    // As when it finds no room on the disk.
    cluster.start(absent).await;
    cluster.host(absent).stop_group(group_id()).await;
    cluster.produce(leader, 1).await.unwrap();
    wait_until(|| standing() == Some((true, false))).await;
    cluster.kill(absent);
    cluster.start(absent).await;
    wait_until(|| standing() == Some((true, true))).await;
}

#[tokio::test]
async fn a_leader_that_is_to_go_serves_until_another_leads_which_then_removes_it() {
    let cluster = Cluster::new(25);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    let stay: Vec<NodeId> = NODES.into_iter().filter(|node| *node != leader).collect();
    let desired =
        Desired { voters: stay.iter().map(|node| cluster.member(*node)).collect(), ..Desired::default() };
    for _ in 0..3 {
        let waits = cluster.group(leader).reconcile(&desired).await.unwrap();
        assert_eq!(waits, Reconciled::CatchingUp(BTreeMap::new()), "only it is left to go");
    }
    assert_eq!(cluster.group(leader).status().voters[..], [BTreeSet::from(NODES)]);
    cluster.produce(leader, 0).await.unwrap();
    reconcile(&cluster, &stay).await;
    let successor = cluster.leader().await;
    assert!(stay.contains(&successor));
    wait_until(|| {
        let status = cluster.group(successor).status();
        status.voters[..] == [stay.iter().copied().collect()] && status.learners.is_empty()
    })
    .await;
    cluster.produce(successor, 1).await.unwrap();
    assert_eq!(cluster.values(successor), expected(0..2));
}

/// Has whoever leads take steps until the voters are these.
async fn reconcile(cluster: &Cluster, voters: &[NodeId]) {
    let desired =
        Desired { voters: voters.iter().map(|node| cluster.member(*node)).collect(), ..Desired::default() };
    let settled = async {
        loop {
            let leader = cluster.leader().await;
            match cluster.group(leader).reconcile(&desired).await {
                Ok(Reconciled::Done) => return,
                Ok(Reconciled::Stepped) | Err(_) => {}
                // It is to leave, and all else is done. What fails is tried again.
                Ok(Reconciled::CatchingUp(lag)) if lag.is_empty() => {
                    drop(cluster.group(leader).hand_over(voters[0]).await);
                }
                Ok(Reconciled::CatchingUp(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), settled).await.expect("the membership settles");
}
