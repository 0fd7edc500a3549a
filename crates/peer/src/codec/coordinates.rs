//! Votes, log ids and groups, which every message is made of.

use bytes::Bytes;
use highwater_consensus::{Ballot, LogId, Vote};
use highwater_types::{GroupId, NodeId, RaftIndex, Term};

use super::malformed;
use crate::error::PeerError;
use crate::wire;

impl From<Vote> for wire::Vote {
    fn from(vote: Vote) -> Self {
        Self { term: vote.term.0, node: vote.node.0, committed: vote.committed }
    }
}

impl From<wire::Vote> for Vote {
    fn from(vote: wire::Vote) -> Self {
        Self { term: Term(vote.term), node: NodeId(vote.node), committed: vote.committed }
    }
}

impl From<LogId> for wire::LogId {
    fn from(id: LogId) -> Self {
        Self { term: id.term.0, index: id.index.0 }
    }
}

impl From<wire::LogId> for LogId {
    fn from(id: wire::LogId) -> Self {
        Self { term: Term(id.term), index: RaftIndex(id.index) }
    }
}

impl From<Ballot> for wire::Ballot {
    fn from(ballot: Ballot) -> Self {
        Self {
            vote: Some(ballot.vote.into()),
            last: ballot.last.map(Into::into),
            is_takeover: ballot.is_takeover,
        }
    }
}

impl TryFrom<wire::Ballot> for Ballot {
    type Error = PeerError;

    fn try_from(ballot: wire::Ballot) -> Result<Self, PeerError> {
        let (vote, last) = (vote(ballot.vote)?, ballot.last.map(Into::into));
        Ok(Self { vote, last, is_takeover: ballot.is_takeover })
    }
}

/// The vote that a message must have.
pub(super) fn vote(vote: Option<wire::Vote>) -> Result<Vote, PeerError> {
    vote.map(Into::into).ok_or_else(|| malformed("it has no vote"))
}

/// The group that a request must name.
pub(super) fn group(bytes: &Bytes) -> Result<GroupId, PeerError> {
    let bytes = <[u8; GroupId::ENCODED_LEN]>::try_from(bytes.as_ref());
    bytes.map(GroupId::from_bytes).map_err(|_| malformed("its group is no group's id"))
}
