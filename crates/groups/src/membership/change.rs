//! What goes between a [`Membership`](super::Membership) and who sends its requests and does its work.

use crate::ids::{Epoch, Revision};
use crate::partition_set::PartitionSet;
use crate::time::Uptime;

/// A request that was sent, for its answer to be told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sent {
    /// The member's life in which it was sent.
    pub life: u32,
    /// Counts the member's requests.
    pub number: u32,
    /// When it was sent: the member's time runs from here.
    pub at: Uptime,
}

/// What a member sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRequest {
    /// To be given back with the answer.
    pub sent: Sent,
    /// What it says.
    pub ask: Ask,
}

/// What a member says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ask {
    /// That it wants to be one.
    Join,
    /// That it is alive. See [`HeartbeatRequest`](crate::HeartbeatRequest) for the fields.
    Heartbeat {
        /// The epoch of the last answer that it heard.
        epoch: Epoch,
        /// The revision of that answer.
        seen: Revision,
        /// What it owns, when that is less than what the coordinator has heard.
        owned: Option<PartitionSet>,
    },
}

/// What is different for a member. A partition is in one of the three at most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Change {
    /// To be begun.
    pub assigned: PartitionSet,
    /// To be finished, given up, and then [released](super::Membership::released).
    pub revoked: PartitionSet,
    /// Somebody else's by now, perhaps: to be dropped at once. Nothing is released or committed.
    pub lost: PartitionSet,
}

impl Change {
    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        self.assigned.is_empty() && self.revoked.is_empty() && self.lost.is_empty()
    }
}

/// What a refusal means.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Nothing: the request was not the last one.
    Outdated,
    /// The request is to be sent again: to whoever coordinates the group by then. Time runs on.
    Again,
    /// The member is in the group no more, and is to join.
    JoinAs {
        /// Whether under a new id.
        is_new_id: bool,
        /// What it owned: to be dropped at once.
        lost: PartitionSet,
    },
    /// Another process fills the instance's place. It can be joined when that one leaves, or has been silent for a session.
    PlaceTaken,
    /// The same request will never be accepted.
    Fatal,
}
