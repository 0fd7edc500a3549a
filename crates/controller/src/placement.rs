//! Where the replicas of new partitions go: spread over nodes, and over racks first.
//! A pure function of its arguments; the seed stands for the randomness.
//!
//! Every partition's replicas are on different nodes, and on as many different racks as
//! there are. Preferred leaders differ by at most one between nodes.

use std::collections::BTreeSet;

use highwater_types::NodeId;

use crate::error::MetadataError;

/// A node that can take replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementNode {
    /// The node.
    pub id: NodeId,
    /// Its rack; a node without one counts as a rack of its own.
    pub rack: Option<String>,
}

/// What a node was given so far.
struct Candidate<'a> {
    node: &'a PlacementNode,
    leaders: u32,
    replicas: u32,
}

/// Places the replicas of `partitions` partitions, the preferred leader of each first.
///
/// # Errors
/// [`MetadataError::ReplicationFactor`] when there are fewer nodes than replicas, or no
/// replica is wanted.
pub fn place(
    nodes: &[PlacementNode],
    partitions: u32,
    replication_factor: u32,
    seed: u64,
) -> Result<Vec<Vec<NodeId>>, MetadataError> {
    let wanted = usize::try_from(replication_factor).unwrap_or(usize::MAX);
    if wanted == 0 || wanted > nodes.len() {
        let nodes = nodes.len();
        return Err(MetadataError::ReplicationFactor { requested: replication_factor, nodes });
    }
    let mut candidates: Vec<Candidate<'_>> =
        shuffled(nodes, seed).into_iter().map(|node| Candidate { node, leaders: 0, replicas: 0 }).collect();
    Ok((0..partitions).map(|_| place_one(&mut candidates, wanted)).collect())
}

/// Places one partition where least is.
fn place_one(candidates: &mut [Candidate<'_>], wanted: usize) -> Vec<NodeId> {
    let mut replicas = Vec::with_capacity(wanted);
    let mut racks = BTreeSet::new();
    while replicas.len() < wanted {
        let leads = replicas.is_empty();
        let chosen = candidates
            .iter_mut()
            .filter(|candidate| !replicas.contains(&candidate.node.id))
            .min_by_key(|candidate| {
                let same_rack = candidate.node.rack.as_ref().is_some_and(|rack| racks.contains(rack));
                let leaders = if leads { candidate.leaders } else { 0 };
                (leaders, same_rack, candidate.replicas)
            })
            .expect("there are at least as many nodes as replicas");
        chosen.replicas += 1;
        chosen.leaders += u32::from(leads);
        replicas.push(chosen.node.id);
        if let Some(rack) = &chosen.node.rack {
            racks.insert(rack);
        }
    }
    replicas
}

/// The nodes in an order that the seed gives (Fisher and Yates), so that the first
/// partitions of many small topics do not all go to one node.
fn shuffled(nodes: &[PlacementNode], seed: u64) -> Vec<&PlacementNode> {
    let mut order: Vec<&PlacementNode> = nodes.iter().collect();
    order.sort_by_key(|node| node.id);
    let mut state = seed;
    for last in (1..order.len()).rev() {
        let bound = last as u64 + 1;
        let chosen = usize::try_from(split_mix(&mut state) % bound).expect("less than a length");
        order.swap(last, chosen);
    }
    order
}

/// The SplitMix64 generator: it turns any seed, small ones too, into well-mixed numbers.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn nodes(racks: &[Option<&str>]) -> Vec<PlacementNode> {
        (1..)
            .zip(racks)
            .map(|(id, rack)| PlacementNode { id: NodeId(id), rack: rack.map(str::to_owned) })
            .collect()
    }

    fn spread(counts: &BTreeMap<NodeId, u32>, nodes: usize) -> u32 {
        let least = if counts.len() < nodes { 0 } else { *counts.values().min().expect("some") };
        counts.values().max().expect("some") - least
    }

    #[test]
    fn replicas_are_distinct_and_evenly_spread_whatever_the_seed() {
        for seed in 0..50 {
            for (count, replication_factor) in [(1, 1), (3, 3), (5, 3), (7, 2)] {
                let nodes = nodes(&vec![None; count]);
                let placed = place(&nodes, 101, replication_factor, seed).expect("possible");
                let (mut leaders, mut replicas) = (BTreeMap::new(), BTreeMap::new());
                for partition in &placed {
                    let distinct: BTreeSet<_> = partition.iter().collect();
                    assert_eq!(distinct.len() as u32, replication_factor, "seed {seed}");
                    *leaders.entry(partition[0]).or_insert(0) += 1;
                    partition.iter().for_each(|node| *replicas.entry(*node).or_insert(0) += 1);
                }
                assert!(spread(&leaders, count) <= 1, "seed {seed}: {leaders:?}");
                assert!(spread(&replicas, count) <= 2, "seed {seed}: {replicas:?}");
            }
        }
    }

    #[test]
    fn losing_a_rack_never_takes_two_replicas_while_there_are_racks_enough() {
        let racks = [Some("a"), Some("a"), Some("b"), Some("b"), Some("c"), Some("c")];
        let nodes = nodes(&racks);
        for seed in 0..50 {
            for partition in place(&nodes, 60, 3, seed).expect("possible") {
                let rack = |node: &NodeId| nodes[node.0 as usize - 1].rack.clone();
                let racks: BTreeSet<_> = partition.iter().map(rack).collect();
                assert_eq!(racks.len(), 3, "seed {seed}: {partition:?}");
            }
        }
    }

    #[test]
    fn more_replicas_than_nodes_are_refused_with_both_numbers() {
        let refused = place(&nodes(&[None, None]), 1, 3, 0).expect_err("two nodes");
        assert_eq!(refused, MetadataError::ReplicationFactor { requested: 3, nodes: 2 });
        assert!(place(&nodes(&[None]), 1, 0, 0).is_err());
        assert!(place(&[], 1, 1, 0).is_err());
    }

    #[test]
    fn single_partition_topics_start_on_different_nodes() {
        let nodes = nodes(&[None, None, None]);
        let first = |seed| place(&nodes, 1, 1, seed).expect("possible")[0][0];
        let used: BTreeSet<_> = (0..50).map(first).collect();
        assert_eq!(used.len(), 3);
        assert_eq!(first(7), first(7));
    }
}
