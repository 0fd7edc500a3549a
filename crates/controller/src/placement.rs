//! Where the replicas of new partitions go: spread over nodes, and over racks first.
//! A pure function of its arguments; the seed stands for the randomness.
//!
//! Every partition's replicas are on different nodes, and on as many different racks as
//! there are. Preferred leaders of one call differ by at most one between nodes: the partitions
//! of one topic are spread whatever the nodes hold, because they are used together. What nodes hold
//! already decides between equals, so that an empty node fills up topic by topic
//! and does not get all of the next one.

use std::collections::BTreeMap;

use highwater_types::NodeId;

use crate::error::MetadataError;
use crate::node::{NodeMode, NodeRecord};
use crate::shuffle::shuffle;

/// A node that may take replicas, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementNode {
    /// The node.
    pub id: NodeId,
    /// Its rack; a node without one counts as a rack of its own.
    pub rack: Option<String>,
    /// What is wanted of it. Only nodes that serve are given replicas. When they are too few, those in
    /// maintenance are used too: they come back, and a restart of one node must not
    /// keep topics from being created.
    pub mode: NodeMode,
    /// Replicas that it should hold.
    pub replicas: u32,
    /// Partitions that it should lead.
    pub leaders: u32,
}

impl PlacementNode {
    /// A registered node, before anything on it was counted.
    pub(crate) fn empty(node: &NodeRecord) -> Self {
        Self { id: node.id, rack: node.rack.clone(), mode: node.mode, replicas: 0, leaders: 0 }
    }
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
    let mut usable: Vec<&PlacementNode> = nodes.iter().filter(|node| node.mode == NodeMode::Serving).collect();
    if usable.len() < wanted {
        usable.extend(nodes.iter().filter(|node| node.mode == NodeMode::Maintenance));
    }
    if wanted == 0 || wanted > usable.len() {
        let nodes = usable.len();
        return Err(MetadataError::ReplicationFactor { requested: replication_factor, nodes });
    }
    usable.sort_by_key(|node| node.id);
    shuffle(&mut usable, seed);
    let mut candidates: Vec<Candidate<'_>> =
        usable.into_iter().map(|node| Candidate { node, leaders: 0, replicas: 0 }).collect();
    Ok((0..partitions).map(|_| place_one(&mut candidates, wanted)).collect())
}

/// Places one partition where least is.
fn place_one(candidates: &mut [Candidate<'_>], wanted: usize) -> Vec<NodeId> {
    let mut replicas = Vec::with_capacity(wanted);
    let mut racks = BTreeMap::new();
    while replicas.len() < wanted {
        let leads = replicas.is_empty();
        let chosen = candidates
            .iter_mut()
            .filter(|candidate| !replicas.contains(&candidate.node.id))
            .min_by_key(|Candidate { node, leaders, replicas }| {
                let same_rack = node.rack.as_ref().and_then(|rack| racks.get(rack)).copied().unwrap_or(0_u32);
                let leads_here = if leads { (*leaders, node.leaders + leaders) } else { (0, 0) };
                let rests = node.mode != NodeMode::Serving;
                (rests, same_rack, leads_here, *replicas, node.replicas + replicas)
            })
            .expect("there are at least as many nodes as replicas");
        chosen.replicas += 1;
        chosen.leaders += u32::from(leads);
        replicas.push(chosen.node.id);
        if let Some(rack) = &chosen.node.rack {
            *racks.entry(rack).or_insert(0) += 1;
        }
    }
    replicas
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn nodes(racks: &[Option<&str>]) -> Vec<PlacementNode> {
        (1..)
            .zip(racks)
            .map(|(id, rack)| PlacementNode {
                id: NodeId(id),
                rack: rack.map(str::to_owned),
                mode: NodeMode::Serving,
                replicas: 0,
                leaders: 0,
            })
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

    #[test]
    fn five_replicas_on_three_racks_are_two_two_and_one() {
        let racks = [Some("a"), Some("a"), Some("a"), Some("b"), Some("b"), Some("c"), Some("c")];
        let nodes = nodes(&racks);
        for seed in 0..50 {
            for partition in place(&nodes, 20, 5, seed).expect("possible") {
                let mut counts = BTreeMap::new();
                let rack = |node: &NodeId| nodes[node.0 as usize - 1].rack.clone();
                partition.iter().for_each(|node| *counts.entry(rack(node)).or_insert(0) += 1);
                assert!(counts.values().all(|count| *count <= 2), "seed {seed}: {partition:?}");
            }
        }
    }

    #[test]
    fn small_topics_go_to_an_empty_node_first_and_a_large_one_is_spread_all_the_same() {
        let mut nodes = nodes(&[None, None, None, None]);
        for node in &mut nodes[..3] {
            (node.replicas, node.leaders) = (100, 40);
        }
        for seed in 0..50 {
            let small = place(&nodes, 1, 3, seed).expect("possible");
            assert_eq!(small[0][0], NodeId(4), "seed {seed}");
            let large = place(&nodes, 40, 3, seed).expect("possible");
            let on_new = large.iter().filter(|replicas| replicas.contains(&NodeId(4))).count();
            assert!((29..=31).contains(&on_new), "seed {seed}: {on_new}");
            let led = large.iter().filter(|replicas| replicas[0] == NodeId(4)).count();
            assert_eq!(led, 10, "seed {seed}");
        }
    }

    #[test]
    fn a_node_in_maintenance_is_used_only_when_the_others_are_too_few_and_a_draining_one_never() {
        let mut nodes = nodes(&[None, None, None, None]);
        nodes[1].mode = NodeMode::Maintenance;
        nodes[3].mode = NodeMode::Draining;
        for seed in 0..50 {
            for partition in place(&nodes, 10, 2, seed).expect("two serve") {
                assert!(!partition.contains(&NodeId(2)), "seed {seed}: {partition:?}");
            }
            for partition in place(&nodes, 10, 3, seed).expect("with the one in maintenance") {
                assert_eq!(partition[2], NodeId(2), "seed {seed}: it leads last: {partition:?}");
            }
        }
        let refused = place(&nodes, 1, 4, 0).expect_err("one is draining");
        assert_eq!(refused, MetadataError::ReplicationFactor { requested: 4, nodes: 3 });
    }
}
