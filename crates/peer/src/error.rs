//! What can go wrong on a connection between nodes.

use std::fmt;
use std::io;

use highwater_types::{ClusterId, NodeId};

use crate::admission::NotAdmitted;

/// Why a connection ended or never came up, or why a frame was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The stream failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The peer closed the stream between two frames.
    #[error("the peer closed the connection")]
    Closed,
    /// The stream ended inside a frame.
    #[error("the connection ended in the middle of a frame")]
    CutShort,
    /// The connection did not come up in time.
    #[error("no connection within {waited_ms} ms")]
    ConnectTimeout {
        /// How long it was waited for, in milliseconds.
        waited_ms: u128,
    },
    /// Nothing arrived for too long, not even a sign of life.
    #[error("nothing was heard for {silent_ms} ms")]
    Silent {
        /// How long, in milliseconds.
        silent_ms: u128,
    },
    /// The peer took no byte for too long.
    #[error("no byte was taken for {stalled_ms} ms")]
    Stalled {
        /// How long, in milliseconds.
        stalled_ms: u128,
    },
    /// What arrived does not begin as a frame does: the other end is no node, or speaks another layout.
    #[error("the other end does not speak the protocol between nodes: a frame begins with {found:02x?}")]
    NotAFrame {
        /// The first bytes.
        found: [u8; 4],
    },
    /// A frame states a length above its limit.
    #[error("a frame's {part} is {len} bytes long, the limit is {max}")]
    TooLong {
        /// Which part of the frame.
        part: &'static str,
        /// The stated length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A frame's header or description was damaged on the way.
    #[error("a frame's checksum is {found:08x}, it states {stated:08x}")]
    Checksum {
        /// The checksum in the frame.
        stated: u32,
        /// That of what arrived.
        found: u32,
    },
    /// A frame's description cannot be decoded.
    #[error("a frame's description cannot be read: {0}")]
    Undecodable(#[from] prost::DecodeError),
    /// A frame contradicts itself or what came before.
    #[error("a frame is malformed: {problem}")]
    Malformed {
        /// What is wrong.
        problem: String,
    },
    /// A frame came where another kind was due.
    #[error("a frame of kind {kind} came, {due} was due")]
    Unexpected {
        /// The kind's number.
        kind: u8,
        /// What should have come.
        due: &'static str,
    },
    /// The other end belongs to another cluster.
    #[error("{found} is another cluster; this node belongs to {ours}")]
    OtherCluster {
        /// This node's cluster.
        ours: ClusterId,
        /// The other end's.
        found: ClusterId,
    },
    /// Another node than the one that was meant.
    #[error("node {found} is there, not node {expected}")]
    OtherNode {
        /// Who was meant.
        expected: NodeId,
        /// Who is there.
        found: NodeId,
    },
    /// No version of the protocol is known to both ends.
    #[error(
        "the peer speaks versions {min} to {max} of the protocol between nodes, this node {ours_min} to {ours_max}"
    )]
    Version {
        /// The oldest that the peer speaks.
        min: u32,
        /// The newest that the peer speaks.
        max: u32,
        /// The oldest that this node speaks.
        ours_min: u32,
        /// The newest that this node speaks.
        ours_max: u32,
    },
    /// A lane that this build does not know.
    #[error("lane {number} is not known to this version")]
    UnknownLane {
        /// Its number.
        number: u32,
    },
    /// The node is of this cluster and not to be talked to.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The peer refused the connection.
    #[error("it refuses the connection ({code}): {reason}")]
    Refused {
        /// The kind of reason.
        code: RefusalCode,
        /// Its words.
        reason: String,
    },
    /// A request's handler panicked.
    #[error("the handler of a request panicked")]
    HandlerPanicked,
    /// The connection was ended from this side: it was replaced, its node removed, or this node is stopping.
    #[error("the connection was ended by this node")]
    Ended,
}

impl PeerError {
    /// What the peer is told when this ends a handshake; `None` when it is told nothing, because it may be no node.
    pub(crate) fn refusal(&self) -> Option<RefusalCode> {
        match self {
            Self::OtherCluster { .. } => Some(RefusalCode::OtherCluster),
            Self::OtherNode { .. } => Some(RefusalCode::OtherNode),
            Self::Version { .. } => Some(RefusalCode::Version),
            Self::UnknownLane { .. } => Some(RefusalCode::UnknownLane),
            Self::NotAdmitted(why) => Some(why.code()),
            Self::Malformed { .. } | Self::Undecodable(_) => Some(RefusalCode::Malformed),
            _ => None,
        }
    }

    /// Whether trying again soon is useless: what stands between the nodes is a setting, not a fault.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::NotAFrame { .. }) || self.refusal().is_some()
    }
}

/// Why a node refuses a connection. The numbers are on the wire and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RefusalCode {
    /// The hello cannot be read.
    Malformed,
    /// Another cluster.
    OtherCluster,
    /// Not the node that was meant.
    OtherNode,
    /// No common version.
    Version,
    /// The data of the node is from another life than the one that the cluster counts on.
    StaleIncarnation,
    /// The node was removed from the cluster.
    Removed,
    /// A lane that is not known here.
    UnknownLane,
    /// The node's cluster went on without it, under another id.
    LeftBehind,
    /// A code that this build does not know.
    Unknown(u32),
}

impl RefusalCode {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Malformed => 1,
            Self::OtherCluster => 2,
            Self::OtherNode => 3,
            Self::Version => 4,
            Self::StaleIncarnation => 5,
            Self::Removed => 6,
            Self::UnknownLane => 7,
            Self::LeftBehind => 8,
            Self::Unknown(number) => number,
        }
    }

    pub(crate) fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Malformed,
            2 => Self::OtherCluster,
            3 => Self::OtherNode,
            4 => Self::Version,
            5 => Self::StaleIncarnation,
            6 => Self::Removed,
            7 => Self::UnknownLane,
            8 => Self::LeftBehind,
            number => Self::Unknown(number),
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed hello",
            Self::OtherCluster => "other cluster",
            Self::OtherNode => "other node",
            Self::Version => "no common version",
            Self::StaleIncarnation => "stale incarnation",
            Self::Removed => "removed node",
            Self::UnknownLane => "unknown lane",
            Self::LeftBehind => "left behind",
            Self::Unknown(number) => return write!(f, "code {number}"),
        })
    }
}
