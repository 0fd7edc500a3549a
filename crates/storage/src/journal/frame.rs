//! The journal's bytes: file header, group header, frame header.
//!
//! All integers are little-endian. A group is what one commit writes; it starts at a
//! multiple of [`GROUP_ALIGNMENT`] and is followed by zeros, by the next group, or (in a
//! recycled file) by frames of an older generation, which count as empty space.
//!
//! ```text
//! file header, at 0; groups start at 4096
//!  0        8       12       16           24          32         40           48       56       64
//!  ├─magic──┼version┼──crc───┼─generation─┼─first_lsn─┼─capacity─┼─journal_id─┼─durable┼─origin─┤
//!
//! group header
//!  0       4      8            16     24            32         36       40         44         48
//!  ├─magic─┼─crc──┼─generation─┼─lsn──┼─durable_lsn─┼─body_len─┼─frames─┼─body_crc─┼──flags───┤
//!
//! frame header, followed by its payload
//!  0             4      5          8          28         32      40     48
//!  ├─payload_len─┼─kind─┼─reserved─┼─group_id─┼─reserved─┼─index─┼─term─┤
//!
//! payload of an install
//!  0             8           16          20
//!  ├─next_offset─┼─state_len─┼─state_crc─┤
//!
//! payload of a renewal
//!  0             8          9
//!  ├─incarnation─┼─is_empty─┤
//! ```
//!
//! `crc` covers the header after itself, seeded with the journal's id, so that bytes which
//! a client chose can never pass for a header; `body_crc` covers all frames. `durable_lsn`
//! is the newest group known durable before this one was written: a damaged group at or below
//! a durable LSN that any later header states is corruption, and any other is a torn
//! tail (R1). Flag 1 marks the last group of a file: the file of the next generation must be there.

use bytes::{Buf, BufMut, Bytes};
use highwater_types::{GroupId, Incarnation, NodeId, Offset, RaftIndex, Term};

use crate::entry::{Entry, LogId, Payload, Vote};

/// First bytes of every journal file.
pub const FILE_MAGIC: [u8; 8] = *b"HWJOURNL";
/// The version of this layout.
pub const FILE_VERSION: u32 = 1;
/// Bytes of the file header.
pub const FILE_HEADER_LEN: usize = 64;
/// Where the first group of a file starts.
pub const FIRST_GROUP_POSITION: u64 = 4096;
/// First bytes of every group.
pub const GROUP_MAGIC: [u8; 4] = *b"HWGR";
/// Bytes of a group header.
pub const GROUP_HEADER_LEN: usize = 48;
/// Groups start at multiples of this.
pub const GROUP_ALIGNMENT: u64 = 8;
/// Bytes of a frame header.
pub const FRAME_HEADER_LEN: usize = 48;
/// Bytes of a batch that the log stamps; they travel with the frame header.
pub const BATCH_HEAD_LEN: usize = 16;

/// The flag of a file's last group.
const FLAG_LAST_IN_FILE: u32 = 1;

const KIND_BATCH: u8 = 1;
const KIND_BLANK: u8 = 2;
const KIND_MEMBERSHIP: u8 = 3;
const KIND_CONTROL: u8 = 4;
const KIND_VOTE: u8 = 5;
const KIND_COMMITTED: u8 = 6;
const KIND_TRUNCATE: u8 = 7;
const KIND_PURGE: u8 = 8;
const KIND_CREATE: u8 = 9;
const KIND_REMOVE: u8 = 10;
const KIND_INSTALL: u8 = 11;
const KIND_RENEWAL: u8 = 12;
const KIND_OPTIONS: u8 = 13;

const INSTALL_LEN: usize = 20;
const RENEWAL_LEN: usize = 9;

/// Why a journal file was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It continues the file before it.
    Continued,
    /// A recovery wrote it. It counts only when a checkpoint names it as the journal's
    /// start, for until then the recovery had promised nothing.
    Recovery,
}

/// The header of a journal file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHeader {
    /// The file's number; grows by one with each file, and is in its name.
    pub generation: u64,
    /// The LSN of the file's first group.
    pub first_lsn: u64,
    /// The file's length in bytes.
    pub capacity: u64,
    /// The journal that the file belongs to.
    pub journal_id: u64,
    /// The newest LSN known durable when the file was begun.
    pub durable_lsn: u64,
    /// Why it was begun.
    pub origin: Origin,
}

