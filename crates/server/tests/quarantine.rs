//! Damage on the disk: one partition out of service beside others that serve, and a node that
//! serves for reading only because its journal is damaged.

mod harness;

use std::fs;
use std::path::{Path, PathBuf};

use futures_util::stream;
use harness::{
    TestNode, append, at, batch, bounds, code, contents, data, describe, log_files, partition_directory,
    produce, soon,
};
use highwater_proto::v1;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

const QUARANTINED: &str = "QUARANTINED";
const DAMAGED: u32 = 1;

/// A node with three partitions, the middle one of which has lost the end of a sealed segment.
async fn node_with_a_damaged_partition() -> TestNode {
    let node = TestNode::start().await;
    let topic = node.create("orders", 3, &[("segment.bytes", "4096")]).await;
    let mut log = node.log().await;
    for number in 0..9 {
        append(&mut log, "orders", number % 3, &[7; 3000]).await;
    }
    let directory = node.stop().await;
    let files = log_files(&partition_directory(&directory, &topic, DAMAGED));
    assert!(files.len() > 1, "the first is sealed");
    let sealed = fs::OpenOptions::new().write(true).open(&files[0]).expect("opened");
    let length = sealed.metadata().expect("known").len();
    sealed.set_len(length - 1).expect("cut");
    TestNode::start_in(directory, |config| config).await
}

fn outcome(answer: v1::ProduceStreamResponse) -> Result<i64, String> {
    match answer.result.expect("always set") {
        v1::produce_stream_response::Result::Ack(ack) => Ok(ack.base_offset),
        v1::produce_stream_response::Result::Error(error) => Err(error.code),
    }
}

#[tokio::test]
async fn a_damaged_partition_answers_so_and_those_beside_it_on_the_same_stream_go_on() {
    let node = node_with_a_damaged_partition().await;
    let requests = (0..12_u32).map(|number| v1::ProduceStreamRequest {
        correlation_id: u64::from(number % 3),
        request: Some(produce("orders", number % 3, batch(1, 10).into_bytes())),
    });
    let requests = stream::iter(requests.collect::<Vec<_>>());
    let mut answers = node.log().await.produce_stream(requests).await.expect("opened").into_inner();
    let mut outcomes = vec![Vec::new(); 3];
    while let Some(answer) = soon("an answer", answers.message()).await.expect("lives on") {
        let lane = usize::try_from(answer.correlation_id).expect("small");
        outcomes[lane].push(outcome(answer));
    }
    let live: Vec<_> = (3..7).map(Ok).collect();
    assert_eq!(outcomes, [live.clone(), vec![Err(QUARANTINED.to_owned()); 4], live]);
}

#[tokio::test]
async fn a_damaged_partition_is_told_apart_in_every_answer_that_names_it() {
    let node = node_with_a_damaged_partition().await;
    let mut log = node.log().await;
    let quarantined = |result: Result<_, String>| result.expect_err("it is damaged") == QUARANTINED;
    let request = v1::FetchRequest {
        partitions: (0..3).map(|partition| at("orders", partition, 0)).collect(),
        ..Default::default()
    };
    let answer = log.fetch(request).await.expect("in band").into_inner();
    for (partition, result) in (0..).zip(answer.results) {
        let read = data(result).map(|data| data.next_offset);
        assert!(if partition == DAMAGED { quarantined(read) } else { read == Ok(3) }, "fetch of {partition}");
    }
    for partition in 0..3 {
        let found = bounds(&mut log, "orders", partition).await;
        assert_eq!(
            found,
            Ok((0, 3)),
            "what there is of {partition} is known, and is needed to save what is whole"
        );
    }
    let behind = log.fetch(harness::fetch("orders", DAMAGED, 1)).await.expect("in band").into_inner();
    let read = data(behind.results.into_iter().next().expect("one")).map(|data| data.next_offset);
    assert_eq!(read, Ok(3), "behind the damage it can be read");
    for described in describe(&node, "orders").await.partitions {
        let error = described.error.map(|error| error.code).unwrap_or_default();
        assert_eq!(error == QUARANTINED, described.partition == DAMAGED, "{error}");
    }
    let (status, _) = node.http("/readyz").await;
    assert_eq!(status, 200, "one damaged partition does not take the node out of service");
    let node = node.restart().await;
    assert_eq!(append(&mut node.log().await, "orders", 0, b"next").await, 3);
}

#[tokio::test]
async fn a_subscription_ends_a_damaged_partitions_part_and_pushes_the_others() {
    let node = node_with_a_damaged_partition().await;
    let start = v1::SubscribeStart { topic: "orders".into(), credit_bytes: u64::MAX, ..Default::default() };
    let (sender, receiver) = mpsc::channel(1);
    let message = Some(v1::subscribe_request::Message::Start(start));
    sender.send(v1::SubscribeRequest { message }).await.expect("open");
    let mut log = node.log().await;
    let mut pushes = log.subscribe(ReceiverStream::new(receiver)).await.expect("subscribed").into_inner();
    let mut next_offsets = [0; 3];
    let mut errors = Vec::new();
    while next_offsets[0] < 3 || next_offsets[2] < 3 || errors.is_empty() {
        let pushed = soon("a push", pushes.message()).await.expect("lives on").expect("goes on");
        match pushed.message.expect("always set") {
            v1::subscribe_response::Message::Push(push) => {
                let place = usize::try_from(push.partition).expect("small");
                next_offsets[place] = push.data.expect("always set").next_offset;
            }
            v1::subscribe_response::Message::Error(error) => errors.push((error.partition, error.code)),
        }
    }
    assert_eq!(errors, [(Some(DAMAGED), QUARANTINED.to_owned())]);
}

