//! Targets of `highwater-controller`: commands and snapshots of the cluster's metadata, which come from other nodes.

use highwater_controller::{MetadataCommand, MetadataState};
use highwater_types::{NodeId, TimestampMs, TopicId};

/// Magic, version, checksum.
const SNAPSHOT_HEADER_LEN: usize = 12;

/// A command, and a state that takes it.
pub fn metadata_command(data: &[u8]) {
    if let Ok(command) = MetadataCommand::decode(data) {
        assert_eq!(MetadataCommand::decode(&command.encode()).as_ref(), Ok(&command));
    }
    let mut state = MetadataState::default();
    let before = state.snapshot();
    if state.apply_encoded(data).is_err() {
        assert_eq!(state.snapshot(), before, "what is not understood changes nothing");
    }
}

/// Commands of two kinds.
pub fn command_seeds() -> Vec<Vec<u8>> {
    let topic = TopicId(uuid::Uuid::from_bytes([7; 16]));
    let create = MetadataCommand::CreateTopic {
        topic,
        name: "orders".to_owned(),
        placement: vec![vec![NodeId(1)], vec![NodeId(1)]],
        overrides: [("segment.bytes".to_owned(), "65536".to_owned())].into(),
        internal: false,
        at: TimestampMs(1_700_000_000_000),
    };
    let delete = MetadataCommand::DeleteTopic { topic, at: TimestampMs(1_700_000_000_001) };
    [create, delete].iter().map(|command| command.encode().to_vec()).collect()
}

/// A snapshot: as it is, and with its checksum made right.
pub fn metadata_snapshot(data: &[u8]) {
    restore(data);
    if let Some((head, body)) = data.split_at_checked(SNAPSHOT_HEADER_LEN) {
        restore(&[&head[..8], &crc32c::crc32c(body).to_le_bytes(), body].concat());
    }
}

fn restore(data: &[u8]) {
    if let Ok(state) = MetadataState::restore(data) {
        let again = MetadataState::restore(&state.snapshot());
        assert_eq!(again.map(|state| state.snapshot()).ok(), Some(state.snapshot()));
    }
}

/// The state before the first command, and after one.
pub fn snapshot_seeds() -> Vec<Vec<u8>> {
    let mut state = MetadataState::default();
    let empty = state.snapshot().to_vec();
    for command in command_seeds() {
        // Refused or not, the state is one that a snapshot must carry.
        let _ = state.apply_encoded(&command);
    }
    vec![empty, state.snapshot().to_vec()]
}
