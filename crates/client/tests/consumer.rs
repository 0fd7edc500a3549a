//! The consumer against a node that breaks streams: each record is read once and in order, and never more is sent ahead
//! than the credit allows.

mod fake;

use fake::{FakeNode, Running, within_a_minute};
use highwater_client::{ConsumedBatch, Consumer, ConsumerConfig, OutOfRange, StartPosition};
use highwater_records::BatchBuilder;
use highwater_types::{ErrorCode, Offset, PartitionIndex, TimestampMs};

/// A node whose partitions hold batches of three records each, with the records' offsets as values.
async fn filled(partitions: usize, batches: usize) -> (FakeNode, Running) {
    let node = FakeNode::new(partitions);
    for partition in 0..partitions {
        for _ in 0..batches {
            append(&node, partition, 3);
        }
    }
    let running = node.start().await;
    (node, running)
}

fn append(node: &FakeNode, partition: usize, records: usize) {
    let mut state = node.state();
    let mut builder = BatchBuilder::new();
    for number in 0..records {
        let value = (state.partitions[partition].end + i64::try_from(number).expect("small")).to_string();
        builder.append(None, Some(value.as_bytes()), &[], TimestampMs(1)).expect("a small record");
    }
    let bytes = builder.build().expect("a batch").into_bytes();
    state.partitions[partition].append(bytes).expect("appended");
    node.changed.notify_waiters();
}

async fn next(consumer: &mut Consumer) -> ConsumedBatch {
    within_a_minute(consumer.next_batch()).await.expect("no error").expect("not the end")
}

/// Reads until every partition is at `end`, checking that offsets are dense and values right.
async fn read_to(consumer: &mut Consumer, from: i64, end: i64) {
    let mut expected = vec![from; consumer.partitions().len()];
    while expected.iter().any(|offset| *offset < end) {
        let batch = next(consumer).await;
        let expected = &mut expected[usize::try_from(batch.partition.0).expect("small")];
        for record in batch.records {
            assert_eq!(record.offset.0, *expected, "partition {}", batch.partition);
            assert_eq!(record.value.expect("a value"), expected.to_string().as_bytes());
            *expected += 1;
        }
    }
    for partition in consumer.partitions().to_vec() {
        assert_eq!(consumer.position(partition), Some(Offset(end)));
    }
}

#[tokio::test]
async fn a_subscription_that_breaks_resumes_without_loss_or_repeat() {
    let (node, running) = filled(3, 20).await;
    node.state().subscribe_cuts = vec![0, 1, 5, 0, 17, 2];
    let config = ConsumerConfig::starting_at(StartPosition::Earliest);
    let mut consumer = within_a_minute(running.client().consumer("t", &[], config)).await.expect("a consumer");
    read_to(&mut consumer, 0, 60).await;
    assert_eq!(node.state().subscriptions, 7);
}

#[tokio::test]
async fn a_start_in_the_middle_of_a_batch_begins_at_that_record() {
    let (_node, running) = filled(1, 5).await;
    let config = ConsumerConfig::starting_at(StartPosition::Offset(Offset(4)));
    let mut consumer = within_a_minute(running.client().consumer("t", &[], config)).await.expect("a consumer");
    read_to(&mut consumer, 4, 15).await;
}

