//! Changing topics while they are in use, and both kinds of durability over restarts.

mod harness;

use std::collections::HashMap;

use harness::{TestNode, append, bounds, busy_upkeep, code, describe, log_files, values};
use highwater_proto::v1;

fn alter(set: &[(&str, &str)], reset: &[&str]) -> v1::AlterTopicConfigsRequest {
    v1::AlterTopicConfigsRequest {
        topic: "orders".to_owned(),
        set: set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        reset: reset.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

/// The configs of the topic that are its own.
async fn own_configs(node: &TestNode) -> HashMap<String, String> {
    let configs = describe(node, "orders").await.configs.into_iter();
    let own = configs.filter(|config| config.source() == v1::ConfigSource::Topic);
    own.map(|config| (config.name, config.value)).collect()
}

#[tokio::test]
async fn a_smaller_segment_size_takes_effect_at_once_and_can_be_taken_back() {
    let node = TestNode::start().await;
    let topic = node.create("orders", 1, &[]).await;
    let files = node.partition_directory(&topic, 0);
    let mut log = node.log().await;
    let mut append_some = async || {
        for _ in 0..4 {
            append(&mut log, "orders", 0, &[1; 3000]).await;
        }
    };
    append_some().await;
    assert_eq!(log_files(&files).len(), 1);
    let mut admin = node.admin().await;
    admin.alter_topic_configs(alter(&[("segment.bytes", "4096")], &[])).await.expect("altered");
    append_some().await;
    let small = log_files(&files).len();
    assert!(small > 2, "{small} segments");
    admin.alter_topic_configs(alter(&[], &["segment.bytes"])).await.expect("reset");
    append_some().await;
    assert!(log_files(&files).len() <= small + 1);
    let node = node.restart().await;
    assert_eq!(values(&mut node.log().await, "orders", 0, 0).await.len(), 12);
}

#[tokio::test]
async fn durability_is_switched_while_records_come_in_and_none_is_lost() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let mut log = node.log().await;
    let mut expected = Vec::new();
    for (round, durability) in ["memory", "fsync", "memory"].into_iter().enumerate() {
        for number in 0..5 {
            let value = format!("{round} {number}").into_bytes();
            append(&mut log, "orders", 0, &value).await;
            expected.push(value);
        }
        let altered = node.admin().await.alter_topic_configs(alter(&[("durability", durability)], &[])).await;
        altered.expect("altered");
        assert_eq!(own_configs(&node).await["durability"], durability);
    }
    append(&mut log, "orders", 0, b"the last, in memory").await;
    expected.push(b"the last, in memory".to_vec());
    // The process dies, the machine stays up.
    let survivor = TestNode::start_in(node.wreck(), |config| config).await;
    assert_eq!(values(&mut survivor.log().await, "orders", 0, 0).await, expected);
    assert_eq!(own_configs(&survivor).await["durability"], "memory");
}

#[tokio::test]
async fn topics_in_memory_survive_a_clean_restart_and_the_death_of_the_process() {
    let node = TestNode::start().await;
    node.create("orders", 2, &[("durability", "memory")]).await;
    let mut log = node.log().await;
    for number in 0..20 {
        append(&mut log, "orders", number % 2, &number.to_be_bytes()).await;
    }
    let survivor = TestNode::start_in(node.wreck(), |config| config).await;
    let restarted = node.restart().await;
    for node in [survivor, restarted] {
        let mut log = node.log().await;
        for partition in 0..2 {
            let expected: Vec<_> = (0..10_u32).map(|n| (2 * n + partition).to_be_bytes().to_vec()).collect();
            assert_eq!(values(&mut log, "orders", partition, 0).await, expected);
        }
        assert_eq!(append(&mut log, "orders", 0, b"next").await, 10);
    }
}

#[tokio::test]
async fn a_change_that_is_not_possible_or_only_checked_changes_nothing() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[("retention.ms", "60000")]).await;
    let before = own_configs(&node).await;
    let mut admin = node.admin().await;
    for (request, expected) in [
        (alter(&[("segment.bytes", "many")], &[]), "INVALID_CONFIG"),
        (alter(&[("segment.bytes", "1")], &[]), "INVALID_CONFIG"),
        (alter(&[("retention.ms", "1"), ("retentoin.bytes", "1")], &[]), "INVALID_CONFIG"),
        (alter(&[("cleanup.policy", "compact")], &[]), "INVALID_CONFIG"),
        (alter(&[("retention.ms", "1")], &["retention.ms"]), "INVALID_REQUEST"),
    ] {
        let refused = admin.alter_topic_configs(request.clone()).await.expect_err("refused");
        assert_eq!(code(&refused), expected, "{request:?}");
        assert_eq!(own_configs(&node).await, before, "{request:?}");
    }
    let only_check =
        v1::AlterTopicConfigsRequest { validate_only: true, ..alter(&[("retention.ms", "1")], &[]) };
    admin.alter_topic_configs(only_check).await.expect("it would work");
    assert_eq!(own_configs(&node).await, before);
}

#[tokio::test]
async fn added_partitions_take_records_on_return_and_stay() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = TestNode::start_in(directory, busy_upkeep).await;
    node.create("orders", 1, &[]).await;
    let mut admin = node.admin().await;
    let mut add = async |total_partitions, validate_only| {
        let topic = "orders".to_owned();
        let request = v1::AddPartitionsRequest { topic, total_partitions, validate_only, ..Default::default() };
        admin.add_partitions(request).await.map(drop).map_err(|status| code(&status))
    };
    let impossible = Err("INVALID_PARTITIONS".to_owned());
    assert_eq!(add(1, false).await, impossible);
    assert_eq!(add(0, false).await, impossible);
    assert_eq!(add(1_000_000, false).await, impossible);
    assert_eq!(add(3, true).await, Ok(()));
    assert_eq!(describe(&node, "orders").await.partitions.len(), 1, "it was only checked");
    assert_eq!(add(3, false).await, Ok(()));
    let mut log = node.log().await;
    for partition in 0..3 {
        assert_eq!(append(&mut log, "orders", partition, b"data").await, 0);
    }
    let node = node.restart().await;
    let mut log = node.log().await;
    for partition in 0..3 {
        assert_eq!(bounds(&mut log, "orders", partition).await, Ok((0, 1)));
    }
}