impl FileHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; FILE_HEADER_LEN] {
        let mut out = [0; FILE_HEADER_LEN];
        let mut tail = &mut out[16..];
        tail.put_u64_le(self.generation);
        tail.put_u64_le(self.first_lsn);
        tail.put_u64_le(self.capacity);
        tail.put_u64_le(self.journal_id);
        tail.put_u64_le(self.durable_lsn);
        tail.put_u64_le(match self.origin {
            Origin::Continued => 0,
            Origin::Recovery => 1,
        });
        let crc = crc32c::crc32c(&out[16..]);
        let mut head = &mut out[..16];
        head.put_slice(&FILE_MAGIC);
        head.put_u32_le(FILE_VERSION);
        head.put_u32_le(crc);
        out
    }

    /// Reads a header; `None` when it is damaged or not one of this version.
    pub fn decode(bytes: &[u8; FILE_HEADER_LEN]) -> Option<Self> {
        let mut head = &bytes[8..16];
        if bytes[..8] != FILE_MAGIC || head.get_u32_le() != FILE_VERSION {
            return None;
        }
        if head.get_u32_le() != crc32c::crc32c(&bytes[16..]) {
            return None;
        }
        let mut tail = &bytes[16..];
        Some(Self {
            generation: tail.get_u64_le(),
            first_lsn: tail.get_u64_le(),
            capacity: tail.get_u64_le(),
            journal_id: tail.get_u64_le(),
            durable_lsn: tail.get_u64_le(),
            origin: match tail.get_u64_le() {
                0 => Origin::Continued,
                1 => Origin::Recovery,
                _ => return None,
            },
        })
    }
}

/// The header of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupHeader {
    /// The generation of the file it was written to.
    pub generation: u64,
    /// Its log sequence number.
    pub lsn: u64,
    /// The newest LSN known durable when it was written; below `lsn`.
    pub durable_lsn: u64,
    /// Bytes of all its frames.
    pub body_len: u32,
    /// Number of its frames; 0 in a marker that only states a durable LSN.
    pub frames: u32,
    /// CRC32C of all its frames.
    pub body_crc: u32,
    /// Whether the journal goes on in the next file, whose name was durable before.
    pub last_in_file: bool,
}

impl GroupHeader {
    /// The header's bytes, for the journal `journal_id`.
    pub fn encode(&self, journal_id: u64) -> [u8; GROUP_HEADER_LEN] {
        let mut out = [0; GROUP_HEADER_LEN];
        let mut tail = &mut out[8..];
        tail.put_u64_le(self.generation);
        tail.put_u64_le(self.lsn);
        tail.put_u64_le(self.durable_lsn);
        tail.put_u32_le(self.body_len);
        tail.put_u32_le(self.frames);
        tail.put_u32_le(self.body_crc);
        tail.put_u32_le(if self.last_in_file { FLAG_LAST_IN_FILE } else { 0 });
        let crc = seeded_crc(journal_id, &out[8..]);
        out[..4].copy_from_slice(&GROUP_MAGIC);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header of the journal `journal_id`; `None` when the bytes are not one.
    pub fn decode(bytes: &[u8], journal_id: u64) -> Option<Self> {
        let bytes: &[u8; GROUP_HEADER_LEN] = bytes.get(..GROUP_HEADER_LEN)?.try_into().ok()?;
        if bytes[..4] != GROUP_MAGIC {
            return None;
        }
        let mut crc = &bytes[4..8];
        if crc.get_u32_le() != seeded_crc(journal_id, &bytes[8..]) {
            return None;
        }
        let mut tail = &bytes[8..];
        Some(Self {
            generation: tail.get_u64_le(),
            lsn: tail.get_u64_le(),
            durable_lsn: tail.get_u64_le(),
            body_len: tail.get_u32_le(),
            frames: tail.get_u32_le(),
            body_crc: tail.get_u32_le(),
            last_in_file: tail.get_u32_le() & FLAG_LAST_IN_FILE != 0,
        })
    }

    /// Where the next group starts when this one starts at `position`.
    pub fn end(&self, position: u64) -> u64 {
        align(position + GROUP_HEADER_LEN as u64 + u64::from(self.body_len))
    }
}

/// The next position at which a group may start.
pub fn align(position: u64) -> u64 {
    position.next_multiple_of(GROUP_ALIGNMENT)
}

fn seeded_crc(journal_id: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&journal_id.to_le_bytes()), bytes)
}

