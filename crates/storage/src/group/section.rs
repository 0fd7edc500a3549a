//! A group's part of the checkpoint.

use bytes::Bytes;
use highwater_types::{NodeId, RaftIndex, Term};
use prost::Message;

use crate::entry::{Entry, LogId, Payload, Vote};
use crate::segment::SegmentManifest;

/// A group's part of the checkpoint: its state as of the entry `applied`, and what the journal
/// after the checkpoint's position does not repeat.
#[derive(Clone, PartialEq, Message)]
pub struct GroupSection {
    /// The encoded group id.
    #[prost(bytes = "vec", tag = "1")]
    pub group: Vec<u8>,
    /// The encoded options.
    #[prost(bytes = "bytes", tag = "2")]
    pub options: Bytes,
    /// The vote.
    #[prost(message, optional, tag = "3")]
    pub vote: Option<VoteMessage>,
    /// The newest entry known committed.
    #[prost(message, optional, tag = "4")]
    pub committed: Option<LogIdMessage>,
    /// The newest entry that `state`, `segments` and `membership` take in.
    #[prost(message, optional, tag = "5")]
    pub applied: Option<LogIdMessage>,
    /// The newest entry that is gone.
    #[prost(message, optional, tag = "6")]
    pub purged: Option<LogIdMessage>,
    /// The applied membership, as the entry that brought it.
    #[prost(message, optional, tag = "7")]
    pub membership: Option<EntryMessage>,
    /// Applied entries above `purged` that are not batches.
    #[prost(message, repeated, tag = "8")]
    pub kept: Vec<EntryMessage>,
    /// The segments, for a group that has batches.
    #[prost(message, optional, tag = "9")]
    pub segments: Option<SegmentManifest>,
    /// The first readable offset.
    #[prost(int64, tag = "10")]
    pub log_start: i64,
    /// The state above the log, as its applier encodes it.
    #[prost(bytes = "bytes", tag = "11")]
    pub state: Bytes,
    /// Frames of this group in groups of the journal below this LSN are part of the section already.
    #[prost(uint64, tag = "12")]
    pub replay_from_lsn: u64,
    /// Why the log itself is damaged, when it is: the group stays quarantined.
    #[prost(string, optional, tag = "13")]
    pub broken: Option<String>,
    /// The entries after which the log may start, in order, each with its state's file.
    #[prost(message, repeated, tag = "14")]
    pub boundaries: Vec<BoundaryRecord>,
    /// Who the replica is in its group, when that is not the node's incarnation any more.
    #[prost(fixed64, optional, tag = "15")]
    pub incarnation: Option<u64>,
    /// Whether the replica may have lost entries that it had acknowledged.
    #[prost(bool, tag = "16")]
    pub is_doubtful: bool,
}

/// An entry whose state lies in a file of its own.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct BoundaryRecord {
    /// The entry.
    #[prost(message, required, tag = "1")]
    pub last: LogIdMessage,
    /// Where the first batch after it starts.
    #[prost(int64, tag = "2")]
    pub offset: i64,
    /// The file's length in bytes.
    #[prost(uint64, tag = "3")]
    pub length: u64,
    /// CRC32C of the whole file.
    #[prost(uint32, tag = "4")]
    pub crc: u32,
}

/// A [`Vote`], persisted.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct VoteMessage {
    /// See [`Vote::term`].
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// See [`Vote::node`].
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// See [`Vote::committed`].
    #[prost(bool, tag = "3")]
    pub committed: bool,
}

/// A [`LogId`], persisted.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct LogIdMessage {
    /// See [`LogId::term`].
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// See [`LogId::index`].
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

/// An entry that is not a batch, persisted.
#[derive(Clone, PartialEq, Message)]
pub struct EntryMessage {
    /// Its identity.
    #[prost(message, required, tag = "1")]
    pub id: LogIdMessage,
    /// 0 blank, 1 membership, 2 control.
    #[prost(uint32, tag = "2")]
    pub kind: u32,
    /// Its payload.
    #[prost(bytes = "bytes", tag = "3")]
    pub payload: Bytes,
}

impl From<Vote> for VoteMessage {
    fn from(vote: Vote) -> Self {
        Self { term: vote.term.0, node: vote.node.0, committed: vote.committed }
    }
}

impl From<VoteMessage> for Vote {
    fn from(message: VoteMessage) -> Self {
        Self { term: Term(message.term), node: NodeId(message.node), committed: message.committed }
    }
}

impl From<LogId> for LogIdMessage {
    fn from(id: LogId) -> Self {
        Self { term: id.term.0, index: id.index.0 }
    }
}

impl From<LogIdMessage> for LogId {
    fn from(message: LogIdMessage) -> Self {
        Self { term: Term(message.term), index: RaftIndex(message.index) }
    }
}

impl EntryMessage {
    /// The persisted form; `None` for a batch, which lies in a segment.
    pub fn new(entry: &Entry) -> Option<Self> {
        let (kind, payload) = match &entry.payload {
            Payload::Blank => (0, Bytes::new()),
            Payload::Membership(bytes) => (1, bytes.clone()),
            Payload::Control(bytes) => (2, bytes.clone()),
            Payload::Batch(_) => return None,
        };
        Some(Self { id: entry.id.into(), kind, payload })
    }

    /// The entry; `None` for an unknown kind.
    pub fn entry(self) -> Option<Entry> {
        let payload = match self.kind {
            0 => Payload::Blank,
            1 => Payload::Membership(self.payload),
            2 => Payload::Control(self.payload),
            _ => return None,
        };
        Some(Entry { id: self.id.into(), payload })
    }
}
