//! The producer against a node that misbehaves: what was acknowledged is there once and in order, and what was not
//! is reported.

mod fake;

use std::time::Duration;

use fake::{FakeNode, Fault, within_a_minute};
use highwater_client::{
    ClientError, ConsumerConfig, Delivery, Producer, ProducerConfig, ProducerRecord, StartPosition,
};
use highwater_types::{ErrorCode, Offset, PartitionIndex};

/// Batches of one or two records, so that each fault meets many of them in flight.
fn small_batches() -> ProducerConfig {
    ProducerConfig { batch_bytes: 100, linger: Duration::from_millis(1), ..ProducerConfig::default() }
}

fn record(number: usize) -> ProducerRecord {
    let partition = Some(PartitionIndex(0));
    ProducerRecord { partition, ..ProducerRecord::value(format!("record-{number:06}")) }
}

fn expected(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("record-{number:06}")).collect()
}

async fn send_all(producer: &Producer, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for number in 0..count {
        deliveries.push(producer.send("t", record(number)).await.expect("buffered"));
    }
    deliveries
}

/// Sends records through the faults; all must be acknowledged, once, in order, at the offsets that were told.
async fn all_arrive_once_in_order(faults: impl IntoIterator<Item = (u64, Fault)>) -> FakeNode {
    let node = FakeNode::with_faults(1, faults);
    let running = node.start().await;
    let producer = running.client().producer(small_batches()).expect("a producer");
    let deliveries = within_a_minute(send_all(&producer, 200)).await;
    within_a_minute(producer.flush()).await.expect("all delivered");
    assert_eq!(node.values(0), expected(200));
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let delivered = delivery.await.expect("acknowledged");
        assert_eq!(delivered.offset, Offset(i64::try_from(number).expect("a small number")));
    }
    assert!(node.state().produce_faults.is_empty(), "every fault took place");
    node
}

#[tokio::test]
async fn records_arrive_in_order_without_faults() {
    let node = all_arrive_once_in_order([]).await;
    assert_eq!(node.state().produce_streams, 1);
}

#[tokio::test]
async fn connection_lost_before_ack_is_retried_without_duplicate() {
    all_arrive_once_in_order([(0, Fault::LoseAck), (7, Fault::LoseAck), (30, Fault::LoseAck)]).await;
}

#[tokio::test]
async fn connection_lost_before_append_is_retried_without_loss() {
    all_arrive_once_in_order([(0, Fault::LoseRequest), (9, Fault::LoseRequest), (10, Fault::LoseRequest)])
        .await;
}

#[tokio::test]
async fn retriable_errors_midway_keep_the_order() {
    let codes = [ErrorCode::NoSpace, ErrorCode::NotLeader, ErrorCode::Throttled, ErrorCode::Unavailable];
    let faults = (0..).step_by(11).zip(codes).map(|(number, code)| (number, Fault::Refuse(code)));
    all_arrive_once_in_order(faults).await;
}

#[tokio::test]
async fn timeout_of_an_appended_batch_is_no_duplicate() {
    all_arrive_once_in_order([(0, Fault::AppendAndTimeOut), (5, Fault::AppendAndTimeOut)]).await;
}

#[tokio::test]
async fn faults_of_all_kinds_at_drawn_places_lose_and_repeat_nothing() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand_seed);
    println!("SEED={seed}");
    let mut drawn = seed;
    let mut draw = |bound: u64| {
        // A step of splitmix64.
        drawn = u64::wrapping_add(drawn, 0x9e37_79b9_7f4a_7c15);
        let mixed = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) % bound
    };
    let kinds = [
        Fault::LoseAck,
        Fault::LoseRequest,
        Fault::AppendAndTimeOut,
        Fault::Refuse(ErrorCode::NoSpace),
        Fault::Refuse(ErrorCode::NotLeader),
    ];
    let faults: Vec<_> = (0..25).map(|_| (draw(70), kinds[usize::try_from(draw(5)).expect("small")])).collect();
    all_arrive_once_in_order(faults).await;
}

fn rand_seed() -> u64 {
    highwater_types::Random::next_u64(&highwater_types::SystemRandom)
}

#[tokio::test]
async fn a_refused_batch_fails_alone_and_what_follows_goes_on() {
    let node = FakeNode::with_faults(1, [(3, Fault::Refuse(ErrorCode::InvalidTimestamp))]);
    let running = node.start().await;
    let producer = running.client().producer(small_batches()).expect("a producer");
    let deliveries = within_a_minute(send_all(&producer, 100)).await;
    let error = within_a_minute(producer.flush()).await.expect_err("one batch was refused");
    assert_eq!(error.code(), Some(ErrorCode::InvalidTimestamp));
    assert_eq!(producer.flush().await, Ok(()), "a failure is reported once");
    let values = node.values(0);
    let (mut acked, mut failed) = (Vec::new(), 0);
    for (number, delivery) in deliveries.into_iter().enumerate() {
        match delivery.await {
            Ok(delivered) => {
                let at = usize::try_from(delivered.offset.0).expect("a small offset");
                assert_eq!(values[at], format!("record-{number:06}"));
                acked.push(values[at].clone());
            }
            Err(error) => {
                assert_eq!(error.code(), Some(ErrorCode::InvalidTimestamp));
                failed += 1;
            }
        }
    }
    assert_eq!(acked, values);
    assert!((1..=2).contains(&failed), "{failed}");
    let stats = producer.stats();
    assert_eq!((stats.records_acked, stats.records_failed), (100 - failed, failed));
}

