//! Which nodes are alive, as promises between nodes (R14).
//!
//! Groups of partitions have no heartbeats of their own: a thousand idle groups would be a thousand heartbeats. Nodes ping each
//! other instead, and the answer to a ping is a promise about all groups together.
//!
//! ```text
//!   L  ── ping, sent at s ──▶  F      F, at p ≥ s: until p + SUPPORT I grant no vote and do not stand
//!   L  ◀── pong: run r ──────  F          in any group that I know L to lead
//!   L: supported by F until s + SUPPORT − drift
//! ```
//!
//! A **run** is a time in which the promise never lapsed; its number changes when it did, by F's clock. That is how L
//! knows that a promise held without a gap between two moments, which its own clock could not tell.
//!
//! F supports only who hears it: over a link that works one way, L would lead nobody and keep F from electing another.
//!
//! Invariants:
//! - L's view of a promise ends before F's does: it counts from the sending of the ping, and less.
//! - A promise is never shortened or forgotten: a process that starts grants no vote until what its predecessor may have
//!   promised is over ([`Liveness::may_vote`]).
//! - Time is tokio's monotonic clock; a wall clock that jumps changes nothing. Epochs come from wall clocks, and a data directory sees to
//!   it that they grow; of one that was emptied they may begin anew, so the order of two counts only while the later one is heard of.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater_types::{NodeId, ProcessEpoch};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a promise lasts.
pub(crate) const SUPPORT: Duration = Duration::from_millis(600);
/// How often a node pings each other one.
pub(crate) const PING_INTERVAL: Duration = Duration::from_millis(75);
/// What two monotonic clocks may differ by over one promise: 2 %.
const DRIFT: Duration = Duration::from_millis(12);

/// Asks for support.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// The sender's process: later starts have greater epochs.
    pub epoch: ProcessEpoch,
    /// The sender's time, which the answer repeats; it means nothing to the receiver.
    pub sent_at_us: u64,
    /// Whether the sender hears the receiver's answers.
    pub is_heard: bool,
}

/// Gives support, or only says that the ping arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// The answering process.
    pub epoch: ProcessEpoch,
    /// As in the ping.
    pub sent_at_us: u64,
    /// The run that the promise belongs to; none when nothing is promised.
    pub run: Option<u64>,
}

/// A time without a lapse in another node's support: the process that gives it, and the number of the run.
pub(crate) type SupportRun = (ProcessEpoch, u64);

/// What this node promised to another.
struct Given {
    epoch: ProcessEpoch,
    until: Instant,
    run: u64,
}

/// What another node promised to this one.
struct Received {
    run: SupportRun,
    until: Instant,
}

#[derive(Default)]
struct Peer {
    given: Option<Given>,
    received: Option<Received>,
    heard_at: Option<Instant>,
}

/// The promises between this node and the others.
pub(crate) struct Liveness {
    epoch: ProcessEpoch,
    started_at: Instant,
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    /// Changes when a node begins to support this one, or supports it again after this one could not count on it.
    gained: watch::Sender<()>,
}

impl Liveness {
    /// Of a process that starts now.
    pub(crate) fn new(epoch: ProcessEpoch) -> Self {
        Self { epoch, started_at: Instant::now(), peers: Mutex::default(), gained: watch::Sender::new(()) }
    }

    /// A ping to send to `to` now.
    pub(crate) fn ping(&self, to: NodeId) -> Ping {
        let sent_at_us = u64::try_from(self.started_at.elapsed().as_micros()).unwrap_or(u64::MAX);
        let heard_at = self.peers.lock().get(&to).and_then(|peer| peer.heard_at);
        let is_heard = heard_at.is_some_and(|heard_at| heard_at.elapsed() < SUPPORT);
        Ping { epoch: self.epoch, sent_at_us, is_heard }
    }

