//! Between openraft's types and the store's. Pure.

use std::io;

use bytes::Bytes;
use highwater_storage::{Entry, GroupSnapshot, LogError, LogId, NewEntry, NewPayload, Payload, Vote};
use highwater_types::{NodeId, RaftIndex, Term};
use openraft::alias::{EntryOf, LogIdOf, SnapshotOf, VoteOf};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::{EntryPayload, Snapshot, SnapshotMeta, StoredMembership};

use crate::membership;
use crate::message::{Append, AppendReply, Ballot, BallotReply, SnapshotTransfer, TakeOver};
use crate::proposal_run::ProposalRuns;
use crate::type_config::{Command, Types};

pub(crate) fn log_id(id: &LogIdOf<Types>) -> LogId {
    LogId { term: Term(id.committed_leader_id().term), index: RaftIndex(id.index()) }
}

pub(crate) fn raft_log_id(id: LogId) -> LogIdOf<Types> {
    LogIdOf::<Types>::new_term_index(id.term.0, id.index.0)
}

pub(crate) fn vote(vote: &VoteOf<Types>) -> Vote {
    let leader = vote.leader_id();
    Vote { term: Term(leader.term), node: NodeId(leader.voted_for), committed: vote.is_committed() }
}

pub(crate) fn raft_vote(vote: Vote) -> VoteOf<Types> {
    if vote.committed {
        VoteOf::<Types>::new_committed(vote.term.0, vote.node.0)
    } else {
        VoteOf::<Types>::new(vote.term.0, vote.node.0)
    }
}

/// An entry to append. A proposed batch that `runs` does not admit becomes a blank entry.
pub(crate) fn new_entry(entry: EntryOf<Types>, runs: &ProposalRuns) -> NewEntry {
    let payload = match entry.payload {
        EntryPayload::Blank => NewPayload::Ready(Payload::Blank),
        EntryPayload::Membership(members) => {
            NewPayload::Ready(Payload::Membership(membership::encode(&members)))
        }
        EntryPayload::Normal(Command::Proposed(batch, ticket)) => match runs.admit(ticket) {
            true => NewPayload::Proposed(batch),
            false => NewPayload::Ready(Payload::Blank),
        },
        EntryPayload::Normal(Command::Stamped(batch)) => NewPayload::Ready(Payload::Batch(batch)),
        EntryPayload::Normal(Command::Control(bytes)) => NewPayload::Ready(Payload::Control(bytes)),
    };
    NewEntry { id: log_id(&entry.log_id), payload }
}

/// An entry read back.
///
/// # Errors
/// When a stored membership cannot be read.
pub(crate) fn raft_entry(entry: Entry) -> Result<EntryOf<Types>, io::Error> {
    let payload = match entry.payload {
        Payload::Blank => EntryPayload::Blank,
        Payload::Membership(bytes) => EntryPayload::Membership(membership::decode(&bytes)?),
        Payload::Control(bytes) => EntryPayload::Normal(Command::Control(bytes)),
        Payload::Batch(batch) => EntryPayload::Normal(Command::Stamped(batch)),
    };
    Ok(EntryOf::<Types> { log_id: raft_log_id(entry.id), payload })
}

/// The stored form of an entry that comes back from openraft to be applied or sent.
///
/// # Errors
/// When the log never stamped it.
pub(crate) fn stored_entry(entry: EntryOf<Types>) -> Result<Entry, io::Error> {
    let id = log_id(&entry.log_id);
    let payload = match entry.payload {
        EntryPayload::Blank => Payload::Blank,
        EntryPayload::Membership(members) => Payload::Membership(membership::encode(&members)),
        EntryPayload::Normal(Command::Stamped(batch)) => Payload::Batch(batch),
        EntryPayload::Normal(Command::Control(bytes)) => Payload::Control(bytes),
        EntryPayload::Normal(Command::Proposed(..)) => {
            return Err(io::Error::other(format!("entry {id} is used before the log stamped it")));
        }
    };
    Ok(Entry { id, payload })
}

/// A leader's entries as a peer gets them.
///
/// # Errors
/// When an entry was never stamped, which the log does before anyone may send it.
pub(crate) fn append(request: AppendEntriesRequest<Types>) -> Result<Append, io::Error> {
    Ok(Append {
        vote: vote(&request.vote),
        previous: request.prev_log_id.as_ref().map(log_id),
        entries: request.entries.into_iter().map(stored_entry).collect::<Result<_, _>>()?,
        committed: request.leader_commit.as_ref().map(log_id),
    })
}

