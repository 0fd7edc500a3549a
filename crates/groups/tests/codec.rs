//! Bytes mean what they meant or are refused: records, snapshots, damage, and what a newer build writes.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/cluster.rs"]
#[allow(dead_code, reason = "scenarios use the rest")]
mod cluster;
#[path = "support/topics.rs"]
#[allow(dead_code, reason = "scenarios use the rest")]
mod topics;

use std::time::Duration;

use cluster::Cluster;
use highwater_groups::codec::{decode_records, encode_records};
use highwater_groups::{
    Assignor, CommitRequest, Committer, GroupName, GroupRecord, GroupsConfig, GroupsError, GroupsState,
    HeartbeatRequest, InstanceId, JoinRequest, Leave, LeaveRequest, MemberId, OffsetCommit, PartitionSet,
    Subscription, TopicsChange,
};
use highwater_types::{LeaderEpoch, Offset, TopicName};
use topics::Topics;

/// A group in which everything has happened, and the records that made it.
fn busy_group() -> (GroupsState, Vec<GroupRecord>) {
    let (mut cluster, mut topics) = (Cluster::new(GroupsConfig::default()), Topics::default());
    let mut records = Vec::new();
    let name = topics.put("orders", 5);
    topics.put("gone", 1);
    let group = GroupName::new("g").unwrap();
    let join = |member: &str, is_static: bool| JoinRequest {
        group: group.clone(),
        member: MemberId::new(member).unwrap(),
        instance: is_static.then(|| InstanceId::new("i").unwrap()),
        client_id: "app".into(),
        client_host: "10.0.0.1".into(),
        subscription: Subscription::new([name.clone(), TopicName::new("gone").unwrap()]).unwrap(),
        assignor: is_static.then_some(Assignor::Range),
        rebalance_timeout: Duration::from_secs(60),
    };
    let commit = OffsetCommit {
        partition: topics.partition("orders:0"),
        offset: Offset(7),
        leader_epoch: Some(LeaderEpoch(3)),
        metadata: "note".into(),
        may_rewind: false,
    };
    let gone = OffsetCommit { partition: topics.partition("gone:0"), ..commit.clone() };
    let second = OffsetCommit { partition: topics.partition("orders:1"), ..commit.clone() };
    let offsets = vec![commit, gone, second.clone()];
    let outside = CommitRequest { group: group.clone(), committer: Committer::Outsider, offsets };
    let now = cluster.now();
    let coordinator = &mut cluster.coordinator;
    records.extend(coordinator.commit(now, &topics, &outside).records);
    records.extend(coordinator.delete_offsets(now, &topics, &group, &[second.partition]).records);
    records.extend(coordinator.join(now, &topics, &join("a", true)).records);
    let deleted = vec![topics.delete("gone")];
    let change = TopicsChange { names: vec![TopicName::new("gone").unwrap()], deleted };
    records.extend(coordinator.topics_changed(now, &topics, &change).records);
    cluster.uptime = Duration::from_secs(1);
    let now = cluster.now();
    let coordinator = &mut cluster.coordinator;
    records.extend(coordinator.tick(now, &topics).records);
    records.extend(coordinator.join(now, &topics, &join("b", false)).records);
    cluster.uptime = Duration::from_secs(2);
    let now = cluster.now();
    let coordinator = &mut cluster.coordinator;
    records.extend(coordinator.tick(now, &topics).records);
    let member =
        coordinator.state().group(&group).unwrap().member(&MemberId::new("a").unwrap()).unwrap().clone();
    let beat = HeartbeatRequest {
        group: group.clone(),
        member: member.description.member,
        instance: None,
        epoch: member.current.epoch,
        seen: member.current.revision,
        owned: Some(PartitionSet::default()),
        subscription: None,
    };
    records.extend(coordinator.heartbeat(now, &topics, &beat).records);
    records.extend(coordinator.join(now, &topics, &join("c", false)).records);
    let leave = LeaveRequest { group, member: MemberId::new("c").unwrap(), leave: Leave::ForGood };
    records.extend(coordinator.leave(now, &topics, &leave).records);
    let mut other = outside.clone();
    other.group = GroupName::new("h").unwrap();
    other.offsets.truncate(1);
    records.extend(coordinator.commit(now, &topics, &other).records);
    records.extend(coordinator.delete_group(now, &topics, &other.group).records);
    (coordinator.state().clone(), records)
}

