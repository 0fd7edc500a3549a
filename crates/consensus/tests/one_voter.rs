//! Groups of one voter over a real and a simulated disk: what is answered is there after a restart.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use highwater_consensus::{
    ConsensusError, Durability, Group, GroupHost, GroupOptions, HostParts, Member, NoPeers, Origin, Proposal,
};
use highwater_storage::directory::{DataDirectory, DirectoryOptions};
use highwater_storage::disk::{Disk, RealDisk, SimDisk};
use highwater_storage::{Applied, Applier, Entry, Payload, RestoreError, Store};
use highwater_types::{
    GroupId, Incarnation, NodeId, Offset, PartitionId, ProcessEpoch, SystemClock, SystemRandom,
};
use support::{
    Counter, SERVING, batch, expected, group_options, options, partition, partition_id, small_journal, values,
    wait_until,
};

/// The only member.
const ALONE: Member = Member { node: NodeId(1), incarnation: Incarnation(1) };

fn host(disk: Arc<dyn Disk>) -> Arc<GroupHost> {
    let store = Store::open(disk, &options(small_journal()), &SystemRandom).unwrap();
    GroupHost::new(HostParts {
        member: ALONE,
        epoch: ProcessEpoch(1),
        store,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        transport: Arc::new(NoPeers),
    })
}

/// A group of this node alone, that is new or not.
fn origin(is_new: bool) -> Origin {
    if is_new { Origin::New([ALONE].into()) } else { Origin::Existing }
}

async fn start(host: &GroupHost, id: GroupId, durability: Durability, initialize: bool) -> Group {
    let group = host
        .start_group(id, group_options(durability), origin(initialize), Box::new(Counter::default()))
        .await
        .unwrap();
    group.wait_serving(SERVING).await.unwrap();
    group
}

async fn produce(group: &Group, value: u64) -> Offset {
    let batch = batch(value);
    let reservation = loop {
        let changed = group.log().room_changed();
        match group.log().reserve(batch.size_in_bytes()) {
            Ok(reservation) => break reservation,
            Err(highwater_consensus::ReserveError::Busy) => changed.await,
            Err(error) => panic!("{error}"),
        }
    };
    group.propose(Proposal::Batch { batch, reservation }).await.unwrap().base_offset.unwrap()
}

