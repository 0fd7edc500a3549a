//! Plans: what they move, what they leave, and that carrying them out leads where they say.

#![allow(clippy::print_stdout)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use highwater_controller::{
    MetadataCommand, MetadataError, MetadataState, NodeMode, place, plan_balance, plan_drain,
    plan_metadata_voters,
};
use highwater_types::NodeId;
use support::*;

/// A cluster whose nodes stand on these racks.
fn racked(racks: &[&str]) -> MetadataState {
    let mut state = cluster_of(0);
    (1..).zip(racks).for_each(|(id, rack)| add(&mut state, id, rack));
    state
}

fn add(state: &mut MetadataState, id: u64, rack: &str) {
    let mut node = node(id);
    node.rack = Some(rack.to_owned());
    accept(state, &MetadataCommand::RegisterNode { cluster: cluster_id(), node });
}

/// A topic of so many partitions, ready.
fn fill(state: &mut MetadataState, id: u128, partitions: u32, factor: u32, seed: u64) {
    let placement = place(&state.image().placement_nodes(), partitions, factor, seed).expect("possible");
    accept(state, &create_with(id, &format!("t{id}"), placement, &[]));
    accept(state, &ready(id, 0..partitions));
}

/// Carries a plan out: the moves, and then each group's settling.
fn carry_out(state: &mut MetadataState, command: MetadataCommand) {
    accept(state, &command);
    let MetadataCommand::ReassignPartitions { moves, .. } = command else { unreachable!("a plan") };
    for moved in moves {
        let settled = done(state, moved.partition);
        accept(state, &settled);
    }
}

/// Replicas and preferred leaders of each node.
fn counts(state: &MetadataState) -> BTreeMap<NodeId, (u32, u32)> {
    state.image().placement_nodes().into_iter().map(|node| (node.id, (node.replicas, node.leaders))).collect()
}

fn spread(numbers: impl Iterator<Item = u32> + Clone) -> u32 {
    numbers.clone().max().unwrap_or(0) - numbers.min().unwrap_or(0)
}

fn racks_of(state: &MetadataState, replicas: &[NodeId]) -> usize {
    let rack = |node: &NodeId| state.image().node(*node).expect("registered").rack.clone();
    replicas.iter().map(rack).collect::<BTreeSet<_>>().len()
}

#[test]
fn a_drained_node_is_empty_and_can_be_removed_and_the_others_stay_even() {
    for seed in 0..30 {
        println!("seed {seed}");
        let mut state = racked(&["a", "a", "b", "b", "c", "c"]);
        fill(&mut state, 1, 37, 3, seed);
        fill(&mut state, 2, 11, 3, seed + 1);
        accept(&mut state, &set_mode(3, NodeMode::Draining));
        let plan = plan_drain(state.image(), NodeId(3), seed).expect("registered");
        assert!(plan.stuck.is_empty());
        carry_out(&mut state, reassign(plan.moves));
        for topic in state.image().topics() {
            for record in &topic.partitions {
                assert_eq!(racks_of(&state, &record.replicas), 3, "{record:?}");
            }
        }
        let left = counts(&state).into_iter().filter(|(node, _)| *node != NodeId(3));
        let leaders: Vec<u32> = left.map(|(_, (_, leaders))| leaders).collect();
        assert!(spread(leaders.iter().copied()) <= 3, "{leaders:?}");
        accept(&mut state, &remove(3));
    }
}

#[test]
fn a_drain_says_what_cannot_move_and_why() {
    let mut state = cluster_of(3);
    fill(&mut state, 1, 1, 3, 0);
    fill(&mut state, 2, 1, 1, 0);
    accept(&mut state, &create_with(3, "new", vec![nodes(&[1, 2])], &[]));
    let plan = plan_drain(state.image(), NodeId(1), 0).expect("registered");
    let reasons: Vec<_> = plan.stuck.into_iter().map(|stuck| (stuck.partition, stuck.reason)).collect();
    let too_few = MetadataError::ReplicationFactor { requested: 3, nodes: 2 };
    assert_eq!(reasons, [(partition(1, 0), too_few), (partition(3, 0), MetadataError::StillCreating)]);
    let unknown = plan_drain(state.image(), NodeId(9), 0);
    assert_eq!(unknown, Err(MetadataError::UnknownNode { node: NodeId(9) }));
}

