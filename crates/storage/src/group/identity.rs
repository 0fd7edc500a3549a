//! Who a replica is in its group, and whether it still has all that it acknowledged.
//!
//! A replica that the group began with is the node's incarnation to its group, until it gives that up and goes on as another member: it
//! then has an incarnation of its own. One that came later has such from the beginning. A replica in doubt may have lost entries that it
//! had acknowledged (R20). It never knows leaders or votes: what follows for them is the consensus layer's.
//!
//! Invariants:
//! - an incarnation of its own is durable before anybody learns of it, and is never taken back;
//! - doubt outlives every crash until the replica was renewed or a checkpoint without it is durable.

use std::sync::Arc;

use highwater_types::Incarnation;

use super::group_log::GroupLog;
use crate::journal::JournalError;
use crate::journal::frame::{Change, Frame, Renewal};

/// Who a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ReplicaIdentity {
    /// Its own incarnation; none while it is the node's.
    pub(crate) incarnation: Option<Incarnation>,
    /// Whether it may have lost what it acknowledged.
    pub(crate) is_doubtful: bool,
}

impl ReplicaIdentity {
    /// After a renewal.
    pub(crate) fn renewed(incarnation: Incarnation) -> Self {
        Self { incarnation: Some(incarnation), is_doubtful: false }
    }
}

impl GroupLog {
    /// The replica's own incarnation in its group; none while it is that of the node's data.
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.state.lock().identity.incarnation
    }

    /// Whether the replica may have lost entries that it had acknowledged: batches with `durability=memory`, after a power cut. It
    /// must not vote or count as the member that it was (R20).
    pub fn is_doubtful(&self) -> bool {
        self.state.lock().identity.is_doubtful
    }

    /// Gives up who the replica was: it is `incarnation` from here on, with the log that it has, and no longer in doubt. `done` runs when
    /// that is durable; until then nobody may be told.
    pub fn renew(
        self: &Arc<Self>,
        incarnation: Incarnation,
        done: impl FnOnce(Result<(), JournalError>) + Send + 'static,
    ) {
        let mut state = self.state.lock();
        state.identity = ReplicaIdentity::renewed(incarnation);
        let frame = Frame::new(self.id, &Change::Renewal(Renewal { incarnation, is_empty: false }));
        self.submit(vec![frame], true, Box::new(|result| done(result.map(drop))));
    }

    /// Ends the doubt: what the replica lost, if anything, was made up for, or nobody else has it either. A crash before the next
    /// checkpoint brings the doubt back, which is safe.
    pub fn vouch(&self) {
        self.state.lock().identity.is_doubtful = false;
    }
}
