//! Every command: what it does, what it refuses, and that it may come twice.

mod support;

use highwater_controller::{
    ConfigChange, FeatureLevel, MetadataChange, MetadataCommand, MetadataError, MetadataState, Outcome,
    PartitionPhase,
};
use highwater_types::limits::PRODUCER_ID_BLOCK;
use highwater_types::{
    ClusterId, ConfigError, ErrorCode, NodeId, PartitionId, PartitionIndex, ProducerId, TimestampMs,
};
use support::*;
use uuid::Uuid;

#[test]
fn nothing_is_accepted_before_the_cluster_is_born() {
    let mut state = MetadataState::default();
    for command in [register(1), create(1, "a", 1), delete(1)] {
        assert_eq!(refuse(&mut state, &command), MetadataError::NotBorn);
    }
}

#[test]
fn a_cluster_is_born_once() {
    let mut state = cluster();
    repeat(&mut state, &born());
    let other = ClusterId(Uuid::from_u128(0xc2));
    let again = MetadataCommand::ClusterBorn { cluster: other, feature_level: FeatureLevel::NEWEST, at: NOW };
    let refused = refuse(&mut state, &again);
    assert_eq!(refused, MetadataError::OtherCluster { claimed: other, actual: cluster_id() });
}

#[test]
fn a_created_topic_is_found_by_name_and_id_with_partitions_creating() {
    let mut state = cluster();
    let command = create_with(7, "orders.v1", vec![vec![NodeId(3)]; 2], &[("retention.ms", " 05 ")]);
    let applied = state.apply(&command);
    let outcome = Outcome::TopicCreated { topic: topic_id(7), partitions: 2 };
    assert_eq!(applied.result.expect("accepted").outcome, outcome);
    assert_eq!(applied.delta.changes, [MetadataChange::TopicCreated(topic_id(7))]);
    assert_eq!(repeat(&mut state, &command), outcome);
    let image = state.image();
    let topic = image.topic_by_name("orders.v1").expect("by name");
    assert_eq!(image.topic(topic_id(7)), Some(topic));
    assert_eq!(topic.overrides, overrides(&[("retention.ms", "5")]));
    assert_eq!(topic.config.retention_ms, Some(5));
    assert!(topic.partitions.iter().all(|it| it.phase == PartitionPhase::Creating));
    assert!(image.topic_by_name("orders_v1").is_none());
    assert_eq!(image.partition_count(), 2);
}

#[test]
fn names_that_are_taken_colliding_reserved_or_invalid_are_refused() {
    let mut state = cluster();
    accept(&mut state, &create(1, "a.b", 1));
    for (command, code) in [
        (create(2, "a.b", 1), ErrorCode::TopicAlreadyExists),
        (create(2, "a_b", 1), ErrorCode::InvalidTopicName),
        (create(2, "a b", 1), ErrorCode::InvalidTopicName),
        (create(1, "other", 1), ErrorCode::InvalidRequest),
    ] {
        assert_eq!(refuse(&mut state, &command).code(), code);
    }
    let MetadataCommand::CreateTopic { topic, placement, overrides, at, .. } = create(2, "x", 1) else {
        unreachable!("a creation")
    };
    for (name, internal) in [("__groups", false), ("groups", true)] {
        let name = name.to_owned();
        let (placement, overrides) = (placement.clone(), overrides.clone());
        let command = MetadataCommand::CreateTopic { topic, name, placement, overrides, internal, at };
        let refused = refuse(&mut state, &command);
        assert!(matches!(refused, MetadataError::ReservedTopicName { .. }));
    }
    accept(&mut state, &create(3, "__groups", 1));
}

#[test]
fn impossible_placements_are_refused_with_their_numbers() {
    let mut state = cluster();
    let nodes = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
    for (placement, code, message) in [
        (vec![], ErrorCode::InvalidPartitions, "0 partitions are not possible: a topic has 1 to 10000"),
        (
            vec![nodes(&[1]); 10_001],
            ErrorCode::InvalidPartitions,
            "10001 partitions are not possible: a topic has 1 to 10000",
        ),
        (
            vec![nodes(&[1, 2, 3, 4])],
            ErrorCode::InvalidReplicationFactor,
            "replication factor 4 is not possible: 3 nodes can take replicas; choose 1 to 3, or add nodes first",
        ),
        (
            vec![nodes(&[])],
            ErrorCode::InvalidReplicationFactor,
            "replication factor 0 is not possible: 3 nodes can take replicas; choose 1 to 3, or add nodes first",
        ),
        (
            vec![nodes(&[1]), nodes(&[1, 2])],
            ErrorCode::InvalidRequest,
            "partition 1 has 2 replicas; the topic's replication factor is 1",
        ),
        (vec![nodes(&[2, 2])], ErrorCode::InvalidRequest, "partition 0 names node 2 twice"),
        (vec![nodes(&[9])], ErrorCode::InvalidRequest, "node 9 is not registered"),
    ] {
        let refused = refuse(&mut state, &create_with(1, "a", placement, &[]));
        assert_eq!((refused.code(), refused.to_string().as_str()), (code, message));
    }
}

