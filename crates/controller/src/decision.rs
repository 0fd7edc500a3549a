//! Decides what a command comes to, without changing anything: the proposer's check and
//! every node's apply are this same code.

mod cluster;
mod nodes;
mod partitions;
mod reassignments;
mod tombstones;
mod topics;

use std::sync::Arc;

use highwater_types::limits::PRODUCER_ID_BLOCK;
use highwater_types::{NodeId, ProducerId, TopicId};

use crate::cluster::ClusterRecord;
use crate::command::MetadataCommand;
use crate::delta::MetadataChange;
use crate::error::MetadataError;
use crate::image::MetadataImage;
use crate::node::NodeRecord;
use crate::response::Outcome;
use crate::retired::RetiredIncarnation;
use crate::tombstone::Tombstone;
use crate::topic::TopicRecord;

/// How an image changes. Applying one never fails: it was decided against that image.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// The cluster has this identity and level.
    Cluster(ClusterRecord),
    /// A node is new or changed.
    Node(NodeRecord),
    /// A node is not in the cluster any more.
    NodeRemoved(NodeId),
    /// An incarnation must not come back.
    Retired(RetiredIncarnation),
    /// A topic is new or changed.
    Topic(Arc<TopicRecord>),
    /// A live topic becomes a tombstone.
    Deleted(Tombstone),
    /// A tombstone changed.
    Tombstone(Tombstone),
    /// A tombstone goes.
    Forgotten(TopicId),
    /// Producer ids below this one are given away.
    NextProducerId(ProducerId),
}

/// What an accepted command comes to.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    /// What the proposer is told.
    pub(crate) outcome: Outcome,
    /// What changes, all of it together; nothing when the command was applied before.
    pub(crate) effects: Vec<Effect>,
    /// The changes, as others are told, sorted; empty exactly when there is no effect.
    pub(crate) changes: Vec<MetadataChange>,
}

impl Decision {
    /// One change.
    fn change(outcome: Outcome, effect: Effect, change: MetadataChange) -> Self {
        Self { outcome, effects: vec![effect], changes: vec![change] }
    }

    /// Several changes, which come together.
    fn done(effects: Vec<Effect>, mut changes: Vec<MetadataChange>) -> Self {
        changes.sort_unstable();
        Self { outcome: Outcome::Done, effects, changes }
    }

    /// What was asked for is so already.
    fn unchanged(outcome: Outcome) -> Self {
        Self { outcome, effects: Vec::new(), changes: Vec::new() }
    }
}

/// Decides one command.
pub(crate) fn decide(image: &MetadataImage, command: &MetadataCommand) -> Result<Decision, MetadataError> {
    if let MetadataCommand::ClusterBorn { cluster, feature_level, at } = command {
        let born =
            ClusterRecord { id: *cluster, feature_level: *feature_level, born_at: *at, recoveries: Vec::new() };
        return cluster::born(image, born);
    }
    let cluster = image.cluster().ok_or(MetadataError::NotBorn)?;
    cluster::require(cluster, command.feature_level())?;
    match command {
        MetadataCommand::ClusterBorn { .. } => unreachable!("decided above"),
        MetadataCommand::ClusterRecovered { recovery, cluster: id } => {
            cluster::recovered(cluster, *recovery, *id)
        }
        MetadataCommand::RaiseFeatureLevel { level } => cluster::raise(image, cluster, *level),
        MetadataCommand::RegisterNode { cluster: claimed, node } => {
            nodes::register(image, cluster, *claimed, node)
        }
        MetadataCommand::SetNodeMode { node, mode, at } => nodes::set_mode(image, *node, *mode, *at),
        MetadataCommand::RemoveNode { node, incarnation, counted_on, at } => {
            nodes::remove(image, *node, *incarnation, counted_on, *at)
        }
        MetadataCommand::CreateTopic { topic, name, placement, overrides, internal, at } => topics::create(
            image,
            topics::NewTopic { id: *topic, name, placement, overrides, internal: *internal, at: *at },
        ),
        MetadataCommand::AlterTopicConfigs { topic, changes } => topics::alter_configs(image, *topic, changes),
        MetadataCommand::AddPartitions { topic, partitions_before, placement } => {
            partitions::add(image, *topic, *partitions_before, placement)
        }
        MetadataCommand::ReassignPartitions { moves, replication_factors, at } => {
            reassignments::reassign(image, moves, replication_factors, *at)
        }
        MetadataCommand::CancelReassignments { partitions } => reassignments::cancel(image, partitions),
        MetadataCommand::ReassignmentDone { partition, replicas, since } => {
            reassignments::done(image, *partition, replicas, *since)
        }
        MetadataCommand::PartitionsReady { topic, partitions } => partitions::ready(image, *topic, partitions),
        MetadataCommand::DeleteTopic { topic, at } => tombstones::delete(image, *topic, *at),
        MetadataCommand::ForgetTopic { topic, node, at } => tombstones::forget(image, *topic, *node, *at),
        MetadataCommand::AllocateProducerIds { count } => allocate_producer_ids(image, *count),
    }
}

/// The next block of producer ids.
fn allocate_producer_ids(image: &MetadataImage, count: i64) -> Result<Decision, MetadataError> {
    if !(1..=PRODUCER_ID_BLOCK).contains(&count) {
        return Err(MetadataError::ProducerIdCount { requested: count, max: PRODUCER_ID_BLOCK });
    }
    let first = image.next_producer_id();
    let next = first.0.checked_add(count).ok_or(MetadataError::ProducerIdsExhausted)?;
    Ok(Decision::change(
        Outcome::ProducerIds { first, count },
        Effect::NextProducerId(ProducerId(next)),
        MetadataChange::ProducerIdsAllocated,
    ))
}
