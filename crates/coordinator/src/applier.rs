//! The replicated side: what committed entries make of the groups, the same on every replica.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use highwater_groups::GroupsState;
use highwater_storage::{Applied, Applier, Entry, Payload, RestoreError};
use parking_lot::Mutex;

/// The groups of one shard as this node has applied them. Clones share it.
#[derive(Clone, Default)]
pub struct AppliedGroups(Arc<Mutex<GroupsState>>);

impl AppliedGroups {
    /// What the shard's log calls.
    pub fn applier(&self) -> Box<dyn Applier> {
        Box::new(GroupsApplier { applied: self.clone() })
    }

    /// The groups now. Cheap: what does not change is shared.
    pub fn now(&self) -> GroupsState {
        self.0.lock().clone()
    }
}

/// The state machine at the end of a shard's log.
struct GroupsApplier {
    applied: AppliedGroups,
}

impl Applier for GroupsApplier {
    /// # Panics
    /// When a committed entry is not one that this build knows, or contradicts the state. Another build has applied it, so
    /// going on without it would let this replica drift from the others.
    fn apply(&mut self, entry: &Entry) -> Applied {
        // An empty entry is what a new leader proves with that it leads.
        if let Payload::Control(records) = &entry.payload
            && !records.is_empty()
        {
            self.applied.0.lock().apply_encoded(records).unwrap_or_else(|error| {
                panic!("entry {} of consumer groups cannot be applied by this version: {error}", entry.id)
            });
        }
        Applied::default()
    }

    fn snapshot(&self) -> Bytes {
        let state = self.applied.now();
        let mut bytes = BytesMut::new();
        for piece in state.snapshot() {
            bytes.put_u64(piece.len() as u64);
            bytes.put_slice(&piece);
        }
        bytes.freeze()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let restored = match snapshot {
            [] => GroupsState::default(),
            bytes => GroupsState::restore(pieces(bytes)?).map_err(|error| RestoreError(error.to_string()))?,
        };
        *self.applied.0.lock() = restored;
        Ok(())
    }
}

/// The pieces of a snapshot, each behind its length in eight bytes.
fn pieces(mut bytes: &[u8]) -> Result<Vec<&[u8]>, RestoreError> {
    let cut = || RestoreError("the snapshot of consumer groups is cut short".to_owned());
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(cut)?;
        let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| cut())?;
        let (piece, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        pieces.push(piece);
        bytes = rest;
    }
    Ok(pieces)
}
