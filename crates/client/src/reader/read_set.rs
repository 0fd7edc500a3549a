//! What is to be read, and what was taken of it: the two sides of a reader meet here. Whoever reads adds and removes partitions
//! at any time and says what was consumed; the subscription picks both up.
//!
//! Invariants:
//! - an id is never used again, so that pushes of a reading that was removed are known for what they are, however late they come;
//! - nothing here is longer than what is read now and what was read at the subscription's last look.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::consumer::StartPosition;
use crate::topic::PartitionKey;

/// One reading of a partition, from where it started until it is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ReadingId(pub(crate) u64);

/// What changed since the subscription's last look.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) added: BTreeMap<ReadingId, (PartitionKey, StartPosition)>,
    pub(crate) removed: BTreeSet<ReadingId>,
    /// Bytes that were consumed.
    pub(crate) taken: BTreeMap<ReadingId, u64>,
}

#[derive(Debug, Default)]
struct Inner {
    next_id: u64,
    live: BTreeSet<ReadingId>,
    changes: Changes,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct ReadSet {
    inner: Mutex<Inner>,
    changed: Notify,
}

impl ReadSet {
    /// Reads a partition from there on, which is not among those that are read: another reading of it was removed before.
    pub(crate) fn add(&self, key: PartitionKey, start: StartPosition) -> ReadingId {
        let mut inner = self.inner.lock();
        let id = ReadingId(inner.next_id);
        inner.next_id += 1;
        inner.live.insert(id);
        inner.changes.added.insert(id, (key, start));
        self.changed.notify_one();
        id
    }

    /// Ends a reading: nothing of it is handed out any more. It may have ended already.
    pub(crate) fn remove(&self, id: ReadingId) {
        let mut inner = self.inner.lock();
        if inner.live.remove(&id) {
            if inner.changes.added.remove(&id).is_none() {
                inner.changes.removed.insert(id);
            }
            self.changed.notify_one();
        }
    }

    pub(crate) fn is_live(&self, id: ReadingId) -> bool {
        self.inner.lock().live.contains(&id)
    }

    /// So many bytes that came for a reading are no longer held.
    pub(crate) fn took(&self, id: ReadingId, bytes: u64) {
        *self.inner.lock().changes.taken.entry(id).or_default() += bytes;
        self.changed.notify_one();
    }

    /// What changed since the last call.
    pub(crate) fn take_changes(&self) -> Changes {
        std::mem::take(&mut self.inner.lock().changes)
    }

    /// Waits until there are changes. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
