//! The protobuf messages between nodes: the metas of the frames in `frame.rs`.
//!
//! Numbers of fields and of enum values never change and are never used again. A node may send what the agreed
//! version has; a receiver ignores fields that it does not know, and refuses a request whose kind it does not know.
//!
//! | frame | meta | payload |
//! | --- | --- | --- |
//! | hello, welcome, refusal | [`Hello`], [`Welcome`], [`Refusal`] | none |
//! | keep-alive, abandon | none | none |
//! | request | [`Request`] | an append's payloads, one after the other, without the heads of batches; the first bytes of a snapshot's state |
//! | chunk | [`Chunk`] | the next bytes of the state |
//! | answer | [`Answer`] | the batches of an answer with batches, as those of an append |
//! | error | [`Failure`] | none |
//! | ping, pong | [`Ping`], [`Pong`] | none |

use bytes::Bytes;
use prost::{Enumeration, Message, Oneof};

/// The oldest version of the protocol that this build speaks.
pub(crate) const VERSION_MIN: u32 = 1;
/// The newest.
pub(crate) const VERSION_MAX: u32 = 1;

/// Who dials. Stays as it is in every version.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Hello {
    #[prost(uint32, tag = "1")]
    pub(crate) version_min: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) version_max: u32,
    #[prost(message, optional, tag = "3")]
    pub(crate) identity: Option<Identity>,
    /// The node that is meant.
    #[prost(uint64, tag = "4")]
    pub(crate) to: u64,
    /// What the connection is for.
    #[prost(uint32, tag = "5")]
    pub(crate) lane: u32,
}

/// A node's identity.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Identity {
    /// A UUID, 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) cluster: Bytes,
    #[prost(uint64, tag = "2")]
    pub(crate) node: u64,
    #[prost(fixed64, tag = "3")]
    pub(crate) incarnation: u64,
    #[prost(fixed64, tag = "4")]
    pub(crate) process: u64,
}

/// The acceptor takes the connection.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Welcome {
    /// The version that both use from here on.
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) identity: Option<Identity>,
}

/// The acceptor does not take the connection. Stays as it is in every version.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Refusal {
    #[prost(uint32, tag = "1")]
    pub(crate) code: u32,
    #[prost(string, tag = "2")]
    pub(crate) reason: String,
}

/// A request to the replica of a group.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    /// The group's persisted form, 20 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) group: Bytes,
    /// How long the sender waits for the answer, from when it sent the request.
    #[prost(uint32, tag = "2")]
    pub(crate) deadline_ms: u32,
    /// The life of the receiver's data that it is for.
    #[prost(fixed64, tag = "8")]
    pub(crate) to_incarnation: u64,
    #[prost(oneof = "RequestKind", tags = "3, 4, 5, 6, 7, 9, 10, 11, 12, 13")]
    pub(crate) kind: Option<RequestKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum RequestKind {
    #[prost(message, tag = "3")]
    Append(Append),
    #[prost(message, tag = "4")]
    Vote(Ballot),
    #[prost(message, tag = "5")]
    PreVote(Ballot),
    #[prost(message, tag = "6")]
    Snapshot(Snapshot),
    #[prost(message, tag = "7")]
    TakeOver(TakeOver),
    #[prost(message, tag = "9")]
    Rejoin(Rejoin),
    #[prost(message, tag = "10")]
    Survey(Survey),
    #[prost(message, tag = "11")]
    Settle(Settle),
    #[prost(message, tag = "12")]
    Batches(BatchesWanted),
    #[prost(message, tag = "13")]
    Identify(Identify),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Vote {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) node: u64,
    #[prost(bool, tag = "3")]
    pub(crate) committed: bool,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct LogId {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) index: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Append {
    #[prost(message, optional, tag = "1")]
    pub(crate) vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub(crate) previous: Option<LogId>,
    #[prost(message, optional, tag = "3")]
    pub(crate) committed: Option<LogId>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) index: u64,
    #[prost(enumeration = "EntryKind", tag = "3")]
    pub(crate) kind: i32,
    /// Bytes of the frame's payload that are this entry's.
    #[prost(uint32, tag = "4")]
    pub(crate) len: u32,
    /// The CRC32C of these bytes; 0 for a batch, which has its own.
    #[prost(fixed32, tag = "5")]
    pub(crate) crc: u32,
    /// The first 8 bytes of a batch, as a big-endian number.
    #[prost(fixed64, tag = "6")]
    pub(crate) head_first: u64,
    /// The 8 bytes after them. The rest of the batch is in the payload.
    #[prost(fixed64, tag = "7")]
    pub(crate) head_second: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Enumeration)]
