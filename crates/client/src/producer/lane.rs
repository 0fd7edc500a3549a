//! A partition on its way out: its queue, and the node that its batches go to. Decides when they go elsewhere; does no IO.
//!
//! Invariant: what is in flight is in flight to one node. A lane turns to another when all of it is answered, when the link
//! is lost, or when nothing was answered for the stall timeout; what was in flight then counts as unknown and is
//! sent again in its order, which only idempotent batches survive without a duplicate.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::Whereabouts;
use crate::error::ClientError;
use crate::producer::partition_queue::PartitionQueue;

/// After so long without its leader a lane tries any other server, which may know a way. Longer than an election.
const DETOUR_AFTER: Duration = Duration::from_secs(3);
/// After so many moves without an acknowledgement the waits between attempts are kept, so that two nodes that name each
/// other are not asked in turns as fast as they can answer.
const QUICK_MOVES: u32 = 3;

/// What a lane wants done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// A look for the leader.
    pub(crate) look: bool,
    /// When the lane is to be looked at again though nothing happened.
    pub(crate) wake: Option<Instant>,
    /// The lane turned to another node.
    pub(crate) moved: bool,
}

/// See the module.
pub(crate) struct Lane {
    pub(crate) queue: PartitionQueue,
    route: Option<Arc<str>>,
    /// Moves since the last acknowledgement.
    moves: u32,
    /// Since when something is in flight and nothing is answered.
    waiting_since: Option<Instant>,
    /// Since when there is something to send and no leader.
    homeless_since: Option<Instant>,
    look_at: Option<Instant>,
    /// It turns to another node when what is in flight is answered, and sends nothing before.
    is_leaving: bool,
}

impl Lane {
    pub(crate) fn new(queue: PartitionQueue) -> Self {
        Self {
            queue,
            route: None,
            moves: 0,
            waiting_since: None,
            homeless_since: None,
            look_at: None,
            is_leaving: false,
        }
    }

    /// Whether it sends nothing, for it is about to turn to another node.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Where batches go.
    pub(crate) fn route(&self) -> Option<&Arc<str>> {
        self.route.as_ref()
    }

    /// Something was sent.
    pub(crate) fn on_sent(&mut self, now: Instant) {
        self.waiting_since.get_or_insert(now);
    }

    /// Something was answered.
    pub(crate) fn on_answer(&mut self, is_ack: bool, now: Instant) {
        self.waiting_since = self.queue.has_in_flight().then_some(now);
        self.look_at = None;
        if is_ack {
            self.moves = 0;
            self.homeless_since = None;
        }
    }

    /// The link that it uses is over.
    pub(crate) fn on_link_lost(&mut self, error: &ClientError) {
        self.queue.on_connection_lost(error);
        self.waiting_since = None;
    }

    /// Chooses where to send next. `failing_for` is how long the leader's address has not worked, `any` the server that has
    /// its turn for everything.
    pub(crate) fn turn(
        &mut self,
        whereabouts: &Whereabouts,
        failing_for: Option<Duration>,
        any: &Arc<str>,
        stall: Duration,
        now: Instant,
    ) -> Wanted {
        self.is_leaving = false;
        if self.queue.is_empty() {
            self.homeless_since = None;
            return Wanted::default();
        }
        let mut wanted = Wanted::default();
        let target = self.target(whereabouts, failing_for, any, now);
        wanted.look = *whereabouts == Whereabouts::Nobody || failing_for.is_some();
        if target.is_some() && target == self.route {
            self.watch_for_stall(stall, now, &mut wanted);
        } else if !self.queue.has_in_flight() {
            wanted.moved = self.move_to(target);
        } else if let Some(stalled_at) = self.waiting_since.map(|since| since + stall).filter(|at| now < *at) {
            wanted.wake = Some(stalled_at);
            self.is_leaving = target.is_some();
        } else if target.is_some() {
            let server = self.route.as_deref().unwrap_or_default().to_owned();
            let reason = format!("no answer within {} ms, and another node leads", stall.as_millis());
            self.on_link_lost(&ClientError::Connection { server, reason });
            wanted.moved = self.move_to(target);
        }
        wanted
    }

    fn target(
        &mut self,
        whereabouts: &Whereabouts,
        failing_for: Option<Duration>,
        any: &Arc<str>,
        now: Instant,
    ) -> Option<Arc<str>> {
        match whereabouts {
            Whereabouts::At(address) => {
                self.homeless_since = None;
                let is_detour = failing_for.is_some_and(|failing_for| failing_for >= DETOUR_AFTER);
                Some(Arc::clone(if is_detour { any } else { address }))
            }
            Whereabouts::Unknown => Some(Arc::clone(any)),
            Whereabouts::Nobody => {
                let since = *self.homeless_since.get_or_insert(now);
                (now - since >= DETOUR_AFTER).then(|| Arc::clone(any))
            }
        }
    }

    /// Without an answer for the stall timeout, the leader may be another by now.
    fn watch_for_stall(&mut self, stall: Duration, now: Instant, wanted: &mut Wanted) {
        let Some(since) = self.waiting_since else { return };
        let look_at = self.look_at.unwrap_or(since + stall);
        if look_at <= now {
            wanted.look = true;
            self.look_at = Some(now + stall);
            wanted.wake = self.look_at;
        } else {
            wanted.wake = Some(look_at);
        }
    }

    fn move_to(&mut self, target: Option<Arc<str>>) -> bool {
        if target == self.route {
            return false;
        }
        self.route = target;
        self.look_at = None;
        if self.route.is_some() {
            self.moves = self.moves.saturating_add(1);
            if self.moves <= QUICK_MOVES {
                self.queue.retry_now();
            }
        }
        true
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
