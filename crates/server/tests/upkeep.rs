//! What the node removes by itself: records by size, by age and on demand, and the data of deleted
//! topics; each really frees its files, and nothing else does.

mod harness;

use std::time::Duration;

use harness::over_store::{open, small_journal};
use harness::{
    TestNode, append, append_at, batch, bounds, busy_upkeep, data, describe, fetch, log_files, soon, until,
    values,
};
use highwater_proto::v1;
use highwater_storage::disk::RealDisk;
use highwater_storage::{Durability, GroupOptions, LogId, NewEntry, NewPayload, SegmentOptions};
use highwater_types::{
    Clock as _, GroupId, PartitionId, PartitionIndex, RaftIndex, SystemClock, SystemRandom, Term, TopicId,
};

const SMALL_SEGMENTS: (&str, &str) = ("segment.bytes", "8192");

/// Bytes of the log files in a directory.
fn log_bytes(directory: &std::path::Path) -> u64 {
    log_files(directory).iter().map(|file| file.metadata().map_or(0, |metadata| metadata.len())).sum()
}

async fn fetch_code(node: &TestNode, topic: &str, offset: i64) -> Result<i64, String> {
    let answer = node.log().await.fetch(fetch(topic, 0, offset)).await.expect("in band").into_inner();
    data(answer.results.into_iter().next().expect("one")).map(|data| data.next_offset)
}

#[tokio::test]
async fn a_partition_beyond_its_retention_bytes_loses_its_oldest_segments_and_their_files() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = TestNode::start_in(directory, busy_upkeep).await;
    let topic = node.create("orders", 1, &[SMALL_SEGMENTS, ("retention.bytes", "20000")]).await;
    let mut log = node.log().await;
    for number in 0..40_u8 {
        assert_eq!(append(&mut log, "orders", 0, &[number; 2000]).await, i64::from(number));
    }
    let files = node.partition_directory(&topic, 0);
    until("what is too much is freed", || log_bytes(&files) <= 20_000 + 8192).await;
    let (log_start, high_watermark) = bounds(&mut log, "orders", 0).await.expect("known");
    assert!(log_start > 0 && high_watermark == 40, "{log_start}..{high_watermark}");
    assert_eq!(fetch_code(&node, "orders", 0).await, Err("OFFSET_OUT_OF_RANGE".to_owned()));
    let kept = values(&mut log, "orders", 0, log_start).await;
    let expected: Vec<_> = (log_start..40).map(|n| vec![u8::try_from(n).expect("small"); 2000]).collect();
    assert!(kept == expected, "what is left is whole");
    let node = node.restart().await;
    assert_eq!(bounds(&mut node.log().await, "orders", 0).await, Ok((log_start, 40)));
}

