//! Who should vote on the metadata: nodes that are alive, over as many racks as there are, and among
//! those as few changes as possible.

use std::collections::{BTreeMap, BTreeSet};

use highwater_types::NodeId;

use crate::error::MetadataError;
use crate::image::MetadataImage;
use crate::node::{NodeMode, NodeRecord};

/// How good a voter a node is: the smaller the better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fitness {
    /// It is alive, and stays: it serves, or votes already and is only restarted.
    Fit,
    /// It is alive, and about to be restarted.
    Resting,
    /// It votes, and is about to leave: it stays only when there is no other.
    Leaving,
    /// It votes, and is not alive. It stays only when there is no other: fewer voters would bear fewer losses.
    Lost,
}

/// Plans who should vote on the metadata, given who votes and who is alive. Where there are
/// fewer nodes than wanted, it is the next smaller odd number, for an even one bears no more
/// losses; but nobody who can stay, and is not about to leave, is dropped for that. Who is about to leave makes room for another; without
/// one it stays while it has replicas, for it may never get rid of them, and while somebody who could come in its place is away.
/// Planned again after it was done, it is the same.
///
/// # Errors
/// [`MetadataError::VoterCount`] unless 1, 3 or 5 are wanted.
pub fn plan_metadata_voters(
    image: &MetadataImage,
    current: &BTreeSet<NodeId>,
    wanted: usize,
    alive: &BTreeSet<NodeId>,
) -> Result<BTreeSet<NodeId>, MetadataError> {
    if !matches!(wanted, 1 | 3 | 5) {
        return Err(MetadataError::VoterCount { requested: wanted });
    }
    let mut candidates: BTreeMap<NodeId, (Fitness, &NodeRecord)> = BTreeMap::new();
    for node in image.nodes() {
        let (is_voter, is_alive) = (current.contains(&node.id), alive.contains(&node.id));
        let fitness = match (is_alive, node.mode) {
            (true, NodeMode::Serving) => Fitness::Fit,
            (true, NodeMode::Maintenance) if is_voter => Fitness::Fit,
            (true, NodeMode::Maintenance) => Fitness::Resting,
            (true, NodeMode::Draining) if is_voter => Fitness::Leaving,
            (false, _) if is_voter => Fitness::Lost,
            (true, NodeMode::Draining) | (false, _) => continue,
        };
        candidates.insert(node.id, (fitness, node));
    }
    // Fewer voters would bear fewer losses: who leaves waits for who is away, and for its replicas to be elsewhere. After that it makes
    // room, as long as somebody is left.
    let stays = |(_, (fitness, _)): &(&NodeId, &(Fitness, &NodeRecord))| *fitness != Fitness::Leaving;
    let may_come = |node: &&NodeRecord| {
        node.mode != NodeMode::Draining && !alive.contains(&node.id) && !current.contains(&node.id)
    };
    let leaving = candidates.iter().filter(|candidate| !stays(candidate)).map(|(node, _)| *node);
    let leaving: BTreeSet<NodeId> = leaving.collect();
    let away = image.nodes().filter(may_come).count();
    let waiting = leaving.len().min(away.max(with_replicas(image, &leaving)));
    let staying = candidates.iter().filter(stays).filter(|(node, _)| current.contains(node)).count();
    let possible = candidates.len() - leaving.len() + waiting;
    let possible = possible.max(1).min(candidates.len()).min(wanted);
    let odd = if possible.is_multiple_of(2) { possible.saturating_sub(1) } else { possible };
    let count = odd.max(staying.min(wanted));
    let mut voters = BTreeSet::new();
    let mut racks: BTreeMap<&str, usize> = BTreeMap::new();
    while voters.len() < count {
        let free = candidates.iter().filter(|(node, _)| !voters.contains(*node));
        let best = free.min_by_key(|(node, (fitness, record))| {
            let on_rack = record.rack.as_deref().and_then(|rack| racks.get(rack)).copied();
            (*fitness, on_rack.unwrap_or(0), !current.contains(node), **node)
        });
        let (node, (_, record)) = best.expect("there are more candidates than voters");
        voters.insert(*node);
        if let Some(rack) = record.rack.as_deref() {
            *racks.entry(rack).or_insert(0) += 1;
        }
    }
    Ok(voters)
}

/// How many of `nodes` have a replica of some partition.
fn with_replicas(image: &MetadataImage, nodes: &BTreeSet<NodeId>) -> usize {
    nodes.iter().filter(|node| image.held_by(**node).next().is_some()).count()
}
