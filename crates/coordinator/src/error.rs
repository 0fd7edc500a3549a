//! Why a shard did not do what it was asked.

use highwater_groups::GroupsError;
use highwater_types::NodeId;

/// Why there is no answer, or a refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoordinatorError {
    /// Another node coordinates these groups, or none does now. Nothing was changed.
    #[error("this node does not coordinate the group{}", led_by(*.leader))]
    NotLeader {
        /// Who does, when that is known.
        leader: Option<NodeId>,
    },
    /// The request may or may not have taken effect; asking again is safe.
    #[error("the group's coordinator cannot say what became of the request: {reason}")]
    OutcomeUnknown {
        /// What happened.
        reason: String,
    },
    /// More is waiting to be decided than can be kept. Nothing was changed.
    #[error("the group's coordinator has too many requests waiting; ask again in a moment")]
    Overloaded,
    /// The state machine refused it. Nothing was changed.
    #[error(transparent)]
    Refused(#[from] GroupsError),
}

fn led_by(leader: Option<NodeId>) -> String {
    leader.map(|leader| format!("; node {leader} does")).unwrap_or_default()
}
