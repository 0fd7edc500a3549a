//! A member as it sees itself, and the messages between it and the coordinator. Times are whole seconds.

use std::collections::BTreeSet;

use highwater_groups::{Epoch, MemberAnswer, Revision};
use highwater_types::PartitionId;

/// How long a member may go without an answer.
pub(crate) const SESSION: u64 = 3;
/// How long a member may take to give up partitions.
pub(crate) const REBALANCE: u64 = 2;

/// What a member asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Ask {
    Join,
    Beat { epoch: Epoch, seen: Revision, owned: BTreeSet<PartitionId> },
    Leave,
    /// With how often the partition had had another owner when it was sent.
    Commit { epoch: Epoch, partition: PartitionId, owners: u32 },
}

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Body {
    Request(Ask),
    /// To a join or a heartbeat.
    Answer(Result<(Epoch, Revision, Option<BTreeSet<PartitionId>>), ()>),
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Message {
    /// The member: its place in the world.
    pub(crate) member: usize,
    /// The member's id when it asked.
    pub(crate) id: u32,
    /// The member's life when it asked: it joins again under the same id unless it left.
    pub(crate) life: u32,
    /// Counts what the member asked in this life.
    pub(crate) number: u32,
    /// When the request was sent.
    pub(crate) sent_at: u64,
    pub(crate) body: Body,
}

/// Whether a member is in its group, as it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Presence {
    #[default]
    Out,
    Joining,
    In,
}

/// What a member knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Client {
    pub(crate) presence: Presence,
    pub(crate) id: u32,
    pub(crate) life: u32,
    pub(crate) number: u32,
    pub(crate) epoch: Epoch,
    pub(crate) seen: Revision,
    /// What it was told to own.
    pub(crate) assigned: BTreeSet<PartitionId>,
    /// What it was told to give up and is still busy with.
    pub(crate) busy: BTreeSet<PartitionId>,
    /// When it sent the last request that was answered.
    pub(crate) answered_at: u64,
    /// When it sent the request whose answer told it to give up.
    pub(crate) told_at: u64,
}

impl Client {
    /// All that it owns in its own view.
    pub(crate) fn owned(&self) -> BTreeSet<PartitionId> {
        self.assigned.union(&self.busy).copied().collect()
    }

    /// It owns nothing any more.
    pub(crate) fn drop_out(&mut self) {
        *self = Self { id: self.id, life: self.life, ..Self::default() };
    }

    /// It begins another life.
    pub(crate) fn begin(&mut self, now: u64) {
        self.drop_out();
        self.life += 1;
        self.presence = Presence::Joining;
        self.answered_at = now;
    }

    /// By its own clock its time may be over.
    pub(crate) fn look_at_clock(&mut self, now: u64) {
        let is_late = !self.busy.is_empty() && now >= self.told_at + REBALANCE;
        if self.presence != Presence::Out && (now >= self.answered_at + SESSION || is_late) {
            self.drop_out();
        }
    }

    /// It hears an answer, and says whether it is refused: an error counts for the last request only.
    pub(crate) fn hear(&mut self, message: &Message, answer: &Result<(Epoch, Revision, Option<BTreeSet<PartitionId>>), ()>) {
        if self.presence == Presence::Out || message.life != self.life {
            return;
        }
        let Ok((epoch, revision, assignment)) = answer else {
            if message.number == self.number {
                self.drop_out();
            }
            return;
        };
        if *revision < self.seen || *epoch < self.epoch {
            return;
        }
        self.presence = Presence::In;
        self.answered_at = self.answered_at.max(message.sent_at);
        self.epoch = *epoch;
        if let Some(assignment) = assignment {
            let to_give_up: BTreeSet<_> = self.owned().difference(assignment).copied().collect();
            if *revision > self.seen && !to_give_up.is_empty() {
                self.told_at = message.sent_at;
            }
            self.busy = to_give_up;
            self.assigned.clone_from(assignment);
            self.seen = *revision;
        }
    }
}

/// An answer as a message carries it.
pub(crate) fn body_of(answer: &MemberAnswer) -> Body {
    let assignment = answer.assignment.as_ref().map(|assignment| assignment.iter().collect());
    Body::Answer(Ok((answer.epoch, answer.revision, assignment)))
}
