//! What the replicas of a group say to each other, in the project's own words.
//!
//! A transport carries these and knows nothing of their meaning. A request changes nothing at its receiver
//! that receiving it twice would change again, so a transport may repeat one; it must not make one up.

use bytes::Bytes;
use highwater_storage::{Entry, LogId, Vote};
use highwater_types::{Incarnation, NodeId, ProcessEpoch, RaftIndex};

/// Where a replica is: a node, and the life of its data. A node whose disk was emptied is another member, which must not
/// answer for the one that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// The life of its data directory.
    pub incarnation: Incarnation,
}

/// Who sends a request: a node, and which of its starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// The node.
    pub node: NodeId,
    /// Its process.
    pub epoch: ProcessEpoch,
}

/// A request from a replica to another.
#[derive(Debug, Clone)]
pub enum PeerRequest {
    /// Entries to append, or a heartbeat without any.
    Append(Append),
    /// A request for a vote.
    Vote(Ballot),
    /// Asks whether a vote would be granted; changes nothing at the receiver.
    PreVote(Ballot),
    /// The state of the group up to an entry, for a replica whose next entries the leader has purged.
    Snapshot(SnapshotTransfer),
    /// The leader asks the receiver to take over.
    TakeOver(TakeOver),
    /// The sender's replica wants to be taken in as another member than it was. For whoever the receiver is.
    Rejoin(Rejoin),
    /// Asks a replica who it is, or would be taken in as. For whoever the receiver is; changes nothing for anybody else.
    Identify,
    /// Asks a voter how far its log goes and whether that is all that it acknowledged; changes nothing at the receiver.
    Survey,
    /// Every voter was asked, and this is the last entry that any of them has: who votes for no shorter log may vote again.
    Settle(Option<LogId>),
    /// Asks for committed batches, for a replica that has them damaged. Any member may send it, and any member answer.
    Batches(BatchesWanted),
}

/// The answer to a [`PeerRequest`], of the same kind, or an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerReply {
    /// To an append.
    Append(AppendReply),
    /// To a request for a vote, of either kind.
    Vote(BallotReply),
    /// To a snapshot: the receiver's vote; when it equals the sender's, the snapshot is installed and durable.
    Snapshot(Vote),
    /// To the request to take over: whether the receiver stands for election.
    TakeOver(bool),
    /// To the wish to be taken in: whether the receiver leads, and so will see to it.
    Rejoin(bool),
    /// To the question who the receiver is, and to entries or state of a leader that are for another than who it is: it took nothing of them.
    Identity(Identity),
    /// To a survey.
    Survey(Surveyed),
    /// To what a survey found: whether the receiver goes by it.
    Settle(bool),
    /// To the wish for batches: some of them, in order, from the first one on; none when the first is not held.
    Batches(Vec<Entry>),
}

/// Committed batches that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchesWanted {
    /// The index of the first.
    pub from: RaftIndex,
    /// The index behind the last.
    pub below: RaftIndex,
    /// Most bytes in all, but the first whatever its size.
    pub bytes_max: u32,
}

/// Entries of a leader.
#[derive(Debug, Clone)]
pub struct Append {
    /// The leader's vote, which says its term.
    pub vote: Vote,
    /// The entry before the first of `entries`.
    pub previous: Option<LogId>,
    /// Consecutive entries; batches are stamped.
    pub entries: Vec<Entry>,
    /// What the leader knows to be committed.
    pub committed: Option<LogId>,
}

impl Append {
    /// Bytes of the entries' payloads.
    pub fn size_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.payload.size_bytes()).sum()
    }
}

/// The answer to an [`Append`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendReply {
    /// All entries are stored as the group's durability says.
    Stored,
    /// The entries up to this one are; the rest has to be sent again.
    StoredUpTo(Option<LogId>),
    /// The receiver has no entry `previous`: the leader must look further back.
    Conflict,
    /// The receiver knows a newer vote: the sender leads no more.
    HigherVote(Vote),
}

/// A candidate asks for a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ballot {
    /// The candidate's own vote.
    pub vote: Vote,
    /// The last entry of its log.
    pub last: Option<LogId>,
    /// Whether the leader asked the candidate to take over, which overrides the lease that protects the leader.
    pub is_takeover: bool,
}

/// The answer to a [`Ballot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BallotReply {
    /// The receiver's vote after the request.
    pub vote: Vote,
    /// Whether it is, or would be, given to the candidate.
    pub is_granted: bool,
    /// The last entry of the receiver's log.
    pub last: Option<LogId>,
}

/// A group's state up to an entry.
#[derive(Debug, Clone)]
pub struct SnapshotTransfer {
    /// The leader's vote.
    pub vote: Vote,
    /// The last entry that the state takes in.
    pub last: Option<LogId>,
    /// The membership in force at `last`, as an entry of the log; `None` before there is one.
    pub membership: Option<(LogId, Bytes)>,
    /// The state, as the storage layer encodes it.
    pub state: Bytes,
}

/// A replica gave up who it was in its group, or is about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejoin {
    /// The life of the sender's data.
    pub node: Incarnation,
    /// Whom it wants to be taken in as.
    pub replica: Incarnation,
}

/// Who a replica is to its group, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The life of its node's data.
    pub node: Incarnation,
    /// Its own, unless it is what its node is.
    pub replica: Option<Incarnation>,
}

/// What a voter says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surveyed {
    /// The last entry of its log.
    pub last: Option<LogId>,
    /// Whether it may have lost entries that it acknowledged.
    pub is_doubtful: bool,
    /// Whether it knows a leader that serves.
    pub is_led: bool,
}

/// A leader asks a follower to take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakeOver {
    /// The leader's vote.
    pub vote: Vote,
    /// Who shall take over.
    pub to: NodeId,
    /// The entry that the successor must have.
    pub last: Option<LogId>,
}
