//! What the tests of the state machine share: a small cluster and short commands.

#![allow(dead_code, unreachable_pub, missing_docs)]

use highwater_controller::{
    FeatureLevel, MetadataCommand, MetadataError, MetadataState, MetadataVersion, NodeMode, NodeRegistration,
    Outcome, PartitionMove, PartitionRecord,
};
use highwater_types::{
    ClusterId, ConfigOverrides, Incarnation, NodeId, PartitionId, PartitionIndex, TimestampMs, TopicId,
};
use uuid::Uuid;

pub const NOW: TimestampMs = TimestampMs(1_000_000);

pub fn cluster_id() -> ClusterId {
    ClusterId(Uuid::from_u128(0xc1))
}

pub fn topic_id(number: u128) -> TopicId {
    TopicId(Uuid::from_u128(number))
}

pub fn born() -> MetadataCommand {
    MetadataCommand::ClusterBorn { cluster: cluster_id(), feature_level: FeatureLevel::NEWEST, at: NOW }
}

pub fn node(id: u64) -> NodeRegistration {
    NodeRegistration {
        id: NodeId(id),
        incarnation: Incarnation(id << 8),
        addresses: [("grpc".to_owned(), format!("10.0.0.{id}:7400"))].into(),
        rack: Some(format!("rack-{id}")),
        feature_level_newest: FeatureLevel::NEWEST,
        registered_at: NOW,
    }
}

pub fn register(id: u64) -> MetadataCommand {
    MetadataCommand::RegisterNode { cluster: cluster_id(), node: node(id) }
}

pub fn overrides(pairs: &[(&str, &str)]) -> ConfigOverrides {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub fn create(id: u128, name: &str, partitions: usize) -> MetadataCommand {
    create_with(id, name, vec![vec![NodeId(1), NodeId(2)]; partitions], &[])
}

pub fn create_with(
    id: u128,
    name: &str,
    placement: Vec<Vec<NodeId>>,
    settings: &[(&str, &str)],
) -> MetadataCommand {
    MetadataCommand::CreateTopic {
        topic: topic_id(id),
        name: name.to_owned(),
        placement,
        overrides: overrides(settings),
        internal: name.starts_with("__"),
        at: NOW,
    }
}

pub fn delete(id: u128) -> MetadataCommand {
    MetadataCommand::DeleteTopic { topic: topic_id(id), at: NOW }
}

pub fn forget(id: u128, node: u64, at: TimestampMs) -> MetadataCommand {
    MetadataCommand::ForgetTopic { topic: topic_id(id), node: NodeId(node), at }
}

/// The node as it registers after its data directory was emptied for the `life`th time.
pub fn reborn(id: u64, life: u64) -> MetadataCommand {
    let mut node = node(id);
    node.incarnation = Incarnation(node.incarnation.0 + life);
    MetadataCommand::RegisterNode { cluster: cluster_id(), node }
}

pub fn set_mode(id: u64, mode: NodeMode) -> MetadataCommand {
    MetadataCommand::SetNodeMode { node: NodeId(id), mode, at: NOW }
}

/// Removes a node in its first life.
pub fn remove(id: u64) -> MetadataCommand {
    remove_counting_on(id, &[])
}

/// The same when a majority of the metadata's voters was counted without it.
pub fn remove_counting_on(id: u64, voters: &[u64]) -> MetadataCommand {
    let counted_on = voters.iter().map(|voter| (NodeId(*voter), node(*voter).incarnation)).collect();
    MetadataCommand::RemoveNode { node: NodeId(id), incarnation: node(id).incarnation, counted_on, at: NOW }
}

pub fn nodes(ids: &[u64]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

pub fn partition(topic: u128, index: u32) -> PartitionId {
    PartitionId { topic: topic_id(topic), index: PartitionIndex(index) }
}

pub fn ready(topic: u128, indexes: std::ops::Range<u32>) -> MetadataCommand {
    let partitions = indexes.map(PartitionIndex).collect();
    MetadataCommand::PartitionsReady { topic: topic_id(topic), partitions }
}

pub fn to(partition: PartitionId, before: &[u64], replicas: &[u64]) -> PartitionMove {
    PartitionMove { partition, replicas: nodes(replicas), replicas_before: nodes(before) }
}

pub fn reassign(moves: Vec<PartitionMove>) -> MetadataCommand {
    MetadataCommand::ReassignPartitions { moves, replication_factors: [].into(), at: NOW }
}

pub fn cancel(partitions: &[PartitionId]) -> MetadataCommand {
    MetadataCommand::CancelReassignments { partitions: partitions.to_vec() }
}

/// What the partition's leader says when the group has the members that are wanted now.
pub fn done(state: &MetadataState, id: PartitionId) -> MetadataCommand {
    let record = record(state, id);
    let since = record.reassignment.as_ref().map_or(MetadataVersion(0), |moving| moving.since);
    MetadataCommand::ReassignmentDone { partition: id, replicas: record.replicas.to_vec(), since }
}

pub fn record(state: &MetadataState, id: PartitionId) -> PartitionRecord {
    state.image().partition(id).expect("live").clone()
}

/// A cluster of so many registered nodes.
pub fn cluster_of(count: u64) -> MetadataState {
    let mut state = MetadataState::default();
    accept(&mut state, &born());
    for id in 1..=count {
        accept(&mut state, &register(id));
    }
    state
}

/// A cluster of three registered nodes.
pub fn cluster() -> MetadataState {
    cluster_of(3)
}

/// Applies a command that must be accepted, and that the check must accept too.
pub fn accept(state: &mut MetadataState, command: &MetadataCommand) -> Outcome {
    assert_eq!(state.check(command), Ok(()));
    state.apply(command).result.expect("accepted").outcome
}

/// Applies a command that must be refused, by the check too, and must change nothing.
pub fn refuse(state: &mut MetadataState, command: &MetadataCommand) -> MetadataError {
    let before = state.clone();
    let applied = state.apply(command);
    let error = applied.result.expect_err("refused");
    assert_eq!(before.check(command), Err(error.clone()));
    assert_eq!(*state, before);
    assert!(applied.delta.changes.is_empty());
    error
}

/// Applies a command that was applied before: accepted, and nothing changes.
pub fn repeat(state: &mut MetadataState, command: &MetadataCommand) -> Outcome {
    let before = state.clone();
    let outcome = accept(state, command);
    assert_eq!(*state, before);
    outcome
}

/// SplitMix64: the same numbers for the same seed, everywhere.
pub struct Seeded(pub u64);

impl Seeded {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