#[tokio::test]
async fn what_was_acked_is_there_after_a_clean_restart() {
    let directory = tempfile::tempdir().unwrap();
    for durability in [Durability::Fsync, Durability::Memory] {
        let root = directory.path().join(format!("{durability:?}"));
        std::fs::create_dir(&root).unwrap();
        for round in 0..3_u64 {
            let host = host(Arc::new(RealDisk::new(root.clone())));
            let group = start(&host, partition(0), durability, round == 0).await;
            assert_eq!(values(&group), expected(0..round * 100));
            for value in round * 100..(round + 1) * 100 {
                assert_eq!(produce(&group, value).await, Offset(value as i64));
            }
            host.shutdown().await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_was_acked_is_there_after_the_power_went() {
    let disk = SimDisk::new(11);
    let mut last_term = highwater_types::Term(0);
    for round in 0..5_u64 {
        let host = host(Arc::new(disk.for_process()));
        let group = start(&host, partition(3), Durability::Fsync, round == 0).await;
        // R11: a leader never comes back to the term it led before.
        assert!(group.status().term > last_term);
        last_term = group.status().term;
        assert_eq!(values(&group), expected(0..round * 50));
        for value in round * 50..(round + 1) * 50 {
            produce(&group, value).await;
        }
        if round == 2 {
            host.checkpoint().await.unwrap();
        }
        disk.crash();
    }
}

#[tokio::test]
async fn proposals_that_wait_together_keep_their_order() {
    let disk = SimDisk::new(5);
    let host = host(Arc::new(disk.for_process()));
    let group = start(&host, partition(0), Durability::Fsync, true).await;
    let mut proposals = Vec::new();
    for value in 0..200 {
        let batch = batch(value);
        let reservation = group.log().reserve(batch.size_in_bytes()).unwrap();
        proposals.push(Proposal::Batch { batch, reservation });
    }
    for (value, handle) in group.propose_many(None, proposals).await.into_iter().enumerate() {
        assert_eq!(handle.await.unwrap().base_offset, Some(Offset(value as i64)));
    }
    assert_eq!(values(&group), expected(0..200));
}

#[tokio::test]
async fn a_log_start_that_was_committed_frees_segments_and_survives() {
    let directory = tempfile::tempdir().unwrap();
    let disk = || Arc::new(RealDisk::new(directory.path().to_path_buf()));
    let first = host(disk());
    let group = start(&first, partition(0), Durability::Fsync, true).await;
    for value in 0..2000 {
        produce(&group, value).await;
    }
    let before = group.log().segments().unwrap().segments().len();
    assert!(before > 1, "{before} segments");
    group.propose(Proposal::Control(Bytes::copy_from_slice(&1900_i64.to_le_bytes()))).await.unwrap();
    assert_eq!(group.log().watermarks().log_start(), Offset(1900));
    first.checkpoint().await.unwrap();
    wait_until(|| group.log().segments().unwrap().segments().len() < before).await;
    first.checkpoint().await.unwrap();
    first.shutdown().await.unwrap();

    let again = host(disk());
    let group = start(&again, partition(0), Durability::Fsync, false).await;
    assert_eq!(group.log().watermarks().log_start(), Offset(1900));
    assert_eq!(values(&group), expected(1900..2000));
    assert_eq!(produce(&group, 2000).await, Offset(2000));
    again.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_damaged_batch_that_the_start_has_to_read_is_not_given_out_and_the_group_goes_on_with_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let disk = || Arc::new(RealDisk::new(directory.path().to_path_buf()));
    let first = host(disk());
    let group = start(&first, partition(0), Durability::Fsync, true).await;
    for value in 0..2000 {
        produce(&group, value).await;
    }
    // The log is purged up to a batch, so that the next start looks at the one after it.
    group.propose(Proposal::Control(Bytes::copy_from_slice(&1000_i64.to_le_bytes()))).await.unwrap();
    let before = group.log().segments().unwrap().segments().len();
    first.checkpoint().await.unwrap();
    wait_until(|| group.log().segments().unwrap().segments().len() < before).await;
    let segments = group.log().segments().unwrap().segments();
    first.shutdown().await.unwrap();

    let PartitionId { topic, index } = partition_id(0);
    let topics = directory.path().join("topics").join(topic.to_string()).join(index.to_string());
    let damaged = topics.join(format!("{:020}.log", segments[0].base.0));
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[75] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();

    let again = host(disk());
    let group = start(&again, partition(0), Durability::Fsync, false).await;
    let stored = group.log().segments().unwrap().clone();
    let refused = stored.read(segments[0].base, Offset(2000), 1 << 20).unwrap_err();
    assert!(refused.is_damage(), "{refused}");
    assert_eq!(produce(&group, 2000).await, Offset(2000));
    let readable = stored.read(segments[1].base, Offset(2000), 1 << 20).unwrap();
    assert_eq!(readable.next_offset, Offset(2000));
    again.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_metadata_log_is_purged_and_its_state_survives() {
    let disk = SimDisk::new(23);
    let options = GroupOptions { durability: Durability::Fsync, segments: None };
    for round in 0..4_u64 {
        let host = host(Arc::new(disk.for_process()));
        let group = host
            .start_group(GroupId::Metadata, options, origin(round == 0), Box::new(Counter::default()))
            .await
            .unwrap();
        group.wait_serving(SERVING).await.unwrap();
        for count in 0..400_u64 {
            let proposal = Proposal::Control(Bytes::copy_from_slice(&0_i64.to_le_bytes()));
            let proposed = group.propose(proposal).await.unwrap();
            assert_eq!(proposed.response, Bytes::copy_from_slice(&(round * 400 + count + 1).to_le_bytes()));
        }
        host.checkpoint().await.unwrap();
        wait_until(|| group.log().bounds().0.is_some()).await;
        disk.crash();
    }
}

#[tokio::test]
async fn a_group_without_its_data_waits_and_does_not_initialize_itself() {
    let disk = SimDisk::new(2);
    let host = host(Arc::new(disk.for_process()));
    let group = host
        .start_group(
            partition(0),
            group_options(Durability::Fsync),
            origin(false),
            Box::new(Counter::default()),
        )
        .await
        .unwrap();
    let waited = group.wait_serving(Duration::from_millis(300)).await;
    assert!(matches!(waited, Err(ConsensusError::NoLeader { .. })), "{waited:?}");
    assert_eq!(group.log().vote(), None);
}

/// Panics at the second batch.
#[derive(Default)]
struct Fragile(u64);

impl Applier for Fragile {
    fn apply(&mut self, entry: &Entry) -> Applied {
        self.0 += u64::from(matches!(entry.payload, Payload::Batch(_)));
        assert!(self.0 < 2, "a bug in what is above the log");
        Applied::default()
    }

    fn snapshot(&self) -> Bytes {
        Bytes::new()
    }

    fn restore(&mut self, _state: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_group_that_fails_is_reported_so_that_the_node_ends_and_a_group_that_is_stopped_is_not() {
    let disk = SimDisk::new(2);
    let host = host(Arc::new(disk.for_process()));
    let options = group_options(Durability::Fsync);
    let stopped = start(&host, partition(1), Durability::Fsync, true).await;
    host.stop_group(stopped.id()).await;
    let group =
        host.start_group(partition(0), options, origin(true), Box::new(Fragile::default())).await.unwrap();
    group.wait_serving(SERVING).await.unwrap();
    produce(&group, 0).await;
    assert!(tokio::time::timeout(Duration::from_millis(100), host.failed()).await.is_err());
    let second = batch(1);
    let reservation = group.log().reserve(second.size_in_bytes()).unwrap();
    assert!(group.propose(Proposal::Batch { batch: second, reservation }).await.is_err());
    let reason = tokio::time::timeout(SERVING, host.failed()).await.expect("the failure is reported");
    assert!(reason.contains(&partition(0).to_string()), "{reason}");
}

#[tokio::test]
async fn a_start_that_finds_the_disk_full_says_so_and_succeeds_when_there_is_room_again() {
    let disk = SimDisk::new(31);
    let id = partition(0);
    let first = host(Arc::new(disk.for_process()));
    let group = start(&first, id, Durability::Fsync, true).await;
    for value in 0..1000 {
        produce(&group, value).await;
    }
    disk.crash();
    // What was not synced is gone from the segments, so the journal's entries need room there again.
    let process = disk.for_process();
    let again = host(Arc::new(process.clone()));
    let free_if_boundless = process.free_bytes().unwrap();
    // Room for a part of them.
    for room in [0, 80 << 10] {
        disk.set_capacity(Some(1 << 40));
        let used = (1 << 40) - process.free_bytes().unwrap();
        disk.set_capacity(Some(used + room));
        for _ in 0..2 {
            let options = group_options(Durability::Fsync);
            let started = again.start_group(id, options, origin(false), Box::new(Counter::default())).await;
            let Err(error) = started else { panic!("started on a full disk") };
            assert!(error.is_no_space() && !error.is_damage(), "{error}");
        }
        let log = again.store().group(id).unwrap();
        assert_eq!(room > 0, log.watermarks().high_watermark() > Offset(0));
    }
    disk.set_capacity(None);
    assert_eq!(process.free_bytes().unwrap(), free_if_boundless);
    let group = start(&again, id, Durability::Fsync, false).await;
    assert_eq!(values(&group), expected(0..1000));
    assert_eq!(produce(&group, 1000).await, Offset(1000));
    let counted = group.log().snapshot().1;
    assert_eq!(counted, Bytes::copy_from_slice(&1001_u64.to_le_bytes()), "each was applied once");
    assert!(tokio::time::timeout(Duration::from_millis(10), again.failed()).await.is_err());
    again.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_running_group_that_finds_the_disk_full_waits_for_room_and_goes_on_or_stops_when_told() {
    let disk = SimDisk::new(37);
    let (stopped, freed) = (partition(0), partition(1));
    let first = host(Arc::new(disk.for_process()));
    // That the last batch is committed is not in the journal: only a new term shows it, after the start.
    for id in [stopped, freed] {
        let group = start(&first, id, Durability::Fsync, true).await;
        produce(&group, 0).await;
    }
    disk.crash();
    let again = host(Arc::new(disk.for_process()));
    let options = group_options(Durability::Fsync);
    disk.set_capacity(Some(0));
    for id in [stopped, freed] {
        let started = again.start_group(id, options, origin(false), Box::new(Counter::default())).await;
        let group = started.unwrap();
        tokio::time::timeout(SERVING, group.wait_for_full_disk()).await.expect("the disk is full");
        assert!(!group.status().is_serving);
    }
    again.stop_group(stopped).await;
    disk.set_capacity(None);
    let group = again.group(freed).unwrap();
    group.wait_serving(SERVING).await.unwrap();
    assert_eq!(values(&group), expected(0..1));
    assert_eq!(produce(&group, 1).await, Offset(1));
    let group = start(&again, stopped, Durability::Fsync, false).await;
    assert_eq!(values(&group), expected(0..1));
    assert!(tokio::time::timeout(Duration::from_millis(10), again.failed()).await.is_err());
    again.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_removed_group_is_gone_with_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let born = DirectoryOptions::new(NodeId(1), None);
    drop(DataDirectory::open(directory.path(), &born, &SystemClock, &SystemRandom).unwrap());
    let disk = || Arc::new(RealDisk::new(directory.path().to_path_buf()));
    let first = host(disk());
    let group = start(&first, partition(0), Durability::Fsync, true).await;
    produce(&group, 0).await;
    drop(group);
    let topics = directory.path().join("topics");
    assert_eq!(std::fs::read_dir(&topics).unwrap().count(), 1);
    first.checkpoint().await.unwrap();
    first.remove_group(partition(0)).await.unwrap();
    assert_eq!(std::fs::read_dir(&topics).unwrap().count(), 0);
    // The checkpoint still lists it, and the journal says that it is gone.
    let looking: Arc<dyn Disk> = disk();
    let checkpoint =
        highwater_storage::checkpoint::read(&*looking, std::path::Path::new("checkpoint")).unwrap().unwrap();
    assert_eq!(checkpoint.groups.len(), 1);
    let inspection = highwater_storage::inspect::inspect(&looking, directory.path()).unwrap();
    assert_eq!(inspection.findings, Vec::<String>::new());
    assert!(inspection.groups.is_empty());
    first.shutdown().await.unwrap();
    let again = host(disk());
    assert!(again.store().groups().is_empty());
}
