//! Decisions about partitions: how many, where, and whether they were initialized.

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_types::limits::{PARTITIONS_PER_CLUSTER_MAX, PARTITIONS_PER_TOPIC_MAX};
use highwater_types::{NodeId, PartitionId, PartitionIndex, TopicId};

use super::{Decision, Effect};
use crate::delta::MetadataChange;
use crate::error::MetadataError;
use crate::image::MetadataImage;
use crate::node::NodeMode;
use crate::partition::{PartitionPhase, PartitionRecord};
use crate::response::Outcome;
use crate::topic::TopicRecord;

/// Adds partitions at the end of a topic.
pub(super) fn add(
    image: &MetadataImage,
    topic: TopicId,
    partitions_before: u32,
    placement: &[Vec<NodeId>],
) -> Result<Decision, MetadataError> {
    let current = image.topic(topic).ok_or(MetadataError::UnknownTopic { topic })?;
    if current.partition_count() != partitions_before {
        if was_added_before(current, partitions_before, placement) {
            let partitions = current.partition_count();
            return Ok(Decision::unchanged(Outcome::PartitionsAdded { partitions }));
        }
        return Err(MetadataError::PartitionCountChanged {
            topic,
            expected: partitions_before,
            actual: current.partition_count(),
        });
    }
    let replicas = current.partitions.first().map_or(0, |partition| partition.replicas.len());
    let added = creating(image, partitions_before, replicas, placement)?;
    let mut changed = TopicRecord::clone(current);
    changed.partitions.extend(added);
    Ok(Decision::change(
        Outcome::PartitionsAdded { partitions: changed.partition_count() },
        Effect::Topic(Arc::new(changed)),
        MetadataChange::PartitionsAdded { topic, first: PartitionIndex(partitions_before) },
    ))
}

/// Whether the topic ends with exactly these partitions, because the command came twice.
fn was_added_before(topic: &TopicRecord, before: u32, placement: &[Vec<NodeId>]) -> bool {
    let after = usize::try_from(before).ok().and_then(|before| topic.partitions.get(before..));
    after.is_some_and(|after| {
        !placement.is_empty()
            && after.len() == placement.len()
            && after
                .iter()
                .zip(placement)
                .all(|(partition, replicas)| partition.replicas.as_ref() == replicas.as_slice())
    })
}

/// Checks the placement of new partitions, the first of which has index `first`, and
/// makes their records.
pub(super) fn creating(
    image: &MetadataImage,
    first: u32,
    replication_factor: usize,
    placement: &[Vec<NodeId>],
) -> Result<Vec<PartitionRecord>, MetadataError> {
    let added = placement.len() as u64;
    let requested = u64::from(first) + added;
    if added == 0 || requested > u64::from(PARTITIONS_PER_TOPIC_MAX) {
        return Err(MetadataError::PartitionCount { requested });
    }
    if u64::from(image.partition_count()) + added > u64::from(PARTITIONS_PER_CLUSTER_MAX) {
        return Err(MetadataError::ClusterFull {
            requested: added,
            current: image.partition_count(),
            max: PARTITIONS_PER_CLUSTER_MAX,
        });
    }
    let nodes = image.nodes().len();
    if replication_factor == 0 || replication_factor > nodes {
        let requested = u32::try_from(replication_factor).unwrap_or(u32::MAX);
        return Err(MetadataError::ReplicationFactor { requested, nodes });
    }
    (first..)
        .zip(placement)
        .map(|(index, replicas)| {
            check_replicas(image, PartitionIndex(index), replication_factor, &[], replicas)?;
            Ok(PartitionRecord {
                replicas: Arc::from(replicas.as_slice()),
                phase: PartitionPhase::Creating,
                initial: Some(image.members(replicas)?),
                reassignment: None,
            })
        })
        .collect()
}

/// Checks the replicas that one partition is to have. It may stay on a node that is being drained
/// when it is there already: a drain moves one replica after the other.
pub(super) fn check_replicas(
    image: &MetadataImage,
    index: PartitionIndex,
    replication_factor: usize,
    before: &[NodeId],
    replicas: &[NodeId],
) -> Result<(), MetadataError> {
    if replicas.len() != replication_factor {
        return Err(MetadataError::UnevenReplicas {
            index,
            expected: replication_factor,
            actual: replicas.len(),
        });
    }
    let mut seen = BTreeSet::new();
    for node in replicas {
        let known = image.node(*node).ok_or(MetadataError::UnknownNode { node: *node })?;
        if known.mode == NodeMode::Draining && !before.contains(node) {
            return Err(MetadataError::NodeDraining { node: *node });
        }
        if !seen.insert(*node) {
            return Err(MetadataError::DuplicateReplica { index, node: *node });
        }
    }
    Ok(())
}

/// Marks partitions as initialized; those that were marked before stay so.
pub(super) fn ready(
    image: &MetadataImage,
    topic: TopicId,
    partitions: &[PartitionIndex],
) -> Result<Decision, MetadataError> {
    let current = image.topic(topic).ok_or(MetadataError::UnknownTopic { topic })?;
    let mut news = BTreeSet::new();
    for index in partitions {
        let partition = current.partition(*index).ok_or(MetadataError::UnknownPartition {
            topic,
            index: *index,
            partitions: current.partition_count(),
        })?;
        if partition.phase == PartitionPhase::Creating {
            news.insert(*index);
        }
    }
    if news.is_empty() {
        return Ok(Decision::unchanged(Outcome::Done));
    }
    let mut changed = TopicRecord::clone(current);
    for (index, partition) in (0..).zip(&mut changed.partitions) {
        if news.contains(&PartitionIndex(index)) {
            partition.phase = PartitionPhase::Ready;
            partition.initial = None;
        }
    }
    let change = |index| MetadataChange::PartitionReady(PartitionId { topic, index });
    Ok(Decision::done(vec![Effect::Topic(Arc::new(changed))], news.into_iter().map(change).collect()))
}
