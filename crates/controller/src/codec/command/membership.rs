//! Commands about the cluster and its nodes.

use highwater_types::{ClusterId, Incarnation, NodeId, TimestampMs};

use super::READER;
use crate::cluster::{ClusterRecord, FeatureLevel, Recovery};
use crate::codec::nodes;
use crate::codec::wire::{self, CommandKind};
use crate::command::MetadataCommand;
use crate::error::MetadataError;
use crate::node::{NodeMode, NodeRegistration};

pub(super) fn write_born(cluster: ClusterId, feature_level: FeatureLevel, at: TimestampMs) -> CommandKind {
    let born = ClusterRecord { id: cluster, feature_level, born_at: at, recoveries: Vec::new() };
    CommandKind::ClusterBorn(nodes::write_cluster(&born))
}

pub(super) fn read_born(born: &wire::Cluster) -> Result<MetadataCommand, MetadataError> {
    let born = nodes::read_cluster(READER, born)?;
    Ok(MetadataCommand::ClusterBorn { cluster: born.id, feature_level: born.feature_level, at: born.born_at })
}

pub(super) fn write_recovered(recovery: &Recovery, cluster: ClusterId) -> CommandKind {
    CommandKind::ClusterRecovered(wire::ClusterRecovered {
        recovery: Some(nodes::write_recovery(recovery)),
        cluster: cluster.0.as_bytes().to_vec(),
    })
}

pub(super) fn read_recovered(recovered: wire::ClusterRecovered) -> Result<MetadataCommand, MetadataError> {
    let recovery = READER.present(recovered.recovery, "recovery")?;
    Ok(MetadataCommand::ClusterRecovered {
        recovery: nodes::read_recovery(READER, &recovery)?,
        cluster: READER.cluster(&recovered.cluster)?,
    })
}

/// Any level can be read: whether the cluster rises to it, the state decides.
pub(super) fn read_raise(level: u32) -> MetadataCommand {
    MetadataCommand::RaiseFeatureLevel { level: FeatureLevel(level) }
}

pub(super) fn write_register(cluster: ClusterId, node: &NodeRegistration) -> CommandKind {
    CommandKind::RegisterNode(wire::RegisterNode {
        cluster: cluster.0.as_bytes().to_vec(),
        node: Some(nodes::write_registration(node)),
    })
}

pub(super) fn read_register(register: wire::RegisterNode) -> Result<MetadataCommand, MetadataError> {
    Ok(MetadataCommand::RegisterNode {
        cluster: READER.cluster(&register.cluster)?,
        node: nodes::read_registration(READER.present(register.node, "node")?),
    })
}

pub(super) fn write_set_mode(node: NodeId, mode: NodeMode, at: TimestampMs) -> CommandKind {
    let mode = nodes::write_mode(mode);
    CommandKind::SetNodeMode(wire::SetNodeMode { node: node.0, mode, at_ms: at.0 })
}

pub(super) fn read_set_mode(set: &wire::SetNodeMode) -> Result<MetadataCommand, MetadataError> {
    Ok(MetadataCommand::SetNodeMode {
        node: NodeId(set.node),
        mode: nodes::read_mode(READER, set.mode)?,
        at: TimestampMs(set.at_ms),
    })
}

pub(super) fn write_remove(
    member: (NodeId, Incarnation),
    counted_on: &[(NodeId, Incarnation)],
    at: TimestampMs,
) -> CommandKind {
    CommandKind::RemoveNode(wire::RemoveNode {
        member: Some(nodes::write_member(member)),
        at_ms: at.0,
        counted_on: counted_on.iter().copied().map(nodes::write_member).collect(),
    })
}

pub(super) fn read_remove(remove: &wire::RemoveNode) -> Result<MetadataCommand, MetadataError> {
    let member = READER.present(remove.member.as_ref(), "node")?;
    let (node, incarnation) = nodes::read_member(member);
    let counted_on = remove.counted_on.iter().map(nodes::read_member).collect();
    Ok(MetadataCommand::RemoveNode { node, incarnation, counted_on, at: TimestampMs(remove.at_ms) })
}
