//! What waits to be appended. The queue starts an appender with the first request and the
//! appender ends with the last: an idle partition has no task and no timer.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Request;

/// The requests of one partition, in order. Bounded by the partition's in-flight bytes, of
/// which every request holds its share.
#[derive(Default)]
pub(crate) struct AppendQueue {
    state: Mutex<State>,
    /// Wakes the appender that runs.
    arrived: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    appender_runs: bool,
    /// Set when the outcome of a proposal is unknown; see [`AppendQueue::require_barrier`].
    barrier_required: bool,
}

impl AppendQueue {
    /// Appends a request; says whether the caller must start an appender.
    #[must_use]
    pub(crate) fn push(&self, request: Request) -> bool {
        let mut state = self.state.lock();
        state.waiting.push_back(request);
        let start = !std::mem::replace(&mut state.appender_runs, true);
        drop(state);
        if !start {
            self.arrived.notify_one();
        }
        start
    }

    /// Moves all that waits to the end of `requests`.
    pub(crate) fn drain_into(&self, requests: &mut VecDeque<Request>) {
        requests.append(&mut self.state.lock().waiting);
    }

    /// Waits for a request. Cancel-safe.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes the appender off duty, unless something waits; says whether it did.
    pub(crate) fn try_stop(&self) -> bool {
        let mut state = self.state.lock();
        if state.waiting.is_empty() {
            state.appender_runs = false;
        }
        !state.appender_runs
    }

    /// Says that some proposal may yet be applied or not. Until a barrier has been applied,
    /// the applied producer state may lack it, and would take a retry of it for new.
    pub(crate) fn require_barrier(&self) {
        self.state.lock().barrier_required = true;
    }

    /// Says that all earlier proposals are settled.
    pub(crate) fn barrier_passed(&self) {
        self.state.lock().barrier_required = false;
    }

    /// Whether a barrier is due.
    pub(crate) fn barrier_required(&self) -> bool {
        self.state.lock().barrier_required
    }

    /// After an appender ended in the middle: what waits is dropped, which tells the callers
    /// that the outcome is unknown, and the next request starts over.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        state.appender_runs = false;
        state.barrier_required = true;
        state.waiting.clear();
    }

    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        !state.appender_runs && state.waiting.is_empty()
    }
}
