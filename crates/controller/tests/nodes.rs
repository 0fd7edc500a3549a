//! Nodes: who joins, comes back with another disk, rests and leaves; and the level they all know.

mod support;

use highwater_controller::{
    FeatureLevel, MetadataChange, MetadataCommand, MetadataError, MetadataState, NodeMode, Recovery,
    RetiredIncarnation, codec,
};
use highwater_types::limits::RETIRED_INCARNATIONS_MAX;
use highwater_types::{ClusterId, ErrorCode, Incarnation, NodeId, TimestampMs};
use support::*;
use uuid::Uuid;

#[test]
fn a_node_of_another_cluster_or_an_old_build_cannot_register() {
    let mut state = cluster();
    let other = ClusterId(Uuid::from_u128(0xc2));
    let foreign = MetadataCommand::RegisterNode { cluster: other, node: node(4) };
    assert!(matches!(refuse(&mut state, &foreign), MetadataError::OtherCluster { .. }));
    let mut old = node(4);
    old.feature_level_newest = FeatureLevel(1);
    let old = MetadataCommand::RegisterNode { cluster: cluster_id(), node: old };
    let refused = refuse(&mut state, &old).to_string();
    assert_eq!(refused, "node 4 knows feature levels up to 1; the cluster uses level 3");
    assert_eq!(refuse(&mut state, &register(0)), MetadataError::NodeIdZero);
}

#[test]
fn a_node_that_says_the_same_again_changes_nothing_and_registering_keeps_its_mode() {
    let mut state = cluster();
    accept(&mut state, &set_mode(1, NodeMode::Maintenance));
    repeat(&mut state, &set_mode(1, NodeMode::Maintenance));
    let mut later = node(1);
    later.registered_at = TimestampMs(NOW.0 + 5);
    repeat(&mut state, &MetadataCommand::RegisterNode { cluster: cluster_id(), node: later.clone() });
    later.rack = None;
    let moved = state.apply(&MetadataCommand::RegisterNode { cluster: cluster_id(), node: later.clone() });
    assert_eq!(moved.delta.changes, [MetadataChange::NodeChanged(NodeId(1))]);
    let known = state.image().node(NodeId(1)).expect("registered");
    assert_eq!((known.registration(), known.mode), (later, NodeMode::Maintenance));
    let refused = refuse(&mut state, &set_mode(9, NodeMode::Draining));
    assert_eq!(refused, MetadataError::UnknownNode { node: NodeId(9) });
}

#[test]
fn an_emptied_disk_comes_back_and_the_one_before_it_never_does() {
    let mut state = cluster();
    accept(&mut state, &set_mode(1, NodeMode::Draining));
    let applied = state.apply(&reborn(1, 1));
    assert_eq!(applied.delta.changes, [MetadataChange::NodeReborn(NodeId(1))]);
    repeat(&mut state, &reborn(1, 1));
    let known = state.image().node(NodeId(1)).expect("registered");
    assert_eq!((known.incarnation, known.mode), (Incarnation(257), NodeMode::Draining));
    accept(&mut state, &reborn(1, 2));
    for life in [0, 1] {
        let refused = refuse(&mut state, &reborn(1, life));
        assert!(matches!(refused, MetadataError::IncarnationRetired { .. }), "life {life}: {refused}");
        assert_eq!(refused.code(), ErrorCode::NodeRemoved);
    }
    assert_eq!(
        refuse(&mut state, &reborn(1, 1)).to_string(),
        "node 1 cannot come back with incarnation 0000000000000101: incarnation 0000000000000102 replaced it at \
         1970-01-01T00:16:40Z; start it with an empty data directory"
    );
}

#[test]
fn a_replica_on_an_emptied_disk_does_not_change_whom_a_new_partition_begins_with() {
    let mut state = cluster();
    accept(&mut state, &create_with(1, "a", vec![nodes(&[2, 1, 3])], &[]));
    let founders = [2, 1, 3].map(|id| (NodeId(id), node(id).incarnation));
    accept(&mut state, &reborn(1, 1));
    let restored = MetadataState::restore(&state.snapshot()).expect("its own snapshot");
    for state in [&state, &restored] {
        assert_eq!(record(state, partition(1, 0)).initial.expect("creating").to_vec(), founders);
    }
    accept(&mut state, &ready(1, 0..1));
    assert_eq!(record(&state, partition(1, 0)).initial, None);
}