/// The inverse of [`append`].
///
/// # Errors
/// When a membership cannot be read.
pub(crate) fn raft_append(append: Append) -> Result<AppendEntriesRequest<Types>, io::Error> {
    Ok(AppendEntriesRequest {
        vote: raft_vote(append.vote),
        prev_log_id: append.previous.map(raft_log_id),
        entries: append.entries.into_iter().map(raft_entry).collect::<Result<_, _>>()?,
        leader_commit: append.committed.map(raft_log_id),
    })
}

pub(crate) fn append_reply(reply: AppendEntriesResponse<Types>) -> AppendReply {
    match reply {
        AppendEntriesResponse::Success => AppendReply::Stored,
        AppendEntriesResponse::PartialSuccess(id) => AppendReply::StoredUpTo(id.as_ref().map(log_id)),
        AppendEntriesResponse::Conflict => AppendReply::Conflict,
        AppendEntriesResponse::HigherVote(newer) => AppendReply::HigherVote(vote(&newer)),
    }
}

pub(crate) fn raft_append_reply(reply: AppendReply) -> AppendEntriesResponse<Types> {
    match reply {
        AppendReply::Stored => AppendEntriesResponse::Success,
        AppendReply::StoredUpTo(id) => AppendEntriesResponse::PartialSuccess(id.map(raft_log_id)),
        AppendReply::Conflict => AppendEntriesResponse::Conflict,
        AppendReply::HigherVote(newer) => AppendEntriesResponse::HigherVote(raft_vote(newer)),
    }
}

pub(crate) fn ballot(request: &VoteRequest<Types>) -> Ballot {
    Ballot {
        vote: vote(&request.vote),
        last: request.last_log_id.as_ref().map(log_id),
        is_takeover: request.leadership_transfer,
    }
}

pub(crate) fn raft_ballot(ballot: Ballot) -> VoteRequest<Types> {
    VoteRequest {
        vote: raft_vote(ballot.vote),
        last_log_id: ballot.last.map(raft_log_id),
        leadership_transfer: ballot.is_takeover,
    }
}

pub(crate) fn ballot_reply(reply: &VoteResponse<Types>) -> BallotReply {
    BallotReply {
        vote: vote(&reply.vote),
        is_granted: reply.vote_granted,
        last: reply.last_log_id.as_ref().map(log_id),
    }
}

pub(crate) fn raft_ballot_reply(reply: BallotReply) -> VoteResponse<Types> {
    VoteResponse::new(raft_vote(reply.vote), reply.last.map(raft_log_id), reply.is_granted)
}

pub(crate) fn snapshot_transfer(
    leader: &VoteOf<Types>,
    snapshot: SnapshotOf<Types, Bytes>,
) -> SnapshotTransfer {
    let members = snapshot.meta.last_membership;
    SnapshotTransfer {
        vote: vote(leader),
        last: snapshot.meta.last_log_id.as_ref().map(log_id),
        membership: members.log_id().as_ref().map(|id| (log_id(id), membership::encode(members.membership()))),
        state: snapshot.snapshot,
    }
}

/// The inverse of [`snapshot_transfer`].
///
/// # Errors
/// When the membership cannot be read, or the state is not whole or not the one that the rest describes.
pub(crate) fn raft_snapshot(
    transfer: SnapshotTransfer,
) -> Result<(VoteOf<Types>, SnapshotOf<Types, Bytes>), io::Error> {
    let state = GroupSnapshot::decode(&transfer.state).map_err(io::Error::other)?;
    let members = state.membership.as_ref().map(|entry| entry.id);
    if Some(state.last) != transfer.last || members != transfer.membership.as_ref().map(|(id, _)| *id) {
        let (last, stated) = (state.last, transfer.last);
        return Err(io::Error::other(format!("a state as of {last} was sent as one as of {stated:?}")));
    }
    let last_membership = match transfer.membership {
        None => StoredMembership::default(),
        Some((id, bytes)) => StoredMembership::new(Some(raft_log_id(id)), membership::decode(&bytes)?),
    };
    let meta = SnapshotMeta { last_log_id: transfer.last.map(raft_log_id), last_membership };
    Ok((raft_vote(transfer.vote), Snapshot { meta, snapshot: transfer.state }))
}

pub(crate) fn raft_take_over(message: &TakeOver) -> TransferLeaderRequest<Types> {
    TransferLeaderRequest::new(raft_vote(message.vote), message.to.0, message.last.map(raft_log_id))
}

pub(crate) fn io_error(error: LogError) -> io::Error {
    io::Error::other(error)
}
