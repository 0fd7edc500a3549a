//! Decisions about nodes: who joins, comes back with another disk, rests and leaves.

use highwater_types::limits::{NODES_PER_CLUSTER_MAX, REFUSAL_EXAMPLES_MAX};
use highwater_types::{ClusterId, Incarnation, NodeId, TimestampMs};

use super::cluster::require;
use super::{Decision, Effect, tombstones};
use crate::cluster::{ClusterRecord, FeatureLevel};
use crate::delta::MetadataChange;
use crate::error::MetadataError;
use crate::image::MetadataImage;
use crate::node::{NodeMode, NodeRecord, NodeRegistration};
use crate::response::Outcome;
use crate::retired::RetiredIncarnation;

/// Makes a node known, or replaces what it said before.
pub(super) fn register(
    image: &MetadataImage,
    cluster: &ClusterRecord,
    claimed: ClusterId,
    said: &NodeRegistration,
) -> Result<Decision, MetadataError> {
    if claimed != cluster.id {
        return Err(MetadataError::OtherCluster { claimed, actual: cluster.id });
    }
    if said.id.0 == 0 {
        return Err(MetadataError::NodeIdZero);
    }
    if said.feature_level_newest < cluster.feature_level {
        return Err(MetadataError::NodeTooOld {
            node: said.id,
            newest: said.feature_level_newest,
            required: cluster.feature_level,
        });
    }
    let node = said.id;
    if let Some(gone) = image.retired().find(node, said.incarnation) {
        let (incarnation, at) = (gone.incarnation, gone.at);
        let current = image.node(node).map(|known| known.incarnation);
        return Err(MetadataError::IncarnationRetired { node, incarnation, at, current });
    }
    match image.node(node) {
        Some(known) if known.says_the_same(said) => Ok(Decision::unchanged(Outcome::Done)),
        Some(known) if known.incarnation == said.incarnation => {
            let (effect, change) = (Effect::Node(known.updated(said)), MetadataChange::NodeChanged(node));
            Ok(Decision::change(Outcome::Done, effect, change))
        }
        Some(known) => {
            require(cluster, FeatureLevel::SEVERAL_NODES)?;
            let mut effects = vec![Effect::Node(known.updated(said))];
            let mut changes = vec![MetadataChange::NodeReborn(node)];
            retire(image, known, said.registered_at, &mut effects, &mut changes);
            Ok(Decision::done(effects, changes))
        }
        None if image.nodes().len() >= NODES_PER_CLUSTER_MAX => {
            Err(MetadataError::TooManyNodes { node, max: NODES_PER_CLUSTER_MAX })
        }
        None => {
            let (effect, change) = (Effect::Node(NodeRecord::new(said)), MetadataChange::NodeChanged(node));
            Ok(Decision::change(Outcome::Done, effect, change))
        }
    }
}

/// Ends the life of a node's data directory: it never comes back, and what it held of deleted
/// topics is gone with it.
fn retire(
    image: &MetadataImage,
    known: &NodeRecord,
    at: TimestampMs,
    effects: &mut Vec<Effect>,
    changes: &mut Vec<MetadataChange>,
) {
    effects.push(Effect::Retired(RetiredIncarnation { node: known.id, incarnation: known.incarnation, at }));
    for (effect, change) in tombstones::lost(image, known.id) {
        effects.push(effect);
        changes.push(change);
    }
}

/// Says what is wanted of a node.
pub(super) fn set_mode(
    image: &MetadataImage,
    node: NodeId,
    mode: NodeMode,
    at: TimestampMs,
) -> Result<Decision, MetadataError> {
    let known = image.node(node).ok_or(MetadataError::UnknownNode { node })?;
    if known.mode == mode {
        return Ok(Decision::unchanged(Outcome::Done));
    }
    let changed = NodeRecord { mode, mode_since: Some(at), ..known.clone() };
    Ok(Decision::change(Outcome::Done, Effect::Node(changed), MetadataChange::NodeModeChanged(node)))
}

/// Takes a node out that no partition needs.
pub(super) fn remove(
    image: &MetadataImage,
    node: NodeId,
    incarnation: Incarnation,
    counted_on: &[(NodeId, Incarnation)],
    at: TimestampMs,
) -> Result<Decision, MetadataError> {
    if image.retired().find(node, incarnation).is_some() {
        return Ok(Decision::unchanged(Outcome::Done));
    }
    let known = image.node(node).ok_or(MetadataError::UnknownNode { node })?;
    if known.incarnation != incarnation {
        return Err(MetadataError::OtherIncarnation { node, expected: incarnation, actual: known.incarnation });
    }
    let is_there = |(voter, life): &&(NodeId, Incarnation)| {
        image.node(*voter).is_some_and(|known| known.incarnation == *life)
    };
    if let Some((voter, _)) = counted_on.iter().find(|counted| !is_there(counted)) {
        return Err(MetadataError::VoterGone { node, voter: *voter });
    }
    let partitions = u32::try_from(image.held_by(node).count()).unwrap_or(u32::MAX);
    if partitions > 0 {
        let examples = image.held_by(node).take(REFUSAL_EXAMPLES_MAX);
        let examples = examples.map(|(topic, index)| (topic.name.clone(), index)).collect();
        return Err(MetadataError::NodeInUse { node, partitions, examples });
    }
    let mut effects = vec![Effect::NodeRemoved(node)];
    let mut changes = vec![MetadataChange::NodeRemoved(node)];
    retire(image, known, at, &mut effects, &mut changes);
    Ok(Decision::done(effects, changes))
}
