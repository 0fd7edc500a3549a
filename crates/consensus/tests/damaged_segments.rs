//! Segments of one replica are damaged: its vote and its log go on, what is damaged is given to nobody, and the other replicas' batches
//! make it whole again, byte by byte.
#![allow(clippy::unwrap_used)]

mod support;

use highwater_consensus::RepairError;
use highwater_storage::disk::{Disk as _, SimDisk};
use highwater_types::{NodeId, Offset};
use support::cluster::Cluster;
use support::{expected, wait_until};

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
/// Enough for a sealed segment and a part of the next one.
const BATCHES: u64 = 1500;

/// Three replicas with the same records, all of them in a checkpoint.
async fn filled(seed: u64) -> (Cluster, NodeId) {
    let cluster = Cluster::new(seed);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    for value in 0..BATCHES {
        cluster.produce(leader, value).await.unwrap();
    }
    for node in NODES {
        wait_until(|| cluster.group(node).log().watermarks().high_watermark() == Offset(BATCHES as i64)).await;
        assert!(cluster.group(node).log().segments().unwrap().segments().len() > 1, "one is sealed");
        cluster.host(node).checkpoint().await.unwrap();
    }
    (cluster, leader)
}

fn log_files(disk: &SimDisk) -> Vec<String> {
    disk.files().into_iter().filter(|name| name.ends_with(".log")).collect()
}

fn damaged(cluster: &Cluster, node: NodeId) -> usize {
    cluster.group(node).log().segments().unwrap().damaged().len()
}

/// Reads everything that a node has stored, as its scrub does; says how many segments are damaged.
fn scrub(cluster: &Cluster, node: NodeId) -> usize {
    let segments = cluster.group(node).log().segments().unwrap().clone();
    let mut from = Offset(0);
    while let Some(mut scrub) = segments.scrub(from) {
        while !scrub.step(10_000).unwrap().is_done {}
        from = scrub.next();
    }
    damaged(cluster, node)
}

async fn repair(cluster: &Cluster, node: NodeId) -> Result<usize, RepairError> {
    let mut repaired = 0;
    while cluster.host(node).repair_segment(&cluster.group(node)).await?.is_some() {
        repaired += 1;
    }
    Ok(repaired)
}

fn follower(leader: NodeId) -> NodeId {
    *NODES.iter().find(|node| **node != leader).unwrap()
}

#[tokio::test]
async fn a_byte_damaged_on_one_replica_is_fetched_from_the_others_while_the_group_goes_on() {
    let (cluster, leader) = filled(51).await;
    for node in [follower(leader), leader] {
        let disk = cluster.disk(node);
        let file = log_files(&disk).remove(0);
        let whole = disk.read_cached(&file).unwrap();
        for (position, bit) in [(20_000, 3), (12, 7), (whole.len() as u64 - 1, 0)] {
            disk.flip_bit(&file, position, bit).unwrap();
            assert_eq!(scrub(&cluster, node), 1);
            assert_eq!(cluster.group(node).status().quarantined, None, "it votes and follows");
            assert_eq!(repair(&cluster, node).await.unwrap(), 1);
            assert_eq!(disk.read_cached(&file).unwrap(), whole, "byte by byte");
            assert_eq!(scrub(&cluster, node), 0);
        }
    }
    cluster.produce(cluster.leader().await, BATCHES).await.unwrap();
    for node in NODES {
        wait_until(|| cluster.values(node) == expected(0..BATCHES + 1)).await;
    }
}

#[tokio::test]
async fn a_segment_that_is_gone_or_cut_at_a_start_is_made_again_and_survives_the_next_power_cut() {
    let (cluster, leader) = filled(52).await;
    let node = follower(leader);
    for cut in [None, Some(0), Some(1000)] {
        cluster.kill(node);
        let disk = cluster.disk(node);
        let files = log_files(&disk);
        let whole = disk.read_cached(&files[0]).unwrap();
        match cut {
            None => disk.remove_file(files[0].as_ref()).unwrap(),
            Some(length) => disk.truncate(&files[0], length).unwrap(),
        }
        cluster.start(node).await;
        assert_eq!(damaged(&cluster, node), 1);
        assert_eq!(cluster.group(node).status().quarantined, None, "its vote and its journal are whole");
        // A message may find a member not there yet.
        while repair(&cluster, node).await.is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(disk.read_cached(&files[0]).unwrap(), whole);
        cluster.kill(node);
        assert_eq!(cluster.disk(node).read_cached(&files[0]).unwrap(), whole, "durable");
        cluster.start(node).await;
        assert_eq!(damaged(&cluster, node), 0);
        wait_until(|| cluster.values(node) == expected(0..BATCHES)).await;
    }
}