/// A change of one Raft group's persistent state.
#[derive(Debug, Clone)]
pub enum Change {
    /// An entry is appended; whatever the group had at its index and above is gone.
    Append(Entry),
    /// The vote is now this.
    Vote(Vote),
    /// Entries up to this one are known committed.
    Committed(LogId),
    /// Entries above this index are gone; `None` means all.
    Truncate(Option<RaftIndex>),
    /// Entries up to this one are no longer needed.
    Purge(LogId),
    /// The group exists from here on; the bytes are its options, encoded.
    Create(Bytes),
    /// The group is gone; its data may be deleted.
    Remove,
    /// The leader's state takes the place of all entries up to its last.
    Install(Install),
    /// The replica is another member of its group from here on.
    Renewal(Renewal),
    /// The group's options are these from here on, encoded.
    Options(Bytes),
}

/// A replica gives up what it was in its group, and all that it promised there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// Who it is from here on.
    pub incarnation: Incarnation,
    /// Whether its log begins anew as well, without anything. Otherwise it keeps what it has, as a follower may.
    pub is_empty: bool,
}

/// A state that a follower was given. It lies in a file of its own, which was durable before the frame was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Install {
    /// The newest entry that it takes in.
    pub last: LogId,
    /// Where the first batch after `last` starts.
    pub next_offset: Offset,
    /// The file's length in bytes.
    pub state_len: u64,
    /// CRC32C of the whole file.
    pub state_crc: u32,
}

/// One change, laid out for the vectored write: a small head and a shared body.
#[derive(Debug, Clone)]
pub struct Frame {
    head: [u8; FRAME_HEADER_LEN + BATCH_HEAD_LEN],
    head_len: usize,
    body: Bytes,
}

impl Frame {
    /// Lays out a change of `group`. A batch's body is shared, not copied.
    pub fn new(group: GroupId, change: &Change) -> Self {
        let none = LogId { term: Term(0), index: RaftIndex(0) };
        let (kind, id, body) = match change {
            Change::Append(entry) => match &entry.payload {
                Payload::Blank => (KIND_BLANK, entry.id, Bytes::new()),
                Payload::Membership(bytes) => (KIND_MEMBERSHIP, entry.id, bytes.clone()),
                Payload::Control(bytes) => (KIND_CONTROL, entry.id, bytes.clone()),
                Payload::Batch(batch) => return Self::batch(group, entry.id, batch),
            },
            Change::Vote(vote) => {
                let mut body = Vec::with_capacity(9);
                body.put_u64_le(vote.node.0);
                body.put_u8(u8::from(vote.committed));
                (KIND_VOTE, LogId { term: vote.term, ..none }, body.into())
            }
            Change::Committed(id) => (KIND_COMMITTED, *id, Bytes::new()),
            Change::Truncate(after) => {
                // An exclusive bound, so that "all" needs no value of its own.
                let index = after.map_or(RaftIndex::ZERO, RaftIndex::next);
                (KIND_TRUNCATE, LogId { index, ..none }, Bytes::new())
            }
            Change::Purge(id) => (KIND_PURGE, *id, Bytes::new()),
            Change::Create(options) => (KIND_CREATE, none, options.clone()),
            Change::Remove => (KIND_REMOVE, none, Bytes::new()),
            Change::Install(install) => {
                let mut body = Vec::with_capacity(INSTALL_LEN);
                body.put_i64_le(install.next_offset.0);
                body.put_u64_le(install.state_len);
                body.put_u32_le(install.state_crc);
                (KIND_INSTALL, install.last, body.into())
            }
            Change::Renewal(renewal) => {
                let mut body = Vec::with_capacity(RENEWAL_LEN);
                body.put_u64_le(renewal.incarnation.0);
                body.put_u8(u8::from(renewal.is_empty));
                (KIND_RENEWAL, none, body.into())
            }
            Change::Options(options) => (KIND_OPTIONS, none, options.clone()),
        };
        Self::lay_out(group, kind, id, &[], body)
    }

    fn batch(group: GroupId, id: LogId, batch: &highwater_records::StampedBatch) -> Self {
        let (head, body) = batch.parts();
        Self::lay_out(group, KIND_BATCH, id, head, body.clone())
    }

