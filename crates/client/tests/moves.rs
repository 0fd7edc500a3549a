//! A cluster whose leaders move and whose nodes die: the client follows, and nobody sees more than a pause.

mod fake;

use std::collections::BTreeMap;
use std::time::Duration;

use fake::{FakeNode, Fault, Running, within_a_minute};
use highwater_client::v1::{CreateTopicRequest, DeleteRecordsPartition, DeleteRecordsRequest, OffsetPlace};
use highwater_client::{
    Client, ClientConfig, ConsumerConfig, Delivery, Producer, ProducerConfig, ProducerRecord, StartPosition,
};
use highwater_types::{Offset, PartitionIndex};

const PARTITIONS: usize = 4;
/// Records of each partition.
const RECORDS: usize = 120;

/// Batches of one or two records, so that each move meets many of them in flight.
fn small_batches() -> ProducerConfig {
    ProducerConfig {
        batch_bytes: 100,
        linger: std::time::Duration::from_millis(1),
        ..ProducerConfig::default()
    }
}

fn value(partition: usize, number: usize) -> String {
    format!("{partition}/{number:06}")
}

async fn send(producer: &Producer, partition: usize, number: usize) -> Delivery {
    let index = Some(PartitionIndex(u32::try_from(partition).expect("small")));
    let record = ProducerRecord { partition: index, ..ProducerRecord::value(value(partition, number)) };
    within_a_minute(producer.send("t", record)).await.expect("buffered")
}

/// Sends all records, and after every tenth lets something happen.
async fn produce_through(client: &Client, mut happen: impl FnMut(usize)) {
    let producer = client.producer(small_batches()).expect("a producer");
    let mut deliveries = Vec::new();
    for number in 0..RECORDS {
        for partition in 0..PARTITIONS {
            deliveries.push((number, send(&producer, partition, number).await));
        }
        if number % 10 == 9 {
            within_a_minute(deliveries.pop().expect("sent").1.wait()).await.expect("delivered");
            happen(number / 10);
        }
    }
    within_a_minute(producer.close()).await.expect("nothing failed");
    for (number, delivery) in deliveries {
        let delivered = within_a_minute(delivery.wait()).await.expect("acknowledged");
        assert_eq!(delivered.offset, Offset(i64::try_from(number).expect("small")));
    }
}

fn assert_all_once_in_order(node: &FakeNode) {
    for partition in 0..PARTITIONS {
        let expected: Vec<_> = (0..RECORDS).map(|number| value(partition, number)).collect();
        assert_eq!(node.values(partition), expected, "partition {partition}");
    }
}

async fn cluster() -> (FakeNode, BTreeMap<u64, Running>) {
    FakeNode::cluster(3, PARTITIONS).await
}

#[tokio::test]
async fn leaders_that_move_under_load_keep_the_order_and_repeat_nothing() {
    for gives_no_hints in [false, true] {
        let (node, running) = cluster().await;
        node.state().gives_no_hints = gives_no_hints;
        produce_through(&running[&1].client(), |step| {
            for partition in 0..PARTITIONS {
                node.lead(partition, Some(u64::try_from((step + partition) % 3).expect("small") + 1));
            }
        })
        .await;
        assert_all_once_in_order(&node);
    }
}

#[tokio::test]
async fn who_is_told_that_another_node_leads_goes_there_itself_in_order() {
    /// Batches in flight of a partition, and those that were sent before the first of them was answered.
    const ON_THEIR_WAY_MAX: u64 = 10;
    let (node, running) = cluster().await;
    node.state().forwarded = Some(0);
    produce_through(&running[&1].client(), |step| {
        for partition in (0..PARTITIONS).filter(|_| step == 1) {
            node.lead(partition, Some(2));
        }
    })
    .await;
    assert_all_once_in_order(&node);
    let forwarded = node.state().forwarded.expect("set above");
    assert!((1..=ON_THEIR_WAY_MAX * PARTITIONS as u64).contains(&forwarded), "{forwarded} were forwarded");
}

#[tokio::test]
async fn acks_that_are_lost_with_a_move_are_found_at_the_next_leader() {
    let (node, running) = cluster().await;
    produce_through(&running[&1].client(), |step| {
        let next = node.state().produce_requests;
        node.state().produce_faults.extend([(next, Fault::LoseAck), (next + 3, Fault::LoseRequest)]);
        node.lead(step % PARTITIONS, Some(u64::try_from(step % 3).expect("small") + 1));
    })
    .await;
    assert_all_once_in_order(&node);
}

