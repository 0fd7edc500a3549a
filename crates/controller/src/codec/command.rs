//! Commands as the metadata group's log holds them.

use bytes::Bytes;
use highwater_types::{Incarnation, NodeId, PartitionIndex, TimestampMs};
use prost::Message;

use super::wire::{self, CommandKind};
use super::{FORMAT_VERSION, Reader, read_nodes, write_nodes};
use crate::cluster::{ClusterRecord, FeatureLevel};
use crate::command::{ConfigChange, MetadataCommand};
use crate::error::MetadataError;
use crate::node::NodeRecord;

const READER: Reader = Reader { what: "command" };

/// The replicated form of a command.
pub fn encode_command(command: &MetadataCommand) -> Bytes {
    let kind = Some(write_kind(command));
    wire::Command { version: FORMAT_VERSION, kind }.encode_to_vec().into()
}

/// The inverse of [`encode_command`].
///
/// # Errors
/// The bytes are not a command, or one of a newer build.
pub fn decode_command(bytes: &[u8]) -> Result<MetadataCommand, MetadataError> {
    let command: wire::Command = READER.message(bytes)?;
    READER.version(command.version)?;
    read_kind(READER.present(command.kind, "kind that this build knows")?)
}

fn write_kind(command: &MetadataCommand) -> CommandKind {
    match command.clone() {
        MetadataCommand::ClusterBorn { cluster, feature_level, at } => {
            let born = ClusterRecord { id: cluster, feature_level, born_at: at };
            CommandKind::ClusterBorn(write_cluster(&born))
        }
        MetadataCommand::RegisterNode { cluster, node } => CommandKind::RegisterNode(wire::RegisterNode {
            cluster: cluster.0.as_bytes().to_vec(),
            node: Some(write_node(&node)),
        }),
        MetadataCommand::CreateTopic { topic, name, placement, overrides, internal, at } => {
            CommandKind::CreateTopic(wire::CreateTopic {
                topic: topic.0.as_bytes().to_vec(),
                name,
                placement: placement.iter().map(|replicas| write_nodes(replicas)).collect(),
                overrides,
                internal,
                at_ms: at.0,
            })
        }
        MetadataCommand::AlterTopicConfigs { topic, changes } => {
            CommandKind::AlterTopicConfigs(wire::AlterTopicConfigs {
                topic: topic.0.as_bytes().to_vec(),
                changes: changes.into_iter().map(write_change).collect(),
            })
        }
        MetadataCommand::AddPartitions { topic, partitions_before, placement } => {
            CommandKind::AddPartitions(wire::AddPartitions {
                topic: topic.0.as_bytes().to_vec(),
                partitions_before,
                placement: placement.iter().map(|replicas| write_nodes(replicas)).collect(),
            })
        }
        MetadataCommand::PartitionsReady { topic, partitions } => {
            CommandKind::PartitionsReady(wire::PartitionsReady {
                topic: topic.0.as_bytes().to_vec(),
                partitions: partitions.iter().map(|index| index.0).collect(),
            })
        }
        MetadataCommand::DeleteTopic { topic, at } => {
            CommandKind::DeleteTopic(wire::DeleteTopic { topic: topic.0.as_bytes().to_vec(), at_ms: at.0 })
        }
        MetadataCommand::ForgetTopic { topic, node, at } => CommandKind::ForgetTopic(wire::ForgetTopic {
            topic: topic.0.as_bytes().to_vec(),
            node: node.0,
            at_ms: at.0,
        }),
        MetadataCommand::AllocateProducerIds { count } => {
            CommandKind::AllocateProducerIds(wire::AllocateProducerIds { count })
        }
    }
}