    fn lay_out(group: GroupId, kind: u8, id: LogId, batch_head: &[u8], body: Bytes) -> Self {
        let mut head = [0; FRAME_HEADER_LEN + BATCH_HEAD_LEN];
        let payload_len =
            u32::try_from(batch_head.len() + body.len()).expect("limits keep a frame below 4 GiB");
        let mut out = &mut head[..];
        out.put_u32_le(payload_len);
        out.put_u8(kind);
        out.put_bytes(0, 3);
        out.put_slice(&group.to_bytes());
        out.put_u32_le(0);
        out.put_u64_le(id.index.0);
        out.put_u64_le(id.term.0);
        out.put_slice(batch_head);
        Self { head, head_len: FRAME_HEADER_LEN + batch_head.len(), body }
    }

    /// The frame's bytes, in two pieces for a vectored write.
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.head[..self.head_len], &self.body]
    }

    /// The frame's length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.head_len + self.body.len()
    }

    /// Where the payload starts within the frame.
    pub const PAYLOAD_POSITION: u64 = FRAME_HEADER_LEN as u64;
}

/// A frame as read back: the group it belongs to and the payload's place, not yet its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// The Raft group.
    pub group: GroupId,
    kind: u8,
    id: LogId,
    /// Bytes of the payload.
    pub payload_len: u32,
}

impl FrameHeader {
    /// Reads a frame header from the start of `bytes`.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = bytes.get(..FRAME_HEADER_LEN)?;
        let payload_len = bytes.get_u32_le();
        let kind = bytes.get_u8();
        bytes.advance(3);
        let mut group = [0; GroupId::ENCODED_LEN];
        bytes.copy_to_slice(&mut group);
        bytes.advance(4);
        let index = RaftIndex(bytes.get_u64_le());
        let term = Term(bytes.get_u64_le());
        Some(Self { group: GroupId::from_bytes(group), kind, id: LogId { term, index }, payload_len })
    }

    /// Whether the frame is an entry; its identity.
    pub fn entry_id(&self) -> Option<LogId> {
        matches!(self.kind, KIND_BATCH | KIND_BLANK | KIND_MEMBERSHIP | KIND_CONTROL).then_some(self.id)
    }

    /// The change that the frame with this header and `payload` says; `None` when the payload is not of its kind.
    pub fn change(&self, payload: Bytes) -> Option<Change> {
        let entry = |payload| Change::Append(Entry { id: self.id, payload });
        Some(match self.kind {
            KIND_BATCH => {
                let batch = highwater_records::Batch::parse(payload).ok()?;
                entry(Payload::Batch(highwater_records::StampedBatch::from_batch(batch)))
            }
            KIND_BLANK => entry(Payload::Blank),
            KIND_MEMBERSHIP => entry(Payload::Membership(payload)),
            KIND_CONTROL => entry(Payload::Control(payload)),
            KIND_VOTE => {
                let mut payload = payload;
                if payload.len() != 9 {
                    return None;
                }
                let node = NodeId(payload.get_u64_le());
                Change::Vote(Vote { term: self.id.term, node, committed: payload.get_u8() != 0 })
            }
            KIND_COMMITTED => Change::Committed(self.id),
            KIND_TRUNCATE => Change::Truncate(self.id.index.0.checked_sub(1).map(RaftIndex)),
            KIND_PURGE => Change::Purge(self.id),
            KIND_CREATE => Change::Create(payload),
            KIND_REMOVE => Change::Remove,
            KIND_INSTALL => Change::Install(self.install(payload)?),
            KIND_RENEWAL => {
                let mut payload = payload;
                if payload.len() != RENEWAL_LEN {
                    return None;
                }
                let incarnation = Incarnation(payload.get_u64_le());
                Change::Renewal(Renewal { incarnation, is_empty: payload.get_u8() != 0 })
            }
            KIND_OPTIONS => Change::Options(payload),
            _ => return None,
        })
    }

    fn install(&self, mut payload: Bytes) -> Option<Install> {
        if payload.len() != INSTALL_LEN || self.id.index.0 == u64::MAX {
            return None;
        }
        let next_offset = Offset(payload.get_i64_le());
        let (state_len, state_crc) = (payload.get_u64_le(), payload.get_u32_le());
        (next_offset >= Offset::ZERO).then_some(Install { last: self.id, next_offset, state_len, state_crc })
    }
}