    /// Promises support to the sender, if it hears this node. `None` for a ping of a process that a later one has replaced, while what
    /// that was promised lasts.
    pub(crate) fn support(&self, from: NodeId, ping: Ping) -> Option<Pong> {
        let now = Instant::now();
        let mut peers = self.peers.lock();
        let given = &mut peers.entry(from).or_default().given;
        if given.as_ref().is_some_and(|given| given.epoch > ping.epoch && given.until >= now) {
            return None;
        }
        let pong = Pong { epoch: self.epoch, sent_at_us: ping.sent_at_us, run: None };
        if !ping.is_heard {
            return Some(pong);
        }
        let run = match given {
            Some(given) if given.epoch == ping.epoch && given.until >= now => given.run,
            Some(given) => given.run + 1,
            None => 0,
        };
        *given = Some(Given { epoch: ping.epoch, until: now + SUPPORT, run });
        Some(Pong { run: Some(run), ..pong })
    }

    /// Takes in an answer.
    pub(crate) fn supported(&self, by: NodeId, pong: Pong) {
        let until = self.started_at + Duration::from_micros(pong.sent_at_us) + SUPPORT - DRIFT;
        let now = Instant::now();
        let mut peers = self.peers.lock();
        let peer = peers.entry(by).or_default();
        peer.heard_at = Some(now);
        let Some(run) = pong.run.map(|run| (pong.epoch, run)) else { return };
        let is_gain = match &mut peer.received {
            Some(known) if known.run == run => {
                // The promise outlives this node's view of it, so the run may go on where the view has ended.
                let had_ended = known.until <= now;
                known.until = known.until.max(until);
                had_ended
            }
            // An answer that was overtaken by one of a later run. A node whose disk was emptied may come back with a clock that is behind.
            Some(known) if known.run > run && (known.until > now || until <= now) => false,
            received => {
                *received = Some(Received { run, until });
                true
            }
        };
        drop(peers);
        if is_gain {
            self.gained.send_replace(());
        }
    }

    /// Changes whenever [`Liveness::supported_by`] may say more than before.
    pub(crate) fn gains(&self) -> watch::Receiver<()> {
        self.gained.subscribe()
    }

    /// Completes when `by` supports this node. Cancel-safe.
    pub(crate) async fn until_supported_by(&self, by: NodeId) {
        let mut gained = self.gained.subscribe();
        // The sender lives as long as this.
        let _ = gained.wait_for(|()| self.supported_by(by, Duration::ZERO).is_some()).await;
    }

    /// The run of `by`'s support for this node, when it lasts for `remaining` from now at least.
    pub(crate) fn supported_by(&self, by: NodeId, remaining: Duration) -> Option<SupportRun> {
        let peers = self.peers.lock();
        let received = peers.get(&by)?.received.as_ref()?;
        (received.until > Instant::now() + remaining).then_some(received.run)
    }

    /// The process that this node supports in `node`, if any.
    pub(crate) fn supports(&self, node: NodeId) -> Option<ProcessEpoch> {
        let peers = self.peers.lock();
        let given = peers.get(&node)?.given.as_ref()?;
        (given.until > Instant::now()).then_some(given.epoch)
    }

    /// How long ago an answer of the node came in.
    pub(crate) fn last_heard(&self, node: NodeId) -> Option<Duration> {
        let heard_at = self.peers.lock().get(&node)?.heard_at?;
        Some(heard_at.elapsed())
    }

