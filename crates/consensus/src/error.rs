//! What a proposal or a group can fail with.

use highwater_storage::{LogError, ReserveError, StoreError};
use highwater_types::{GroupId, Incarnation, NodeId};

/// A failed proposal or group. Unless a variant says otherwise, nothing was written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConsensusError {
    /// Another node leads the group, or none does.
    #[error("this node does not lead the group{}", leader.map(|leader| format!("; node {leader} does")).unwrap_or_default())]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// The entry was appended, and then the leadership was lost: another leader may yet commit it, or has dropped it.
    #[error("the leadership was lost while the entry was on its way; it may or may not take effect")]
    Discarded,
    /// A batch that was proposed before this one did not enter the log, so this one did not either.
    #[error("a batch that was proposed before it was not taken")]
    Overtaking,
    /// The group's stored data is damaged: it serves what is proven whole and takes nothing.
    #[error("the group is quarantined: {reason}")]
    Quarantined {
        /// What is damaged.
        reason: String,
    },
    /// The group is not running on this node.
    #[error("group {group} does not run on this node")]
    Unknown {
        /// The group.
        group: GroupId,
    },
    /// The group was stopped; a proposal under way may or may not take effect.
    #[error("the group was stopped")]
    Stopped,
    /// The group's storage or core failed; a proposal under way may or may not take effect.
    #[error("the group failed: {reason}")]
    Failed {
        /// What happened.
        reason: String,
    },
    /// The group did not come up in time.
    #[error("group {group} has no leader after {waited_ms} ms")]
    NoLeader {
        /// The group.
        group: GroupId,
        /// How long it was waited for, in milliseconds.
        waited_ms: u128,
    },
    /// The log of the group failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ConsensusError {
    /// Whether the cause is a full disk, which passes.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Log(error) => error.is_no_space(),
            Self::Store(error) => error.is_no_space(),
            _ => false,
        }
    }

    /// Whether the cause is damaged data, which does not pass: a person has to decide.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Quarantined { .. } | Self::Store(StoreError::Quarantined(_)) => true,
            Self::Log(error) => error.is_damage(),
            _ => false,
        }
    }
}

/// A peer's request of which nothing was taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RefusedRequest {
    /// The replica cannot take part.
    #[error(transparent)]
    Group(#[from] ConsensusError),
    /// There is no room for the entries (R3); the same request may be taken later.
    #[error(transparent)]
    NoRoom(#[from] ReserveError),
    /// The request is for the replica that was here before the disk was emptied.
    #[error("the request is for incarnation {wanted} of this node, which is incarnation {here}")]
    OtherIncarnation {
        /// Whom it is for.
        wanted: Incarnation,
        /// Who is here.
        here: Incarnation,
    },
    /// The replica may lack entries that it had acknowledged: it does not act as the member that it was.
    #[error(
        "the replica may have lost entries with the power; it takes part again when a leader has taken it in anew"
    )]
    InDoubt,
    /// The request contradicts itself or the log, so its sender is broken or its bytes are damaged.
    #[error("the request is malformed: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
}
