//! What a Raft group's log holds, in the storage engine's own words.
//!
//! One entry is one record batch, or a control entry that takes no offset: so
//! client offsets stay dense and a Raft index is never an offset.

use std::fmt;

use bytes::Bytes;
use highwater_records::StampedBatch;
use highwater_types::{NodeId, RaftIndex, Term};

/// Identifies an entry: one leader per term, so the term and the index say all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The term of the leader that proposed the entry.
    pub term: Term,
    /// The entry's place in the group's log.
    pub index: RaftIndex,
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.term, self.index)
    }
}

/// A group's vote. Votes only grow: by term, then a committed vote over an uncommitted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// The term voted in.
    pub term: Term,
    /// The candidate voted for.
    pub node: NodeId,
    /// Whether a quorum granted it, which makes the candidate the term's leader.
    pub committed: bool,
}

impl Vote {
    /// Whether `self` may replace `older`. Within a term a vote stays with its candidate, unless a quorum
    /// made another one the leader.
    pub fn supersedes(&self, older: &Self) -> bool {
        if self.term != older.term {
            return self.term > older.term;
        }
        match (self.committed, older.committed) {
            (true, false) => true,
            (false, true) => false,
            (true, true) | (false, false) => self.node == older.node,
        }
    }
}

/// One entry of a group's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its identity.
    pub id: LogId,
    /// What it holds.
    pub payload: Payload,
}

/// What an entry holds. Only a batch takes offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: a new leader's first entry.
    Blank,
    /// A membership change, as the consensus layer encodes it.
    Membership(Bytes),
    /// A command of the group's own state machine.
    Control(Bytes),
    /// A record batch, stamped with its base offset and leader epoch.
    Batch(StampedBatch),
}

impl Payload {
    /// The payload's size in bytes, for the bounds on memory and messages.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Blank => 0,
            Self::Membership(bytes) | Self::Control(bytes) => bytes.len(),
            Self::Batch(batch) => batch.size_in_bytes(),
        }
    }
}
