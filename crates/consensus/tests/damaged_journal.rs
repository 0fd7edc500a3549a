//! The journal of one replica is damaged where it was durable: what the replica promised after its checkpoint is not to be had any more,
//! so it votes for nobody, takes nothing and truncates nothing, and the others go on without it.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use highwater_consensus::{
    Append, Ballot, ConsensusError, Entry, LogId, Payload, PeerRequest, RefusedRequest, Sender, Vote,
};
use highwater_storage::disk::SimDisk;
use highwater_types::{NodeId, Offset, ProcessEpoch, Term};
use support::cluster::{Cluster, group_id};
use support::{expected, wait_until};

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

/// Every file with its bytes.
fn contents(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    disk.files().into_iter().map(|name| (name.clone(), disk.read_cached(&name).unwrap())).collect()
}

/// Flips a bit of a record where the journal has it.
fn damage_in_journal(disk: &SimDisk, record: &str) {
    let journals = disk.files().into_iter().filter(|name| name.ends_with(".journal"));
    let place = |name: &String| {
        let bytes = disk.read_cached(name).unwrap();
        bytes.windows(record.len()).rposition(|window| window == record.as_bytes())
    };
    let found: Vec<_> = journals.filter_map(|name| place(&name).map(|at| (name, at))).collect();
    let [(journal, at)] = &found[..] else { panic!("{record} is in {found:?}") };
    disk.flip_bit(journal, *at as u64, 3).unwrap();
}

#[tokio::test]
async fn a_replica_whose_journal_is_damaged_votes_for_nobody_and_truncates_nothing_while_the_others_go_on() {
    let cluster = Cluster::new(91);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    let damaged = *NODES.iter().find(|node| **node != leader).unwrap();
    let produce = async |values: std::ops::Range<u64>| {
        for value in values.clone() {
            cluster.produce(leader, value).await.unwrap();
        }
        wait_until(|| cluster.values(damaged) == expected(0..values.end)).await;
    };
    produce(0..5).await;
    cluster.host(damaged).checkpoint().await.unwrap();
    produce(5..15).await;
    cluster.kill(damaged);
    let disk = cluster.disk(damaged);
    damage_in_journal(&disk, &expected(7..8)[0]);
    let evidence = contents(&disk);

    cluster.start(damaged).await;
    let (host, group) = (cluster.host(damaged), cluster.group(damaged));
    let reason = group.status().quarantined.expect("it is out of service");
    assert!(reason.contains("is damaged"), "{reason}");
    let (log, here) = (group.log(), cluster.member(damaged).incarnation);
    let before = (log.vote(), log.bounds());
    let vote = Vote { term: Term(99), node: leader, committed: false };
    // Such a request no promise to a leader holds back.
    let ballot = Ballot { vote, last: cluster.group(leader).log().bounds().1, is_takeover: true };
    // In the place of an entry that the replica had acknowledged.
    let (vote, last) = (Vote { committed: true, ..vote }, log.bounds().1.unwrap());
    let id = LogId { term: vote.term, index: last.index.next() };
    let entries = vec![Entry { id, payload: Payload::Blank }];
    let append = Append { vote, previous: Some(last), entries, committed: None };
    let from = Sender { node: leader, epoch: ProcessEpoch(1) };
    for request in [PeerRequest::Vote(ballot), PeerRequest::PreVote(ballot), PeerRequest::Append(append)] {
        let refused = host.receive(from, here, group_id(), request).await;
        let is_quarantine = matches!(refused, Err(RefusedRequest::Group(ConsensusError::Quarantined { .. })));
        assert!(is_quarantine, "{refused:?}");
        assert_eq!((log.vote(), log.bounds()), before);
    }
    let leader = cluster.leader().await;
    assert_eq!(cluster.produce(leader, 15).await.unwrap(), Offset(15));
    for node in NODES.into_iter().filter(|node| *node != damaged) {
        wait_until(|| cluster.values(node) == expected(0..16)).await;
    }
    assert_eq!((log.vote(), log.bounds()), before);
    assert!(contents(&disk) == evidence, "its files are evidence");
}