#[test]
fn a_node_that_was_added_gets_its_share_with_no_move_in_vain() {
    for seed in 0..30 {
        println!("seed {seed}");
        let mut state = cluster_of(3);
        fill(&mut state, 1, 31, 3, seed);
        fill(&mut state, 2, 9, 2, seed);
        accept(&mut state, &register(4));
        let plan = plan_balance(state.image(), seed);
        let is_moved = |moved: &&highwater_controller::PartitionMove| {
            moved.replicas.iter().any(|node| !moved.replicas_before.contains(node))
        };
        assert_eq!(plan.iter().filter(is_moved).count(), (31 * 3 + 9 * 2) / 4, "as many as the new node gets");
        carry_out(&mut state, reassign(plan));
        let counts = counts(&state);
        assert!(spread(counts.values().map(|(replicas, _)| *replicas)) <= 1, "{counts:?}");
        assert!(spread(counts.values().map(|(_, leaders)| *leaders)) <= 1, "{counts:?}");
        assert_eq!(plan_balance(state.image(), seed + 1), [], "an even cluster needs no move");
    }
}

#[test]
fn leaders_are_evened_out_through_nodes_that_share_no_partition() {
    // In a ring of four, node 1 leads all that it holds, node 3 nothing, and they share no partition.
    let mut state = cluster_of(4);
    let placement: Vec<_> =
        [[1, 2], [2, 3], [4, 3], [1, 4]].iter().flat_map(|pair| vec![nodes(pair); 2]).collect();
    accept(&mut state, &create_with(1, "a", placement, &[]));
    accept(&mut state, &ready(1, 0..8));
    let plan = plan_balance(state.image(), 0);
    assert_eq!(plan.len(), 4, "two partitions change hands on the way from 1 to 3, twice");
    carry_out(&mut state, reassign(plan));
    let counts = counts(&state);
    assert!(counts.values().all(|(replicas, leaders)| (*replicas, *leaders) == (4, 2)), "{counts:?}");
}

#[test]
fn balancing_puts_no_two_replicas_on_one_rack_and_leaves_alone_what_moves_rests_or_drains() {
    for seed in 0..30 {
        println!("seed {seed}");
        let mut state = racked(&["a", "b", "c"]);
        fill(&mut state, 1, 24, 3, seed);
        add(&mut state, 4, "a");
        add(&mut state, 5, "a");
        accept(&mut state, &set_mode(5, NodeMode::Draining));
        accept(&mut state, &create_with(2, "new", vec![nodes(&[1])], &[]));
        let under_way = record(&state, partition(1, 0)).replicas.to_vec();
        let other = under_way.iter().map(|node| if node.0 == 1 { NodeId(4) } else { *node }).collect();
        let moved = highwater_controller::PartitionMove {
            partition: partition(1, 0),
            replicas: other,
            replicas_before: under_way,
        };
        accept(&mut state, &reassign(vec![moved]));
        let plan = plan_balance(state.image(), seed);
        assert!(
            plan.iter().all(|moved| moved.partition.topic == topic_id(1) && moved.partition != partition(1, 0))
        );
        carry_out(&mut state, reassign(plan));
        let counts = counts(&state);
        let replicas: Vec<u32> = counts.values().map(|(replicas, _)| *replicas).collect();
        assert_eq!(&replicas[1..3], [24, 24], "only 2 and 3 are on their racks");
        assert!(replicas[0].abs_diff(replicas[3]) <= 1 && replicas[4] == 0, "{replicas:?}");
        for record in &state.image().topic(topic_id(1)).expect("live").partitions {
            assert_eq!(racks_of(&state, &record.replicas), 3, "{record:?}");
        }
    }
}

fn set(ids: &[u64]) -> BTreeSet<NodeId> {
    nodes(ids).into_iter().collect()
}

