//! Requests.

use std::time::Duration;

use bytes::Bytes;
use highwater_consensus::{Append, BatchesWanted, Entry, LogId, Payload, PeerRequest, Rejoin, TakeOver};
use highwater_records::StampedBatch;
use highwater_types::{GroupId, Incarnation, NodeId, RaftIndex, Term};
use prost::Message;

use super::coordinates::{group, vote};
use super::malformed;
use super::snapshot::{SnapshotHead, StateSender};
use super::support::{no_payload, ping_frame};
use crate::error::PeerError;
use crate::frame::{Arrived, Correlation, Frame, FrameKind};
use crate::question::Question;
use crate::wire::{self, EntryKind, RequestKind};

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// The life of this node's data that it is for.
    pub(crate) to: Incarnation,
    pub(crate) group: GroupId,
    /// How long its sender waits.
    pub(crate) deadline: Duration,
    pub(crate) body: Body,
}

/// What a frame has of a request.
#[derive(Debug)]
pub(crate) enum Body {
    /// All of it.
    Whole(PeerRequest),
    /// A snapshot, with the first bytes of its state.
    First(SnapshotHead, Bytes),
}

/// The frame of a question, and what is to follow it: the rest of a snapshot's state when that is larger than `chunk_bytes`.
///
/// # Errors
/// When it is larger than a frame can be.
pub(crate) fn encode_question(
    correlation: Correlation,
    deadline: Duration,
    question: Question,
    chunk_bytes: usize,
) -> Result<(Frame, Option<StateSender>), PeerError> {
    let (to, group, request) = match question {
        Question::Replica { to, group, request } => (to, group, request),
        Question::Support(ping) => return Ok((ping_frame(correlation, ping)?, None)),
    };
    let mut payload = Vec::new();
    let mut rest = None;
    let kind = match request {
        PeerRequest::Append(append) => RequestKind::Append(encode_append(append, &mut payload)?),
        PeerRequest::Vote(ballot) => RequestKind::Vote(ballot.into()),
        PeerRequest::PreVote(ballot) => RequestKind::PreVote(ballot.into()),
        PeerRequest::TakeOver(message) => RequestKind::TakeOver(wire::TakeOver {
            vote: Some(message.vote.into()),
            to: message.to.0,
            last: message.last.map(Into::into),
        }),
        PeerRequest::Rejoin(rejoin) => {
            RequestKind::Rejoin(wire::Rejoin { node: rejoin.node.0, replica: rejoin.replica.0 })
        }
        PeerRequest::Identify => RequestKind::Identify(wire::Identify {}),
        PeerRequest::Survey => RequestKind::Survey(wire::Survey {}),
        PeerRequest::Settle(floor) => RequestKind::Settle(wire::Settle { floor: floor.map(Into::into) }),
        PeerRequest::Batches(BatchesWanted { from, below, bytes_max }) => {
            RequestKind::Batches(wire::BatchesWanted { from: from.0, below: below.0, bytes_max })
        }
        PeerRequest::Snapshot(transfer) => {
            let (message, first, sender) = StateSender::begin(transfer, correlation, chunk_bytes);
            payload.push(first);
            rest = sender;
            RequestKind::Snapshot(message)
        }
    };
    let meta = wire::Request {
        group: Bytes::copy_from_slice(&group.to_bytes()),
        to_incarnation: to.0,
        deadline_ms: u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX),
        kind: Some(kind),
    };
    Ok((Frame::new(FrameKind::Request, correlation, &meta, payload)?, rest))
}

/// The inverse of [`encode_question`], for requests to replicas.
///
/// # Errors
/// When the frame is no request that this build knows.
pub(crate) fn decode_request(frame: &Arrived) -> Result<Decoded, PeerError> {
    let message = wire::Request::decode(frame.meta.clone())?;
    let kind = message.kind.ok_or_else(|| malformed("this build does not know the kind of request"))?;
    if !matches!(kind, RequestKind::Append(_) | RequestKind::Snapshot(_)) {
        no_payload(frame)?;
    }
    let body = match kind {
        RequestKind::Append(append) => {
            Body::Whole(PeerRequest::Append(decode_append(append, frame.payload.clone())?))
        }
        RequestKind::Vote(ballot) => Body::Whole(PeerRequest::Vote(ballot.try_into()?)),
        RequestKind::PreVote(ballot) => Body::Whole(PeerRequest::PreVote(ballot.try_into()?)),
        RequestKind::TakeOver(message) => Body::Whole(PeerRequest::TakeOver(TakeOver {
            vote: vote(message.vote)?,
            to: NodeId(message.to),
            last: message.last.map(Into::into),
        })),
        RequestKind::Rejoin(message) => Body::Whole(PeerRequest::Rejoin(Rejoin {
            node: Incarnation(message.node),
            replica: Incarnation(message.replica),
        })),
        RequestKind::Identify(_) => Body::Whole(PeerRequest::Identify),
        RequestKind::Survey(_) => Body::Whole(PeerRequest::Survey),
        RequestKind::Settle(message) => Body::Whole(PeerRequest::Settle(message.floor.map(Into::into))),
        RequestKind::Batches(message) => Body::Whole(PeerRequest::Batches(BatchesWanted {
            from: RaftIndex(message.from),
            below: RaftIndex(message.below),
            bytes_max: message.bytes_max,
        })),
        RequestKind::Snapshot(message) => {
            let head = SnapshotHead::decode(message, &frame.payload)?;
            if head.state_len() == frame.payload.len() {
                Body::Whole(head.with_state(frame.payload.clone()))
            } else {
                Body::First(head, frame.payload.clone())
            }
        }
    };
    let deadline = Duration::from_millis(message.deadline_ms.into());
    Ok(Decoded { to: Incarnation(message.to_incarnation), group: group(&message.group)?, deadline, body })
}

