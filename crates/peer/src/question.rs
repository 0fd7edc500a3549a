//! What a node asks another, and what it is told.

use highwater_consensus::{PeerReply, PeerRequest, Ping, Pong};
use highwater_types::{GroupId, Incarnation};

/// What a node asks another.
#[derive(Debug)]
pub(crate) enum Question {
    /// A request to its replica of a group.
    Replica {
        /// The life of its data that the request is for.
        to: Incarnation,
        group: GroupId,
        request: PeerRequest,
    },
    /// Whether it supports the sender.
    Support(Ping),
}

/// The answer to a [`Question`], of the same kind.
#[derive(Debug)]
pub(crate) enum Reply {
    Replica(PeerReply),
    Support(Pong),
}