#[repr(i32)]
pub(crate) enum EntryKind {
    /// What this build does not know.
    Unknown = 0,
    Blank = 1,
    Membership = 2,
    Control = 3,
    Batch = 4,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Ballot {
    #[prost(message, optional, tag = "1")]
    pub(crate) vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub(crate) last: Option<LogId>,
    #[prost(bool, tag = "3")]
    pub(crate) is_takeover: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Snapshot {
    #[prost(message, optional, tag = "1")]
    pub(crate) vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub(crate) last: Option<LogId>,
    #[prost(message, optional, tag = "3")]
    pub(crate) membership: Option<Membership>,
    /// Bytes of the whole state. What the frame's payload does not have of it comes in chunks.
    #[prost(uint64, tag = "4")]
    pub(crate) state_len: u64,
    /// The CRC32C of the frame's payload.
    #[prost(fixed32, tag = "5")]
    pub(crate) crc: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Membership {
    #[prost(message, optional, tag = "1")]
    pub(crate) id: Option<LogId>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) encoded: Bytes,
}

/// More of a snapshot's state; the frame's correlation is the request's.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Chunk {
    /// Where in the state the payload belongs: where the one before ended.
    #[prost(uint64, tag = "1")]
    pub(crate) position: u64,
    /// The CRC32C of the frame's payload.
    #[prost(fixed32, tag = "2")]
    pub(crate) crc: u32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct TakeOver {
    #[prost(message, optional, tag = "1")]
    pub(crate) vote: Option<Vote>,
    #[prost(uint64, tag = "2")]
    pub(crate) to: u64,
    #[prost(message, optional, tag = "3")]
    pub(crate) last: Option<LogId>,
}

/// The sender's replica wants to be taken in as another member than it was.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Rejoin {
    /// The life of the sender's data.
    #[prost(fixed64, tag = "1")]
    pub(crate) node: u64,
    /// As whom.
    #[prost(fixed64, tag = "2")]
    pub(crate) replica: u64,
}

/// Asks who the receiver is.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Identify {}

/// Asks how far the receiver's log goes.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Survey {}

/// The last entry that any voter has.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Settle {
    #[prost(message, optional, tag = "1")]
    pub(crate) floor: Option<LogId>,
}

/// Asks for committed batches.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct BatchesWanted {
    /// The index of the first.
    #[prost(uint64, tag = "1")]
    pub(crate) from: u64,
    /// The index behind the last.
    #[prost(uint64, tag = "2")]
    pub(crate) below: u64,
    /// Most bytes in all, but the first whatever its size.
    #[prost(uint32, tag = "3")]
    pub(crate) bytes_max: u32,
}

/// The answer to a request, of the same kind.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Answer {
    #[prost(oneof = "AnswerKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub(crate) kind: Option<AnswerKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum AnswerKind {
    #[prost(message, tag = "1")]
    Append(AppendAnswer),
    #[prost(message, tag = "2")]
    Vote(BallotAnswer),
    #[prost(message, tag = "3")]
    Snapshot(Vote),
    #[prost(bool, tag = "4")]
    TakeOver(bool),
    #[prost(bool, tag = "5")]
    Rejoin(bool),
    #[prost(message, tag = "6")]
    Survey(SurveyAnswer),
    #[prost(bool, tag = "7")]
    Settle(bool),
    #[prost(message, tag = "8")]
    Batches(Batches),
    #[prost(message, tag = "9")]
    Identity(ReplicaIdentity),
}

/// Who a replica is, or would be taken in as.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct ReplicaIdentity {
    /// The life of its node's data.
    #[prost(fixed64, tag = "1")]
    pub(crate) node: u64,
    /// Its own, when it has one.
    #[prost(fixed64, optional, tag = "2")]
    pub(crate) replica: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct SurveyAnswer {
    #[prost(message, optional, tag = "1")]
    pub(crate) last: Option<LogId>,
    #[prost(bool, tag = "2")]
    pub(crate) is_doubtful: bool,
    #[prost(bool, tag = "3")]
    pub(crate) is_led: bool,
}

/// Committed batches. The bytes of each are in the payload.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Batches {
    #[prost(message, repeated, tag = "1")]
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct AppendAnswer {
    #[prost(enumeration = "AppendOutcome", tag = "1")]
    pub(crate) outcome: i32,
    /// With [`AppendOutcome::StoredUpTo`]: the last entry that is stored, if any.
    #[prost(message, optional, tag = "2")]
    pub(crate) stored: Option<LogId>,
    /// With [`AppendOutcome::HigherVote`]: that vote.
    #[prost(message, optional, tag = "3")]
    pub(crate) vote: Option<Vote>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Enumeration)]
#[repr(i32)]
pub(crate) enum AppendOutcome {
    /// What this build does not know.
    Unknown = 0,
    Stored = 1,
    StoredUpTo = 2,
    Conflict = 3,
    HigherVote = 4,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct BallotAnswer {
    #[prost(message, optional, tag = "1")]
    pub(crate) vote: Option<Vote>,
    #[prost(bool, tag = "2")]
    pub(crate) is_granted: bool,
    #[prost(message, optional, tag = "3")]
    pub(crate) last: Option<LogId>,
}

/// Nothing was taken of a request.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Failure {
    #[prost(string, tag = "1")]
    pub(crate) reason: String,
}

/// Asks the node for its support.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Ping {
    #[prost(uint64, tag = "1")]
    pub(crate) epoch: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) sent_at_us: u64,
    #[prost(bool, tag = "3")]
    pub(crate) is_heard: bool,
}

/// Gives it.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Pong {
    #[prost(uint64, tag = "1")]
    pub(crate) epoch: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) sent_at_us: u64,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) run: Option<u64>,
}
