//! Bytes that earlier builds wrote must be understood for ever, and mean what they meant.

mod support;

use std::path::PathBuf;

use highwater_controller::{
    ConfigChange, FeatureLevel, MetadataCommand, MetadataState, MetadataVersion, NodeMode,
};
use highwater_types::{NodeId, PartitionIndex, TimestampMs};
use support::*;

/// What a cluster of feature level 1 may have been told: every kind of command of that level.
fn level_1() -> Vec<MetadataCommand> {
    let indexes = |range: std::ops::Range<u32>| range.map(PartitionIndex).collect();
    let mut moved = node(2);
    moved.rack = None;
    moved.addresses.insert("grpc".to_owned(), "[fd00::2]:7400".to_owned());
    moved.feature_level_newest = FeatureLevel(1);
    let mut commands =
        vec![MetadataCommand::ClusterBorn { cluster: cluster_id(), feature_level: FeatureLevel(1), at: NOW }];
    for id in 1..=3 {
        let mut node = node(id);
        node.feature_level_newest = FeatureLevel(1);
        commands.push(MetadataCommand::RegisterNode { cluster: cluster_id(), node });
    }
    let pair = |first, second| vec![NodeId(first), NodeId(second)];
    commands.extend([
        create_with(1, "orders", vec![pair(1, 2), pair(2, 3)], &[("retention.ms", "5000")]),
        MetadataCommand::PartitionsReady { topic: topic_id(1), partitions: indexes(0..1) },
        MetadataCommand::AddPartitions {
            topic: topic_id(1),
            partitions_before: 2,
            placement: vec![pair(3, 1)],
        },
        create_with(2, "__groups", vec![vec![NodeId(3)]], &[]),
        MetadataCommand::PartitionsReady { topic: topic_id(2), partitions: indexes(0..1) },
        MetadataCommand::AlterTopicConfigs {
            topic: topic_id(1),
            changes: vec![
                ConfigChange::Set { name: "segment.bytes".into(), value: "65536".into() },
                ConfigChange::Delete { name: "retention.ms".into() },
            ],
        },
        create(3, "gone", 4),
        delete(3),
        forget(3, 2, TimestampMs(NOW.0 + 600_000)),
        create(4, "forgotten", 1),
        delete(4),
        forget(4, 1, TimestampMs(NOW.0 + 600_000)),
        forget(4, 2, TimestampMs(NOW.0 + 600_000)),
        MetadataCommand::AllocateProducerIds { count: 1000 },
        MetadataCommand::RegisterNode { cluster: cluster_id(), node: moved },
    ]);
    commands
}

/// What came with feature level 2: every kind of command, and every kind of record.
fn level_2() -> Vec<MetadataCommand> {
    let mut commands =
        vec![MetadataCommand::ClusterBorn { cluster: cluster_id(), feature_level: FeatureLevel(1), at: NOW }];
    commands.extend((1..=5).map(|id| {
        let mut node = node(id);
        node.feature_level_newest = FeatureLevel(2);
        MetadataCommand::RegisterNode { cluster: cluster_id(), node }
    }));
    let MetadataCommand::RegisterNode { cluster, node: mut emptied } = reborn(2, 1) else {
        unreachable!("a registration")
    };
    emptied.feature_level_newest = FeatureLevel(2);
    commands.extend([
        MetadataCommand::RaiseFeatureLevel { level: FeatureLevel(2) },
        create_with(1, "orders", vec![nodes(&[1, 2, 3]); 3], &[]),
        ready(1, 0..3),
        create_with(2, "new", vec![nodes(&[2, 3])], &[]),
        create(3, "gone", 1),
        delete(3),
        MetadataCommand::RegisterNode { cluster, node: emptied },
        set_mode(1, NodeMode::Draining),
        set_mode(3, NodeMode::Maintenance),
        remove(5),
    ]);
    // Their versions are part of what is written, so they are stated here and not derived.
    let moves = vec![
        to(partition(1, 0), &[1, 2, 3], &[4, 2, 3]),
        to(partition(1, 1), &[1, 2, 3], &[2, 3, 4]),
        to(partition(1, 2), &[1, 2, 3], &[3, 2, 1]),
    ];
    let since = MetadataVersion(commands.len() as u64 + 1);
    commands.extend([
        MetadataCommand::ReassignPartitions {
            moves,
            replication_factors: [(topic_id(1), 3)].into(),
            at: TimestampMs(NOW.0 + 9),
        },
        MetadataCommand::ReassignmentDone { partition: partition(1, 0), replicas: nodes(&[4, 2, 3]), since },
        cancel(&[partition(1, 1)]),
    ]);
    commands
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Commands as a file: each after its length, a `u32` in little-endian order.
fn joined(commands: &[MetadataCommand]) -> Vec<u8> {
    let mut out = Vec::new();
    for command in commands {
        let bytes = command.encode();
        out.extend_from_slice(&u32::try_from(bytes.len()).expect("small").to_le_bytes());
        out.extend_from_slice(&bytes);
    }
    out
}

/// What the bytes of a file of commands mean.
fn parted(mut bytes: &[u8]) -> Vec<MetadataCommand> {
    let mut out = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (command, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        out.push(MetadataCommand::decode(command).expect("a known command"));
        bytes = rest;
    }
    out
}

/// Compares a history and the state after it with their golden files. `HIGHWATER_WRITE_GOLDEN=<level>` writes
/// those of that level first: only for a level that no release has used.
fn compare(level: &str, commands: &[MetadataCommand]) {
    let mut state = MetadataState::default();
    for command in commands {
        accept(&mut state, command);
    }
    let (log, snapshot) = (golden(&format!("{level}/commands.bin")), golden(&format!("{level}/snapshot.bin")));
    if std::env::var("HIGHWATER_WRITE_GOLDEN").is_ok_and(|wanted| wanted == level) {
        std::fs::create_dir_all(golden(level)).expect("a directory");
        std::fs::write(&log, joined(commands)).expect("written");
        std::fs::write(&snapshot, state.snapshot()).expect("written");
    }
    let written = std::fs::read(log).expect("a golden file");
    assert_eq!(parted(&written), commands);
    assert_eq!(joined(commands), written, "commands of {level} are written as ever");
    let written = std::fs::read(snapshot).expect("a golden file");
    assert_eq!(MetadataState::restore(&written).as_ref(), Ok(&state));
    assert_eq!(state.snapshot(), written, "snapshots of {level} are written as ever");
}

#[test]
fn a_log_and_a_snapshot_of_level_1_are_understood_and_written_as_ever() {
    compare("level-1", &level_1());
}

#[test]
fn a_log_and_a_snapshot_of_level_2_are_understood_and_written_as_ever() {
    compare("level-2", &level_2());
}

#[test]
fn a_cluster_of_level_1_rises_to_level_2_with_a_partition_that_is_being_created() {
    let mut state = MetadataState::default();
    for command in level_1() {
        accept(&mut state, &command);
    }
    for id in 1..=3 {
        let node = MetadataCommand::RegisterNode { cluster: cluster_id(), node: node(id) };
        accept(&mut state, &node);
    }
    accept(&mut state, &MetadataCommand::RaiseFeatureLevel { level: FeatureLevel(2) });
    let founders = record(&state, partition(1, 1)).initial.expect("it is being created");
    assert_eq!(founders.to_vec(), [2, 3].map(|id| (NodeId(id), node(id).incarnation)));
    assert_eq!(MetadataState::restore(&state.snapshot()), Ok(state));
}
