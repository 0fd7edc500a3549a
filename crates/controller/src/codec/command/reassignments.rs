//! Commands about partitions that move.

use std::collections::BTreeMap;

use highwater_types::{NodeId, PartitionId, TimestampMs, TopicId};

use super::READER;
use crate::cluster::MetadataVersion;
use crate::codec::wire::{self, CommandKind};
use crate::codec::{read_ids, write_ids, write_partition_ref};
use crate::command::MetadataCommand;
use crate::error::MetadataError;
use crate::partition_move::PartitionMove;

pub(super) fn write_reassign(
    moves: &[PartitionMove],
    replication_factors: &BTreeMap<TopicId, u32>,
    at: TimestampMs,
) -> CommandKind {
    let factor = |(topic, replicas): (&TopicId, &u32)| wire::ReplicationFactor {
        topic: topic.0.as_bytes().to_vec(),
        replicas: *replicas,
    };
    CommandKind::ReassignPartitions(wire::ReassignPartitions {
        moves: moves.iter().map(write_move).collect(),
        replication_factors: replication_factors.iter().map(factor).collect(),
        at_ms: at.0,
    })
}

pub(super) fn read_reassign(reassign: wire::ReassignPartitions) -> Result<MetadataCommand, MetadataError> {
    let mut replication_factors = BTreeMap::new();
    for factor in reassign.replication_factors {
        if replication_factors.insert(READER.topic(&factor.topic)?, factor.replicas).is_some() {
            return Err(READER.malformed("it changes a topic's replication factor twice"));
        }
    }
    Ok(MetadataCommand::ReassignPartitions {
        moves: reassign.moves.into_iter().map(read_move).collect::<Result<_, _>>()?,
        replication_factors,
        at: TimestampMs(reassign.at_ms),
    })
}

fn write_move(wanted: &PartitionMove) -> wire::PartitionMove {
    wire::PartitionMove {
        partition: Some(write_partition_ref(wanted.partition)),
        replicas: write_ids(&wanted.replicas),
        replicas_before: write_ids(&wanted.replicas_before),
    }
}

fn read_move(wanted: wire::PartitionMove) -> Result<PartitionMove, MetadataError> {
    Ok(PartitionMove {
        partition: READER.partition(wanted.partition)?,
        replicas: read_ids(&wanted.replicas),
        replicas_before: read_ids(&wanted.replicas_before),
    })
}

pub(super) fn write_cancel(partitions: &[PartitionId]) -> CommandKind {
    let partitions = partitions.iter().copied().map(write_partition_ref).collect();
    CommandKind::CancelReassignments(wire::CancelReassignments { partitions })
}

pub(super) fn read_cancel(cancel: wire::CancelReassignments) -> Result<MetadataCommand, MetadataError> {
    let partitions = cancel.partitions.into_iter().map(|partition| READER.partition(Some(partition)));
    Ok(MetadataCommand::CancelReassignments { partitions: partitions.collect::<Result<_, _>>()? })
}

pub(super) fn write_done(partition: PartitionId, replicas: &[NodeId], since: MetadataVersion) -> CommandKind {
    CommandKind::ReassignmentDone(wire::ReassignmentDone {
        partition: Some(write_partition_ref(partition)),
        replicas: write_ids(replicas),
        since: since.0,
    })
}

pub(super) fn read_done(done: wire::ReassignmentDone) -> Result<MetadataCommand, MetadataError> {
    Ok(MetadataCommand::ReassignmentDone {
        partition: READER.partition(done.partition)?,
        replicas: read_ids(&done.replicas),
        since: MetadataVersion(done.since),
    })
}