#[tokio::test]
async fn a_refusal_of_what_was_appended_before_its_ack_was_lost_leaves_the_outcome_open() {
    let faults = [(0, Fault::LoseAck), (1, Fault::Refuse(ErrorCode::InvalidTimestamp))];
    let node = FakeNode::with_faults(1, faults);
    let running = node.start().await;
    let producer = running.client().producer(small_batches()).expect("a producer");
    let first = within_a_minute(producer.send("t", record(0))).await.expect("buffered");
    let error = within_a_minute(first.wait()).await.expect_err("refused");
    assert!(matches!(error, ClientError::OutcomeUnknown(_)), "{error}");
    let second = within_a_minute(producer.send("t", record(1))).await.expect("buffered");
    within_a_minute(second.wait()).await.expect("delivered");
    assert_eq!(node.values(0), expected(2), "the first is there");
}

#[tokio::test]
async fn a_partition_that_comes_up_behind_the_first_batch_gets_all_of_them_in_order() {
    for code in [ErrorCode::LeaderNotAvailable, ErrorCode::OffsetNotAvailable, ErrorCode::NoSpace] {
        all_arrive_once_in_order([(0, Fault::Refuse(code))]).await;
        // Again while the others are sent anew.
        all_arrive_once_in_order([(0, Fault::Refuse(code)), (5, Fault::Refuse(code))]).await;
    }
}