#[test]
fn an_emptied_or_removed_node_holds_up_no_tombstone() {
    let mut state = cluster_of(4);
    accept(&mut state, &create_with(1, "a", vec![nodes(&[1])], &[]));
    accept(&mut state, &create_with(2, "b", vec![nodes(&[1, 4])], &[]));
    accept(&mut state, &delete(1));
    accept(&mut state, &delete(2));
    let emptied = state.apply(&reborn(1, 1)).delta.changes;
    let (gone, kept) = (topic_id(1), topic_id(2));
    let removed = MetadataChange::TopicDataRemoved { topic: kept, node: NodeId(1) };
    assert_eq!(emptied, [MetadataChange::NodeReborn(NodeId(1)), removed, MetadataChange::TopicForgotten(gone)]);
    let left = state.apply(&remove(4)).delta.changes;
    assert_eq!(left, [MetadataChange::NodeRemoved(NodeId(4)), MetadataChange::TopicForgotten(kept)]);
    assert_eq!(state.image().tombstones().len(), 0);
}

#[test]
fn a_node_is_removed_only_when_no_partition_names_it_and_the_refusal_says_which_do() {
    let mut state = cluster_of(4);
    accept(&mut state, &create_with(1, "orders", vec![nodes(&[1, 2]); 7], &[]));
    let refused = refuse(&mut state, &remove(1)).to_string();
    assert_eq!(
        refused,
        "node 1 holds replicas of 7 partitions (orders-0, orders-1, orders-2, orders-3, orders-4, …); drain it first"
    );
    accept(&mut state, &delete(1));
    accept(&mut state, &create_with(2, "b", vec![nodes(&[1, 2])], &[]));
    accept(&mut state, &ready(2, 0..1));
    accept(&mut state, &reassign(vec![to(partition(2, 0), &[1, 2], &[3, 2])]));
    let leaving = refuse(&mut state, &remove(1));
    assert!(matches!(leaving, MetadataError::NodeInUse { partitions: 1, .. }), "{leaving}");
    let settled = done(&state, partition(2, 0));
    accept(&mut state, &settled);
    accept(&mut state, &remove(1));
    assert!(state.image().node(NodeId(1)).is_none());
    repeat(&mut state, &remove(1));
}

#[test]
fn a_removed_node_comes_back_with_an_empty_disk_only_and_a_delayed_removal_does_not_hit_it() {
    let mut state = cluster_of(4);
    accept(&mut state, &set_mode(4, NodeMode::Draining));
    accept(&mut state, &remove(4));
    let refused = refuse(&mut state, &register(4));
    assert_eq!(refused.code(), ErrorCode::NodeRemoved);
    assert!(refused.to_string().contains("the node was removed at 1970-01-01T00:16:40Z"), "{refused}");
    accept(&mut state, &reborn(4, 1));
    assert_eq!(state.image().node(NodeId(4)).expect("registered").mode, NodeMode::Serving);
    repeat(&mut state, &remove(4));
    assert!(state.image().node(NodeId(4)).is_some());
    let (node, incarnation, counted_on) = (NodeId(4), Incarnation(5), Vec::new());
    let unseen = MetadataCommand::RemoveNode { node, incarnation, counted_on, at: NOW };
    assert!(matches!(refuse(&mut state, &unseen), MetadataError::OtherIncarnation { .. }));
}

#[test]
fn of_two_removals_that_count_on_each_others_vote_the_second_is_refused() {
    let mut state = cluster_of(3);
    // Both were found to be safe at one time: of three voters two are left.
    let removal = remove_counting_on(2, &[1, 3]);
    assert_eq!(codec::decode_command(&removal.encode()), Ok(removal.clone()));
    accept(&mut state, &removal);
    let refused = refuse(&mut state, &remove_counting_on(3, &[1, 2]));
    assert_eq!(refused, MetadataError::VoterGone { node: NodeId(3), voter: NodeId(2) });
    // It lost its disk, and with it the vote that was counted on.
    let mut state = cluster_of(3);
    accept(&mut state, &reborn(3, 1));
    refuse(&mut state, &remove_counting_on(2, &[1, 3]));
    accept(&mut state, &remove_counting_on(2, &[1]));
    repeat(&mut state, &remove_counting_on(2, &[1, 3]));
}