/// The file below a directory that holds these bytes, and where.
fn find(directory: &Path, bytes: &[u8]) -> (PathBuf, usize) {
    let found = contents(directory).into_iter().find_map(|(path, content)| {
        let position = content.windows(bytes.len()).position(|window| window == bytes)?;
        Some((path, position))
    });
    found.expect("the bytes are in a file")
}

/// What a kill leaves of a node that took a checkpoint after 5 records and then 10 more, with one byte of the
/// journal flipped.
async fn directory_with_a_damaged_journal() -> TempDir {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let mut log = node.log().await;
    for number in 0..5 {
        append(&mut log, "orders", 0, format!("checkpointed {number}").as_bytes()).await;
    }
    let node = node.restart().await;
    let mut log = node.log().await;
    for number in 0..10 {
        append(&mut log, "orders", 0, format!("only in the journal {number}").as_bytes()).await;
    }
    let wreck = node.wreck();
    let (file, position) = find(&wreck.path().join("data/journal"), b"only in the journal 3");
    let mut bytes = fs::read(&file).expect("readable");
    bytes[position] ^= 0x40;
    fs::write(&file, bytes).expect("written");
    wreck
}

#[tokio::test]
async fn over_a_damaged_journal_the_node_reads_what_is_proven_refuses_writes_and_touches_nothing() {
    let directory = directory_with_a_damaged_journal().await;
    let before = contents(directory.path());
    let node = TestNode::start_in(directory, harness::busy_upkeep).await;
    let mut log = node.log().await;
    let mut admin = node.admin().await;
    let listed = admin.list_topics(v1::ListTopicsRequest::default()).await.expect("listed").into_inner();
    assert_eq!(listed.topics.len(), 1);
    assert_eq!(bounds(&mut log, "orders", 0).await, Ok((0, 5)));
    let expected: Vec<_> = (0..5).map(|n| format!("checkpointed {n}").into_bytes()).collect();
    let answer = log.fetch(harness::fetch("orders", 0, 0)).await.expect("in band").into_inner();
    let read = data(answer.results.into_iter().next().expect("one")).expect("proven whole");
    assert_eq!((read.next_offset, read.high_watermark), (5, 5));
    for (number, expected) in (0..5).zip(expected) {
        let request = v1::FetchRequest {
            format: v1::RecordFormat::Records.into(),
            ..harness::fetch("orders", 0, number)
        };
        let answer = log.fetch(request).await.expect("in band").into_inner();
        let read = data(answer.results.into_iter().next().expect("one")).expect("proven whole");
        assert_eq!(read.records[0].value.as_deref(), Some(&expected[..]));
    }
    let refused = log.produce(produce("orders", 0, batch(1, 1).into_bytes())).await.expect_err("for reading");
    assert_eq!(code(&refused), QUARANTINED);
    let create = v1::CreateTopicRequest { name: "more".into(), ..Default::default() };
    assert_eq!(code(&admin.create_topic(create).await.expect_err("for reading")), QUARANTINED);
    let delete = v1::DeleteTopicRequest { topic: "orders".into(), ..Default::default() };
    assert_eq!(code(&admin.delete_topic(delete).await.expect_err("for reading")), QUARANTINED);
    let refused = log.init_producer(v1::InitProducerRequest {}).await.expect_err("for reading");
    assert_eq!(code(&refused), QUARANTINED);
    let error = describe(&node, "orders").await.partitions.remove(0).error.expect("why");
    assert_eq!(error.code, QUARANTINED);
    assert_eq!(node.http("/healthz").await, (200, "ok\n".to_owned()));
    let (status, why) = node.http("/readyz").await;
    assert_eq!(status, 503);
    assert!(why.starts_with("degraded, for reading only: "), "{why}");
    assert_eq!(node.node.broker().read_only().is_some(), why.len() > 30);
    let directory = node.stop().await;
    let after = contents(directory.path());
    assert!(before.keys().eq(after.keys()), "no file comes or goes");
    // The boot record has the epoch of the process, which every start makes a new one.
    let is_changed = |path: &Path, bytes: &[u8]| after[path] != bytes && !path.ends_with("boot");
    let changed: Vec<_> = before.iter().filter(|(path, bytes)| is_changed(path, bytes)).collect();
    assert!(changed.is_empty(), "{:?}", changed.iter().map(|(path, _)| path).collect::<Vec<_>>());
    // The next start finds the same.
    let node = TestNode::start_in(directory, |config| config).await;
    assert_eq!(bounds(&mut node.log().await, "orders", 0).await, Ok((0, 5)));
    assert_eq!(node.http("/readyz").await.0, 503);
}