#[test]
fn a_voter_that_is_drained_votes_until_its_replicas_are_gone_or_another_comes_in_its_place() {
    let plan = |state: &MetadataState, alive: &[u64]| {
        plan_metadata_voters(state.image(), &set(&[1, 2, 3]), 3, &set(alive)).expect("three are wanted")
    };
    let mut three = racked(&["a", "b", "c"]);
    accept(&mut three, &set_mode(2, NodeMode::Draining));
    assert_eq!(plan(&three, &[1, 2, 3]), set(&[1, 3]));
    for (racks, expected) in [(&["a", "b", "c"][..], &[1, 2, 3]), (&["a", "b", "c", "d"], &[1, 3, 4])] {
        let mut state = racked(racks);
        fill(&mut state, 1, 4, 3, 0);
        accept(&mut state, &set_mode(2, NodeMode::Draining));
        assert_eq!(plan(&state, &[1, 2, 3, 4][..racks.len()]), set(expected));
    }
}

#[test]
fn metadata_voters_are_alive_on_different_racks_and_change_as_little_as_possible() {
    let mut state = racked(&["a", "a", "b", "b", "c"]);
    let all = [1, 2, 3, 4, 5];
    for (current, wanted, alive, expected) in [
        (&[1][..], 3, &all[..], &[1, 3, 5][..]),
        (&[1, 3, 5], 3, &all, &[1, 3, 5]),
        (&[2, 4, 5], 3, &all, &[2, 4, 5]),
        // Two on one rack become two on two racks.
        (&[1, 2, 3], 3, &all, &[1, 3, 5]),
        // A lost voter is replaced, best on its rack.
        (&[1, 3, 5], 3, &[1, 2, 4, 5], &[1, 4, 5]),
        (&[1, 3, 5], 3, &[1, 2, 3, 4], &[1, 2, 3]),
        // With nobody in its place it stays.
        (&[1, 3, 5], 3, &[1, 3], &[1, 3, 5]),
        // An even number bears no more losses than the odd one below.
        (&[1], 3, &[1, 3], &[1]),
        (&[1, 3, 5], 5, &[1, 2, 3, 5], &[1, 3, 5]),
        (&[1, 3, 5], 5, &all, &all),
        (&[1, 2, 3, 4, 5], 1, &[2, 3], &[2]),
        (&[], 3, &all, &[1, 3, 5]),
    ] {
        let plan = |current: &BTreeSet<NodeId>| {
            plan_metadata_voters(state.image(), current, wanted, &set(alive)).expect("1, 3 or 5")
        };
        let planned = plan(&set(current));
        assert_eq!(planned, set(expected), "from {current:?}, {alive:?} alive");
        assert_eq!(plan(&planned), planned, "and it stays so");
    }
    accept(&mut state, &set_mode(1, NodeMode::Maintenance));
    accept(&mut state, &set_mode(3, NodeMode::Draining));
    let planned = plan_metadata_voters(state.image(), &set(&[1, 3, 5]), 3, &set(&all));
    assert_eq!(planned, Ok(set(&[1, 4, 5])), "one that restarts stays, one that leaves goes");
    let alone = plan_metadata_voters(state.image(), &set(&[1, 3]), 3, &set(&[1, 3]));
    assert_eq!(alone, Ok(set(&[1])), "also when nobody takes its place");
    let last = plan_metadata_voters(state.image(), &set(&[3]), 3, &set(&[3]));
    assert_eq!(last, Ok(set(&[3])), "but not when nobody would be left");
    let waits = plan_metadata_voters(state.image(), &set(&[1, 3, 5]), 3, &set(&[1, 3, 5]));
    assert_eq!(waits, Ok(set(&[1, 3, 5])), "two voters would bear no loss: it waits for who is away");
    accept(&mut state, &set_mode(2, NodeMode::Draining));
    accept(&mut state, &set_mode(4, NodeMode::Draining));
    let goes = plan_metadata_voters(state.image(), &set(&[1, 3, 5]), 3, &set(&[1, 3, 5]));
    assert_eq!(goes, Ok(set(&[1, 5])), "there is nobody to wait for");
    for requested in [0, 2, 4, 7] {
        let refused = plan_metadata_voters(state.image(), &set(&[1]), requested, &set(&all));
        assert_eq!(refused, Err(MetadataError::VoterCount { requested }));
    }
}
