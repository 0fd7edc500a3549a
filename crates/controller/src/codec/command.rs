//! Commands as the metadata group's log holds them.

mod membership;
mod reassignments;
mod topics;

use bytes::Bytes;
use highwater_types::NodeId;
use prost::Message;

use super::wire::{self, CommandKind};
use super::{FORMAT_VERSION_NEWEST, Reader, read_ids, write_ids};
use crate::command::MetadataCommand;
use crate::error::MetadataError;

const READER: Reader = Reader { what: "command" };

/// The replicated form of a command.
pub fn encode_command(command: &MetadataCommand) -> Bytes {
    let version = command.feature_level().0;
    wire::Command { version, kind: Some(write_kind(command)) }.encode_to_vec().into()
}

/// The inverse of [`encode_command`].
///
/// # Errors
/// The bytes are not a command, or one of a newer build.
pub fn decode_command(bytes: &[u8]) -> Result<MetadataCommand, MetadataError> {
    let encoded: wire::Command = READER.message(bytes)?;
    READER.version(encoded.version, FORMAT_VERSION_NEWEST)?;
    let command = read_kind(READER.present(encoded.kind, "kind that this build knows")?)?;
    let required = command.feature_level();
    if required.0 != encoded.version {
        let version = encoded.version;
        return Err(READER.malformed(format!("it is of level {required} and states version {version}")));
    }
    Ok(command)
}

fn write_kind(command: &MetadataCommand) -> CommandKind {
    match command {
        MetadataCommand::ClusterBorn { cluster, feature_level, at } => {
            membership::write_born(*cluster, *feature_level, *at)
        }
        MetadataCommand::ClusterRecovered { recovery, cluster } => {
            membership::write_recovered(recovery, *cluster)
        }
        MetadataCommand::RaiseFeatureLevel { level } => CommandKind::RaiseFeatureLevel(level.0),
        MetadataCommand::RegisterNode { cluster, node } => membership::write_register(*cluster, node),
        MetadataCommand::SetNodeMode { node, mode, at } => membership::write_set_mode(*node, *mode, *at),
        MetadataCommand::RemoveNode { node, incarnation, counted_on, at } => {
            membership::write_remove((*node, *incarnation), counted_on, *at)
        }
        MetadataCommand::CreateTopic { topic, name, placement, overrides, internal, at } => {
            topics::write_create(*topic, name, placement, overrides, *internal, *at)
        }
        MetadataCommand::AlterTopicConfigs { topic, changes } => topics::write_alter(*topic, changes),
        MetadataCommand::AddPartitions { topic, partitions_before, placement } => {
            topics::write_add_partitions(*topic, *partitions_before, placement)
        }
        MetadataCommand::PartitionsReady { topic, partitions } => topics::write_ready(*topic, partitions),
        MetadataCommand::ReassignPartitions { moves, replication_factors, at } => {
            reassignments::write_reassign(moves, replication_factors, *at)
        }
        MetadataCommand::CancelReassignments { partitions } => reassignments::write_cancel(partitions),
        MetadataCommand::ReassignmentDone { partition, replicas, since } => {
            reassignments::write_done(*partition, replicas, *since)
        }
        MetadataCommand::DeleteTopic { topic, at } => topics::write_delete(*topic, *at),
        MetadataCommand::ForgetTopic { topic, node, at } => topics::write_forget(*topic, *node, *at),
        MetadataCommand::AllocateProducerIds { count } => {
            CommandKind::AllocateProducerIds(wire::AllocateProducerIds { count: *count })
        }
    }
}

fn read_kind(kind: CommandKind) -> Result<MetadataCommand, MetadataError> {
    match kind {
        CommandKind::ClusterBorn(born) => membership::read_born(&born),
        CommandKind::ClusterRecovered(recovered) => membership::read_recovered(recovered),
        CommandKind::RaiseFeatureLevel(level) => Ok(membership::read_raise(level)),
        CommandKind::RegisterNode(register) => membership::read_register(register),
        CommandKind::SetNodeMode(set) => membership::read_set_mode(&set),
        CommandKind::RemoveNode(remove) => membership::read_remove(&remove),
        CommandKind::CreateTopic(create) => topics::read_create(create),
        CommandKind::AlterTopicConfigs(alter) => topics::read_alter(alter),
        CommandKind::AddPartitions(add) => topics::read_add_partitions(&add),
        CommandKind::PartitionsReady(ready) => topics::read_ready(ready),
        CommandKind::ReassignPartitions(reassign) => reassignments::read_reassign(reassign),
        CommandKind::CancelReassignments(cancel) => reassignments::read_cancel(cancel),
        CommandKind::ReassignmentDone(done) => reassignments::read_done(done),
        CommandKind::DeleteTopic(delete) => topics::read_delete(&delete),
        CommandKind::ForgetTopic(forget) => topics::read_forget(&forget),
        CommandKind::AllocateProducerIds(allocate) => {
            Ok(MetadataCommand::AllocateProducerIds { count: allocate.count })
        }
    }
}

/// The replicas of partitions, in order of the partitions.
fn write_placement(placement: &[Vec<NodeId>]) -> Vec<wire::Nodes> {
    placement.iter().map(|replicas| wire::Nodes { ids: write_ids(replicas) }).collect()
}

fn read_placement(placement: &[wire::Nodes]) -> Vec<Vec<NodeId>> {
    placement.iter().map(|replicas| read_ids(&replicas.ids)).collect()
}