#[tokio::test]
async fn records_older_than_the_retention_time_go_with_their_files_and_offsets_go_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = TestNode::start_in(directory, busy_upkeep).await;
    let settings = [SMALL_SEGMENTS, ("retention.ms", "30000"), ("segment.ms", "1")];
    let topic = node.create("orders", 1, &settings).await;
    let mut log = node.log().await;
    let minute_ago = SystemClock.now().before(Duration::from_secs(60));
    assert_eq!(append_at(&mut log, "orders", 0, &[7; 2000], minute_ago).await, 0);
    let files = node.partition_directory(&topic, 0);
    soon("the record is gone", async {
        while bounds(&mut log, "orders", 0).await != Ok((1, 1)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    until("its file is freed", || log_bytes(&files) == 0).await;
    assert_eq!(append(&mut log, "orders", 0, b"next").await, 1);
}

#[tokio::test]
async fn deleted_records_are_gone_up_to_the_offset_given_and_never_come_back() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let mut log = node.log().await;
    for number in 0..10 {
        append(&mut log, "orders", 0, &[number; 10]).await;
    }
    let mut admin = node.admin().await;
    let mut delete = async |before_offset| {
        let request = v1::DeleteRecordsRequest {
            topic: "orders".to_owned(),
            partitions: vec![v1::DeleteRecordsPartition { partition: 0, before_offset }],
            ..Default::default()
        };
        let answer = admin.delete_records(request).await.expect("in band").into_inner();
        match answer.results.into_iter().next().and_then(|result| result.result).expect("one") {
            v1::delete_records_result::Result::LogStartOffset(offset) => Ok(offset),
            v1::delete_records_result::Result::Error(error) => Err(error.code),
        }
    };
    assert_eq!(delete(4).await, Ok(4), "the middle");
    assert_eq!(delete(2).await, Ok(4), "gone already");
    assert_eq!(delete(11).await, Err("OFFSET_OUT_OF_RANGE".to_owned()), "beyond the end");
    assert_eq!(fetch_code(&node, "orders", 3).await, Err("OFFSET_OUT_OF_RANGE".to_owned()));
    assert_eq!(values(&mut log, "orders", 0, 4).await.len(), 6);
    assert_eq!(delete(-1).await, Ok(10), "all of it");
    assert_eq!(fetch_code(&node, "orders", 10).await, Ok(10));
    let node = node.restart().await;
    let mut log = node.log().await;
    assert_eq!(bounds(&mut log, "orders", 0).await, Ok((10, 10)));
    assert_eq!(append(&mut log, "orders", 0, b"next").await, 10);
}

#[tokio::test]
async fn a_deleted_topics_data_goes_after_its_grace_period_and_not_before() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = TestNode::start_in(directory, busy_upkeep).await;
    let slow = node.create("slow", 2, &[("file.delete.delay.ms", "3600000")]).await;
    let quick = node.create("quick", 2, &[("file.delete.delay.ms", "0")]).await;
    let mut log = node.log().await;
    for (topic, partition) in [("slow", 0), ("slow", 1), ("quick", 0), ("quick", 1)] {
        append(&mut log, topic, partition, b"data").await;
    }
    let mut admin = node.admin().await;
    for topic in ["slow", "quick"] {
        let request = v1::DeleteTopicRequest { topic: topic.to_owned(), ..Default::default() };
        admin.delete_topic(request).await.expect("deleted");
    }
    let topics = node.directory.path().join("data/topics");
    until("the data without grace is removed", || !topics.join(&quick).exists()).await;
    assert_eq!(log_files(&topics.join(&slow).join("0")).len(), 1, "its grace lasts");
    let again = node.create("slow", 1, &[]).await;
    assert_ne!(again, slow, "a topic created again is another topic");
    assert_eq!(describe(&node, "slow").await.partitions.len(), 1);
    let node = TestNode::start_in(node.stop().await, busy_upkeep).await;
    let mut log = node.log().await;
    assert_eq!(bounds(&mut log, "slow", 0).await, Ok((0, 0)), "it never meets the data of the first");
    assert_eq!(append(&mut log, "slow", 0, b"data").await, 0);
    let topics = node.directory.path().join("data/topics");
    assert_eq!(log_files(&topics.join(&slow).join("1")).len(), 1, "its grace lasts over a restart");
    assert!(!topics.join(&quick).exists());
}

#[tokio::test]
async fn data_that_the_metadata_do_not_mention_is_left_alone() {
    let node = TestNode::start().await;
    let known = node.create("orders", 1, &[]).await.parse().expect("an id");
    let directory = node.stop().await;
    let last = LogId { term: Term(1), index: RaftIndex(0) };
    let mut strays = Vec::new();
    {
        let store = open(RealDisk::new(directory.path().join("data")), small_journal());
        // Of no topic, and of a topic that has no such partition.
        for (topic, index) in [(TopicId::draw(&SystemRandom), 0), (TopicId(known), 7)] {
            let stray = GroupId::Partition(PartitionId { topic, index: PartitionIndex(index) });
            let options =
                GroupOptions { durability: Durability::Fsync, segments: Some(SegmentOptions::default()) };
            let log = store.create_group(stray, options).expect("created");
            let (sender, stored) = tokio::sync::oneshot::channel();
            let entry = NewEntry { id: last, payload: NewPayload::Proposed(batch(1, 100)) };
            log.append([entry], move |result| drop(sender.send(result))).expect("it follows");
            stored.await.expect("told").expect("stored");
            strays.push(stray);
        }
        store.close().await.expect("closed");
    }
    let node = TestNode::start_in(directory, busy_upkeep).await;
    // Upkeep has come round when it has removed what is to go.
    let deleted = node.create("quick", 1, &[("file.delete.delay.ms", "0")]).await;
    append(&mut node.log().await, "quick", 0, b"data").await;
    let request = v1::DeleteTopicRequest { topic: "quick".to_owned(), ..Default::default() };
    node.admin().await.delete_topic(request).await.expect("deleted");
    let files = node.directory.path().join("data/topics").join(&deleted);
    until("the deleted topic's data is removed", || !files.exists()).await;
    let directory = node.stop().await;
    let store = open(RealDisk::new(directory.path().join("data")), small_journal());
    for stray in strays {
        let log = store.group(stray).unwrap_or_else(|| panic!("{stray} is gone"));
        assert_eq!(log.bounds().1, Some(last), "{stray}");
    }
}