#[test]
fn every_kind_of_record_survives_its_logged_form() {
    let (state, records) = busy_group();
    let mut kinds: Vec<_> = records.iter().map(|record| std::mem::discriminant(&record.change)).collect();
    kinds.dedup();
    let distinct = kinds.iter().enumerate().filter(|(n, kind)| !kinds[..*n].contains(kind)).count();
    assert_eq!(distinct, 10, "a kind of record is not in the example");
    assert_eq!(decode_records(&encode_records(&records)).unwrap(), records);
    let mut replica = GroupsState::default();
    records
        .iter()
        .for_each(|record| replica.apply_encoded(&encode_records(std::slice::from_ref(record))).unwrap());
    assert_eq!(replica, state);
}

/// Bytes that a build before wrote; `UPDATE_GOLDEN=1` writes those of this one where there are none yet.
fn golden(name: &str, now: &[u8]) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, now).unwrap();
    }
    std::fs::read(&path).unwrap()
}

#[test]
fn bytes_of_version_1_mean_what_they_meant() {
    let (state, records) = busy_group();
    let written = golden("records-version-1.bin", &encode_records(&records));
    assert_eq!(decode_records(&written).unwrap(), records);
    let snapshot: Vec<u8> = state.snapshot().next().unwrap().to_vec();
    assert_eq!(GroupsState::restore([golden("snapshot-version-1.bin", &snapshot).as_slice()]).unwrap(), state);
}

#[test]
fn records_of_several_decisions_may_be_joined() {
    let (state, records) = busy_group();
    let mut replica = GroupsState::default();
    let joined: Vec<u8> = records.chunks(3).flat_map(|some| encode_records(some).to_vec()).collect();
    replica.apply_encoded(&joined).unwrap();
    assert_eq!(replica, state);
}

#[test]
fn records_of_a_newer_build_are_refused_by_their_version() {
    // Field 1, the version, as 2.
    let error = decode_records(&[0x08, 2]).unwrap_err();
    assert_eq!(error, GroupsError::UnknownVersion { what: "records", version: 2, newest: 1 });
    assert!(matches!(decode_records(&[]), Err(GroupsError::Malformed { .. })), "no version");
}

#[test]
fn records_that_contradict_the_state_are_refused_and_change_nothing() {
    let (state, records) = busy_group();
    let orphan =
        records.iter().find(|record| matches!(record.change, highwater_groups::GroupChange::Current { .. }));
    let mut replica = GroupsState::default();
    assert!(replica.apply(orphan.unwrap()).is_err());
    assert_eq!(replica, GroupsState::default());
    let mut replica = state.clone();
    assert!(replica.apply(&records[0]).is_err(), "the group goes back to epoch 0");
    assert_eq!(replica, state);
}

#[test]
fn a_snapshot_whose_bytes_changed_or_whose_pieces_are_not_all_there_is_refused() {
    let (state, _) = busy_group();
    let pieces: Vec<_> = state.snapshot().collect();
    let [piece] = pieces.as_slice() else { panic!("a small state is one piece") };
    assert_eq!(GroupsState::restore([piece.as_ref()]).unwrap(), state);
    for position in 0..piece.len() {
        let mut damaged = piece.to_vec();
        damaged[position] ^= 0x10;
        assert!(GroupsState::restore([damaged.as_slice()]).is_err(), "byte {position}");
        assert!(GroupsState::restore([&piece[..position]]).is_err(), "{position} bytes");
    }
    assert!(GroupsState::restore([]).is_err());
    assert!(GroupsState::restore([piece.as_ref(), piece.as_ref()]).is_err());
}

#[test]
fn a_large_state_is_written_in_pieces_that_count_only_in_order() {
    let (mut cluster, mut topics) = (Cluster::new(GroupsConfig::default()), Topics::default());
    topics.put("orders", 400);
    let offset = |index: u32| OffsetCommit {
        partition: topics.partition(&format!("orders:{index}")),
        offset: Offset(1),
        leader_epoch: None,
        metadata: "x".repeat(4096),
        may_rewind: false,
    };
    let offsets = (0..400).map(offset).collect();
    let request =
        CommitRequest { group: GroupName::new("g").unwrap(), committer: Committer::Outsider, offsets };
    let decision = cluster.coordinator.commit(cluster.now(), &topics, &request);
    assert!(decision.answer.unwrap().iter().all(Result::is_ok));
    let state = cluster.coordinator.state().clone();
    let pieces: Vec<_> = state.snapshot().collect();
    assert_eq!(pieces.len(), 2);
    assert_eq!(GroupsState::restore(pieces.iter().map(|piece| piece.as_ref())).unwrap(), state);
    assert!(GroupsState::restore([pieces[0].as_ref()]).is_err());
    assert!(GroupsState::restore([pieces[1].as_ref(), pieces[0].as_ref()]).is_err());
}
