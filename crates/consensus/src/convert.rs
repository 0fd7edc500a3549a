//! Between openraft's types and the store's. Pure.

use std::io;

use highwater_storage::{Entry, LogError, LogId, NewEntry, NewPayload, Payload, Vote};
use highwater_types::{NodeId, RaftIndex, Term};
use openraft::EntryPayload;
use openraft::alias::{EntryOf, LogIdOf, VoteOf};

use crate::membership;
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

/// An entry to append.
pub(crate) fn new_entry(entry: EntryOf<Types>) -> NewEntry {
    let payload = match entry.payload {
        EntryPayload::Blank => NewPayload::Ready(Payload::Blank),
        EntryPayload::Membership(members) => {
            NewPayload::Ready(Payload::Membership(membership::encode(&members)))
        }
        EntryPayload::Normal(Command::Proposed(batch)) => NewPayload::Proposed(batch),
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

/// The stored form of an entry that comes back from openraft to be applied.
pub(crate) fn stored_entry(entry: EntryOf<Types>) -> Result<Entry, io::Error> {
    let id = log_id(&entry.log_id);
    match new_entry(entry).payload {
        NewPayload::Ready(payload) => Ok(Entry { id, payload }),
        NewPayload::Proposed(_) => {
            Err(io::Error::other(format!("entry {id} is applied before the log stamped it")))
        }
    }
}

pub(crate) fn io_error(error: LogError) -> io::Error {
    io::Error::other(error)
}