fn read_kind(kind: CommandKind) -> Result<MetadataCommand, MetadataError> {
    Ok(match kind {
        CommandKind::ClusterBorn(born) => {
            let born = read_cluster(READER, &born)?;
            MetadataCommand::ClusterBorn {
                cluster: born.id,
                feature_level: born.feature_level,
                at: born.born_at,
            }
        }
        CommandKind::RegisterNode(register) => MetadataCommand::RegisterNode {
            cluster: READER.cluster(&register.cluster)?,
            node: read_node(READER.present(register.node, "node")?),
        },
        CommandKind::CreateTopic(create) => MetadataCommand::CreateTopic {
            topic: READER.topic(&create.topic)?,
            name: create.name,
            placement: create.placement.iter().map(read_nodes).collect(),
            overrides: create.overrides,
            internal: create.internal,
            at: TimestampMs(create.at_ms),
        },
        CommandKind::AlterTopicConfigs(alter) => MetadataCommand::AlterTopicConfigs {
            topic: READER.topic(&alter.topic)?,
            changes: alter.changes.into_iter().map(read_change).collect(),
        },
        CommandKind::AddPartitions(add) => MetadataCommand::AddPartitions {
            topic: READER.topic(&add.topic)?,
            partitions_before: add.partitions_before,
            placement: add.placement.iter().map(read_nodes).collect(),
        },
        CommandKind::PartitionsReady(ready) => MetadataCommand::PartitionsReady {
            topic: READER.topic(&ready.topic)?,
            partitions: ready.partitions.into_iter().map(PartitionIndex).collect(),
        },
        CommandKind::DeleteTopic(delete) => {
            MetadataCommand::DeleteTopic { topic: READER.topic(&delete.topic)?, at: TimestampMs(delete.at_ms) }
        }
        CommandKind::ForgetTopic(forget) => MetadataCommand::ForgetTopic {
            topic: READER.topic(&forget.topic)?,
            node: NodeId(forget.node),
            at: TimestampMs(forget.at_ms),
        },
        CommandKind::AllocateProducerIds(allocate) => {
            MetadataCommand::AllocateProducerIds { count: allocate.count }
        }
    })
}

pub(super) fn write_cluster(cluster: &ClusterRecord) -> wire::Cluster {
    wire::Cluster {
        id: cluster.id.0.as_bytes().to_vec(),
        feature_level: cluster.feature_level.0,
        born_at_ms: cluster.born_at.0,
    }
}

/// A build that does not know the cluster's feature level must not go on: it would
/// understand some commands differently from the others.
pub(super) fn read_cluster(reader: Reader, cluster: &wire::Cluster) -> Result<ClusterRecord, MetadataError> {
    let level = FeatureLevel(cluster.feature_level);
    if !level.is_supported() {
        return Err(MetadataError::UnknownFeatureLevel { level });
    }
    Ok(ClusterRecord {
        id: reader.cluster(&cluster.id)?,
        feature_level: level,
        born_at: TimestampMs(cluster.born_at_ms),
    })
}

pub(super) fn write_node(node: &NodeRecord) -> wire::Node {
    wire::Node {
        id: node.id.0,
        incarnation: node.incarnation.0,
        addresses: node.addresses.clone(),
        rack: node.rack.clone(),
        feature_level_newest: node.feature_level_newest.0,
        registered_at_ms: node.registered_at.0,
    }
}

pub(super) fn read_node(node: wire::Node) -> NodeRecord {
    NodeRecord {
        id: NodeId(node.id),
        incarnation: Incarnation(node.incarnation),
        addresses: node.addresses,
        rack: node.rack,
        feature_level_newest: FeatureLevel(node.feature_level_newest),
        registered_at: TimestampMs(node.registered_at_ms),
    }
}

fn write_change(change: ConfigChange) -> wire::ConfigChange {
    match change {
        ConfigChange::Set { name, value } => wire::ConfigChange { name, value: Some(value) },
        ConfigChange::Delete { name } => wire::ConfigChange { name, value: None },
    }
}

fn read_change(change: wire::ConfigChange) -> ConfigChange {
    match change.value {
        Some(value) => ConfigChange::Set { name: change.name, value },
        None => ConfigChange::Delete { name: change.name },
    }
}
