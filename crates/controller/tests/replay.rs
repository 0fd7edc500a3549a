//! Random histories: replay, snapshots and deltas agree wherever one looks; damaged bytes
//! are refused. A failing seed is printed; `SEED=<n>` runs that one alone.

#![allow(clippy::print_stdout)]

mod support;

use highwater_controller::codec::{decode_response, encode_snapshot};
use highwater_controller::{ConfigChange, MetadataCommand, MetadataDelta, MetadataError, MetadataState, place};
use highwater_types::{NodeId, PartitionIndex, TimestampMs};
use support::*;

const COMMANDS: usize = 120;

fn seeds() -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..40).collect(),
    }
}

/// A command that has a good chance of being accepted, and some of being refused.
fn draw(random: &mut Seeded, state: &MetadataState) -> MetadataCommand {
    let id = u128::from(random.below(12)) + 1;
    let at = TimestampMs(NOW.0 + i64::try_from(random.below(120_000)).expect("small"));
    let nodes = state.image().placement_nodes();
    let replicas = u32::try_from(random.below(4)).expect("small");
    let partitions = u32::try_from(random.below(4)).expect("small");
    let placement = place(&nodes, partitions, replicas, random.next()).unwrap_or_default();
    let names = ["a", "b.c", "b_c", "d", "__e", "not a name"];
    let name = names[usize::try_from(random.below(6)).expect("small")];
    match random.below(10) {
        0 => register(random.below(5)),
        1 | 2 => {
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
        7 => MetadataCommand::PartitionsReady {
            topic: topic_id(id),
            partitions: (0..partitions).map(PartitionIndex).collect(),
        },
        8 => MetadataCommand::AlterTopicConfigs {
            topic: topic_id(id),
            changes: vec![
                ConfigChange::Set { name: "retention.ms".into(), value: at.to_string() },
                ConfigChange::Delete { name: "segment.bytes".into() },
            ],
        },
        _ => {
            let mut changed = node(random.below(3) + 1);
            changed.rack = random.below(2).checked_sub(1).map(|rack| rack.to_string());
            MetadataCommand::RegisterNode { cluster: cluster_id(), node: changed }
        }
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
    let mut commands = vec![born(), register(1), register(2), register(3)];
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
        assert!(accepted > COMMANDS / 5, "the history does something: {accepted}");
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
    newer[1] = 2;
    let refused = MetadataState::default().apply_encoded(&newer).expect_err("newer");
    assert_eq!(refused, MetadataError::UnknownVersion { what: "command", version: 2, newest: 1 });
    assert!(cluster().image().node(NodeId(1)).is_some());
}
