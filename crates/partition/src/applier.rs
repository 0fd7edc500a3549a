//! The state machine above a partition's log: what its producers wrote last, and where
//! its log starts.
//!
//! It is a function of the log alone: no clock, no IO. After each run of applied entries
//! it wakes the readers that wait for data.

use std::sync::Arc;

use bytes::Bytes;
use highwater_storage::{Applied, Applier, Entry, Payload, RestoreError};
use highwater_types::Offset;
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
    log_start: Offset,
    /// The offset after the last applied batch.
    next_offset: Offset,
    /// Bytes applied since the waiters were told.
    new_bytes: u64,
    /// Whether something else than new bytes has to be looked at.
    log_start_moved: bool,
}

impl PartitionApplier {
    /// An applier before the first entry, and the state that it shares with
    /// [`Partition`](crate::Partition).
    pub fn new() -> (Self, Arc<AppliedState>) {
        let state = Arc::new(AppliedState::default());
        let applier = Self {
            state: Arc::clone(&state),
            log_start: Offset::ZERO,
            next_offset: Offset::ZERO,
            new_bytes: 0,
            log_start_moved: false,
        };
        (applier, state)
    }

    /// Carries out a control entry.
    fn apply_command(&mut self, command: &[u8]) -> Applied {
        match PartitionCommand::decode(command) {
            Ok(PartitionCommand::SetLogStart { offset, .. }) => {
                // Nobody proposes an offset beyond the high watermark. Should one come all the
                // same, the end of the log is as far as it can mean.
                let offset = offset.min(self.next_offset);
                if offset <= self.log_start {
                    return Applied::default();
                }
                self.log_start = offset;
                self.log_start_moved = true;
                Applied {
                    log_start: Some(offset),
                    ..Applied::default()
                }
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
                self.next_offset = batch.next_offset();
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
        let snapshot = Snapshot {
            version: SNAPSHOT_VERSION,
            log_start: self.log_start.0,
            next_offset: self.next_offset.0,
            producers: self.state.producers.lock().snapshot(),
        };
        Bytes::from(snapshot.encode_to_vec())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let snapshot = if state.is_empty() {
            Snapshot {
                version: SNAPSHOT_VERSION,
                ..Snapshot::default()
            }
        } else {
            Snapshot::decode(state).map_err(|error| RestoreError(error.to_string()))?
        };
        let Snapshot {
            version,
            log_start,
            next_offset,
            producers,
        } = snapshot;
        if version != SNAPSHOT_VERSION {
            return Err(RestoreError(format!(
                "partition state has version {version}; this node knows version {SNAPSHOT_VERSION}"
            )));
        }
        if !(0..=next_offset).contains(&log_start) {
            return Err(RestoreError(format!(
                "partition state has log start {log_start} and next offset {next_offset}"
            )));
        }
        let producers =
            ProducerState::restore(&producers).map_err(|error| RestoreError(error.to_string()))?;
        *self.state.producers.lock() = producers;
        self.log_start = Offset(log_start);
        self.next_offset = Offset(next_offset);
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

/// The persisted state, as protobuf.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Snapshot {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(int64, tag = "2")]
    log_start: i64,
    #[prost(int64, tag = "3")]
    next_offset: i64,
    /// As the producer state encodes itself.
    #[prost(bytes = "bytes", tag = "4")]
    producers: Bytes,
}