#[test]
fn the_memory_of_incarnations_is_bounded_and_forgets_the_oldest() {
    let mut state = cluster();
    let lives = RETIRED_INCARNATIONS_MAX as u64 + 1;
    for life in 1..=lives {
        accept(&mut state, &reborn(1, life));
    }
    let gone = state.image().retired();
    assert_eq!(gone.iter().len(), RETIRED_INCARNATIONS_MAX);
    let oldest = RetiredIncarnation { node: NodeId(1), incarnation: Incarnation(257), at: NOW };
    assert_eq!(gone.iter().next(), Some(&oldest));
    assert_eq!(MetadataState::restore(&state.snapshot()), Ok(state));
}

#[test]
fn the_feature_level_only_rises_and_only_to_what_every_node_knows() {
    let mut state = MetadataState::default();
    let born = MetadataCommand::ClusterBorn { cluster: cluster_id(), feature_level: FeatureLevel(1), at: NOW };
    accept(&mut state, &born);
    for (id, level) in [(1, 2), (2, 1), (3, 1)] {
        let mut node = node(id);
        node.feature_level_newest = FeatureLevel(level);
        accept(&mut state, &MetadataCommand::RegisterNode { cluster: cluster_id(), node });
    }
    let raise = |level| MetadataCommand::RaiseFeatureLevel { level: FeatureLevel(level) };
    repeat(&mut state, &raise(1));
    let refused = refuse(&mut state, &raise(2)).to_string();
    assert_eq!(
        refused,
        "feature level 2 is not known by node 2 (up to 1), node 3 (up to 1); upgrade or remove them first"
    );
    for command in [set_mode(1, NodeMode::Draining), remove(1), reborn(1, 1), reassign(vec![]), cancel(&[])] {
        let refused = refuse(&mut state, &command);
        assert!(matches!(refused, MetadataError::FeatureLevelTooLow { .. }), "{refused}");
    }
    accept(&mut state, &register(2));
    accept(&mut state, &register(3));
    let applied = state.apply(&raise(2));
    assert_eq!(applied.delta.changes, [MetadataChange::FeatureLevelRaised]);
    repeat(&mut state, &raise(2));
    assert!(matches!(refuse(&mut state, &raise(1)), MetadataError::FeatureLevelLowered { .. }));
    accept(&mut state, &set_mode(1, NodeMode::Draining));
}

#[test]
fn a_level_that_this_build_does_not_know_is_fatal_only_when_the_cluster_rises_to_it() {
    let mut state = cluster();
    let raise = MetadataCommand::RaiseFeatureLevel { level: FeatureLevel(4) };
    let refused = state.apply_encoded(&raise.encode());
    assert!(refused.is_ok(), "the nodes do not know it, so the cluster does not rise: {refused:?}");
    for id in 1..=3 {
        let mut node = node(id);
        node.feature_level_newest = FeatureLevel(4);
        accept(&mut state, &MetadataCommand::RegisterNode { cluster: cluster_id(), node });
    }
    let fatal = state.apply_encoded(&raise.encode()).expect_err("only a newer build can go on");
    assert_eq!(fatal, MetadataError::UnknownFeatureLevel { level: FeatureLevel(4) });
}

#[test]
fn a_cluster_that_was_recovered_has_another_id_and_remembers_the_one_before() {
    let mut state = cluster();
    let [after, other] = [0xd1, 0xd2].map(|id| ClusterId(Uuid::from_u128(id)));
    let recovery = Recovery { was: cluster_id(), node: NodeId(1), at: NOW };
    let recovered = MetadataCommand::ClusterRecovered { recovery, cluster: after };
    assert_eq!(state.apply(&recovered).delta.changes, [MetadataChange::ClusterRecovered]);
    repeat(&mut state, &recovered);
    let record = state.image().cluster().expect("born").clone();
    assert_eq!((record.id, record.recoveries), (after, vec![recovery]));
    let stale = MetadataCommand::ClusterRecovered { recovery, cluster: other };
    assert!(matches!(refuse(&mut state, &stale), MetadataError::OtherCluster { .. }));
    let old = MetadataCommand::RegisterNode { cluster: cluster_id(), node: node(4) };
    assert!(matches!(refuse(&mut state, &old), MetadataError::OtherCluster { .. }));
    let again = MetadataState::restore(&state.snapshot()).expect("its own");
    assert_eq!(again, state);
}
