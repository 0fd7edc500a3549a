//! A member, which is the real one, and the messages between it and the coordinator. Times are whole seconds.

use std::time::Duration;

use highwater_groups::membership::{Ask as MemberAsk, Change, Sent, Verdict};
use highwater_groups::{Epoch, MemberAnswer, Membership, PartitionSet, Revision, Uptime};
use highwater_types::{ErrorCode, PartitionId};

/// How long a member may go without an answer.
pub(crate) const SESSION: u64 = 3;
/// How long a member may take to give up partitions.
pub(crate) const REBALANCE: u64 = 2;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Ask {
    /// As a member says it.
    Member(MemberAsk),
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
    Answer(Told),
    Refusal(&'static str),
}

/// What a member is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Told {
    epoch: Epoch,
    revision: Revision,
    assignment: Option<PartitionSet>,
    is_to_give_up: bool,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Message {
    /// The client: its place in the world.
    pub(crate) client: usize,
    /// The member's id when it asked.
    pub(crate) id: u32,
    pub(crate) sent: Sent,
    pub(crate) body: Body,
}

/// A process that wants to be a member.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client {
    /// Which id it has by now.
    pub(crate) id: u32,
    /// What it knows of itself. None before it came, and after it left.
    pub(crate) membership: Option<Membership>,
    /// What it asked last, as a member.
    pub(crate) last: Option<Sent>,
    /// What it may process, by the changes that it was told: everything but what it gave up or lost.
    pub(crate) processes: Vec<PartitionId>,
}

impl Client {
    /// Whether it is in its group, as it knows.
    pub(crate) fn is_member(&self) -> bool {
        self.membership.as_ref().is_some_and(Membership::is_member)
    }

    /// All that it owns in its own view.
    pub(crate) fn owned(&self) -> PartitionSet {
        self.membership.as_ref().map(Membership::owned).unwrap_or_default()
    }

    /// What it is still busy with.
    pub(crate) fn giving_up(&self) -> PartitionSet {
        self.membership.as_ref().map(Membership::giving_up).unwrap_or_default()
    }

    /// Whether the message belongs to what it is now.
    pub(crate) fn is_mine(&self, message: &Message) -> bool {
        let is_life = |membership: &Membership| membership.life() == message.sent.life;
        message.id == self.id && self.membership.as_ref().is_some_and(is_life)
    }

    /// What it sends as a member. It comes if it is not there yet.
    pub(crate) fn request(&mut self, now: u64) -> (Sent, Ask) {
        let new = || Membership::new(Duration::from_secs(REBALANCE));
        let request = self.membership.get_or_insert_with(new).request(uptime(now));
        self.last = Some(request.sent);
        (request.sent, Ask::Member(request.ask))
    }

    /// It ends what it was told to.
    pub(crate) fn give_up(&mut self) {
        let giving_up = self.giving_up();
        let Some(membership) = &mut self.membership else { return };
        let change = membership.released(&giving_up);
        self.processes.retain(|partition| !giving_up.contains(*partition));
        self.follow(&change);
    }

    /// It is a process like others that never was a member.
    pub(crate) fn go(&mut self) {
        *self = Self { id: self.id + 1, ..Self::default() };
    }

    /// By its own clock its time may be over.
    pub(crate) fn look_at_clock(&mut self, now: u64) {
        if let Some(membership) = &mut self.membership {
            let change = membership.tick(uptime(now));
            self.follow(&change);
        }
    }

    pub(crate) fn hear(&mut self, message: &Message, now: u64) {
        let Some(membership) = self.membership.as_mut().filter(|_| message.id == self.id) else { return };
        let change = match &message.body {
            Body::Answer(told) => {
                let session = Duration::from_secs(SESSION);
                membership.answered(message.sent, uptime(now), &answer_of(told), session)
            }
            Body::Refusal(code) => {
                match membership.refused(message.sent, ErrorCode::from_name(code).unwrap()) {
                    Verdict::JoinAs { is_new_id, lost } => {
                        self.id += u32::from(is_new_id);
                        Change { lost, ..Change::default() }
                    }
                    Verdict::Outdated => return,
                    verdict => panic!("{verdict:?}"),
                }
            }
            Body::Request(_) => return,
        };
        self.follow(&change);
    }

    fn follow(&mut self, change: &Change) {
        self.processes.retain(|partition| !change.lost.contains(*partition));
        for partition in change.assigned.iter() {
            assert!(!self.processes.contains(&partition), "{partition} begins twice");
            self.processes.push(partition);
        }
        self.processes.sort_unstable();
        let revoked_too_early = change.revoked.iter().find(|partition| !self.processes.contains(partition));
        assert_eq!(revoked_too_early, None, "revoked though it was never begun");
    }
}

fn uptime(seconds: u64) -> Uptime {
    Uptime(Duration::from_secs(seconds))
}

/// An answer as a message carries it.
pub(crate) fn body_of(answer: &MemberAnswer) -> Body {
    Body::Answer(Told {
        epoch: answer.epoch,
        revision: answer.revision,
        assignment: answer.assignment.clone(),
        is_to_give_up: answer.is_to_give_up,
    })
}

fn answer_of(told: &Told) -> MemberAnswer {
    MemberAnswer {
        epoch: told.epoch,
        revision: told.revision,
        assignment: told.assignment.clone(),
        is_to_give_up: told.is_to_give_up,
    }
}
