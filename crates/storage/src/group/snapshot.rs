//! A group's state as of one entry, encoded: what lies in a state file, and what the leader sends to a follower
//! whose next entries it has purged.
//!
//! ```text
//!  0       8         12     16            24
//!  ├─magic─┼─version─┼─crc──┼─body_len────┼─ body (protobuf `SnapshotMessage`) ─┤
//! ```
//!
//! It is a function of the log up to its entry, so every replica makes the same of it. It holds no batches:
//! those before its end are the ones that nobody can read any more.

use bytes::{Buf, BufMut, Bytes};
use highwater_types::Offset;
use prost::Message;

use super::section::{EntryMessage, LogIdMessage};
use crate::entry::{Entry, LogId, Payload};

const MAGIC: [u8; 8] = *b"HWSTATE\0";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 24;

/// A group's state as of the entry `last`.
#[derive(Debug, Clone)]
pub struct GroupSnapshot {
    /// The newest entry that it takes in.
    pub last: LogId,
    /// The membership entry in force at `last`.
    pub membership: Option<Entry>,
    /// Where the first batch after `last` starts.
    pub next_offset: Offset,
    /// The log start as of `last`, at most `next_offset`.
    pub log_start: Offset,
    /// The state above the log, as its applier encodes it.
    pub state: Bytes,
}

/// Why bytes are no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// They end before their own length says.
    #[error("it has {actual} bytes where {expected} are due")]
    Length {
        /// What the header says, or its own size.
        expected: u64,
        /// What there is.
        actual: u64,
    },
    /// They do not start as a snapshot does.
    #[error("it does not start as a group's state does")]
    Magic,
    /// The checksum is wrong.
    #[error("its checksum is {found:#010x}, not {expected:#010x}")]
    Checksum {
        /// What the bytes have.
        expected: u32,
        /// What the header says.
        found: u32,
    },
    /// Written by a newer version.
    #[error("it has format version {found}, this program knows up to {VERSION}")]
    Newer {
        /// The version it has.
        found: u32,
    },
    /// The content contradicts itself or is not one of this version.
    #[error("its content cannot be understood: {reason}")]
    Content {
        /// What is wrong.
        reason: String,
    },
}

#[derive(Clone, PartialEq, Message)]
struct SnapshotMessage {
    #[prost(message, required, tag = "1")]
    last: LogIdMessage,
    #[prost(message, optional, tag = "2")]
    membership: Option<EntryMessage>,
    #[prost(int64, tag = "3")]
    next_offset: i64,
    #[prost(int64, tag = "4")]
    log_start: i64,
    #[prost(bytes = "bytes", tag = "5")]
    state: Bytes,
}

impl GroupSnapshot {
    /// The bytes of a state file, and of a transfer.
    pub fn encode(&self) -> Bytes {
        let message = SnapshotMessage {
            last: self.last.into(),
            membership: self.membership.as_ref().and_then(EntryMessage::new),
            next_offset: self.next_offset.0,
            log_start: self.log_start.0,
            state: self.state.clone(),
        };
        let body_len = message.encoded_len();
        let mut out = Vec::with_capacity(HEADER_LEN + body_len);
        out.put_slice(&MAGIC);
        out.put_u32_le(VERSION);
        out.put_u32_le(0);
        out.put_u64_le(body_len as u64);
        out.put_slice(&message.encode_to_vec());
        let crc = checksum(&out);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out.into()
    }

    /// The inverse of [`GroupSnapshot::encode`].
    ///
    /// # Errors
    /// When the bytes are not a whole snapshot of a version that is known here.
    pub fn decode(bytes: &Bytes) -> Result<Self, SnapshotError> {
        let length =
            |expected: usize| SnapshotError::Length { expected: expected as u64, actual: bytes.len() as u64 };
        let Some(mut header) = bytes.get(..HEADER_LEN) else { return Err(length(HEADER_LEN)) };
        if header[..8] != MAGIC {
            return Err(SnapshotError::Magic);
        }
        header.advance(8);
        let (version, found, body_len) = (header.get_u32_le(), header.get_u32_le(), header.get_u64_le());
        let body = bytes.slice(HEADER_LEN..);
        if body_len != body.len() as u64 {
            let expected = body_len.saturating_add(HEADER_LEN as u64);
            return Err(SnapshotError::Length { expected, actual: bytes.len() as u64 });
        }
        let expected = checksum(bytes);
        if found != expected {
            return Err(SnapshotError::Checksum { expected, found });
        }
        if version > VERSION {
            return Err(SnapshotError::Newer { found: version });
        }
        let content = |reason: String| SnapshotError::Content { reason };
        let message = SnapshotMessage::decode(body).map_err(|error| content(error.to_string()))?;
        message.snapshot().map_err(|reason| content(reason.to_owned()))
    }
}

impl SnapshotMessage {
    fn snapshot(self) -> Result<GroupSnapshot, &'static str> {
        let last: LogId = self.last.into();
        let membership = match self.membership {
            None => None,
            Some(message) => Some(message.entry().ok_or("a membership of unknown kind")?),
        };
        if let Some(entry) = &membership
            && (!matches!(entry.payload, Payload::Membership(_)) || entry.id > last)
        {
            return Err("an entry stands for the membership that is none, or that comes later");
        }
        if last.index.0 == u64::MAX {
            return Err("no entry can follow its last one");
        }
        if self.log_start < 0 || self.log_start > self.next_offset {
            return Err("the log start lies beyond the log's end");
        }
        Ok(GroupSnapshot {
            last,
            membership,
            next_offset: Offset(self.next_offset),
            log_start: Offset(self.log_start),
            state: self.state,
        })
    }
}

/// Covers everything but itself.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

#[cfg(test)]
mod tests {
    use highwater_types::{RaftIndex, Term};

    use super::*;

    fn snapshot() -> GroupSnapshot {
        let id = |index| LogId { term: Term(2), index: RaftIndex(index) };
        let members = Payload::Membership(Bytes::from_static(b"members"));
        GroupSnapshot {
            last: id(9),
            membership: Some(Entry { id: id(4), payload: members }),
            next_offset: Offset(70),
            log_start: Offset(12),
            state: Bytes::from_static(b"some state"),
        }
    }

    #[test]
    fn a_snapshot_survives_its_encoding() {
        let decoded = GroupSnapshot::decode(&snapshot().encode()).unwrap();
        assert_eq!(format!("{decoded:?}"), format!("{:?}", snapshot()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let whole = snapshot().encode();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.to_vec();
                bytes[at] ^= 1 << bit;
                assert!(GroupSnapshot::decode(&bytes.into()).is_err(), "bit {bit} of byte {at}");
            }
            assert!(GroupSnapshot::decode(&whole.slice(..at)).is_err(), "cut to {at}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let beyond = GroupSnapshot { log_start: Offset(71), ..snapshot() };
        assert!(matches!(GroupSnapshot::decode(&beyond.encode()), Err(SnapshotError::Content { .. })));
        let mut later = snapshot();
        later.last.index = RaftIndex(3);
        assert!(matches!(GroupSnapshot::decode(&later.encode()), Err(SnapshotError::Content { .. })));
    }
}
