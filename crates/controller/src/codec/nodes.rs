//! The cluster, its nodes and what is wanted of them, in commands and snapshots alike.

use highwater_types::{Incarnation, NodeId, TimestampMs};

use super::{Reader, wire};
use crate::cluster::{ClusterRecord, FeatureLevel, Recovery};
use crate::error::MetadataError;
use crate::node::{NodeMode, NodeRecord, NodeRegistration};

pub(super) fn write_cluster(cluster: &ClusterRecord) -> wire::Cluster {
    wire::Cluster {
        id: cluster.id.0.as_bytes().to_vec(),
        feature_level: cluster.feature_level.0,
        born_at_ms: cluster.born_at.0,
        recoveries: cluster.recoveries.iter().map(write_recovery).collect(),
    }
}

pub(super) fn write_recovery(recovery: &Recovery) -> wire::Recovery {
    wire::Recovery { was: recovery.was.0.as_bytes().to_vec(), node: recovery.node.0, at_ms: recovery.at.0 }
}

pub(super) fn read_recovery(reader: Reader, recovery: &wire::Recovery) -> Result<Recovery, MetadataError> {
    Ok(Recovery {
        was: reader.cluster(&recovery.was)?,
        node: NodeId(recovery.node),
        at: TimestampMs(recovery.at_ms),
    })
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
        recoveries: cluster
            .recoveries
            .iter()
            .map(|recovery| read_recovery(reader, recovery))
            .collect::<Result<_, _>>()?,
    })
}

pub(super) fn write_registration(node: &NodeRegistration) -> wire::Node {
    wire::Node {
        id: node.id.0,
        incarnation: node.incarnation.0,
        addresses: node.addresses.clone(),
        rack: node.rack.clone(),
        feature_level_newest: node.feature_level_newest.0,
        registered_at_ms: node.registered_at.0,
        wanted: None,
    }
}

pub(super) fn read_registration(node: wire::Node) -> NodeRegistration {
    NodeRegistration {
        id: NodeId(node.id),
        incarnation: Incarnation(node.incarnation),
        addresses: node.addresses,
        rack: node.rack,
        feature_level_newest: FeatureLevel(node.feature_level_newest),
        registered_at: TimestampMs(node.registered_at_ms),
    }
}

/// A mode that nobody has changed is left out: before feature level 2 there was no other.
pub(super) fn write_node(node: &NodeRecord) -> wire::Node {
    let mode = write_mode(node.mode);
    let wanted = node.mode_since.map(|since| wire::WantedMode { mode, since_ms: since.0 });
    wire::Node { wanted, ..write_registration(&node.registration()) }
}

pub(super) fn read_node(reader: Reader, node: wire::Node) -> Result<NodeRecord, MetadataError> {
    let wanted = node.wanted.clone();
    let registered = NodeRecord::new(&read_registration(node));
    Ok(match wanted {
        None => registered,
        Some(wanted) => NodeRecord {
            mode: read_mode(reader, wanted.mode)?,
            mode_since: Some(TimestampMs(wanted.since_ms)),
            ..registered
        },
    })
}

pub(super) fn write_mode(mode: NodeMode) -> i32 {
    let mode = match mode {
        NodeMode::Serving => wire::Mode::Serving,
        NodeMode::Maintenance => wire::Mode::Maintenance,
        NodeMode::Draining => wire::Mode::Draining,
    };
    mode.into()
}

pub(super) fn read_mode(reader: Reader, mode: i32) -> Result<NodeMode, MetadataError> {
    match wire::Mode::try_from(mode) {
        Ok(wire::Mode::Serving) => Ok(NodeMode::Serving),
        Ok(wire::Mode::Maintenance) => Ok(NodeMode::Maintenance),
        Ok(wire::Mode::Draining) => Ok(NodeMode::Draining),
        Ok(wire::Mode::Unspecified) | Err(_) => {
            Err(reader.malformed(format!("a node has the unknown mode {mode}")))
        }
    }
}

pub(super) fn write_member((node, incarnation): (NodeId, Incarnation)) -> wire::Member {
    wire::Member { node: node.0, incarnation: incarnation.0 }
}

pub(super) fn read_member(member: &wire::Member) -> (NodeId, Incarnation) {
    (NodeId(member.node), Incarnation(member.incarnation))
}
