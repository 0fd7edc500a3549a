//! The lanes between two nodes: a connection each, so that what is large never stands before what is urgent.
//!
//! A lane's number is in every hello and never changes.

use highwater_consensus::PeerRequest;
use highwater_types::limits::{PEER_CONTROL_META_BYTES_MAX, PEER_META_BYTES_MAX, PEER_PAYLOAD_BYTES_MAX};

use crate::question::Question;
use crate::reader::FrameLimits;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// What is small and urgent: votes, heartbeats, take-overs.
    Control,
    /// What carries data: entries and snapshots.
    Bulk,
    /// Whether a node is alive: nothing else may delay that.
    Liveness,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 3] = [Self::Control, Self::Bulk, Self::Liveness];

    /// Where the lane stands in [`Lane::ALL`].
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Control => 0,
            Self::Bulk => 1,
            Self::Liveness => 2,
        }
    }

    /// The lane that a question travels on. Questions on different lanes may overtake each other.
    pub(crate) fn of(question: &Question) -> Self {
        let request = match question {
            Question::Support(_) => return Self::Liveness,
            Question::Replica { request, .. } => request,
        };
        match request {
            PeerRequest::Append(append) if append.entries.is_empty() => Self::Control,
            PeerRequest::Vote(_)
            | PeerRequest::PreVote(_)
            | PeerRequest::TakeOver(_)
            | PeerRequest::Rejoin(_)
            | PeerRequest::Identify
            | PeerRequest::Survey
            | PeerRequest::Settle(_) => Self::Control,
            PeerRequest::Append(_) | PeerRequest::Snapshot(_) | PeerRequest::Batches(_) => Self::Bulk,
        }
    }

    /// The lane's number on the wire.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Control => 1,
            Self::Bulk => 2,
            Self::Liveness => 3,
        }
    }

    /// The inverse of [`Lane::number`]; `None` for a lane that this build does not know.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.number() == number)
    }

    /// How large a frame may be.
    pub(crate) fn frame_limits(self) -> FrameLimits {
        match self {
            Self::Control | Self::Liveness => {
                FrameLimits { meta_max: PEER_CONTROL_META_BYTES_MAX, payload_max: 0 }
            }
            Self::Bulk => FrameLimits { meta_max: PEER_META_BYTES_MAX, payload_max: PEER_PAYLOAD_BYTES_MAX },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_has_its_own_place_and_number() {
        for (index, lane) in Lane::ALL.into_iter().enumerate() {
            assert_eq!(lane.index(), index);
            assert_eq!(Lane::from_number(lane.number()), Some(lane));
        }
        assert_eq!(Lane::from_number(0), None);
        assert_eq!(Lane::from_number(99), None);
    }
}
