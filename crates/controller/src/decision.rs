//! Decides what a command comes to, without changing anything: the proposer's check and
//! every node's apply are this same code.

mod nodes;
mod partitions;
mod topics;

use std::sync::Arc;

use highwater_types::limits::PRODUCER_ID_BLOCK;
use highwater_types::{ProducerId, TopicId};

use crate::cluster::ClusterRecord;
use crate::command::MetadataCommand;
use crate::delta::MetadataChange;
use crate::error::MetadataError;
use crate::image::MetadataImage;
use crate::node::NodeRecord;
use crate::response::Outcome;
use crate::tombstone::Tombstone;
use crate::topic::TopicRecord;

/// How an image changes. Applying one never fails: it was decided against that image.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// The cluster has this identity.
    Cluster(ClusterRecord),
    /// A node is new or changed.
    Node(NodeRecord),
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
    /// What changes; nothing when the command was applied before.
    pub(crate) effect: Option<Effect>,
    /// The changes, as others are told; empty exactly when there is no effect.
    pub(crate) changes: Vec<MetadataChange>,
}

impl Decision {
    /// A change.
    fn change(outcome: Outcome, effect: Effect, change: MetadataChange) -> Self {
        Self { outcome, effect: Some(effect), changes: vec![change] }
    }

    /// What was asked for is so already.
    fn unchanged(outcome: Outcome) -> Self {
        Self { outcome, effect: None, changes: Vec::new() }
    }
}

/// Decides one command.
pub(crate) fn decide(image: &MetadataImage, command: &MetadataCommand) -> Result<Decision, MetadataError> {
    if let MetadataCommand::ClusterBorn { cluster, feature_level, at } = command {
        let born = ClusterRecord { id: *cluster, feature_level: *feature_level, born_at: *at };
        return nodes::cluster_born(image, born);
    }
    let cluster = image.cluster().ok_or(MetadataError::NotBorn)?;
    match command {
        MetadataCommand::ClusterBorn { .. } => unreachable!("decided above"),
        MetadataCommand::RegisterNode { cluster: claimed, node } => {
            nodes::register(image, cluster, *claimed, node)
        }
        MetadataCommand::CreateTopic { topic, name, placement, overrides, internal, at } => topics::create(
            image,
            topics::NewTopic { id: *topic, name, placement, overrides, internal: *internal, at: *at },
        ),
        MetadataCommand::AlterTopicConfigs { topic, changes } => topics::alter_configs(image, *topic, changes),
        MetadataCommand::AddPartitions { topic, partitions_before, placement } => {
            partitions::add(image, *topic, *partitions_before, placement)
        }
        MetadataCommand::PartitionsReady { topic, partitions } => partitions::ready(image, *topic, partitions),
        MetadataCommand::DeleteTopic { topic, at } => topics::delete(image, *topic, *at),
        MetadataCommand::ForgetTopic { topic, node, at } => topics::forget(image, *topic, *node, *at),
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