#[test]
fn the_cluster_takes_its_last_partition_and_not_one_more() {
    let mut state = cluster();
    for topic in 1..=20 {
        accept(&mut state, &create(topic, &format!("t{topic}"), 10_000));
    }
    let refused = refuse(&mut state, &create(21, "t21", 1));
    assert_eq!(refused.to_string(), "1 more partitions do not fit: the cluster has 200000 of at most 200000");
    accept(&mut state, &delete(3));
    accept(&mut state, &create(21, "t21", 1));
    assert_eq!(state.image().partition_count(), 190_001);
}

#[test]
fn altered_settings_replace_and_fall_back_and_are_all_or_nothing() {
    let mut state = cluster();
    accept(&mut state, &create_with(1, "a", vec![vec![NodeId(1)]], &[("retention.ms", "1")]));
    let set = |name: &str, value: &str| ConfigChange::Set { name: name.into(), value: value.into() };
    let unset = |name: &str| ConfigChange::Delete { name: name.into() };
    let alter = |changes| MetadataCommand::AlterTopicConfigs { topic: topic_id(1), changes };
    let change = alter(vec![set("segment.bytes", "4096"), unset("retention.ms")]);
    let applied = state.apply(&change);
    assert_eq!(applied.delta.changes, [MetadataChange::TopicConfigChanged(topic_id(1))]);
    repeat(&mut state, &change);
    let topic = state.image().topic(topic_id(1)).expect("live").clone();
    assert_eq!(topic.overrides, overrides(&[("segment.bytes", "4096")]));
    assert_eq!(topic.config.segment_bytes, 4096);
    assert_eq!(topic.config.retention_ms, Some(604_800_000));
    for changes in [
        vec![set("segment.ms", "5"), set("cleanup.policy", "compact")],
        vec![set("segment.ms", "5"), unset("segment.ms")],
        vec![unset("retention_ms")],
        vec![set("min.insync.replicas", "2")],
    ] {
        assert_eq!(refuse(&mut state, &alter(changes)).code(), ErrorCode::InvalidConfig);
    }
}

#[test]
fn more_in_sync_replicas_than_the_topics_majority_are_refused_at_creation() {
    let mut state = cluster();
    let three = vec![vec![NodeId(1), NodeId(2), NodeId(3)]];
    accept(&mut state, &create_with(1, "a", three.clone(), &[("min.insync.replicas", "2")]));
    let refused = refuse(&mut state, &create_with(2, "b", three, &[("min.insync.replicas", "3")]));
    let expected = ConfigError::BeyondMajority { requested: 3, majority: 2, replication_factor: 3 };
    assert_eq!(refused, MetadataError::Config(expected));
}

#[test]
fn added_partitions_come_last_and_a_stale_count_is_refused() {
    let mut state = cluster();
    accept(&mut state, &create(1, "a", 1));
    let add = |before, node| MetadataCommand::AddPartitions {
        topic: topic_id(1),
        partitions_before: before,
        placement: vec![vec![NodeId(node), NodeId(3)]; 2],
    };
    let applied = state.apply(&add(1, 2));
    let first = PartitionIndex(1);
    assert_eq!(applied.delta.changes, [MetadataChange::PartitionsAdded { topic: topic_id(1), first }]);
    assert_eq!(repeat(&mut state, &add(1, 2)), Outcome::PartitionsAdded { partitions: 3 });
    let refused = refuse(&mut state, &add(1, 1));
    assert_eq!(refused, MetadataError::PartitionCountChanged { topic: topic_id(1), expected: 1, actual: 3 });
    assert_eq!(state.image().partition_count(), 3);
}

