//! The member's side of the protocol: what to say next, and what of what is heard counts.
//!
//! It holds what one member knows of itself, and is used by whoever is a member: a client, or a node in the name of one. It never
//! sends or waits: time is passed in, answers are handed to it with the [`Sent`] of the request that they answer.
//!
//! ```text
//!            ┌────────────── lost: session or hand-over over, refused ◀─────────────┐
//!            ▼                                                                      │
//!         joining ── request ─▶ Join ── answered ─▶ member ── request ─▶ Heartbeat ─┘
//!                                                     │  ▲
//!                            Change.revoked: finish   ▼  │ released: say so at once
//!                                                  giving up
//! ```
//!
//! **Which id to join again with.** A member that is fenced, or late by its own clock, joins again under the *same* id: it may
//! still be in the group and hold its partitions, and goes on with them; under another id they would wait for its session to end.
//! What it said in the life before does no harm: either it is still the same member, whose revisions
//! go on, or it was removed since, which began another epoch, and older epochs are refused. One that is *unknown* takes a new id,
//! like one that left: nothing waits for it under the old one, and why it was removed is not known. If somebody left in its name, that
//! may have been in the epoch that it would join in, and then what is still under way could not be told from what it says from then on.
//!
//! Invariants: who is no member owns nothing; what is owned is what was assigned last and what is still being given up; a
//! partition that is being given up is begun again only after it was given up.

mod change;

use std::collections::BTreeSet;
use std::time::Duration;

use highwater_types::{ErrorCode, PartitionId, mutant};

pub use change::{Ask, Change, MemberRequest, Sent, Verdict};

use crate::decision::MemberAnswer;
use crate::ids::{Epoch, Revision};
use crate::partition_set::PartitionSet;
use crate::time::Uptime;

/// What one member knows of itself.
#[derive(Debug, Clone)]
pub struct Membership {
    rebalance_timeout: Duration,
    /// Counts how often it began anew. What was asked in an earlier life has no answer any more.
    life: u32,
    /// Counts what it asked in all its lives.
    asked: u32,
    /// When its session is over; none while it is no member.
    session_until: Option<Uptime>,
    /// When it was told to give something up, until it hears that the coordinator knows that it did.
    told_at: Option<Uptime>,
    epoch: Epoch,
    seen: Revision,
    assigned: BTreeSet<PartitionId>,
    giving_up: BTreeSet<PartitionId>,
    /// Whether the coordinator has not heard what it owns since it gave something up, or was asked for what it does not have.
    is_unheard: bool,
    /// The first request that said it.
    said_in: Option<u32>,
}

impl Membership {
    /// A member that is to join, and may take so long to give up partitions, as it says when it joins.
    pub fn new(rebalance_timeout: Duration) -> Self {
        Self {
            rebalance_timeout,
            life: 0,
            asked: 0,
            session_until: None,
            told_at: None,
            epoch: Epoch::default(),
            seen: Revision::default(),
            assigned: BTreeSet::new(),
            giving_up: BTreeSet::new(),
            is_unheard: false,
            said_in: None,
        }
    }

    /// What to send now: a heartbeat interval after the last one at most, and at once when one [is due](Membership::is_due). Whoever
    /// lets the answers wait for news sends the next one when the last is answered.
    pub fn request(&mut self, now: Uptime) -> MemberRequest {
        self.asked = self.asked.saturating_add(1);
        let ask = match self.is_member() {
            false => Ask::Join,
            true => {
                let owned = self.is_unheard.then(|| self.owned());
                if self.is_unheard {
                    self.said_in.get_or_insert(self.asked);
                }
                Ask::Heartbeat { epoch: self.epoch, seen: self.seen, owned }
            }
        };
        MemberRequest { sent: Sent { life: self.life, number: self.asked, at: now }, ask }
    }

    /// A request was answered. What is outdated by now changes nothing, and what comes when the time is over is not believed.
    pub fn answered(
        &mut self,
        sent: Sent,
        now: Uptime,
        answer: &MemberAnswer,
        session_timeout: Duration,
    ) -> Change {
        let late = self.tick(now);
        let sent = if mutant!(TimeFromHearing) { Sent { at: now, ..sent } } else { sent };
        let is_outdated = answer.revision < self.seen || answer.epoch < self.epoch;
        let until = sent.at.plus(session_timeout);
        let comes_too_late = !self.is_member() && until <= now;
        if sent.life != self.life || is_outdated || comes_too_late {
            return late;
        }
        let before = self.owned();
        self.session_until = self.session_until.max(Some(until));
        self.epoch = answer.epoch;
        let is_newly_asked = self.note_what_is_asked(sent, answer);
        let mut change = match &answer.assignment {
            Some(assignment) => self.assign(assignment),
            None => Change::default(),
        };
        self.seen = answer.revision;
        if self.said_in.is_some_and(|said_in| said_in <= sent.number) {
            (self.is_unheard, self.said_in) = (false, None);
        }
        // What the coordinator waits for may never have come here: then it has to hear that.
        self.is_unheard |= is_newly_asked && self.giving_up.is_empty();
        if self.is_over(now) {
            self.begin_anew();
            change = Change { lost: before, ..Change::default() };
        }
        change
    }

