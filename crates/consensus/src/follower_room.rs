//! Room for the entries that a follower has taken and not yet applied (R3).
//!
//! A leader sets room aside before it proposes. A follower does before it appends: an append that fails for want of space
//! would end the group's core, and with it the node. Without room the request is refused, and the leader sends it again later.
//!
//! Invariant: room is held for an entry from before its append until it is applied, or another one stands in its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_storage::{Entry, GroupLog, LogId, Payload, Reservation, ReserveError};
use highwater_types::{RaftIndex, Term};
use parking_lot::Mutex;

/// What is set aside for one group's entries.
#[derive(Default)]
pub(crate) struct FollowerRoom {
    held: Mutex<BTreeMap<RaftIndex, (Term, Reservation)>>,
}

impl FollowerRoom {
    /// Sets room aside for those of `entries` that have none yet.
    ///
    /// # Errors
    /// When there is none; what was set aside before the first failure stays, for the leader will send the same again.
    pub(crate) fn take(&self, log: &Arc<GroupLog>, entries: &[Entry]) -> Result<(), ReserveError> {
        let applied = log.applied_id();
        let mut held = self.held.lock();
        for entry in entries.iter().filter(|entry| Some(entry.id) > applied) {
            let Payload::Batch(batch) = &entry.payload else { continue };
            if held.get(&entry.id.index).is_some_and(|(term, _)| *term == entry.id.term) {
                continue;
            }
            let reservation = log.reserve(batch.size_in_bytes())?;
            held.insert(entry.id.index, (entry.id.term, reservation));
        }
        Ok(())
    }

    /// The entry is in its segment, which took the room.
    pub(crate) fn applied(&self, index: RaftIndex) {
        if let Some((_, reservation)) = self.held.lock().remove(&index) {
            reservation.consumed();
        }
    }

    /// The log goes on after the entry at `index` without having applied those before it: gives back what was set aside for them.
    pub(crate) fn passed(&self, index: RaftIndex) {
        let mut held = self.held.lock();
        let after = held.split_off(&index.next());
        drop(std::mem::replace(&mut *held, after));
    }

    /// Nothing above `last` is in the log or on its way there: gives back what was set aside for it.
    pub(crate) fn cut_after(&self, last: Option<LogId>) {
        let end = last.map_or(RaftIndex::ZERO, |last| last.index.next());
        drop(self.held.lock().split_off(&end));
    }
}