#[test]
fn a_partition_that_is_ready_never_goes_back_to_creating() {
    let mut state = cluster();
    let creation = create(1, "a", 3);
    accept(&mut state, &creation);
    let ready = |indexes: &[u32]| MetadataCommand::PartitionsReady {
        topic: topic_id(1),
        partitions: indexes.iter().copied().map(PartitionIndex).collect(),
    };
    let change = |index| {
        let id = PartitionId { topic: topic_id(1), index: PartitionIndex(index) };
        MetadataChange::PartitionReady(id)
    };
    assert_eq!(state.apply(&ready(&[1, 1])).delta.changes, [change(1)]);
    assert_eq!(state.apply(&ready(&[2, 1, 0])).delta.changes, [change(0), change(2)]);
    repeat(&mut state, &ready(&[0]));
    repeat(&mut state, &creation);
    let topic = state.image().topic(topic_id(1)).expect("live");
    assert!(topic.partitions.iter().all(|it| it.phase == PartitionPhase::Ready));
    let refused = refuse(&mut state, &ready(&[3]));
    assert_eq!(refused.code(), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn data_of_a_deleted_topic_is_forgotten_only_after_the_grace_period_and_by_every_holder() {
    let mut state = cluster();
    accept(
        &mut state,
        &create_with(1, "a", vec![vec![NodeId(1), NodeId(3)]], &[("file.delete.delay.ms", "500")]),
    );
    let until = TimestampMs(NOW.0 + 500);
    assert_eq!(refuse(&mut state, &forget(1, 1, until)), MetadataError::TopicNotDeleted { topic: topic_id(1) });
    let outcome = Outcome::TopicDeleted { data_kept_until: until };
    assert_eq!(accept(&mut state, &delete(1)), outcome);
    assert_eq!(repeat(&mut state, &delete(1)), outcome);
    assert!(state.image().topic(topic_id(1)).is_none());
    let early = refuse(&mut state, &forget(1, 1, TimestampMs(until.0 - 1)));
    assert!(matches!(early, MetadataError::GracePeriod { .. }));
    repeat(&mut state, &forget(1, 2, until));
    accept(&mut state, &forget(1, 1, until));
    assert!(state.image().tombstone(topic_id(1)).is_some());
    let last = state.apply(&forget(1, 3, until));
    assert_eq!(last.delta.changes, [MetadataChange::TopicForgotten(topic_id(1))]);
    assert!(state.image().tombstone(topic_id(1)).is_none());
    repeat(&mut state, &forget(1, 3, until));
}

#[test]
fn a_topic_created_again_under_its_name_is_another_topic() {
    let mut state = cluster();
    accept(&mut state, &create_with(1, "a", vec![vec![NodeId(1)]], &[("retention.ms", "1")]));
    accept(&mut state, &delete(1));
    let same_id = refuse(&mut state, &create(1, "a", 1));
    assert_eq!(same_id, MetadataError::TopicIdUsed { topic: topic_id(1) });
    accept(&mut state, &create(2, "a", 3));
    let image = state.image().clone();
    let successor = image.topic_by_name("a").expect("live");
    assert_eq!((successor.id, successor.partition_count()), (topic_id(2), 3));
    assert!(successor.overrides.is_empty());
    assert!(image.tombstone(topic_id(1)).is_some());
    accept(&mut state, &forget(1, 1, TimestampMs(i64::MAX)));
    assert_eq!(state.image().topic_by_name("a"), image.topic_by_name("a"));
}

#[test]
fn a_delayed_delete_of_the_first_topic_does_not_touch_its_successor() {
    let mut state = cluster();
    accept(&mut state, &create(1, "a", 1));
    accept(&mut state, &delete(1));
    accept(&mut state, &create(2, "a", 1));
    repeat(&mut state, &delete(1));
    for node in [1, 2] {
        accept(&mut state, &forget(1, node, TimestampMs(i64::MAX)));
    }
    assert_eq!(refuse(&mut state, &delete(1)).code(), ErrorCode::UnknownTopicId);
    assert!(state.image().topic_by_name("a").is_some());
}

#[test]
fn producer_ids_are_never_handed_out_twice() {
    let mut state = cluster();
    let allocate = |count| MetadataCommand::AllocateProducerIds { count };
    let block = PRODUCER_ID_BLOCK;
    for first in [0, block, 2 * block] {
        let expected = Outcome::ProducerIds { first: ProducerId(first), count: block };
        assert_eq!(accept(&mut state, &allocate(block)), expected);
    }
    for count in [0, -1, block + 1] {
        let refused = refuse(&mut state, &allocate(count));
        assert_eq!(refused, MetadataError::ProducerIdCount { requested: count, max: block });
    }
}

#[test]
fn an_image_does_not_change_with_the_state_it_came_from() {
    let mut state = cluster();
    accept(&mut state, &create(1, "a", 1));
    let image = state.image().clone();
    accept(&mut state, &delete(1));
    assert!(image.topic_by_name("a").is_some());
    assert!(image.version() < state.image().version());
}
