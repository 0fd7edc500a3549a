//! Partitions that move: there, back again, elsewhere on the way, and arrived.

mod support;

use highwater_controller::{MetadataChange, MetadataCommand, MetadataError, MetadataState, NodeMode};
use highwater_types::limits::MOVES_PER_COMMAND_MAX;
use highwater_types::{ErrorCode, NodeId};
use support::*;

/// Five nodes and a topic `a` whose partitions are on 1, 2 and 3, and ready.
fn moving(partitions: u32) -> MetadataState {
    let mut state = cluster_of(5);
    accept(&mut state, &create_with(1, "a", vec![nodes(&[1, 2, 3]); partitions as usize], &[]));
    accept(&mut state, &ready(1, 0..partitions));
    state
}

fn leaving(state: &MetadataState) -> Vec<NodeId> {
    record(state, partition(1, 0)).leaving().to_vec()
}

fn replicas(state: &MetadataState) -> Vec<NodeId> {
    record(state, partition(1, 0)).replicas.to_vec()
}

#[test]
fn a_moved_replica_stays_named_until_the_leader_says_that_the_group_is_settled() {
    let mut state = moving(1);
    let id = partition(1, 0);
    let change = reassign(vec![to(id, &[1, 2, 3], &[4, 2, 3])]);
    assert_eq!(state.apply(&change).delta.changes, [MetadataChange::PartitionReassigned(id)]);
    repeat(&mut state, &change);
    assert_eq!((replicas(&state), leaving(&state)), (nodes(&[4, 2, 3]), nodes(&[1])));
    assert!(record(&state, id).is_held_by(NodeId(1)));
    let settled = done(&state, id);
    let changes = state.apply(&settled).delta.changes;
    let left = MetadataChange::PartitionLeft { partition: id, node: NodeId(1) };
    assert_eq!(changes, [MetadataChange::PartitionSettled(id), left]);
    repeat(&mut state, &settled);
    assert!(!record(&state, id).is_held_by(NodeId(1)));
    assert_eq!(record(&state, id).reassignment, None);
}

#[test]
fn another_order_of_the_same_replicas_is_settled_at_once() {
    let mut state = moving(1);
    let id = partition(1, 0);
    let applied = state.apply(&reassign(vec![to(id, &[1, 2, 3], &[3, 1, 2])]));
    assert_eq!(applied.delta.changes, [MetadataChange::PartitionReassigned(id)]);
    assert_eq!(record(&state, id).reassignment, None);
}

#[test]
fn whoever_was_wanted_on_the_way_is_leaving_until_the_end() {
    let mut state = moving(1);
    let id = partition(1, 0);
    accept(&mut state, &reassign(vec![to(id, &[1, 2, 3], &[4, 2, 3])]));
    accept(&mut state, &reassign(vec![to(id, &[4, 2, 3], &[5, 2, 3])]));
    assert_eq!(leaving(&state), nodes(&[1, 4]));
    accept(&mut state, &cancel(&[id]));
    repeat(&mut state, &cancel(&[id]));
    assert_eq!((replicas(&state), leaving(&state)), (nodes(&[1, 2, 3]), nodes(&[4, 5])));
    assert!(record(&state, id).reassignment.is_some(), "the group may have had other members meanwhile");
    let settled = done(&state, id);
    let changes = state.apply(&settled).delta.changes;
    let left = [4, 5].map(|node| MetadataChange::PartitionLeft { partition: id, node: NodeId(node) });
    assert_eq!(changes, [MetadataChange::PartitionSettled(id), left[0].clone(), left[1].clone()]);
    repeat(&mut state, &cancel(&[id]));
}

#[test]
fn word_about_an_earlier_change_to_the_same_replicas_lets_nobody_remove_data() {
    let mut state = moving(1);
    let id = partition(1, 0);
    let there = reassign(vec![to(id, &[1, 2, 3], &[4, 2, 3])]);
    accept(&mut state, &there);
    let delayed = done(&state, id);
    accept(&mut state, &cancel(&[id]));
    assert!(matches!(refuse(&mut state, &delayed), MetadataError::OtherReassignment { .. }));
    accept(&mut state, &there);
    assert!(matches!(refuse(&mut state, &delayed), MetadataError::OtherReassignment { .. }));
    assert!(record(&state, id).is_held_by(NodeId(1)));
    let settled = done(&state, id);
    accept(&mut state, &settled);
}

