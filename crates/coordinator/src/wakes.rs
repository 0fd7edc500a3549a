//! Who waits to hear that a member has something to hear.
//!
//! Only those who can reach the member at once wait here: a member whose stream this node serves. All others hear with their next
//! heartbeat.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use highwater_groups::Wake;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The members that somebody waits for.
#[derive(Default)]
pub(crate) struct Wakes {
    waiting: Mutex<BTreeMap<Wake, Weak<Notify>>>,
}

impl Wakes {
    /// Waits for a member from here on. A second one for the same member takes the place of the first, which is woken.
    pub(crate) fn wait_for(self: &Arc<Self>, member: Wake) -> Woken {
        let notify = Arc::new(Notify::new());
        let before = self.waiting.lock().insert(member.clone(), Arc::downgrade(&notify));
        if let Some(before) = before.and_then(|before| before.upgrade()) {
            before.notify_one();
        }
        Woken { wakes: Arc::clone(self), member, notify }
    }

    /// The member has something to hear.
    pub(crate) fn wake(&self, member: &Wake) {
        if let Some(notify) = self.waiting.lock().get(member).and_then(Weak::upgrade) {
            notify.notify_one();
        }
    }

    /// Every member may have something to hear.
    pub(crate) fn wake_all(&self) {
        self.waiting.lock().values().filter_map(Weak::upgrade).for_each(|notify| notify.notify_one());
    }
}

/// Waits for one member to have something to hear, until it is dropped.
pub struct Woken {
    wakes: Arc<Wakes>,
    member: Wake,
    notify: Arc<Notify>,
}

impl Woken {
    /// Returns when the member has something to hear, once for all that came since the last time: it is to send a heartbeat then.
    /// Cancel-safe.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Woken {
    fn drop(&mut self) {
        let mut waiting = self.wakes.waiting.lock();
        let is_own = |known: &Weak<Notify>| std::ptr::eq(known.as_ptr(), Arc::as_ptr(&self.notify));
        if waiting.get(&self.member).is_some_and(is_own) {
            waiting.remove(&self.member);
        }
    }
}