#[tokio::test]
async fn what_a_producer_waits_for_is_told_while_it_waits() {
    let node =
        FakeNode::with_faults(1, (0..1_000_000).map(|number| (number, Fault::Refuse(ErrorCode::NoSpace))));
    let running = node.start().await;
    let producer = running.client().producer(small_batches()).expect("a producer");
    let delivery = within_a_minute(producer.send("t", record(0))).await.expect("buffered");
    within_a_minute(async {
        while producer.last_error().and_then(|error| error.code()) != Some(ErrorCode::NoSpace) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    node.state().produce_faults.clear();
    within_a_minute(delivery.wait()).await.expect("delivered");
    assert_eq!(producer.last_error(), None);
}

#[tokio::test]
async fn a_node_that_restarts_is_ridden_through() {
    let node = FakeNode::with_faults(1, [(20, Fault::LoseAck)]);
    let running = node.start().await;
    let producer = running.client().producer(small_batches()).expect("a producer");
    let first = within_a_minute(producer.send("t", record(0))).await.expect("buffered");
    within_a_minute(first.wait()).await.expect("delivered");
    let address = running.stop();
    let rest = async {
        for number in 1..200 {
            producer.send("t", record(number)).await.expect("buffered");
        }
        producer.flush().await
    };
    let restart = async { node.start_at(address).await };
    let (flushed, _running) = within_a_minute(async { tokio::join!(rest, restart) }).await;
    flushed.expect("all delivered");
    assert_eq!(node.values(0), expected(200));
}

#[tokio::test]
async fn records_that_find_no_node_fail_after_the_delivery_timeout() {
    let node = FakeNode::new(1);
    let running = node.start().await;
    let config = ProducerConfig { delivery_timeout: Duration::from_millis(300), ..small_batches() };
    let producer = running.client().producer(config).expect("a producer");
    let first = within_a_minute(producer.send("t", record(0))).await.expect("buffered");
    within_a_minute(first.wait()).await.expect("delivered");
    // One request is lost with its stream, and after that nobody answers.
    node.state().produce_faults.insert(1, Fault::LoseRequest);
    running.stop();
    let second = within_a_minute(producer.send("t", record(1))).await.expect("buffered");
    let error = within_a_minute(second.wait()).await.expect_err("nobody is there");
    assert!(matches!(error, ClientError::DeliveryTimeout { timeout_ms: 300, .. }), "{error}");
    let ClientError::DeliveryTimeout { last_error, .. } = error else { unreachable!() };
    assert!(last_error.is_some_and(|error| matches!(*error, ClientError::Connection { .. })));
}

#[tokio::test]
async fn a_full_buffer_makes_senders_wait_and_a_record_beyond_it_is_refused() {
    let node = FakeNode::with_faults(1, [(0, Fault::NoAnswer)]);
    let running = node.start().await;
    let config = ProducerConfig {
        batch_bytes: 1 << 10,
        buffer_bytes: 4 << 10,
        delivery_timeout: Duration::from_millis(500),
        ..ProducerConfig::default()
    };
    let producer = running.client().producer(config).expect("a producer");
    let too_large = ProducerRecord::value(vec![0; 5 << 10]);
    let error = within_a_minute(producer.send("t", too_large)).await.expect_err("larger than the buffer");
    assert!(matches!(error, ClientError::RecordTooLarge { max: 4096, .. }), "{error}");
    let kilobyte =
        || ProducerRecord { partition: Some(PartitionIndex(0)), ..ProducerRecord::value(vec![0; 1 << 10]) };
    let mut deliveries = Vec::new();
    for _ in 0..3 {
        deliveries.push(within_a_minute(producer.send("t", kilobyte())).await.expect("buffered"));
    }
    // Nothing is answered, so there is no room for a fourth until the first has timed out.
    let no_room = tokio::time::timeout(Duration::ZERO, producer.send("t", kilobyte())).await;
    assert!(no_room.is_err(), "a fourth found room");
    let first = within_a_minute(deliveries.remove(0).wait()).await.expect_err("nobody answered");
    assert!(matches!(first, ClientError::DeliveryTimeout { outcome_unknown: true, .. }), "{first}");
    within_a_minute(producer.send("t", kilobyte())).await.expect("room");
}

#[tokio::test]
async fn an_unknown_topic_or_partition_is_an_error_at_once() {
    let running = FakeNode::new(2).start().await;
    let producer = running.client().producer(ProducerConfig::default()).expect("a producer");
    let error = within_a_minute(producer.send("missing", record(0))).await.expect_err("no such topic");
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
    let beyond = ProducerRecord { partition: Some(PartitionIndex(2)), ..record(0) };
    let error = within_a_minute(producer.send("t", beyond)).await.expect_err("no such partition");
    assert!(matches!(error, ClientError::NoSuchPartition { partition: 2, partitions: 2, .. }), "{error}");
}

#[tokio::test]
async fn a_topic_that_was_created_again_gets_only_what_is_sent_after_the_first_refusal() {
    let node = FakeNode::new(1);
    let running = node.start().await;
    let producer = running.client().producer(small_batches()).expect("a producer");
    within_a_minute(producer.send("t", record(0)).await.expect("buffered").wait()).await.expect("delivered");
    node.state().topic_id = "99999999-2222-4333-8444-555555555555".to_owned();
    let stale = within_a_minute(producer.send("t", record(1)).await.expect("buffered").wait()).await;
    assert_eq!(stale.expect_err("that topic is gone").code(), Some(ErrorCode::UnknownTopicId));
    within_a_minute(producer.send("t", record(2)).await.expect("buffered").wait()).await.expect("delivered");
}

#[tokio::test]
async fn keyed_records_keep_their_order_per_key_and_keyless_ones_spread() {
    let node = FakeNode::with_faults(4, [(2, Fault::LoseAck), (9, Fault::Refuse(ErrorCode::Throttled))]);
    let running = node.start().await;
    let producer = running.client().producer(small_batches()).expect("a producer");
    for number in 0..400 {
        let key = format!("key-{}", number % 10);
        let record = ProducerRecord::key_value(key.clone(), format!("{key}/{number:06}"));
        within_a_minute(producer.send("t", record)).await.expect("buffered");
    }
    within_a_minute(producer.flush()).await.expect("delivered");
    let mut all = Vec::new();
    for partition in 0..4 {
        let values = node.values(partition);
        for key in 0..10 {
            let of_key: Vec<_> =
                values.iter().filter(|value| value.starts_with(&format!("key-{key}/"))).collect();
            assert!(of_key.is_sorted(), "{of_key:?}");
            assert!(of_key.is_empty() || of_key.len() == 40, "a key has one partition");
        }
        all.extend(values);
    }
    assert_eq!(all.len(), 400);
    for number in 0..200 {
        within_a_minute(producer.send("t", ProducerRecord::value(format!("{number}"))))
            .await
            .expect("buffered");
    }
    within_a_minute(producer.close()).await.expect("delivered");
    let used =
        (0..4).filter(|partition| node.values(*partition).iter().any(|value| !value.contains('/'))).count();
    assert!(used > 1, "keyless records went to one partition only");
    assert_eq!(node.all_values().len(), 600);
}

#[tokio::test]
async fn what_a_producer_sends_a_consumer_reads() {
    let node = FakeNode::new(3);
    let running = node.start().await;
    let client = running.client();
    let producer = client.producer(small_batches()).expect("a producer");
    for number in 0..50 {
        let record = ProducerRecord::key_value(format!("{number}"), format!("value-{number}"));
        within_a_minute(producer.send("t", record)).await.expect("buffered");
    }
    within_a_minute(producer.close()).await.expect("delivered");
    let config = ConsumerConfig::starting_at(StartPosition::Earliest);
    let mut consumer = within_a_minute(client.consumer("t", &[], config)).await.expect("a consumer");
    let mut read = Vec::new();
    while read.len() < 50 {
        let batch = within_a_minute(consumer.next_batch()).await.expect("no error").expect("not the end");
        read.extend(batch.records.into_iter().map(|record| record.value.expect("a value").to_vec()));
    }
    read.sort();
    let mut expected: Vec<_> = (0..50).map(|number| format!("value-{number}").into_bytes()).collect();
    expected.sort();
    assert_eq!(read, expected);
}
