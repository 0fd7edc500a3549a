//! Partitions in snapshots, and what holds for each of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_types::{Incarnation, NodeId, TimestampMs};

use super::READER;
use crate::cluster::{FeatureLevel, MetadataVersion};
use crate::codec::nodes::{read_member, write_member};
use crate::codec::{read_ids, wire, write_ids};
use crate::error::MetadataError;
use crate::image::MetadataImage;
use crate::partition::{PartitionPhase, PartitionRecord, Reassignment};

/// Below feature level 2 a node has one incarnation only, so the first members go without saying.
pub(super) fn write_partition(partition: &PartitionRecord, level: FeatureLevel) -> wire::Partition {
    let phase = match partition.phase {
        PartitionPhase::Creating => wire::Phase::Creating,
        PartitionPhase::Ready => wire::Phase::Ready,
    };
    let initial = match &partition.initial {
        Some(initial) if level >= FeatureLevel::SEVERAL_NODES => {
            initial.iter().copied().map(write_member).collect()
        }
        Some(_) | None => Vec::new(),
    };
    let reassignment = partition.reassignment.as_ref().map(|moving| wire::Reassignment {
        before: write_ids(&moving.before),
        leaving: write_ids(&moving.leaving),
        since: moving.since.0,
        started_at_ms: moving.started_at.0,
    });
    wire::Partition { replicas: write_ids(&partition.replicas), phase: phase.into(), initial, reassignment }
}

/// A phase that is not known is never taken for `Creating`: that would license a second
/// history of the partition. The nodes must be in the image already.
pub(super) fn read_partition(
    image: &MetadataImage,
    level: FeatureLevel,
    partition: &wire::Partition,
) -> Result<PartitionRecord, MetadataError> {
    let replicas: Arc<[NodeId]> = read_ids(&partition.replicas).into();
    if replicas.is_empty() {
        return Err(READER.malformed("a partition has no replicas"));
    }
    let stated: Arc<[(NodeId, Incarnation)]> = partition.initial.iter().map(read_member).collect();
    let (phase, initial) = match wire::Phase::try_from(partition.phase) {
        Ok(wire::Phase::Creating) if level < FeatureLevel::SEVERAL_NODES => {
            (PartitionPhase::Creating, Some(image.members(&replicas)?))
        }
        Ok(wire::Phase::Creating) => (PartitionPhase::Creating, Some(Arc::clone(&stated))),
        Ok(wire::Phase::Ready) => (PartitionPhase::Ready, None),
        Ok(wire::Phase::Unspecified) | Err(_) => {
            let phase = partition.phase;
            return Err(READER.malformed(format!("a partition has the unknown phase {phase}")));
        }
    };
    let founders = initial.iter().flat_map(|initial| initial.iter()).map(|(node, _)| node);
    if phase == PartitionPhase::Creating && !founders.eq(replicas.iter()) {
        return Err(READER.malformed("the first members of a new partition are not its replicas"));
    }
    if !stated.is_empty() && initial.as_ref() != Some(&stated) {
        return Err(READER.malformed("a partition states first members that it cannot have"));
    }
    let reassignment = match &partition.reassignment {
        Some(_) if phase == PartitionPhase::Creating => {
            return Err(READER.malformed("a partition moves that is still being created"));
        }
        Some(moving) => Some(Arc::new(read_reassignment(moving, &replicas)?)),
        None => None,
    };
    let record = PartitionRecord { replicas, phase, initial, reassignment };
    let mut holders = BTreeSet::new();
    for node in record.holders() {
        if !holders.insert(node) {
            return Err(READER.malformed(format!("a partition names node {node} twice")));
        }
        if image.node(node).is_none() {
            return Err(READER.malformed(format!("a partition names node {node}, which is not there")));
        }
    }
    Ok(record)
}

fn read_reassignment(moving: &wire::Reassignment, replicas: &[NodeId]) -> Result<Reassignment, MetadataError> {
    let (before, leaving) = (read_ids(&moving.before), read_ids(&moving.leaving));
    if before.is_empty() || before.iter().any(|node| !replicas.contains(node) && !leaving.contains(node)) {
        return Err(READER.malformed("a moving partition has lost the replicas that it had before"));
    }
    if before.iter().collect::<BTreeSet<_>>().len() != before.len() {
        return Err(READER.malformed("a moving partition had a replica twice"));
    }
    if !leaving.is_sorted() {
        return Err(READER.malformed("the nodes that leave a partition are not in order"));
    }
    Ok(Reassignment {
        before: before.into(),
        leaving: leaving.into(),
        since: MetadataVersion(moving.since),
        started_at: TimestampMs(moving.started_at_ms),
    })
}
