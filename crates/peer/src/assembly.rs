//! Puts snapshots together that arrive in chunks. The memory for all of them is bounded, over all connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use highwater_types::{GroupId, Incarnation};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::codec::{SnapshotHead, check_chunk};
use crate::frame::{Arrived, Correlation};
use crate::served_requests::Job;

/// Most snapshots that one connection has under way; a peer sends one after the other.
const PARTIAL_MAX: usize = 4;

/// Room for snapshots that are being received; all connections share it.
#[derive(Clone)]
pub(crate) struct SnapshotRoom {
    room: Arc<Semaphore>,
    bytes: usize,
}

impl SnapshotRoom {
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = bytes.min(u32::MAX as usize);
        Self { room: Arc::new(Semaphore::new(bytes)), bytes }
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, String> {
        let count = u32::try_from(bytes).ok().filter(|_| bytes <= self.bytes);
        let count =
            count.ok_or_else(|| format!("a state of {bytes} bytes; at most {} are taken", self.bytes))?;
        let taken = Arc::clone(&self.room).try_acquire_many_owned(count);
        taken.map_err(|_| format!("no room for a state of {bytes} bytes; others are being received"))
    }
}

/// The snapshots of one connection that are not whole yet.
pub(crate) struct Assemblies {
    partial: BTreeMap<Correlation, Partial>,
    room: SnapshotRoom,
}

/// What came first of a snapshot.
pub(crate) struct Beginning {
    pub(crate) correlation: Correlation,
    pub(crate) to: Incarnation,
    pub(crate) group: GroupId,
    pub(crate) expires: Instant,
    pub(crate) head: SnapshotHead,
    pub(crate) first: Bytes,
}

struct Partial {
    to: Incarnation,
    group: GroupId,
    expires: Instant,
    head: SnapshotHead,
    state: BytesMut,
    /// For the answer, of either kind.
    slot: OwnedSemaphorePermit,
    room: OwnedSemaphorePermit,
}

/// Why a snapshot comes to nothing, and the slot for the answer that says so.
pub(crate) type Failed = (String, OwnedSemaphorePermit);

impl Assemblies {
    pub(crate) fn new(room: SnapshotRoom) -> Self {
        Self { partial: BTreeMap::new(), room }
    }

    /// A snapshot begins.
    pub(crate) fn begin(&mut self, beginning: Beginning, slot: OwnedSemaphorePermit) -> Result<(), Failed> {
        let now = Instant::now();
        self.partial.retain(|_, partial| partial.expires > now);
        if self.partial.len() >= PARTIAL_MAX {
            return Err((format!("{PARTIAL_MAX} snapshots are under way on this connection"), slot));
        }
        let Beginning { correlation, to, group, expires, head, first } = beginning;
        let room = match self.room.take(head.state_len()) {
            Ok(room) => room,
            Err(reason) => return Err((reason, slot)),
        };
        let mut state = BytesMut::with_capacity(head.state_len());
        state.extend_from_slice(&first);
        self.partial.insert(correlation, Partial { to, group, expires, head, state, slot, room });
        Ok(())
    }

    /// More of a snapshot; the whole request when it was the last. A chunk of a snapshot that was refused or given up is ignored.
    pub(crate) fn chunk(&mut self, frame: &Arrived) -> Result<Option<Job>, Failed> {
        let Some(mut partial) = self.partial.remove(&frame.correlation) else { return Ok(None) };
        let problem = match check_chunk(frame) {
            Err(error) => Some(error.to_string()),
            Ok(position) if position != partial.state.len() as u64 => {
                Some(format!("a chunk for byte {position} came at byte {}", partial.state.len()))
            }
            Ok(_) if frame.payload.len() > partial.head.state_len() - partial.state.len() => {
                Some("a chunk goes beyond the end of the state".to_owned())
            }
            Ok(_) => None,
        };
        if let Some(problem) = problem {
            return Err((problem, partial.slot));
        }
        partial.state.extend_from_slice(&frame.payload);
        if partial.state.len() < partial.head.state_len() {
            self.partial.insert(frame.correlation, partial);
            return Ok(None);
        }
        let Partial { to, group, expires, head, state, slot, room } = partial;
        Ok(Some(Job {
            correlation: frame.correlation,
            to,
            group,
            expires,
            bytes: state.len(),
            request: head.with_state(state.freeze()),
            slot,
            room,
        }))
    }

    /// The rest of a snapshot will not come.
    pub(crate) fn abandon(&mut self, correlation: Correlation) {
        self.partial.remove(&correlation);
    }
}