#[tokio::test]
async fn a_leader_whose_node_dies_is_replaced_and_the_seed_that_died_is_not_needed() {
    let (node, mut running) = cluster().await;
    // Two partitions are led elsewhere from the start.
    node.lead(2, Some(2));
    node.lead(3, Some(3));
    let client = running[&1].client();
    produce_through(&client, |step| {
        if step == 3 {
            running.remove(&1);
            node.lead(0, None);
            node.lead(1, None);
            node.lead(0, Some(2));
            node.lead(1, Some(3));
        }
    })
    .await;
    assert_all_once_in_order(&node);
    let ends = client.admin().offsets("t", &[PartitionIndex(0)], OffsetPlace::Latest).await;
    assert_eq!(ends, Ok(vec![Some(Offset(i64::try_from(RECORDS).expect("small")))]));
}

#[tokio::test]
async fn a_partition_without_a_leader_waits_for_one_while_the_others_go_on() {
    let (node, running) = cluster().await;
    node.lead(0, None);
    let producer = running[&1].client().producer(small_batches()).expect("a producer");
    let waiting = send(&producer, 0, 0).await;
    for number in 0..RECORDS {
        within_a_minute(send(&producer, 1, number).await.wait()).await.expect("the other one goes on");
    }
    assert!(node.values(0).is_empty());
    node.lead(0, Some(3));
    within_a_minute(waiting.wait()).await.expect("delivered");
    assert_eq!(node.values(0), [value(0, 0)]);
}

#[tokio::test]
async fn a_leader_that_answers_nothing_is_left_when_another_leads() {
    let (node, running) = cluster().await;
    produce_through(&running[&2].client(), |step| {
        if step == 3 {
            node.state().frozen.insert(1);
            for partition in 0..PARTITIONS {
                node.lead(partition, Some(2));
            }
        }
    })
    .await;
    assert_all_once_in_order(&node);
}

#[tokio::test]
async fn a_node_that_comes_back_at_another_address_is_found_there() {
    let (node, mut running) = cluster().await;
    let client = running[&2].client();
    produce_through(&client, |step| {
        if step == 2 {
            running.remove(&1);
        }
        if step == 2 {
            let node = node.clone();
            tokio::spawn(async move { std::mem::forget(node.start().await) });
        }
    })
    .await;
    assert_all_once_in_order(&node);
}