fn encode_append(append: Append, payload: &mut Vec<Bytes>) -> Result<wire::Append, PeerError> {
    let entries = encode_entries(append.entries, payload)?;
    Ok(wire::Append {
        vote: Some(append.vote.into()),
        previous: append.previous.map(Into::into),
        committed: append.committed.map(Into::into),
        entries,
    })
}

/// The messages of entries, whose bytes are added to `payload`.
pub(super) fn encode_entries(
    entries: Vec<Entry>,
    payload: &mut Vec<Bytes>,
) -> Result<Vec<wire::Entry>, PeerError> {
    entries.into_iter().map(|entry| encode_entry(entry, payload)).collect()
}

fn encode_entry(entry: Entry, payload: &mut Vec<Bytes>) -> Result<wire::Entry, PeerError> {
    let (kind, bytes, head) = match entry.payload {
        Payload::Blank => (EntryKind::Blank, Bytes::new(), [0; StampedBatch::HEAD_LEN]),
        Payload::Membership(bytes) => (EntryKind::Membership, bytes, [0; StampedBatch::HEAD_LEN]),
        Payload::Control(bytes) => (EntryKind::Control, bytes, [0; StampedBatch::HEAD_LEN]),
        Payload::Batch(batch) => {
            let (head, body) = batch.parts();
            (EntryKind::Batch, body.clone(), *head)
        }
    };
    let [head_first, head_second] = split_head(head);
    let too_long = |_| PeerError::TooLong { part: "entry", len: bytes.len(), max: u32::MAX as usize };
    let message = wire::Entry {
        term: entry.id.term.0,
        index: entry.id.index.0,
        kind: kind.into(),
        len: u32::try_from(bytes.len()).map_err(too_long)?,
        crc: if kind == EntryKind::Batch { 0 } else { crc32c::crc32c(&bytes) },
        head_first,
        head_second,
    };
    if !bytes.is_empty() {
        payload.push(bytes);
    }
    Ok(message)
}

/// The entries of messages, which take up all of `payload`.
pub(super) fn decode_entries(messages: Vec<wire::Entry>, mut payload: Bytes) -> Result<Vec<Entry>, PeerError> {
    let entries = messages.into_iter().map(|entry| decode_entry(entry, &mut payload));
    let entries = entries.collect::<Result<_, _>>()?;
    if !payload.is_empty() {
        return Err(malformed(format!("{} bytes of the payload are no entry's", payload.len())));
    }
    Ok(entries)
}

fn decode_append(append: wire::Append, payload: Bytes) -> Result<Append, PeerError> {
    Ok(Append {
        vote: vote(append.vote)?,
        previous: append.previous.map(Into::into),
        entries: decode_entries(append.entries, payload)?,
        committed: append.committed.map(Into::into),
    })
}

/// Takes the entry's bytes off the front of `payload`.
fn decode_entry(entry: wire::Entry, payload: &mut Bytes) -> Result<Entry, PeerError> {
    let id = LogId { term: Term(entry.term), index: RaftIndex(entry.index) };
    let len = entry.len as usize;
    if len > payload.len() {
        return Err(malformed(format!("entry {id} has {len} bytes, {} are left", payload.len())));
    }
    let bytes = payload.split_to(len);
    let kind = entry.kind();
    if kind != EntryKind::Batch && crc32c::crc32c(&bytes) != entry.crc {
        return Err(malformed(format!("the bytes of entry {id} were damaged on the way")));
    }
    let payload = match kind {
        EntryKind::Blank if bytes.is_empty() => Payload::Blank,
        EntryKind::Blank => return Err(malformed(format!("entry {id} is blank and has {len} bytes"))),
        EntryKind::Membership => Payload::Membership(bytes),
        EntryKind::Control => Payload::Control(bytes),
        EntryKind::Batch => {
            let batch = StampedBatch::from_parts(join_head(entry.head_first, entry.head_second), bytes);
            Payload::Batch(batch.map_err(|error| malformed(format!("the batch of entry {id}: {error}")))?)
        }
        EntryKind::Unknown => {
            return Err(malformed(format!("this build does not know the kind of entry {id}")));
        }
    };
    Ok(Entry { id, payload })
}

fn split_head(head: [u8; StampedBatch::HEAD_LEN]) -> [u64; 2] {
    let both = u128::from_be_bytes(head);
    [(both >> 64) as u64, both as u64]
}

fn join_head(first: u64, second: u64) -> [u8; StampedBatch::HEAD_LEN] {
    (u128::from(first) << 64 | u128::from(second)).to_be_bytes()
}
