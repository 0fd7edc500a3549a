//! The state machine above a partition's log: what its producers wrote last, and the
//! partition's commands.
//!
//! It is a function of the log alone: no clock, no IO. After each run of applied entries
//! it wakes the readers that wait for data.

use std::sync::Arc;

use bytes::Bytes;
use highwater_storage::{Applied, Applier, Entry, Payload, RestoreError};
use highwater_types::mutant;
use parking_lot::Mutex;
use prost::Message as _;

use crate::command::PartitionCommand;
use crate::producer_state::ProducerState;
use crate::waiters::Waiters;

/// Version of the snapshot's encoding.
const SNAPSHOT_VERSION: u32 = 1;

/// What the applier maintains and the partition's leader reads.
#[derive(Default)]
pub struct AppliedState {
    pub(crate) producers: Mutex<ProducerState>,
    pub(crate) waiters: Arc<Waiters>,
}

/// Applies the committed entries of one partition.
pub struct PartitionApplier {
    state: Arc<AppliedState>,
    /// Bytes applied since the waiters were told.
    new_bytes: u64,
    /// Whether the log start may have moved since.
    log_start_moved: bool,
}

impl PartitionApplier {
    /// An applier before the first entry, and the state that it shares with
    /// [`Partition`](crate::Partition).
    pub fn new() -> (Self, Arc<AppliedState>) {
        let state = Arc::new(AppliedState::default());
        let applier = Self { state: Arc::clone(&state), new_bytes: 0, log_start_moved: false };
        (applier, state)
    }

    /// Carries out a control entry.
    fn apply_command(&mut self, command: &[u8]) -> Applied {
        match PartitionCommand::decode(command) {
            Ok(PartitionCommand::SetLogStart { offset, .. }) => {
                self.log_start_moved = true;
                // The log ignores a start that would go back, and takes none beyond its end.
                Applied { log_start: Some(offset), ..Applied::default() }
            }
            Ok(PartitionCommand::Barrier) => Applied::default(),
            Err(error) => {
                // All nodes of one version do the same: nothing. The cluster's feature level keeps
                // newer commands out of the log until every node knows them.
                tracing::error!(%error, "a control entry of a partition was not understood and has no effect");
                Applied::default()
            }
        }
    }
}

impl Applier for PartitionApplier {
    fn apply(&mut self, entry: &Entry) -> Applied {
        match &entry.payload {
            Payload::Batch(batch) => {
                self.state.producers.lock().apply(batch.header());
                self.new_bytes += batch.size_in_bytes() as u64;
                Applied::default()
            }
            Payload::Control(command) => self.apply_command(command),
            Payload::Blank | Payload::Membership(_) => Applied::default(),
        }
    }

    fn applied(&mut self) {
        if std::mem::take(&mut self.log_start_moved) {
            self.state.waiters.wake_all();
        }
        let new_bytes = std::mem::take(&mut self.new_bytes);
        if new_bytes > 0 {
            self.state.waiters.advance(new_bytes);
        }
    }

    fn snapshot(&self) -> Bytes {
        let snapshot =
            Snapshot { version: SNAPSHOT_VERSION, producers: self.state.producers.lock().snapshot() };
        Bytes::from(snapshot.encode_to_vec())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        *self.state.producers.lock() = match state {
            [] => ProducerState::default(),
            _ if mutant!(DedupForgotten) => ProducerState::default(),
            encoded => decode_producers(encoded)?,
        };
        self.new_bytes = 0;
        self.log_start_moved = false;
        self.state.waiters.wake_all();
        Ok(())
    }
}

impl Drop for PartitionApplier {
    /// The group is gone: nothing will wake those who wait here.
    fn drop(&mut self) {
        self.state.waiters.close();
    }
}

/// The inverse of [`PartitionApplier`]'s snapshot.
fn decode_producers(encoded: &[u8]) -> Result<ProducerState, RestoreError> {
    let Snapshot { version, producers } =
        Snapshot::decode(encoded).map_err(|error| RestoreError(error.to_string()))?;
    if version != SNAPSHOT_VERSION {
        return Err(RestoreError(format!(
            "partition state has version {version}; this node knows version {SNAPSHOT_VERSION}"
        )));
    }
    ProducerState::restore(&producers).map_err(|error| RestoreError(error.to_string()))
}

/// The persisted state, as protobuf.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Snapshot {
    #[prost(uint32, tag = "1")]
    version: u32,
    /// As the producer state encodes itself.
    #[prost(bytes = "bytes", tag = "2")]
    producers: Bytes,
}