#[test]
fn one_impossible_move_keeps_all_of_a_plan_from_being_made() {
    let mut state = moving(2);
    accept(&mut state, &set_mode(5, NodeMode::Draining));
    accept(&mut state, &create_with(2, "new", vec![nodes(&[1])], &[]));
    let (good, id) = (to(partition(1, 0), &[1, 2, 3], &[1, 2, 4]), partition(1, 1));
    for (bad, code, message) in [
        (
            to(id, &[3, 2, 1], &[1, 2, 4]),
            ErrorCode::InvalidRequest,
            "partition a-1 cannot be moved: its replicas are [1, 2, 3] by now, not [3, 2, 1]; plan again",
        ),
        (
            to(id, &[1, 2, 3], &[1, 2, 9]),
            ErrorCode::InvalidRequest,
            "partition a-1 cannot be moved: node 9 is not registered",
        ),
        (
            to(id, &[1, 2, 3], &[1, 2, 5]),
            ErrorCode::Unavailable,
            "partition a-1 cannot be moved: node 5 is being drained and takes no replicas",
        ),
        (
            to(id, &[1, 2, 3], &[1, 2, 2]),
            ErrorCode::InvalidRequest,
            "partition a-1 cannot be moved: partition 1 names node 2 twice",
        ),
        (
            to(id, &[1, 2, 3], &[1, 2]),
            ErrorCode::InvalidRequest,
            "partition a-1 cannot be moved: partition 1 has 2 replicas; the topic's replication factor is 3",
        ),
        (
            to(partition(2, 0), &[1], &[2]),
            ErrorCode::Unavailable,
            "partition new-0 cannot be moved: it is still being created; try again",
        ),
    ] {
        let refused = refuse(&mut state, &reassign(vec![good.clone(), bad]));
        assert_eq!((refused.code(), refused.to_string().as_str()), (code, message));
    }
    let unknown = reassign(vec![good.clone(), to(partition(1, 2), &[1], &[2])]);
    assert_eq!(refuse(&mut state, &unknown).code(), ErrorCode::UnknownTopicOrPartition);
    let twice = reassign(vec![good.clone(), good.clone()]);
    assert_eq!(refuse(&mut state, &twice), MetadataError::DuplicateMove { partition: good.partition });
    let many = reassign(vec![good; MOVES_PER_COMMAND_MAX + 1]);
    assert!(matches!(refuse(&mut state, &many), MetadataError::TooManyMoves { .. }));
}

#[test]
fn a_replica_may_stay_on_a_draining_node_while_another_one_moves() {
    let mut state = moving(1);
    accept(&mut state, &set_mode(1, NodeMode::Draining));
    accept(&mut state, &set_mode(2, NodeMode::Draining));
    accept(&mut state, &reassign(vec![to(partition(1, 0), &[1, 2, 3], &[4, 2, 3])]));
    let refused = refuse(&mut state, &create_with(2, "b", vec![nodes(&[1])], &[]));
    assert_eq!(refused, MetadataError::NodeDraining { node: NodeId(1) });
    accept(&mut state, &cancel(&[partition(1, 0)]));
    assert_eq!(replicas(&state), nodes(&[1, 2, 3]));
}

#[test]
fn the_replication_factor_changes_for_all_partitions_of_a_topic_or_for_none() {
    let mut state = moving(2);
    let settings = [("min.insync.replicas", "2")];
    accept(&mut state, &create_with(2, "strict", vec![nodes(&[1, 2, 3])], &settings));
    accept(&mut state, &ready(2, 0..1));
    let change = |moves, factor| MetadataCommand::ReassignPartitions {
        moves,
        replication_factors: [(topic_id(1), factor)].into(),
        at: NOW,
    };
    let moves = [0, 1].map(|index| to(partition(1, index), &[1, 2, 3], &[1, 2, 3, 4, 5]));
    let some = refuse(&mut state, &change(moves[..1].to_vec(), 5)).to_string();
    assert_eq!(some, "partition 1 has 3 replicas; the topic's replication factor is 5");
    for impossible in [0, 6] {
        let refused = refuse(&mut state, &change(moves.to_vec(), impossible));
        assert_eq!(refused.code(), ErrorCode::InvalidReplicationFactor);
    }
    refuse(&mut state, &change(vec![], 5));
    let all = change(moves.to_vec(), 5);
    accept(&mut state, &all);
    repeat(&mut state, &all);
    assert_eq!(state.image().topic(topic_id(1)).expect("live").replication_factor(), 5);
    let one = refuse(&mut state, &cancel(&[partition(1, 1)])).to_string();
    assert_eq!(one, "partition 0 has 5 replicas; the topic's replication factor is 3");
    accept(&mut state, &cancel(&[partition(1, 0), partition(1, 1)]));
    assert_eq!(leaving(&state), nodes(&[4, 5]));
    let fewer = MetadataCommand::ReassignPartitions {
        moves: vec![to(partition(2, 0), &[1, 2, 3], &[1])],
        replication_factors: [(topic_id(2), 1)].into(),
        at: NOW,
    };
    assert_eq!(refuse(&mut state, &fewer).code(), ErrorCode::InvalidConfig);
}

#[test]
fn fewer_replicas_and_back_again_is_a_change_that_the_group_has_to_complete() {
    let mut state = moving(1);
    let id = partition(1, 0);
    let shrink = MetadataCommand::ReassignPartitions {
        moves: vec![to(id, &[1, 2, 3], &[1, 2])],
        replication_factors: [(topic_id(1), 2)].into(),
        at: NOW,
    };
    accept(&mut state, &shrink);
    accept(&mut state, &cancel(&[id]));
    let moving = record(&state, id).reassignment.expect("the group may have two members");
    assert!(moving.leaving.is_empty());
}

#[test]
fn a_topic_deleted_while_it_moves_is_held_by_those_who_leave_too() {
    let mut state = moving(1);
    accept(&mut state, &reassign(vec![to(partition(1, 0), &[1, 2, 3], &[4, 2, 3])]));
    accept(&mut state, &delete(1));
    let tombstone = state.image().tombstone(topic_id(1)).expect("deleted");
    assert_eq!(tombstone.holders, nodes(&[1, 2, 3, 4]).into_iter().collect());
}
