//! Decisions about the cluster as a whole: its identity and its level of features.

use highwater_types::ClusterId;

use super::{Decision, Effect};
use crate::cluster::{ClusterRecord, FeatureLevel, RECOVERIES_MAX, Recovery};
use crate::delta::MetadataChange;
use crate::error::MetadataError;
use crate::image::MetadataImage;
use crate::response::Outcome;

/// Gives the cluster its identity, once.
pub(super) fn born(image: &MetadataImage, born: ClusterRecord) -> Result<Decision, MetadataError> {
    if !born.feature_level.is_supported() {
        return Err(MetadataError::UnknownFeatureLevel { level: born.feature_level });
    }
    match image.cluster() {
        None => Ok(Decision::change(Outcome::Done, Effect::Cluster(born), MetadataChange::ClusterBorn)),
        Some(cluster) if cluster.id == born.id => Ok(Decision::unchanged(Outcome::Done)),
        Some(cluster) => Err(MetadataError::OtherCluster { claimed: born.id, actual: cluster.id }),
    }
}

/// Goes on under another id. A recovery that was cut short and made again is one.
pub(super) fn recovered(
    cluster: &ClusterRecord,
    recovery: Recovery,
    id: ClusterId,
) -> Result<Decision, MetadataError> {
    if cluster.id == id {
        return Ok(Decision::unchanged(Outcome::Done));
    }
    if cluster.id != recovery.was {
        return Err(MetadataError::OtherCluster { claimed: recovery.was, actual: cluster.id });
    }
    let mut recoveries = cluster.recoveries.clone();
    if recoveries.len() >= RECOVERIES_MAX {
        recoveries.remove(0);
    }
    recoveries.push(recovery);
    let after = ClusterRecord { id, recoveries, ..cluster.clone() };
    Ok(Decision::change(Outcome::Done, Effect::Cluster(after), MetadataChange::ClusterRecovered))
}

/// Refuses what the cluster's level does not have, so that no node of an older build, which the
/// cluster may still have, meets a command that it does not know.
pub(super) fn require(cluster: &ClusterRecord, required: FeatureLevel) -> Result<(), MetadataError> {
    if required > cluster.feature_level {
        return Err(MetadataError::FeatureLevelTooLow { required, current: cluster.feature_level });
    }
    Ok(())
}

/// Raises the level, when every registered node knows the new one. It does not ask what this
/// build knows: nodes of different builds must decide alike.
pub(super) fn raise(
    image: &MetadataImage,
    cluster: &ClusterRecord,
    level: FeatureLevel,
) -> Result<Decision, MetadataError> {
    let current = cluster.feature_level;
    if level == current {
        return Ok(Decision::unchanged(Outcome::Done));
    }
    if level < current {
        return Err(MetadataError::FeatureLevelLowered { requested: level, current });
    }
    let too_old = image.nodes().filter(|node| node.feature_level_newest < level);
    let nodes: Vec<_> = too_old.map(|node| (node.id, node.feature_level_newest)).collect();
    if !nodes.is_empty() {
        return Err(MetadataError::NodesTooOld { level, nodes });
    }
    let raised = ClusterRecord { feature_level: level, ..cluster.clone() };
    Ok(Decision::change(Outcome::Done, Effect::Cluster(raised), MetadataChange::FeatureLevelRaised))
}