#[tokio::test]
async fn replicas_that_are_damaged_in_different_places_make_each_other_whole() {
    let (cluster, _) = filled(53).await;
    let mut files = Vec::new();
    for (node, position) in NODES.into_iter().zip([100, 20_000, 40_000]) {
        let disk = cluster.disk(node);
        let file = log_files(&disk).remove(0);
        files.push(disk.read_cached(&file).unwrap());
        disk.flip_bit(&file, position, 5).unwrap();
        assert_eq!(scrub(&cluster, node), 1);
    }
    for (node, whole) in NODES.into_iter().zip(files) {
        assert_eq!(repair(&cluster, node).await.unwrap(), 1);
        let disk = cluster.disk(node);
        assert_eq!(disk.read_cached(log_files(&disk).remove(0)).unwrap(), whole);
    }
}

#[tokio::test]
async fn what_all_replicas_have_damaged_stays_out_of_service_and_is_given_to_nobody() {
    let (cluster, leader) = filled(54).await;
    for node in NODES {
        let disk = cluster.disk(node);
        disk.flip_bit(log_files(&disk).remove(0), 20_000, 5).unwrap();
        assert_eq!(scrub(&cluster, node), 1);
    }
    for node in NODES {
        let refused = repair(&cluster, node).await.unwrap_err();
        assert!(matches!(refused, RepairError::NoSource { .. }), "{refused}");
        let segments = cluster.group(node).log().segments().unwrap().clone();
        let read = segments.read(Offset(0), Offset(BATCHES as i64), usize::MAX).unwrap();
        assert!(read.next_offset < Offset(BATCHES as i64), "it ends before the damage");
        assert!(segments.read(read.next_offset, Offset(BATCHES as i64), 1).unwrap_err().is_damage());
    }
    assert_eq!(cluster.produce(leader, BATCHES).await.unwrap(), Offset(BATCHES as i64), "writes go on");
}

#[tokio::test]
async fn a_follower_that_needs_what_is_damaged_at_its_leader_waits_until_it_is_repaired() {
    let cluster = Cluster::new(55);
    cluster.start_all(&NODES).await;
    let leader = cluster.leader().await;
    let late = follower(leader);
    cluster.kill(late);
    for value in 0..BATCHES {
        cluster.produce(leader, value).await.unwrap();
    }
    let disk = cluster.disk(leader);
    let file = log_files(&disk).remove(0);
    disk.flip_bit(&file, 20_000, 5).unwrap();
    cluster.start(late).await;
    wait_until(|| damaged(&cluster, leader) == 1).await;
    assert!(cluster.group(leader).status().is_leader, "a damaged batch ends no leader");
    assert_eq!(repair(&cluster, leader).await.unwrap(), 1);
    wait_until(|| cluster.values(late) == expected(0..BATCHES)).await;
}

#[tokio::test]
async fn the_only_replica_with_a_damaged_segment_is_quarantined_and_says_what_to_do() {
    let cluster = Cluster::new(56);
    let only = NODES[0];
    cluster.start_all(&[only]).await;
    cluster.leader().await;
    for value in 0..BATCHES {
        cluster.produce(only, value).await.unwrap();
    }
    cluster.host(only).checkpoint().await.unwrap();
    let disk = cluster.disk(only);
    disk.flip_bit(log_files(&disk).remove(0), 20_000, 5).unwrap();
    assert_eq!(scrub(&cluster, only), 1);
    let refused = repair(&cluster, only).await.unwrap_err();
    assert!(refused.to_string().contains("restore it from a backup"), "{refused}");
    cluster.kill(only);
    disk.remove_file(log_files(&disk).remove(0).as_ref()).unwrap();
    cluster.start(only).await;
    let reason = cluster.group(only).status().quarantined.unwrap();
    assert!(reason.contains("the file is missing") && reason.contains("no other replica"), "{reason}");
}

#[tokio::test]
async fn a_segment_that_retention_takes_meanwhile_needs_no_repair() {
    let (cluster, leader) = filled(57).await;
    let node = follower(leader);
    let disk = cluster.disk(node);
    disk.flip_bit(log_files(&disk).remove(0), 20_000, 5).unwrap();
    assert_eq!(scrub(&cluster, node), 1);
    let segments = cluster.group(node).log().segments().unwrap().clone();
    segments.detach_before(segments.segments()[1].base).unwrap();
    assert_eq!(repair(&cluster, node).await.unwrap(), 0);
    assert_eq!(damaged(&cluster, node), 0);
}
