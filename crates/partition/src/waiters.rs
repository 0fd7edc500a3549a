//! Readers that wait for data. Each has one counter of the bytes it still wants, counted
//! down by every partition that it is registered with, and is woken once, when the
//! counter is used up. Nothing polls.
//!
//! The list never reads data and never times out: deadlines are the waiting reader's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// One reader that waits, on one partition or on several at once.
#[derive(Debug)]
pub struct DataWaiter {
    /// Bytes that are still wanted; 0 once it is woken.
    remaining_bytes: AtomicU64,
    woken: Notify,
}

impl DataWaiter {
    /// A waiter for `min_bytes` more bytes; 0 counts as 1, or it would never have to wait.
    pub fn new(min_bytes: usize) -> Arc<Self> {
        let remaining = u64::try_from(min_bytes.max(1)).unwrap_or(u64::MAX);
        Arc::new(Self { remaining_bytes: AtomicU64::new(remaining), woken: Notify::new() })
    }

    /// Waits until the bytes are there, or until something happened that the reader has to
    /// look at itself. Cancel-safe.
    pub async fn wait(&self) {
        if !self.is_done() {
            self.woken.notified().await;
        }
    }

    /// Whether it was woken.
    pub fn is_done(&self) -> bool {
        self.remaining_bytes.load(Ordering::Acquire) == 0
    }

    /// Wakes the reader whatever it still wants.
    pub fn wake(&self) {
        if self.remaining_bytes.swap(0, Ordering::AcqRel) != 0 {
            self.woken.notify_one();
        }
    }

    /// Counts new bytes; says whether the waiter is done.
    fn count(&self, bytes: u64) -> bool {
        let before = self
            .remaining_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| Some(left.saturating_sub(bytes)))
            .unwrap_or_default();
        if before != 0 && before <= bytes {
            self.woken.notify_one();
        }
        before <= bytes
    }
}

/// The waiters of one partition.
#[derive(Default)]
pub(crate) struct Waiters {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    next_id: u64,
    waiting: BTreeMap<u64, Arc<DataWaiter>>,
    /// Set when the partition is gone: nobody may wait here any more.
    closed: bool,
}

impl Waiters {
    /// Puts a waiter on the list, until the registration is dropped or the waiter is done.
    pub(crate) fn register(self: &Arc<Self>, waiter: Arc<DataWaiter>) -> WaitRegistration {
        let mut list = self.list.lock();
        if list.closed {
            waiter.wake();
        }
        let id = list.next_id;
        list.next_id += 1;
        list.waiting.insert(id, waiter);
        WaitRegistration { waiters: Arc::clone(self), id }
    }

    /// Counts bytes that became readable.
    pub(crate) fn advance(&self, bytes: u64) {
        self.list.lock().waiting.retain(|_, waiter| !waiter.count(bytes));
    }

    /// Wakes everybody, as something else than data has changed.
    pub(crate) fn wake_all(&self) {
        for waiter in std::mem::take(&mut self.list.lock().waiting).into_values() {
            waiter.wake();
        }
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.lock().waiting.is_empty()
    }

    /// Wakes everybody, now and from now on.
    pub(crate) fn close(&self) {
        self.list.lock().closed = true;
        self.wake_all();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.list.lock().waiting.len()
    }
}

/// Keeps a waiter on a partition's list; dropping it takes the waiter off.
#[must_use = "dropping the registration ends it"]
pub struct WaitRegistration {
    waiters: Arc<Waiters>,
    id: u64,
}

impl Drop for WaitRegistration {
    fn drop(&mut self) {
        self.waiters.list.lock().waiting.remove(&self.id);
    }
}

impl fmt::Debug for WaitRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitRegistration").field("id", &self.id).finish_non_exhaustive()
    }
}
