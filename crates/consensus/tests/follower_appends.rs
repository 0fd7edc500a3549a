//! What a follower takes from its leader: only what fits its log, and only what it has room for. What it does not take it refuses, and
//! goes on.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use futures_util::FutureExt as _;
use highwater_consensus::{Append, Entry, LogId, Payload, PeerRequest, RefusedRequest, ReserveError, Sender};
use highwater_records::StampedBatch;
use highwater_types::{NodeId, Offset, ProcessEpoch, Term};
use support::cluster::{Cluster, group_id};
use support::{batch, expected, until, wait_until};
use tokio::time::sleep;

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

/// Three nodes with one record, the one that leads, and a follower.
async fn led(seed: u64) -> (Cluster, NodeId, NodeId) {
    let cluster = Cluster::new(seed);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    cluster.produce(leader, 0).await.unwrap();
    let follower = *NODES.iter().find(|node| **node != leader).unwrap();
    (cluster, leader, follower)
}

/// The batch of a value with a byte of its records changed.
fn flipped(value: u64, offset: Offset, term: Term) -> StampedBatch {
    let stamped = batch(value).stamp(offset, term.into());
    let (head, body) = stamped.parts();
    let mut body = body.to_vec();
    *body.last_mut().unwrap() ^= 1;
    StampedBatch::from_parts(*head, body.into()).unwrap()
}

#[tokio::test]
async fn what_does_not_fit_a_followers_log_is_refused_before_it_is_appended() {
    let (cluster, leader, follower) = led(81).await;
    wait_until(|| cluster.values(follower) == expected(0..1)).await;
    let (host, log) = (cluster.host(follower), cluster.group(follower).log().clone());
    let (bounds, vote) = (log.bounds(), log.vote().unwrap());
    let (last, later) = (bounds.1.unwrap(), Term(vote.term.0 + 1));
    let next = LogId { term: last.term, index: last.index.next() };
    let stamped = |offset, term: Term| Payload::Batch(batch(1).stamp(offset, term.into()));
    let faults = [
        ("offset", next, stamped(Offset(2), next.term), "has offset 2"),
        ("epoch", next, stamped(Offset(1), later), "has offset 1 and epoch"),
        ("bytes", next, Payload::Batch(flipped(1, Offset(1), next.term)), "the batch of entry"),
        ("gap", LogId { index: next.index.next(), ..next }, Payload::Blank, "does not follow"),
        ("earlier term", LogId { term: Term(last.term.0 - 1), ..next }, Payload::Blank, "does not follow"),
        ("later term", LogId { term: later, ..next }, Payload::Blank, "does not follow"),
    ];
    let from = Sender { node: vote.node, epoch: ProcessEpoch(1) };
    let here = cluster.member(follower).incarnation;
    for (fault, id, payload, told) in faults {
        let entries = vec![Entry { id, payload }];
        let append = Append { vote, previous: bounds.1, entries, committed: bounds.1 };
        let taken = host.receive(from, here, group_id(), PeerRequest::Append(append)).await;
        let Err(RefusedRequest::Malformed { reason }) = taken else { panic!("{fault}: {taken:?}") };
        assert!(reason.contains(told), "{fault}: {reason}");
        assert_eq!(log.bounds(), bounds, "{fault}");
        assert_eq!(host.failed().now_or_never(), None, "{fault}");
    }
    assert_eq!(cluster.produce(leader, 1).await.unwrap(), Offset(1));
    wait_until(|| cluster.values(follower) == expected(0..2)).await;
    assert_eq!(host.failed().now_or_never(), None);
}

#[tokio::test(start_paused = true)]
async fn a_follower_whose_disk_is_full_takes_no_more_and_catches_up_by_itself_when_it_is_freed() {
    // More than what is set aside for a segment at one time.
    const VALUES: u64 = 900;
    let (cluster, leader, follower) = led(82).await;
    let (host, log) = (cluster.host(follower), cluster.group(follower).log().clone());
    cluster.disk(follower).set_capacity(Some(0));
    for value in 1..VALUES {
        assert_eq!(cluster.produce(leader, value).await.unwrap(), Offset(value as i64));
    }
    // The leader tries again and again.
    sleep(Duration::from_secs(5)).await;
    let refused = log.reserve(batch(VALUES).size_in_bytes()).err();
    assert!(matches!(refused, Some(ReserveError::NoSpace { .. })), "{refused:?}");
    let (last, whole) = (log.bounds().1, cluster.group(leader).log().bounds().1);
    assert!(last < whole, "it has {last:?} of {whole:?}: nothing is appended without room");
    assert!(log.watermarks().high_watermark() < Offset(VALUES as i64));
    assert_eq!(host.failed().now_or_never(), None);
    cluster.disk(follower).set_capacity(None);
    until(|| cluster.values(follower) == expected(0..VALUES)).await;
    assert_eq!(host.failed().now_or_never(), None);
}
