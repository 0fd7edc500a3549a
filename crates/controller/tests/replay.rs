//! Random histories: replay, snapshots and deltas agree wherever one looks; damaged bytes
//! are refused. A failing seed is printed; `SEED=<n>` runs that one alone.

#![allow(clippy::print_stdout)]

mod support;

use highwater_controller::codec::{decode_response, encode_snapshot};
use std::collections::BTreeSet;

use highwater_controller::{
    ConfigChange, MetadataChange, MetadataCommand, MetadataDelta, MetadataError, MetadataImage, MetadataState,
    MetadataVersion, NodeMode, PartitionMove, PartitionPhase, place, plan_balance, plan_drain,
};
use highwater_types::{NodeId, PartitionId, PartitionIndex, TimestampMs};
use support::*;

const COMMANDS: usize = 240;

fn seeds() -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..40).collect(),
    }
}

/// A command that has a good chance of being accepted, and some of being refused.
fn draw(random: &mut Seeded, state: &MetadataState) -> MetadataCommand {
    match random.below(3) {
        0 => draw_node(random, state),
        1 => draw_move(random, state),
        _ => draw_topic(random, state),
    }
}

fn draw_topic(random: &mut Seeded, state: &MetadataState) -> MetadataCommand {
    let id = u128::from(random.below(12)) + 1;
    let at = TimestampMs(NOW.0 + i64::try_from(random.below(120_000)).expect("small"));
    let nodes = state.image().placement_nodes();
    let replicas = u32::try_from(random.below(4)).expect("small");
    let partitions = u32::try_from(random.below(4)).expect("small");
    let placement = place(&nodes, partitions, replicas, random.next()).unwrap_or_default();
    let names = ["a", "b.c", "b_c", "d", "__e", "not a name"];
    let name = names[usize::try_from(random.below(6)).expect("small")];
    match random.below(10) {
        0..=2 => {
            let settings = [("segment.bytes", "8192"), ("min.insync.replicas", "2")];
            let given = usize::try_from(random.below(3)).expect("small");
            create_with(id, name, placement, &settings[..given])
        }
        3 => MetadataCommand::DeleteTopic { topic: topic_id(id), at },
        4 => forget(id, random.below(4), at),
        5 => MetadataCommand::AllocateProducerIds { count: i64::try_from(random.below(1100)).expect("small") },
        6 => MetadataCommand::AddPartitions {
            topic: topic_id(id),
            partitions_before: u32::try_from(random.below(4)).expect("small"),
            placement,
        },
        7 | 8 => MetadataCommand::PartitionsReady {
            topic: topic_id(id),
            partitions: (0..partitions).map(PartitionIndex).collect(),
        },
        _ => MetadataCommand::AlterTopicConfigs {
            topic: topic_id(id),
            changes: vec![
                ConfigChange::Set { name: "retention.ms".into(), value: at.to_string() },
                ConfigChange::Delete { name: "segment.bytes".into() },
            ],
        },
    }
}

fn draw_node(random: &mut Seeded, state: &MetadataState) -> MetadataCommand {
    let id = random.below(7);
    match random.below(6) {
        0 => register(id),
        1 => reborn(id.max(1), random.below(4)),
        2 | 3 => {
            let modes = [NodeMode::Serving, NodeMode::Serving, NodeMode::Maintenance, NodeMode::Draining];
            set_mode(id, modes[usize::try_from(random.below(4)).expect("small")])
        }
        4 => match state.image().node(NodeId(id)) {
            Some(node) => MetadataCommand::RemoveNode {
                node: node.id,
                incarnation: node.incarnation,
                counted_on: Vec::new(),
                at: NOW,
            },
            None => remove(id),
        },
        _ => {
            let mut changed = node(random.below(3) + 1);
            changed.rack = random.below(2).checked_sub(1).map(|rack| rack.to_string());
            MetadataCommand::RegisterNode { cluster: cluster_id(), node: changed }
        }
    }
}

/// A partition that lives, if any does.
fn draw_partition(random: &mut Seeded, image: &MetadataImage) -> PartitionId {
    let live = partitions(image);
    match usize::try_from(random.below(live.len() as u64 + 1)).expect("small").checked_sub(1) {
        Some(place) => live[place],
        None => partition(1, 0),
    }
}

fn partitions(image: &MetadataImage) -> Vec<PartitionId> {
    let of_topic = |topic: &std::sync::Arc<highwater_controller::TopicRecord>| {
        let id = topic.id;
        (0..topic.partition_count()).map(move |index| PartitionId { topic: id, index: PartitionIndex(index) })
    };
    image.topics().flat_map(of_topic).collect()
}

