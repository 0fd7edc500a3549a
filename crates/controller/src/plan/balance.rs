//! How to even out what the serving nodes hold: replicas first, then preferred leaders, each by
//! count, so that two nodes differ by one at most where racks allow it.
//!
//! A replica moves only from a node to one with at least two fewer, so no replica moves in vain and the
//! plan ends. What moves already, or is still being created, is counted and left alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use highwater_types::{NodeId, PartitionId, PartitionIndex};

use super::load::Load;
use crate::image::MetadataImage;
use crate::partition::PartitionPhase;
use crate::partition_move::PartitionMove;
use crate::shuffle::shuffle;

/// A partition that may move.
struct Movable<'a> {
    id: PartitionId,
    before: &'a [NodeId],
    replicas: Vec<NodeId>,
}

/// Plans to even out the nodes. The moves are in order of the partitions; an even cluster needs none.
pub fn plan_balance(image: &MetadataImage, seed: u64) -> Vec<PartitionMove> {
    let mut load = Load::of(image, seed);
    let mut partitions = movable(image);
    shuffle(&mut partitions, seed);
    even_replicas(&mut load, &mut partitions);
    even_leaders(&mut load, &mut partitions);
    partitions.sort_by_key(|partition| partition.id);
    let moved = partitions.into_iter().filter(|partition| partition.before != partition.replicas);
    moved
        .map(|Movable { id, before, replicas }| PartitionMove {
            partition: id,
            replicas,
            replicas_before: before.to_vec(),
        })
        .collect()
}

fn movable(image: &MetadataImage) -> Vec<Movable<'_>> {
    let mut out = Vec::new();
    for topic in image.topics() {
        for (index, record) in (0..).zip(&topic.partitions) {
            if record.phase == PartitionPhase::Ready && record.reassignment.is_none() {
                let id = PartitionId { topic: topic.id, index: PartitionIndex(index) };
                out.push(Movable { id, before: &record.replicas, replicas: record.replicas.to_vec() });
            }
        }
    }
    out
}

