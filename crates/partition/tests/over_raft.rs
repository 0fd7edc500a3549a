//! Partitions over the real Raft group, journal and segments, on a simulated disk.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use highwater_consensus::{Durability, GroupHost, GroupOptions, HostParts, Member, NoPeers, Origin};
use highwater_partition::{
    DeleteBefore, LogStartReason, NewRecord, OffsetQuery, Partition, PartitionApplier, PartitionError,
};
use highwater_records::{Batch, BatchBuilder, split_batches};
use highwater_storage::disk::SimDisk;
use highwater_storage::journal::JournalOptions;
use highwater_storage::{SegmentOptions, Store, StoreOptions};
use highwater_types::{
    Clock, ErrorCode, GroupId, Incarnation, NodeId, Offset, PartitionId, PartitionIndex, ProcessEpoch,
    ProducerEpoch, ProducerId, Sequence, SystemRandom, TimestampMs, TopicConfig, TopicId,
};
use tokio::sync::watch;
use tokio::time::Instant;

/// The only member.
const ALONE: Member = Member { node: NodeId(1), incarnation: Incarnation(1) };

const START: TimestampMs = TimestampMs(1_700_000_000_000);
const ID: PartitionId = PartitionId { topic: TopicId(uuid::Uuid::from_u128(9)), index: PartitionIndex(0) };

/// Always the same time.
struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> TimestampMs {
        START
    }
}

/// One life of a node with one partition.
struct Node {
    host: Arc<GroupHost>,
    partition: Partition,
    config: watch::Sender<Arc<TopicConfig>>,
}

impl Node {
    async fn start(disk: &SimDisk, is_first: bool) -> Self {
        let journal = JournalOptions {
            file_bytes: 1 << 20,
            first_file_bytes: 1 << 20,
            checkpoint_bytes: 4 << 20,
            bytes_max: 64 << 20,
            reserve_bytes: 64 << 10,
        };
        let options = StoreOptions {
            journal,
            mapped_segments_max: 64,
            unreadable: Vec::new(),
            power_lost: false,
            on_failure: Arc::new(|error| panic!("the journal failed: {error}")),
        };
        let store = Store::open(Arc::new(disk.for_process()), &options, &SystemRandom).unwrap();
        let host = GroupHost::new(HostParts {
            member: ALONE,
            epoch: ProcessEpoch(1),
            store,
            clock: Arc::new(StoppedClock),
            random: Arc::new(SystemRandom),
            transport: Arc::new(NoPeers),
        });
        let (applier, applied) = PartitionApplier::new();
        let segments = SegmentOptions { segment_bytes: 16 << 10, ..SegmentOptions::default() };
        let group_options = GroupOptions { durability: Durability::Fsync, segments: Some(segments) };
        let id = GroupId::Partition(ID);
        let origin = if is_first { Origin::New([ALONE].into()) } else { Origin::Existing };
        let group = host.start_group(id, group_options, origin, Box::new(applier)).await.unwrap();
        group.wait_serving(Duration::from_secs(20)).await.unwrap();
        let config = watch::Sender::new(Arc::new(TopicConfig::default()));
        let clock = Arc::new(StoppedClock);
        let partition = Partition::new(ID, group, applied, config.subscribe(), clock);
        Self { host, partition, config }
    }

    async fn append(&self, batch: Batch) -> Result<Offset, PartitionError> {
        let appended = self.partition.append(batch, soon()).await?;
        Ok(appended.base_offset)
    }