fn draw_move(random: &mut Seeded, state: &MetadataState) -> MetadataCommand {
    let image = state.image();
    let id = draw_partition(random, image);
    match random.below(8) {
        0 => reassign(plan_balance(image, random.next())),
        1 => {
            let plan = plan_drain(image, NodeId(random.below(6)), random.next());
            reassign(plan.map(|plan| plan.moves).unwrap_or_default())
        }
        2 => {
            // Another number of replicas for all partitions of the topic.
            let factor = u32::try_from(random.below(4)).expect("small");
            let placed = place(&image.placement_nodes(), 1, factor, random.next()).unwrap_or_default();
            let of_topic = partitions(image).into_iter().filter(|other| other.topic == id.topic);
            let moves = of_topic.map(|partition| PartitionMove {
                partition,
                replicas: placed.first().cloned().unwrap_or_default(),
                replicas_before: record(state, partition).replicas.to_vec(),
            });
            let moves = moves.collect();
            let replication_factors = [(id.topic, factor)].into();
            MetadataCommand::ReassignPartitions { moves, replication_factors, at: NOW }
        }
        3 => cancel(&[id, draw_partition(random, image)]),
        4 | 5 if image.partition(id).is_some() => done(state, id),
        6 => MetadataCommand::ReassignmentDone {
            partition: id,
            replicas: image.partition(id).map(|it| it.replicas.to_vec()).unwrap_or_default(),
            since: MetadataVersion(random.below(100)),
        },
        _ => {
            let before = image.partition(id).map(|it| it.replicas.to_vec()).unwrap_or_default();
            let mut replicas = before.clone();
            for replica in &mut replicas {
                if random.below(2) == 0 {
                    replica.0 = random.below(6) + 1;
                }
            }
            reassign(vec![PartitionMove { partition: id, replicas, replicas_before: before }])
        }
    }
}

/// What every command leaves true.
fn check_invariants(image: &MetadataImage) {
    let registered: BTreeSet<NodeId> = image.nodes().map(|node| node.id).collect();
    for topic in image.topics() {
        for record in &topic.partitions {
            let holders: Vec<NodeId> = record.holders().collect();
            let distinct: BTreeSet<NodeId> = holders.iter().copied().collect();
            assert_eq!(distinct.len(), holders.len(), "no node twice: {record:?}");
            assert!(distinct.is_subset(&registered), "only nodes that are there: {record:?}");
            assert_eq!(record.replicas.len(), topic.replication_factor() as usize);
            assert_eq!(record.initial.is_some(), record.phase == PartitionPhase::Creating);
            if let Some(moving) = &record.reassignment {
                assert_eq!(record.phase, PartitionPhase::Ready);
                assert!(moving.before.iter().all(|node| distinct.contains(node)), "{record:?}");
                assert!(moving.since <= image.version());
            }
        }
        assert!(topic.config.check_replication(topic.replication_factor()).is_ok());
    }
    assert_eq!(partitions(image).len(), image.partition_count() as usize);
    for tombstone in image.tombstones() {
        assert!(!tombstone.holders.is_empty() && tombstone.holders.is_subset(&registered));
    }
    for node in image.nodes() {
        assert_eq!(image.retired().find(node.id, node.incarnation), None, "{node:?}");
    }
}

/// Draws a history and hands each step to `look`: before, command, after.
fn history(
    seed: u64,
    mut look: impl FnMut(&MetadataState, &MetadataCommand, &MetadataState, &MetadataDelta),
) -> (Vec<MetadataCommand>, MetadataState) {
    println!("SEED={seed}");
    let mut random = Seeded(seed);
    let mut state = MetadataState::default();
    let mut commands = vec![born(), register(1), register(2), register(3), register(4)];
    for step in 0..COMMANDS {
        if commands.len() <= step {
            commands.push(draw(&mut random, &state));
        }
        let before = state.clone();
        let delta = state.apply(&commands[step]).delta;
        look(&before, &commands[step], &state, &delta);
    }
    (commands, state)
}

#[test]
fn commands_survive_their_replicated_form() {
    for seed in seeds() {
        history(seed, |_, command, _, _| {
            assert_eq!(MetadataCommand::decode(&command.encode()).as_ref(), Ok(command));
        });
    }
}

#[test]
fn a_state_restored_from_its_snapshot_is_the_same_state_after_every_command() {
    for seed in seeds() {
        let mut accepted = 0;
        history(seed, |before, _, after, _| {
            accepted += usize::from(before != after);
            let snapshot = after.snapshot();
            let restored = MetadataState::restore(&snapshot).expect("its own snapshot");
            assert_eq!(restored, *after);
            assert_eq!(restored.snapshot(), snapshot);
            assert_eq!(restored.image().partition_count(), after.image().partition_count());
        });
        assert!(accepted > COMMANDS / 10, "the history does something: {accepted}");
    }
}