    /// Whether all that an earlier process of this node may have promised is over.
    pub(crate) fn may_vote(&self) -> bool {
        self.started_at.elapsed() > SUPPORT
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const L: NodeId = NodeId(1);
    const F: NodeId = NodeId(2);

    fn exchange(leader: &Liveness, follower: &Liveness) {
        for _ in 0..2 {
            let pong = follower.support(L, leader.ping(F)).expect("taken");
            leader.supported(F, pong);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_leader_stops_counting_on_a_promise_before_it_ends() {
        let (leader, follower) = (Liveness::new(ProcessEpoch(1)), Liveness::new(ProcessEpoch(1)));
        exchange(&leader, &follower);
        let ping = leader.ping(F);
        // However long the ping takes.
        advance(Duration::from_millis(300)).await;
        leader.supported(F, follower.support(L, ping).expect("taken"));
        let mut counted_on = false;
        for _ in 0..1000 {
            let counts = leader.supported_by(F, Duration::ZERO).is_some();
            counted_on |= counts;
            assert!(!counts || follower.supports(L) == Some(ProcessEpoch(1)));
            advance(Duration::from_millis(1)).await;
        }
        assert!(counted_on && follower.supports(L).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lapse_changes_the_run_though_the_leader_saw_no_gap() {
        let (leader, follower) = (Liveness::new(ProcessEpoch(1)), Liveness::new(ProcessEpoch(1)));
        exchange(&leader, &follower);
        let first = leader.supported_by(F, Duration::ZERO);
        advance(SUPPORT / 2).await;
        exchange(&leader, &follower);
        assert_eq!(leader.supported_by(F, Duration::ZERO), first);
        // Sent in time, and late at the follower.
        advance(SUPPORT / 2).await;
        let ping = leader.ping(F);
        advance(SUPPORT).await;
        let pong = follower.support(L, ping).expect("taken");
        leader.supported(F, pong);
        exchange(&leader, &follower);
        assert_ne!(leader.supported_by(F, Duration::ZERO), first);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_support_is_told_when_it_goes_on_in_the_same_run() {
        let (leader, follower) = (Liveness::new(ProcessEpoch(1)), Liveness::new(ProcessEpoch(1)));
        exchange(&leader, &follower);
        let first = leader.supported_by(F, Duration::ZERO);
        advance(SUPPORT * 3 / 4).await;
        // The follower hears the leader in time, and its answer is late.
        let late = follower.support(L, leader.ping(F)).expect("taken");
        advance(SUPPORT / 2).await;
        assert_eq!(leader.supported_by(F, Duration::ZERO), None);
        let told = async { tokio::join!(leader.until_supported_by(F), async { leader.supported(F, late) }) };
        tokio::time::timeout(SUPPORT / 4, told).await.expect("it is told");
        assert_eq!(leader.supported_by(F, Duration::ZERO), first);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_does_not_hear_the_answers_loses_its_support() {
        let (leader, follower) = (Liveness::new(ProcessEpoch(1)), Liveness::new(ProcessEpoch(1)));
        exchange(&leader, &follower);
        assert!(follower.supports(L).is_some());
        for _ in 0..20 {
            advance(SUPPORT / 10).await;
            follower.support(L, leader.ping(F)).expect("taken");
        }
        assert!(follower.supports(L).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_comes_back_without_its_disk_and_with_an_earlier_clock_is_heard_once_its_past_has_lapsed()
     {
        let (leader, follower) = (Liveness::new(ProcessEpoch(9)), Liveness::new(ProcessEpoch(9)));
        exchange(&leader, &follower);
        let old = leader.supported_by(F, Duration::ZERO);
        let emptied = Liveness::new(ProcessEpoch(3));
        exchange(&leader, &emptied);
        assert_eq!(leader.supported_by(F, Duration::ZERO), old, "what was promised before lasts");
        advance(SUPPORT + DRIFT).await;
        exchange(&leader, &emptied);
        let run = leader.supported_by(F, Duration::ZERO);
        assert!(run.is_some() && run != old, "{run:?}");

        // The same of one that asks for support.
        let emptied = Liveness::new(ProcessEpoch(3));
        assert!(emptied.ping(F).epoch < leader.ping(F).epoch);
        exchange(&leader, &follower);
        assert_eq!(follower.support(L, emptied.ping(F)), None);
        advance(SUPPORT + DRIFT).await;
        exchange(&emptied, &follower);
        assert_eq!(follower.supports(L), Some(ProcessEpoch(3)));
        assert!(emptied.supported_by(F, Duration::ZERO).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_replaced_process_gets_no_support_and_takes_none_from_its_successor() {
        let (old, new) = (Liveness::new(ProcessEpoch(4)), Liveness::new(ProcessEpoch(5)));
        let follower = Liveness::new(ProcessEpoch(1));
        exchange(&old, &follower);
        exchange(&new, &follower);
        assert_eq!(follower.support(L, old.ping(F)), None);
        assert_eq!(follower.supports(L), Some(ProcessEpoch(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_starts_votes_only_when_its_predecessors_promises_are_over() {
        let follower = Liveness::new(ProcessEpoch(1));
        assert!(!follower.may_vote());
        advance(SUPPORT).await;
        assert!(!follower.may_vote());
        advance(Duration::from_millis(1)).await;
        assert!(follower.may_vote());
    }
}