#[tokio::test]
async fn latest_shows_only_what_comes_after_and_keeps_its_place_through_a_break() {
    let (node, running) = filled(1, 5).await;
    node.state().subscribe_cuts = vec![0];
    let config = ConsumerConfig::starting_at(StartPosition::Latest);
    let mut consumer = within_a_minute(running.client().consumer("t", &[], config)).await.expect("a consumer");
    let first = next(&mut consumer).await;
    assert!(first.records.is_empty(), "{first:?}");
    assert_eq!(first.next_offset, Offset(15));
    append(&node, 0, 3);
    read_to(&mut consumer, 15, 18).await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_sent_no_more_than_its_credit() {
    let (node, running) = filled(1, 400).await;
    let batch_bytes = node.state().partitions[0].batches[0].size_in_bytes() as u64;
    let credit_bytes = 10 * batch_bytes;
    let config = ConsumerConfig { credit_bytes, ..ConsumerConfig::starting_at(StartPosition::Earliest) };
    let mut consumer = within_a_minute(running.client().consumer("t", &[], config)).await.expect("a consumer");
    within_a_minute(async {
        while node.state().pushed_bytes < credit_bytes {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let pushed = node.state().pushed_bytes;
    assert!(pushed < credit_bytes + 2 * batch_bytes, "{pushed} bytes for a credit of {credit_bytes}");
    // Credit comes back as it reads, so the rest follows.
    read_to(&mut consumer, 0, 1200).await;
}

#[tokio::test]
async fn an_offset_that_does_not_exist_ends_its_partition_or_falls_back_as_told() {
    let (_node, running) = filled(1, 5).await;
    let config = ConsumerConfig::starting_at(StartPosition::Offset(Offset(99)));
    let client = running.client();
    let mut consumer = within_a_minute(client.consumer("t", &[], config.clone())).await.expect("a consumer");
    let error = within_a_minute(consumer.next_batch()).await.expect_err("out of range");
    assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
    assert_eq!(within_a_minute(consumer.next_batch()).await, Ok(None));

    let config = ConsumerConfig { out_of_range: OutOfRange::Earliest, ..config };
    let mut consumer = within_a_minute(client.consumer("t", &[], config)).await.expect("a consumer");
    read_to(&mut consumer, 0, 15).await;
}

#[tokio::test]
async fn a_damaged_batch_is_an_error_that_says_where() {
    let (node, running) = filled(1, 2).await;
    {
        let mut state = node.state();
        let mut bytes = state.partitions[0].batches[1].bytes().to_vec();
        *bytes.last_mut().expect("a batch has bytes") ^= 1;
        state.partitions[0].batches[1] =
            highwater_records::Batch::parse(bytes.into()).expect("its frame is whole");
    }
    let config = ConsumerConfig::starting_at(StartPosition::Earliest);
    let mut consumer = within_a_minute(running.client().consumer("t", &[], config)).await.expect("a consumer");
    assert!(next(&mut consumer).await.records.is_empty());
    assert_eq!(next(&mut consumer).await.records.len(), 3);
    let error = within_a_minute(consumer.next_batch()).await.expect_err("damaged");
    assert!(error.to_string().starts_with("partition 0 at offset 3: batch checksum"), "{error}");
}

#[tokio::test]
async fn a_topic_or_partition_that_does_not_exist_is_an_error_at_the_start() {
    let (_node, running) = filled(1, 1).await;
    let client = running.client();
    let config = ConsumerConfig::starting_at(StartPosition::Earliest);
    let error = within_a_minute(client.consumer("missing", &[], config.clone())).await.expect_err("no topic");
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
    let beyond = within_a_minute(client.consumer("t", &[PartitionIndex(1)], config)).await;
    assert!(beyond.expect_err("no partition").to_string().contains("there is no partition 1"));
}

#[tokio::test]
async fn admin_lists_all_pages_and_passes_errors_on() {
    let (_node, running) = filled(2, 1).await;
    let admin = running.client().admin();
    let names: Vec<_> = within_a_minute(admin.list_topics("", false))
        .await
        .expect("a list")
        .into_iter()
        .map(|t| t.name)
        .collect();
    assert_eq!(names, ["a", "b"]);
    let request = highwater_client::v1::DeleteTopicRequest { topic: "x".to_owned(), topic_id: String::new() };
    let error = within_a_minute(admin.delete_topic(request)).await.expect_err("no topic");
    assert_eq!(error.to_string(), "topic x: no such topic (UNKNOWN_TOPIC_OR_PARTITION)");
    let ends =
        admin.offsets("t", &[PartitionIndex(0), PartitionIndex(1)], highwater_client::v1::OffsetPlace::Latest);
    assert_eq!(within_a_minute(ends).await, Ok(vec![Some(Offset(3)), Some(Offset(3))]));
}