#[test]
fn every_command_keeps_the_records_whole_and_only_a_settled_group_lets_a_node_go() {
    let mut kinds = BTreeSet::new();
    for seed in seeds() {
        history(seed, |_, command, after, delta| {
            check_invariants(after.image());
            for change in &delta.changes {
                let kind = format!("{change:?}");
                kinds.insert(kind.split(['(', ' ']).next().expect("a name").to_owned());
                if let MetadataChange::PartitionLeft { partition, node } = change {
                    assert!(matches!(command, MetadataCommand::ReassignmentDone { .. }));
                    assert!(!record(after, *partition).is_held_by(*node));
                }
            }
        });
    }
    if std::env::var("SEED").is_err() {
        assert_eq!(kinds.len(), 16, "histories see every kind of change that level 2 has: {kinds:?}");
    }
}

#[test]
fn replaying_a_history_gives_the_same_responses_deltas_and_state() {
    for seed in seeds() {
        let mut said = Vec::new();
        let (commands, state) = history(seed, |before, command, _, _| {
            said.push(before.clone().apply(command));
        });
        let mut replayed = MetadataState::default();
        let mut encoded = MetadataState::default();
        for (command, said) in commands.iter().zip(said) {
            let (response, delta) = encoded.apply_encoded(&command.encode()).expect("known");
            let response = decode_response(&response).expect("a response");
            assert_eq!(response, said.result.clone().map_err(|error| error.refusal()));
            assert_eq!(delta, said.delta);
            assert_eq!(replayed.apply(command), said);
        }
        assert_eq!((&replayed, &encoded), (&state, &state));
    }
}

#[test]
fn a_history_from_a_snapshot_in_its_middle_ends_the_same() {
    for seed in seeds() {
        let (commands, state) = history(seed, |_, _, _, _| {});
        for cut in (0..COMMANDS).step_by(17) {
            let mut first = MetadataState::default();
            commands[..cut].iter().for_each(|command| drop(first.apply(command)));
            let mut second = MetadataState::restore(&first.snapshot()).expect("its own snapshot");
            commands[cut..].iter().for_each(|command| drop(second.apply(command)));
            assert_eq!(second, state, "cut at {cut}");
        }
    }
}

#[test]
fn a_delta_says_exactly_how_two_images_differ() {
    for seed in seeds() {
        history(seed, |before, command, after, delta| {
            let between = MetadataDelta::between(before.image(), after.image());
            assert_eq!(between, *delta, "{command:?}");
            assert_eq!(delta.changes.is_empty(), before == after);
            let restored = MetadataState::restore(&after.snapshot()).expect("its own snapshot");
            assert_eq!(MetadataDelta::between(before.image(), restored.image()), *delta);
        });
    }
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_snapshot_is_refused() {
    let (_, state) = history(7, |_, _, _, _| {});
    let snapshot = encode_snapshot(state.image()).to_vec();
    for position in 0..snapshot.len() {
        assert!(MetadataState::restore(&snapshot[..position]).is_err(), "cut at {position}");
        for bit in 0..8 {
            let mut damaged = snapshot.clone();
            damaged[position] ^= 1 << bit;
            assert!(MetadataState::restore(&damaged).is_err(), "bit {bit} of byte {position}");
        }
    }
}

#[test]
fn garbage_is_refused_and_changes_nothing() {
    for seed in seeds() {
        println!("SEED={seed}");
        let mut random = Seeded(seed);
        let (commands, mut state) = history(seed, |_, _, _, _| {});
        for command in commands {
            let mut bytes = command.encode().to_vec();
            for _ in 0..=random.below(3) {
                let at = usize::try_from(random.below(bytes.len() as u64)).expect("an index");
                bytes[at] ^= 1 << random.below(8);
            }
            bytes.truncate(usize::try_from(random.below(bytes.len() as u64 + 1)).expect("a length"));
            let before = state.clone();
            let result = state.apply_encoded(&bytes);
            assert!(result.is_ok() || state == before);
            let _ = decode_response(&bytes);
            let _ = MetadataState::restore(&bytes);
        }
    }
    let mut state = cluster();
    assert!(matches!(state.apply_encoded(&[]), Err(MetadataError::Malformed { .. })));
}

#[test]
fn a_command_of_a_newer_build_is_refused_by_its_version() {
    let mut newer = register(1).encode().to_vec();
    assert_eq!(newer[..2], [0x08, 0x01], "the version is the first field");
    newer[1] = 4;
    let refused = MetadataState::default().apply_encoded(&newer).expect_err("newer");
    assert_eq!(refused, MetadataError::UnknownVersion { what: "command", version: 4, newest: 3 });
    let mut lying = set_mode(1, NodeMode::Draining).encode().to_vec();
    lying[1] = 1;
    assert!(matches!(MetadataCommand::decode(&lying), Err(MetadataError::Malformed { .. })));
}