#[tokio::test]
async fn a_consumer_reads_each_record_once_through_moves_and_deaths() {
    let (node, mut running) = cluster().await;
    let client = running[&2].client();
    let config = ConsumerConfig { credit_bytes: 2000, ..ConsumerConfig::starting_at(StartPosition::Earliest) };
    let mut consumer = within_a_minute(client.consumer("t", &[], config)).await.expect("a consumer");
    let reader = tokio::spawn(async move {
        let mut read = vec![Vec::new(); PARTITIONS];
        while read.iter().map(Vec::len).sum::<usize>() < PARTITIONS * RECORDS {
            let batch = within_a_minute(consumer.next_batch()).await.expect("no error").expect("not the end");
            let partition = &mut read[usize::try_from(batch.partition.0).expect("small")];
            for record in batch.records {
                assert_eq!(record.offset.0, i64::try_from(partition.len()).expect("small"));
                partition.push(String::from_utf8(record.value.expect("a value").to_vec()).expect("text"));
            }
        }
        read
    });
    produce_through(&client, |step| {
        for partition in 0..PARTITIONS {
            let candidates: Vec<_> = running.keys().copied().collect();
            node.lead(partition, Some(candidates[(step + partition) % candidates.len()]));
        }
        if step % 4 == 1 {
            node.state().subscribe_cuts = vec![3, 0, 2];
        }
        if step == 6 {
            for partition in 0..PARTITIONS {
                node.lead(partition, Some(2));
            }
            running.remove(&1);
        }
    })
    .await;
    let read = within_a_minute(reader).await.expect("read");
    for (partition, values) in read.into_iter().enumerate() {
        assert_eq!(values, (0..RECORDS).map(|number| value(partition, number)).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_consumer_leaves_a_node_that_says_nothing_when_another_leads() {
    let (node, running) = cluster().await;
    let client = running[&2].client();
    let config = ConsumerConfig::starting_at(StartPosition::Earliest);
    let first = Some(PartitionIndex(0));
    let mut consumer =
        within_a_minute(client.consumer("t", &[PartitionIndex(0)], config)).await.expect("a consumer");
    let producer = client.producer(small_batches()).expect("a producer");
    for number in 0..2 {
        if number == 1 {
            // Its connections are up, and answer probes.
            node.state().frozen.insert(1);
            node.lead(0, Some(2));
        }
        let record = ProducerRecord { partition: first, ..ProducerRecord::value(value(0, number)) };
        drop(within_a_minute(producer.send("t", record)).await.expect("buffered"));
        let mut read = Vec::new();
        while read.is_empty() {
            let batch = within_a_minute(consumer.next_batch()).await.expect("no error").expect("not the end");
            read.extend(batch.records.iter().map(|record| record.offset));
        }
        assert_eq!(read, [Offset(i64::try_from(number).expect("small"))]);
    }
}

#[tokio::test]
async fn a_partition_that_moves_away_from_others_takes_its_part_of_the_credit_with_it() {
    let (node, running) = cluster().await;
    let client = running[&3].client();
    node.lead(0, Some(1));
    node.lead(1, Some(1));
    let both = [PartitionIndex(0), PartitionIndex(1)];
    let config = ConsumerConfig::starting_at(StartPosition::Earliest);
    let mut consumer = within_a_minute(client.consumer("t", &both, config)).await.expect("a consumer");
    let producer = client.producer(small_batches()).expect("a producer");
    // What is left over of the credit is enough for the first push after the move.
    for (number, partition) in [(0, 0), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1)] {
        if number == 2 {
            node.lead(1, Some(2));
        }
        let partition = Some(PartitionIndex(partition));
        let record = ProducerRecord { partition, ..ProducerRecord::value(value(0, number)) };
        drop(within_a_minute(producer.send("t", record)).await.expect("buffered"));
        let mut read = Vec::new();
        while read.is_empty() {
            let batch = within_a_minute(consumer.next_batch()).await.expect("no error").expect("not the end");
            // The other one may have news of its end.
            assert!(Some(batch.partition) == partition || batch.records.is_empty());
            read.extend(batch.records);
        }
    }
}

#[tokio::test]
async fn admin_asks_the_leaders_and_follows_them() {
    let (node, running) = cluster().await;
    let client = running[&1].client();
    let partitions: Vec<_> = (0..4).map(PartitionIndex).collect();
    for round in 0..3_u64 {
        for partition in 0..PARTITIONS {
            let leader = (round + u64::try_from(partition).expect("small")) % 3 + 1;
            node.lead(partition, Some(leader));
        }
        let ends = within_a_minute(client.admin().offsets("t", &partitions, OffsetPlace::Latest)).await;
        assert_eq!(ends, Ok(vec![Some(Offset(0)); 4]));
        let partitions =
            (0..4).map(|partition| DeleteRecordsPartition { partition, before_offset: 0 }).collect();
        let request = DeleteRecordsRequest { topic: "t".to_owned(), partitions, ..Default::default() };
        let deleted = within_a_minute(client.admin().delete_records(request)).await.expect("deleted");
        let zero = highwater_client::v1::delete_records_result::Result::LogStartOffset(0);
        assert!(deleted.results.iter().all(|result| result.result == Some(zero.clone())), "{deleted:?}");
    }
}

#[tokio::test]
async fn a_client_reads_its_own_changes_from_nodes_that_are_behind() {
    let (node, running) = cluster().await;
    let admin = running[&1].client().admin();
    within_a_minute(admin.create_topic(CreateTopicRequest::default())).await.expect("created");
    node.state().metadata_lag = [(1, 2), (2, 3), (3, 2)].into();
    within_a_minute(admin.describe_topic("t", false)).await.expect("described");
    let state = node.state();
    assert!(state.calls.values().sum::<u64>() >= 3, "it asked until one had caught up: {:?}", state.calls);
    assert!(state.metadata_lag.values().any(|lag| *lag == 0));
}

#[tokio::test]
async fn a_server_that_stands_still_is_passed_over_by_whoever_reads_and_whoever_changes() {
    let (node, running) = cluster().await;
    node.state().silent.insert(1);
    let mut config = ClientConfig::new((1..=3).map(|id| running[&id].address.to_string()));
    // Only its silence tells of it: its connection lives.
    config.request_timeout = Duration::from_secs(60 * 60);
    let admin = Client::with_config(config.clone()).expect("addresses").admin();
    within_a_minute(admin.describe_topic("t", false)).await.expect("another one answers");
    let admin = Client::with_config(config).expect("addresses").admin();
    within_a_minute(admin.create_topic(CreateTopicRequest::default())).await.expect("it went to another one");
}