    /// A request was refused.
    pub fn refused(&mut self, sent: Sent, code: ErrorCode) -> Verdict {
        // A late request may be refused for what was true when it was sent.
        if sent.life != self.life || sent.number != self.asked {
            return Verdict::Outdated;
        }
        match code {
            ErrorCode::UnknownMember => Verdict::JoinAs { is_new_id: true, lost: self.begin_anew() },
            ErrorCode::FencedMember => Verdict::JoinAs { is_new_id: false, lost: self.begin_anew() },
            ErrorCode::InstanceInUse => Verdict::PlaceTaken,
            code if code.is_retriable() => Verdict::Again,
            _ => Verdict::Fatal,
        }
    }

    /// Nothing of these partitions is processed any more. Only what is being given up counts. Of that, what was assigned
    /// again in the meantime begins now.
    pub fn released(&mut self, partitions: &PartitionSet) -> Change {
        let freed: Vec<PartitionId> =
            partitions.iter().filter(|partition| self.giving_up.remove(partition)).collect();
        if !freed.is_empty() {
            (self.is_unheard, self.said_in) = (true, None);
        }
        let assigned = freed.into_iter().filter(|partition| self.assigned.contains(partition)).collect();
        Change { assigned, ..Change::default() }
    }

    /// Time has passed. Whose session or time to give something up is over has lost everything.
    pub fn tick(&mut self, now: Uptime) -> Change {
        let lost = match self.is_over(now) {
            true => self.begin_anew(),
            false => PartitionSet::default(),
        };
        Change { lost, ..Change::default() }
    }

    /// When [`Membership::tick`] is due, unless an answer comes before.
    pub fn deadline(&self) -> Option<Uptime> {
        self.session_until.into_iter().chain(self.release_by()).min()
    }

    /// When the session is over, unless an answer comes before. None while it is no member.
    pub fn session_until(&self) -> Option<Uptime> {
        self.session_until
    }

    /// Until when the coordinator has to know that what was revoked is given up. None when it does.
    pub fn release_by(&self) -> Option<Uptime> {
        Some(self.told_at?.plus(self.rebalance_timeout))
    }

    /// Whether a heartbeat is to be sent now, though another one may be waiting for its answer: the coordinator waits for it.
    pub fn is_due(&self) -> bool {
        self.is_unheard && self.said_in.is_none()
    }

    /// How long the answer to a heartbeat may wait for something new, when the coordinator wants to be asked this often. What
    /// it waits is taken from the time to give up what the answer revokes.
    pub fn wait_max(&self, heartbeat_interval: Duration) -> Duration {
        heartbeat_interval.min(self.rebalance_timeout / 2)
    }

    /// Whether it is a member, as far as it knows.
    pub fn is_member(&self) -> bool {
        self.session_until.is_some()
    }

    /// Which of its lives it is in: what it asked in others is not answered any more.
    pub fn life(&self) -> u32 {
        self.life
    }

    /// The epoch to commit with. None while it is no member.
    pub fn epoch(&self) -> Option<Epoch> {
        self.is_member().then_some(self.epoch)
    }

    /// The newest revision that it has heard of.
    pub fn seen(&self) -> Revision {
        self.seen
    }

    /// All that it owns: what it was told to, and what it is still giving up. For these it may commit.
    pub fn owned(&self) -> PartitionSet {
        self.assigned.union(&self.giving_up).copied().collect()
    }

    /// Whether it owns the partition.
    pub fn owns(&self, partition: PartitionId) -> bool {
        self.assigned.contains(&partition) || self.giving_up.contains(&partition)
    }

    /// What it was told to give up and is still busy with.
    pub fn giving_up(&self) -> PartitionSet {
        self.giving_up.iter().copied().collect()
    }

    /// The time to give something up begins with the first answer that asks for it. Says whether this is it. While the revision stays
    /// the same, what was asked for once and then no more is not asked for again: an answer that says so was on its way for long.
    fn note_what_is_asked(&mut self, sent: Sent, answer: &MemberAnswer) -> bool {
        let is_newly_asked = answer.is_to_give_up && answer.revision != self.seen;
        if !answer.is_to_give_up {
            self.told_at = None;
        } else if is_newly_asked {
            self.told_at = Some(sent.at);
        }
        is_newly_asked
    }

    /// Takes over what it is to own. What is still being given up stays so, though it may be its own again: whoever
    /// works on it was told to end, and says when.
    fn assign(&mut self, assignment: &PartitionSet) -> Change {
        let assigned: BTreeSet<PartitionId> = assignment.iter().collect();
        let begun = assigned.difference(&self.assigned).filter(|partition| !self.giving_up.contains(partition));
        let begun = begun.copied().collect();
        let gone: Vec<PartitionId> = self.assigned.difference(&assigned).copied().collect();
        let revoked = gone.into_iter().filter(|partition| self.giving_up.insert(*partition)).collect();
        self.assigned = assigned;
        Change { assigned: begun, revoked, ..Change::default() }
    }

    fn is_over(&self, now: Uptime) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// It owns nothing any more and is to join. Says what it owned.
    fn begin_anew(&mut self) -> PartitionSet {
        let lost = self.owned();
        let (life, asked) = (self.life.saturating_add(1), self.asked);
        *self = Self { life, asked, ..Self::new(self.rebalance_timeout) };
        lost
    }
}
