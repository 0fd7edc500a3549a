//! What the other members of a group have acknowledged to this node as its leader.
//!
//! It serves four ends: a follower that has acknowledged all there is need not be sent another heartbeat while its node's support
//! lasts; a group is parked when every follower that is alive knows the final commit (R13); and support counts for a group only
//! from a follower that knows who leads it (R14); and people are told which followers do not follow.
//!
//! Invariant: of a leader that was released nothing is support, whenever it was acknowledged. Its followers may vote for its
//! successor, and their acknowledgements of before may still be on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater_storage::{LogId, Vote};
use highwater_types::NodeId;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::liveness::SupportRun;

/// The newest acknowledgement of one member.
#[derive(Debug, Clone, Copy)]
struct Ack {
    /// The leader's vote that it acknowledged.
    vote: Vote,
    /// Up to where its log is known to be the leader's.
    stored: Option<LogId>,
    /// What it was told to be committed.
    committed: Option<LogId>,
    /// The run of its node's support in which the request was sent.
    run: Option<SupportRun>,
}

/// The acknowledgements of one group.
#[derive(Default)]
pub(crate) struct Acks {
    known: Mutex<Known>,
    /// Changes when a member acknowledges another vote, or the same in another run, and when a released leader counts again.
    gained: watch::Sender<()>,
}

#[derive(Default)]
struct Known {
    members: BTreeMap<NodeId, Ack>,
    /// Members of whom nothing was heard but errors, and since when.
    failing: BTreeMap<NodeId, Instant>,
    /// The leader's vote by which nothing is promised any more.
    released: Option<Vote>,
}

/// What a request asked to be acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) vote: Vote,
    /// The last entry that the receiver has after it.
    pub(crate) stored: Option<LogId>,
    pub(crate) committed: Option<LogId>,
    /// As of before it was sent.
    pub(crate) run: Option<SupportRun>,
}

impl Acks {
    /// The member stored what was asked. `stored` is none when it only acknowledged the vote.
    pub(crate) fn record(&self, member: NodeId, asked: Asked) {
        let mut known = self.known.lock();
        known.failing.remove(&member);
        let ack = Ack { vote: asked.vote, stored: asked.stored, committed: asked.committed, run: asked.run };
        let is_gain = match known.members.get_mut(&member) {
            Some(before) if before.vote == asked.vote => {
                before.stored = before.stored.max(asked.stored);
                before.committed = before.committed.max(asked.committed);
                std::mem::replace(&mut before.run, asked.run) != asked.run
            }
            _ => {
                known.members.insert(member, ack);
                true
            }
        };
        drop(known);
        if is_gain {
            self.gained.send_replace(());
        }
    }

    /// Changes whenever [`Acks::supports`] may say more than before.
    pub(crate) fn gains(&self) -> watch::Receiver<()> {
        self.gained.subscribe()
    }

    /// The member knows a newer vote, or is no member any more.
    pub(crate) fn forget(&self, member: NodeId) {
        self.known.lock().members.remove(&member);
    }

    /// The leader of `vote` asks another to take over: from here on the members may vote for that one, whatever they promised, so
    /// nothing that they acknowledge or have acknowledged supports this leader.
    pub(crate) fn release(&self, vote: Vote) {
        self.known.lock().released = Some(vote);
    }

    /// Nobody was asked to take over after all.
    pub(crate) fn reclaim(&self, vote: Vote) {
        let released = &mut self.known.lock().released;
        if *released == Some(vote) {
            *released = None;
            self.gained.send_replace(());
        }
    }

    /// Whether the leader of `vote` was released.
    pub(crate) fn is_released(&self, vote: Vote) -> bool {
        self.known.lock().released == Some(vote)
    }

    /// The member took nothing of a request, or nobody knows whether it did.
    pub(crate) fn failed(&self, member: NodeId) {
        self.known.lock().failing.entry(member).or_insert_with(Instant::now);
    }

    /// For how long the member has acknowledged nothing of what it was sent; zero when it does.
    pub(crate) fn failing_for(&self, member: NodeId) -> Duration {
        self.known.lock().failing.get(&member).map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Whether the member has all entries up to `last` of the leader of `vote`.
    pub(crate) fn has_stored(&self, member: NodeId, vote: Vote, last: Option<LogId>) -> bool {
        let known = self.known.lock();
        known.members.get(&member).is_some_and(|ack| ack.vote == vote && ack.stored >= last)
    }

    /// Whether the member has acknowledged all of it already, in a run of support that has lasted since.
    pub(crate) fn covers(&self, member: NodeId, asked: Asked) -> bool {
        let known = self.known.lock();
        let is_told = |ack: &Ack| ack.stored >= asked.stored && ack.committed >= asked.committed;
        let lasts = |ack: &Ack| ack.vote == asked.vote && asked.run.is_some() && ack.run == asked.run;
        let ack = known.members.get(&member);
        known.released != Some(asked.vote) && ack.is_some_and(|ack| is_told(ack) && lasts(ack))
    }

    /// Whether the member knows that `vote` leads, and has not lapsed since it acknowledged that.
    pub(crate) fn supports(&self, member: NodeId, vote: Vote, run: SupportRun) -> bool {
        let known = self.known.lock();
        let ack = known.members.get(&member);
        known.released != Some(vote) && ack.is_some_and(|ack| ack.vote == vote && ack.run == Some(run))
    }
}
