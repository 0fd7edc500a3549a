//! Requests of every kind, and what they come to as text, for comparing.

use bytes::Bytes;
use highwater_consensus::{
    Append, AppendReply, Ballot, BallotReply, BatchesWanted, Entry, Identity, LogId, Payload, PeerReply,
    PeerRequest, Rejoin, SnapshotTransfer, Surveyed, TakeOver, Vote,
};
use highwater_records::{BatchBuilder, StampedBatch};
use highwater_types::{
    GroupId, Incarnation, LeaderEpoch, NodeId, Offset, PartitionId, PartitionIndex, RaftIndex, Term,
    TimestampMs, TopicId,
};
use uuid::Uuid;

use super::{ASKED, ASKS};

pub fn group(index: u32) -> GroupId {
    GroupId::Partition(PartitionId { topic: TopicId(Uuid::from_u128(7)), index: PartitionIndex(index) })
}

pub fn id(index: u64) -> LogId {
    LogId { term: Term(5), index: RaftIndex(index) }
}

pub fn vote() -> Vote {
    Vote { term: Term(5), node: ASKS, committed: true }
}

pub fn batch(value_bytes: usize) -> StampedBatch {
    let value: Vec<u8> = (0..value_bytes).map(|at| (at * 31) as u8).collect();
    let mut builder = BatchBuilder::new();
    builder.append(None, Some(&value), &[], TimestampMs(1_700_000_000_000)).unwrap();
    builder.build().unwrap().stamp(Offset(41), LeaderEpoch(5))
}

/// An append of one batch.
pub fn append(index: u64, value_bytes: usize) -> PeerRequest {
    let entries = vec![Entry { id: id(index), payload: Payload::Batch(batch(value_bytes)) }];
    PeerRequest::Append(Append { vote: vote(), previous: None, entries, committed: None })
}

pub fn batches_wanted() -> PeerRequest {
    PeerRequest::Batches(BatchesWanted { from: RaftIndex(3), below: RaftIndex(9), bytes_max: 1 << 20 })
}

pub fn heartbeat() -> PeerRequest {
    PeerRequest::Append(Append { vote: vote(), previous: Some(id(3)), entries: Vec::new(), committed: None })
}

pub fn snapshot(state_bytes: usize) -> PeerRequest {
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let mut state = Vec::with_capacity(state_bytes + 8);
    while state.len() < state_bytes {
        word = word.rotate_left(5).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state.extend_from_slice(&word.to_le_bytes());
    }
    state.truncate(state_bytes);
    let membership = Some((id(1), Bytes::from("members")));
    PeerRequest::Snapshot(SnapshotTransfer { vote: vote(), last: Some(id(9)), membership, state: state.into() })
}

/// One of each kind, batches from a few bytes to megabytes among them.
pub fn every_request() -> Vec<PeerRequest> {
    let ballot = Ballot { vote: vote(), last: Some(id(4)), is_takeover: false };
    let sizes = [0, 1, 100, 16 << 10, 100_000, 1 << 20];
    let batches = sizes.into_iter().map(|size| Payload::Batch(batch(size)));
    let others =
        [Payload::Blank, Payload::Membership(Bytes::from("m")), Payload::Control(vec![7; 50_000].into())];
    let entries = others.into_iter().chain(batches).zip(10..);
    let entries = entries.map(|(payload, index)| Entry { id: id(index), payload }).collect();
    let mixed = Append { vote: vote(), previous: Some(id(9)), entries, committed: Some(id(8)) };
    vec![
        PeerRequest::Append(mixed),
        append(1, (16 << 20) - 100),
        heartbeat(),
        PeerRequest::Vote(ballot),
        PeerRequest::PreVote(ballot),
        PeerRequest::TakeOver(TakeOver { vote: vote(), to: ASKED, last: None }),
        PeerRequest::Rejoin(Rejoin { node: Incarnation(3), replica: Incarnation(u64::MAX) }),
        PeerRequest::Identify,
        PeerRequest::Survey,
        PeerRequest::Settle(None),
        PeerRequest::Settle(Some(id(4))),
        batches_wanted(),
        snapshot(0),
        snapshot(1000),
        snapshot(5_000_001),
    ]
}

/// One answer of each kind.
pub fn every_reply() -> Vec<PeerReply> {
    vec![
        PeerReply::Append(AppendReply::Stored),
        PeerReply::Append(AppendReply::StoredUpTo(Some(id(12)))),
        PeerReply::Append(AppendReply::Conflict),
        PeerReply::Append(AppendReply::HigherVote(Vote { node: NodeId(9), ..vote() })),
        PeerReply::Vote(BallotReply { vote: vote(), is_granted: true, last: None }),
        PeerReply::Snapshot(vote()),
        PeerReply::TakeOver(true),
        PeerReply::Rejoin(true),
        PeerReply::Survey(Surveyed { last: Some(id(4)), is_doubtful: true, is_led: false }),
        PeerReply::Settle(true),
        PeerReply::Batches(vec![Entry { id: id(3), payload: Payload::Batch(batch(1 << 20)) }]),
        PeerReply::Identity(Identity { node: Incarnation(3), replica: None }),
        PeerReply::Identity(Identity { node: Incarnation(3), replica: Some(Incarnation(u64::MAX)) }),
    ]
}

/// All that a request holds. `Debug` leaves the bytes of batches out, so a checksum of them follows.
pub fn all_of(request: &PeerRequest) -> String {
    match request {
        PeerRequest::Append(append) => {
            let sum = |entry: &Entry| match &entry.payload {
                Payload::Batch(batch) => (batch.size_in_bytes(), crc32c::crc32c(&batch.to_bytes())),
                _ => (0, 0),
            };
            format!("{append:?} {:?}", append.entries.iter().map(sum).collect::<Vec<_>>())
        }
        PeerRequest::Snapshot(transfer) => {
            let SnapshotTransfer { vote, last, membership, state } = transfer;
            format!("{vote:?} {last:?} {membership:?} {} {:x}", state.len(), crc32c::crc32c(state))
        }
        other => format!("{other:?}"),
    }
}
