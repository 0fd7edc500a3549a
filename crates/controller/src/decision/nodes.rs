//! Decisions about the cluster's identity and its nodes.

use highwater_types::ClusterId;
use highwater_types::limits::NODES_PER_CLUSTER_MAX;

use super::{Decision, Effect};
use crate::cluster::ClusterRecord;
use crate::delta::MetadataChange;
use crate::error::MetadataError;
use crate::image::MetadataImage;
use crate::node::NodeRecord;
use crate::response::Outcome;

/// Gives the cluster its identity, once.
pub(super) fn cluster_born(image: &MetadataImage, born: ClusterRecord) -> Result<Decision, MetadataError> {
    if !born.feature_level.is_supported() {
        return Err(MetadataError::UnknownFeatureLevel { level: born.feature_level });
    }
    match image.cluster() {
        None => Ok(Decision::change(Outcome::Done, Effect::Cluster(born), MetadataChange::ClusterBorn)),
        Some(cluster) if cluster.id == born.id => Ok(Decision::unchanged(Outcome::Done)),
        Some(cluster) => Err(MetadataError::OtherCluster { claimed: born.id, actual: cluster.id }),
    }
}

/// Makes a node known, or replaces what it said before.
pub(super) fn register(
    image: &MetadataImage,
    cluster: &ClusterRecord,
    claimed: ClusterId,
    node: &NodeRecord,
) -> Result<Decision, MetadataError> {
    if claimed != cluster.id {
        return Err(MetadataError::OtherCluster { claimed, actual: cluster.id });
    }
    if node.id.0 == 0 {
        return Err(MetadataError::NodeIdZero);
    }
    if node.feature_level_newest < cluster.feature_level {
        return Err(MetadataError::NodeTooOld {
            node: node.id,
            newest: node.feature_level_newest,
            required: cluster.feature_level,
        });
    }
    match image.node(node.id) {
        Some(known) if known.says_the_same(node) => {
            return Ok(Decision::unchanged(Outcome::Done));
        }
        None if image.nodes().len() >= NODES_PER_CLUSTER_MAX => {
            return Err(MetadataError::TooManyNodes { node: node.id, max: NODES_PER_CLUSTER_MAX });
        }
        Some(_) | None => {}
    }
    Ok(Decision::change(Outcome::Done, Effect::Node(node.clone()), MetadataChange::NodeChanged(node.id)))
}