/// Moves replicas from the nodes with the most to those with the fewest.
fn even_replicas(load: &mut Load, partitions: &mut [Movable<'_>]) {
    let mut held: BTreeMap<NodeId, Vec<usize>> = load.serving().map(|(node, _)| (node, Vec::new())).collect();
    for (place, partition) in partitions.iter().enumerate() {
        for replica in &partition.replicas {
            if let Some(held) = held.get_mut(replica) {
                held.push(place);
            }
        }
    }
    let mut by_count: BTreeSet<(u32, usize, NodeId)> =
        load.serving().map(|(node, held)| (held.replicas, held.rank, node)).collect();
    // How far the giver's list was looked through for the taker: what did not fit once is not looked at
    // again, so that a plan for a large cluster takes no longer than its lists are long.
    let mut looked_through: BTreeMap<(NodeId, NodeId), usize> = BTreeMap::new();
    let mut exhausted = BTreeSet::new();
    while let Some((from, to)) = uneven_pair(&by_count, &exhausted) {
        let fits = |place: &usize| {
            let replicas = &partitions[*place].replicas;
            replicas.contains(&from)
                && !replicas.contains(&to)
                && load.on_rack_of(to, replicas, from) <= load.on_rack_of(from, replicas, from)
        };
        // What has gone from a node stays in its list, and does not fit any more.
        let cursor = looked_through.entry((from, to)).or_insert(0);
        let rest = &held[&from][*cursor..];
        let Some(chosen) = rest.iter().position(fits) else {
            exhausted.insert((from, to));
            continue;
        };
        let place = rest[chosen];
        *cursor += chosen + 1;
        held.entry(to).or_default().push(place);
        let replicas = &mut partitions[place].replicas;
        let position = replicas.iter().position(|replica| *replica == from).expect("it is held there");
        replicas[position] = to;
        for node in [from, to] {
            by_count.remove(&(load.node(node).replicas, load.node(node).rank, node));
        }
        load.move_replica(from, to);
        if position == 0 {
            load.move_leader(from, to);
        }
        for node in [from, to] {
            by_count.insert((load.node(node).replicas, load.node(node).rank, node));
        }
    }
}

/// The two nodes that differ most, by two at least, among the pairs that are left.
fn uneven_pair(
    by_count: &BTreeSet<(u32, usize, NodeId)>,
    exhausted: &BTreeSet<(NodeId, NodeId)>,
) -> Option<(NodeId, NodeId)> {
    for (most, _, from) in by_count.iter().rev() {
        let receivers = by_count.iter().take_while(|(fewest, _, _)| fewest + 2 <= *most);
        for (_, _, to) in receivers {
            if !exhausted.contains(&(*from, *to)) {
                return Some((*from, *to));
            }
        }
    }
    None
}

/// For two nodes, the partitions that the first leads and the second could: those of which the first has
/// lost the lead stay in the lists until they are met.
type Handovers = BTreeMap<NodeId, BTreeMap<NodeId, Vec<usize>>>;

fn add_handovers(handovers: &mut Handovers, place: usize, replicas: &[NodeId]) {
    let of_leader = handovers.entry(replicas[0]).or_default();
    for other in &replicas[1..] {
        of_leader.entry(*other).or_default().push(place);
    }
}

/// Changes which replica is preferred as leader, until no chain of such changes leads from a node to
/// one that leads at least two partitions less.
fn even_leaders(load: &mut Load, partitions: &mut [Movable<'_>]) {
    let serving: BTreeSet<NodeId> = load.serving().map(|(node, _)| node).collect();
    let mut handovers = Handovers::new();
    for (place, partition) in partitions.iter().enumerate() {
        add_handovers(&mut handovers, place, &partition.replicas);
    }
    let mut settled = BTreeSet::new();
    loop {
        let unsettled = load.serving().filter(|(node, _)| !settled.contains(node));
        let Some((from, _)) = unsettled.max_by_key(|(_, held)| (held.leaders, held.rank)) else { return };
        let Some(chain) = chain_to_fewer(load, &serving, partitions, &mut handovers, from) else {
            settled.insert(from);
            continue;
        };
        for (place, to) in chain {
            let replicas = &mut partitions[place].replicas;
            let position = replicas.iter().position(|replica| *replica == to).expect("it is a replica");
            load.move_leader(replicas[0], to);
            replicas.swap(0, position);
            add_handovers(&mut handovers, place, replicas);
        }
    }
}

/// The shortest chain of partitions, each with the node that is to lead it, by which one node leads one
/// less, one that leads at least two less leads one more, and those between lead as many as before.
fn chain_to_fewer(
    load: &Load,
    serving: &BTreeSet<NodeId>,
    partitions: &[Movable<'_>],
    handovers: &mut Handovers,
    from: NodeId,
) -> Option<Vec<(usize, NodeId)>> {
    let most = load.node(from).leaders;
    let mut reached: BTreeMap<NodeId, (usize, NodeId)> = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(leader) = queue.pop_front() {
        let Some(of_leader) = handovers.get_mut(&leader) else { continue };
        for (next, places) in of_leader {
            if *next == from || reached.contains_key(next) || !serving.contains(next) {
                continue;
            }
            while places.pop_if(|place| partitions[*place].replicas[0] != leader).is_some() {}
            let Some(place) = places.last() else { continue };
            reached.insert(*next, (*place, leader));
            if load.node(*next).leaders + 2 <= most {
                return Some(chain_back(&reached, *next, from));
            }
            queue.push_back(*next);
        }
    }
    None
}

fn chain_back(reached: &BTreeMap<NodeId, (usize, NodeId)>, last: NodeId, from: NodeId) -> Vec<(usize, NodeId)> {
    let mut chain = Vec::new();
    let mut node = last;
    while node != from {
        let (place, leader) = reached[&node];
        chain.push((place, node));
        node = leader;
    }
    chain
}