    /// The values of all records from `from` on.
    async fn values(&self, from: Offset) -> Vec<String> {
        let mut values = Vec::new();
        let mut next = from;
        loop {
            let fetched = self.partition.fetch(next, 4096).await.unwrap();
            if fetched.batches.is_empty() {
                return values;
            }
            next = fetched.next_offset;
            for batch in fetched.batches.into_iter().flat_map(split_batches) {
                let batch = batch.unwrap();
                batch.verify().unwrap();
                let records = batch.records().map(Result::unwrap);
                let wanted = records.filter(|record| record.offset >= from);
                values.extend(wanted.map(|record| text(&record.value.unwrap())));
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// One record of an idempotent producer.
fn numbered(sequence: i32) -> Batch {
    let mut builder = BatchBuilder::new().producer(ProducerId(1), ProducerEpoch(0), Sequence(sequence));
    let value = value_of(sequence);
    builder.append(None, Some(value.as_bytes()), &[], START).unwrap();
    builder.build().unwrap()
}

fn value_of(sequence: i32) -> String {
    format!("{sequence:0>200}")
}

fn values_of(sequences: std::ops::Range<i32>) -> Vec<String> {
    sequences.map(value_of).collect()
}

#[tokio::test]
async fn a_producer_that_repeats_itself_over_power_cuts_is_in_the_log_once() {
    for seed in 0..4 {
        println!("seed {seed}");
        let disk = SimDisk::new(seed);
        let mut written = 0;
        for life in 0..4 {
            let node = Node::start(&disk, life == 0).await;
            // What was acked in the last life and sent again in this one.
            for sequence in (written - 5).max(0)..written {
                let offset = node.append(numbered(sequence)).await.unwrap();
                assert_eq!(offset, Offset(i64::from(sequence)), "seed {seed}");
            }
            let fresh = written..written + 40;
            for sequence in fresh.clone() {
                let offset = node.append(numbered(sequence)).await.unwrap();
                assert_eq!(offset, Offset(i64::from(sequence)), "seed {seed}");
            }
            written = fresh.end;
            assert_eq!(node.values(Offset(0)).await, values_of(0..written));
            if life == 1 {
                node.host.checkpoint().await.unwrap();
            }
            disk.crash();
        }
    }
}

#[tokio::test]
async fn a_pipelining_producer_and_small_producers_share_a_partition() {
    let disk = SimDisk::new(3);
    let node = Node::start(&disk, true).await;
    let mut pending = Vec::new();
    for sequence in 0..100 {
        let batch = numbered(sequence);
        pending.push(node.partition.enqueue(batch, soon()).await.unwrap());
        let record = NewRecord { value: Some(b"small".as_slice().into()), ..NewRecord::default() };
        let records = vec![record];
        pending.push(node.partition.enqueue_records(records, soon()).await.unwrap());
    }
    for (expected, append) in (0..).zip(pending) {
        let appended = append.outcome().await.unwrap();
        assert_eq!(appended.base_offset, Offset(expected));
    }
    let values = node.values(Offset(0)).await;
    assert_eq!(values.len(), 200);
    let large: Vec<_> = values.into_iter().filter(|value| value != "small").collect();
    assert_eq!(large, values_of(0..100));
}

#[tokio::test]
async fn a_reader_at_the_end_is_woken_by_the_next_batch() {
    let disk = SimDisk::new(4);
    let node = Node::start(&disk, true).await;
    node.append(numbered(0)).await.unwrap();
    let partition = node.partition.clone();
    let reader = tokio::spawn(async move {
        while partition.fetch(Offset(1), 1).await?.batches.is_empty() {
            assert!(partition.wait_for_data(Offset(1), 1, soon()).await);
        }
        partition.fetch(Offset(1), 1).await
    });
    node.append(numbered(1)).await.unwrap();
    let fetched = reader.await.unwrap().unwrap();
    assert_eq!(fetched.next_offset, Offset(2));
}

#[tokio::test]
async fn the_log_start_moves_by_committed_entries_and_survives_a_power_cut() {
    let disk = SimDisk::new(5);
    let node = Node::start(&disk, true).await;
    for sequence in 0..200 {
        node.append(numbered(sequence)).await.unwrap();
    }
    let segments = node.partition.describe().size_bytes / (16 << 10);
    assert!(segments >= 2, "{segments} full segments");

    node.config.send_replace(Arc::new(TopicConfig {
        retention_ms: None,
        retention_bytes: Some(20 << 10),
        ..TopicConfig::default()
    }));
    let pass = node.partition.enforce_retention(START, soon()).await.unwrap();
    let (retained_from, reason) = pass.moved.unwrap();
    assert_eq!(reason, LogStartReason::RetentionBytes);
    let watermarks = node.partition.describe().watermarks;
    assert_eq!(watermarks.log_start(), retained_from);
    let error = node.partition.fetch(Offset(0), 1).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::OffsetOutOfRange);

    let before = DeleteBefore::Offset(Offset(190));
    let log_start = node.partition.delete_records(before, soon()).await;
    assert_eq!(log_start, Ok(Offset(190)));
    disk.crash();

    let node = Node::start(&disk, false).await;
    assert_eq!(node.append(numbered(200)).await, Ok(Offset(200)));
    let earliest = node.partition.list_offset(OffsetQuery::Earliest).unwrap();
    assert_eq!(earliest, Some((Offset(190), TimestampMs::NONE)));
    assert_eq!(node.values(Offset(190)).await, values_of(190..201));
}

#[tokio::test]
async fn a_full_disk_refuses_producers_serves_readers_and_recovers_by_itself() {
    let disk = SimDisk::new(6);
    let node = Node::start(&disk, true).await;
    node.append(numbered(0)).await.unwrap();
    disk.set_capacity(Some(0));
    let mut sequence = 1;
    let error = loop {
        match node.append(numbered(sequence)).await {
            Ok(_) => sequence += 1,
            Err(error) => break error,
        }
        assert!(sequence < 100_000, "the disk is never full");
    };
    assert_eq!(error.code(), ErrorCode::NoSpace, "{error}");
    assert_eq!(node.values(Offset(0)).await, values_of(0..sequence));
    disk.set_capacity(None);
    let resumed = async {
        loop {
            match node.append(numbered(sequence)).await {
                Err(PartitionError::NoSpace { .. }) => tokio::task::yield_now().await,
                outcome => break outcome,
            }
        }
    };
    let resumed = tokio::time::timeout(Duration::from_secs(60), resumed).await.unwrap();
    assert_eq!(resumed, Ok(Offset(i64::from(sequence))));
}

#[tokio::test]
async fn a_stopped_group_refuses_and_says_that_it_is_stopping() {
    let disk = SimDisk::new(7);
    let node = Node::start(&disk, true).await;
    node.append(numbered(0)).await.unwrap();
    node.host.stop_group(GroupId::Partition(ID)).await;
    let error = node.append(numbered(1)).await.unwrap_err();
    let codes = [ErrorCode::Unavailable, ErrorCode::Timeout];
    assert!(codes.contains(&error.code()), "{error}");
}
