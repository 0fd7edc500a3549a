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
    Beat {
        epoch: Epoch,
        seen: Revision,
        owned: BTreeSet<PartitionId>,
    },
    Leave,
    /// With how often the partition had had another owner when it was sent.
    Commit {
        epoch: Epoch,
        partition: PartitionId,
        owners: u32,
    },
}

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Body {
    Request(Ask),
    /// To a join or a heartbeat; none is a refusal.
    Answer(Option<Told>),
}

/// What a member is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Told {
    epoch: Epoch,
    revision: Revision,
    assignment: Option<BTreeSet<PartitionId>>,
    is_to_give_up: bool,
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
    /// When it sent the request whose answer told it to give up, until it hears that the coordinator knows that it did.
    pub(crate) told_at: Option<u64>,
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
        let is_late = self.told_at.is_some_and(|told_at| now >= told_at + REBALANCE);
        if self.presence != Presence::Out && (now >= self.answered_at + SESSION || is_late) {
            self.drop_out();
        }
    }

    /// It hears an answer. A refusal counts for the last request only, and what is older than what it heard does not.
    pub(crate) fn hear(&mut self, message: &Message, answer: Option<&Told>) {
        if self.presence == Presence::Out || message.life != self.life {
            return;
        }
        let Some(told) = answer else {
            if message.number == self.number {
                self.drop_out();
            }
            return;
        };
        if told.revision < self.seen || told.epoch < self.epoch {
            return;
        }
        self.presence = Presence::In;
        self.answered_at = self.answered_at.max(message.sent_at);
        self.epoch = told.epoch;
        self.told_at = match told.is_to_give_up {
            true if told.revision == self.seen => self.told_at.or(Some(message.sent_at)),
            true => Some(message.sent_at),
            false => None,
        };
        if let Some(assignment) = &told.assignment {
            self.busy = self.owned().difference(assignment).copied().collect();
            self.assigned.clone_from(assignment);
            self.seen = told.revision;
        }
    }
}

/// An answer as a message carries it.
pub(crate) fn body_of(answer: &MemberAnswer) -> Body {
    Body::Answer(Some(Told {
        epoch: answer.epoch,
        revision: answer.revision,
        assignment: answer.assignment.as_ref().map(|assignment| assignment.iter().collect()),
        is_to_give_up: answer.is_to_give_up,
    }))
}
