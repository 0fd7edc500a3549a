//! What is encoded decodes to the same, byte for byte; what was damaged is refused and never panics.

use std::time::Duration;

use highwater_consensus::{
    Append, AppendReply, Ballot, BallotReply, BatchesWanted, Entry, Identity, LogId, Payload, PeerReply,
    PeerRequest, Ping, Pong, Rejoin, SnapshotTransfer, Surveyed, TakeOver, Vote,
};
use highwater_records::{BatchBuilder, StampedBatch};
use highwater_types::{
    GroupId, Incarnation, LeaderEpoch, NodeId, Offset, PartitionId, PartitionIndex, ProcessEpoch, RaftIndex,
    Random, SystemRandom, Term, TimestampMs, TopicId,
};
use uuid::Uuid;

use super::*;
use crate::frame::{Correlation, Frame, FrameKind};
use crate::question::{Question, Reply};

const CHUNK: usize = 64;
const TO: Incarnation = Incarnation(u64::MAX - 1);
const DEADLINE: Duration = Duration::from_millis(1500);

fn group() -> GroupId {
    GroupId::Partition(PartitionId { topic: TopicId(Uuid::from_u128(7)), index: PartitionIndex(3) })
}

fn id(index: u64) -> LogId {
    LogId { term: Term(5), index: RaftIndex(index) }
}

fn vote() -> Vote {
    Vote { term: Term(5), node: NodeId(2), committed: true }
}

fn batch(offset: i64) -> StampedBatch {
    let mut builder = BatchBuilder::new();
    for value in [&b"first"[..], b"", b"third"] {
        builder.append(Some(b"key"), Some(value), &[], TimestampMs(1_700_000_000_000)).unwrap();
    }
    builder.build().unwrap().stamp(Offset(offset), LeaderEpoch(5))
}

fn append() -> Append {
    let payloads = [
        Payload::Blank,
        Payload::Batch(batch(0x0102_0304_0506)),
        Payload::Membership(Bytes::from("members")),
        Payload::Control(Bytes::from_static(b"a command")),
        Payload::Control(Bytes::new()),
        Payload::Batch(batch(0x0102_0304_0509)),
    ];
    let entries = payloads.into_iter().zip(10..).map(|(payload, index)| Entry { id: id(index), payload });
    Append { vote: vote(), previous: Some(id(9)), entries: entries.collect(), committed: None }
}

fn snapshot(len: usize) -> SnapshotTransfer {
    let state = (0..len).map(|at| (at * 7) as u8).collect();
    let membership = Some((id(1), Bytes::from("members")));
    SnapshotTransfer { vote: vote(), last: Some(id(8)), membership, state }
}

fn requests() -> Vec<PeerRequest> {
    let ballot = Ballot { vote: vote(), last: None, is_takeover: true };
    let heartbeat = Append { entries: Vec::new(), previous: None, committed: Some(id(4)), ..append() };
    let empty = SnapshotTransfer { last: None, membership: None, ..snapshot(0) };
    vec![
        PeerRequest::Append(append()),
        PeerRequest::Append(heartbeat),
        PeerRequest::Vote(ballot),
        PeerRequest::PreVote(Ballot { last: Some(id(u64::MAX)), is_takeover: false, ..ballot }),
        PeerRequest::TakeOver(TakeOver { vote: vote(), to: NodeId(3), last: Some(id(0)) }),
        PeerRequest::Rejoin(Rejoin { node: Incarnation(3), replica: Incarnation(u64::MAX) }),
        PeerRequest::Identify,
        PeerRequest::Survey,
        PeerRequest::Settle(None),
        PeerRequest::Settle(Some(id(4))),
        PeerRequest::Batches(BatchesWanted { from: RaftIndex(3), below: RaftIndex(u64::MAX), bytes_max: 7 }),
        PeerRequest::Snapshot(snapshot(CHUNK)),
        PeerRequest::Snapshot(empty),
    ]
}

fn replies() -> Vec<PeerReply> {
    let ballot = BallotReply { vote: vote(), is_granted: true, last: Some(id(3)) };
    vec![
        PeerReply::Batches(append().entries),
        PeerReply::Batches(Vec::new()),
        PeerReply::Append(AppendReply::Stored),
        PeerReply::Append(AppendReply::StoredUpTo(None)),
        PeerReply::Append(AppendReply::StoredUpTo(Some(id(12)))),
        PeerReply::Append(AppendReply::Conflict),
        PeerReply::Append(AppendReply::HigherVote(vote())),
        PeerReply::Vote(ballot),
        PeerReply::Snapshot(Vote { committed: false, ..vote() }),
        PeerReply::TakeOver(false),
        PeerReply::TakeOver(true),
        PeerReply::Rejoin(true),
        PeerReply::Survey(Surveyed { last: Some(id(4)), is_doubtful: true, is_led: false }),
        PeerReply::Settle(false),
        PeerReply::Identity(Identity { node: Incarnation(3), replica: None }),
        PeerReply::Identity(Identity { node: Incarnation(3), replica: Some(Incarnation(u64::MAX)) }),
    ]
}

/// All that a request holds; what `Debug` leaves out of a batch is appended.
fn all_of(request: &PeerRequest) -> String {
    let mut all = format!("{request:?}");
    if let PeerRequest::Append(append) = request {
        for entry in &append.entries {
            if let Payload::Batch(batch) = &entry.payload {
                all += &format!("{:?}", batch.to_bytes());
            }
        }
    }
    all
}

fn bytes_of(frame: &Frame) -> Bytes {
    frame.pieces().flatten().copied().collect()
}

fn arrived(frame: &Frame) -> Arrived {
    let bytes = bytes_of(frame);
    let header = FrameHeader::decode(bytes.first_chunk().unwrap()).unwrap();
    let meta_end = HEADER_LEN + header.meta_len;
    header.check(&bytes[HEADER_LEN..meta_end]).unwrap();
    let (meta, payload) = (bytes.slice(HEADER_LEN..meta_end), bytes.slice(meta_end..));
    Arrived { kind: header.kind, correlation: header.correlation, meta, payload }
}

fn encode(request: PeerRequest) -> (Frame, Option<StateSender>) {
    let question = Question::Replica { to: TO, group: group(), request };
    encode_question(Correlation(77), DEADLINE, question, CHUNK).unwrap()
}

#[test]
fn every_request_arrives_as_it_was_sent() {
    for request in requests() {
        let (frame, rest) = encode(request.clone());
        assert!(rest.is_none(), "it fits one frame");
        let decoded = decode_request(&arrived(&frame)).unwrap();
        assert_eq!((decoded.to, decoded.group, decoded.deadline), (TO, group(), DEADLINE));
        let Body::Whole(found) = decoded.body else { panic!("it is whole") };
        assert_eq!(all_of(&found), all_of(&request));
    }
}

#[test]
fn every_answer_arrives_as_it_was_sent() {
    for reply in replies() {
        let frame = arrived(&answer_frame(Correlation(1), &reply).unwrap());
        let Ok(Reply::Replica(found)) = decode_answer(&frame).unwrap() else { panic!("{reply:?}") };
        assert_eq!(found, reply);
    }
    let reason = "no room ".repeat(1000);
    let frame = arrived(&failure_frame(Correlation(1), &reason).unwrap());
    let found = decode_answer(&frame).unwrap().unwrap_err();
    assert!(reason.starts_with(&found) && found.len() == 1024, "cut to the limit");
}

#[test]
fn a_ping_and_its_answer_arrive_as_they_were_sent() {
    let ping = Ping { epoch: ProcessEpoch(9), sent_at_us: u64::MAX, is_heard: true };
    let (frame, _) = encode_question(Correlation(1), DEADLINE, Question::Support(ping), CHUNK).unwrap();
    assert_eq!(decode_ping(&arrived(&frame)).unwrap(), ping);
    let pong = Pong { epoch: ProcessEpoch(3), sent_at_us: 0, run: Some(12) };
    let frame = arrived(&pong_frame(Correlation(1), pong).unwrap());
    let Ok(Reply::Support(found)) = decode_answer(&frame).unwrap() else { panic!("a pong") };
    assert_eq!(found, pong);
}

#[test]
fn batches_are_neither_copied_out_nor_in() {
    let batch = batch(10);
    let entries = vec![Entry { id: id(1), payload: Payload::Batch(batch.clone()) }];
    let (frame, _) = encode(PeerRequest::Append(Append { entries, ..append() }));
    let body = batch.parts().1;
    assert!(frame.pieces().any(|piece| piece.as_ptr() == body.as_ptr() && piece.len() == body.len()));

    let frame = arrived(&frame);
    let Body::Whole(PeerRequest::Append(found)) = decode_request(&frame).unwrap().body else { panic!() };
    let Payload::Batch(found) = &found.entries[0].payload else { panic!("a batch") };
    assert_eq!(found.parts().1.as_ptr(), frame.payload.as_ptr());
    assert_eq!(found.to_bytes(), batch.to_bytes());
}

#[test]
fn a_large_state_goes_out_in_chunks_that_make_up_the_whole() {
    for len in [CHUNK + 1, 2 * CHUNK, 10 * CHUNK + 3] {
        let transfer = snapshot(len);
        let (first, rest) = encode(PeerRequest::Snapshot(transfer.clone()));
        let Body::First(head, mut state) = decode_request(&arrived(&first)).unwrap().body else {
            panic!("{len} bytes do not fit one frame")
        };
        assert_eq!(head.state_len(), len);
        let mut rest = rest.expect("more is to come");
        while let Some(frame) = rest.next_frame().unwrap() {
            let frame = arrived(&frame);
            assert_eq!(frame.correlation, Correlation(77));
            assert_eq!(check_chunk(&frame).unwrap(), state.len() as u64);
            state = [state, frame.payload].concat().into();
        }
        assert_eq!(state, transfer.state);
    }
}

fn frames() -> Vec<Bytes> {
    let mut frames: Vec<Bytes> = requests().into_iter().map(|request| bytes_of(&encode(request).0)).collect();
    frames.extend(replies().iter().map(|reply| bytes_of(&answer_frame(Correlation(2), reply).unwrap())));
    frames.push(bytes_of(&failure_frame(Correlation(3), "no room").unwrap()));
    frames.push(bytes_of(&Frame::keep_alive()));
    let (first, rest) = encode(PeerRequest::Snapshot(snapshot(2 * CHUNK)));
    frames.push(bytes_of(&first));
    frames.push(bytes_of(&rest.unwrap().next_frame().unwrap().unwrap()));
    frames
}

#[test]
fn every_truncation_of_a_frame_is_refused() {
    for frame in frames() {
        decode_frame(Lane::Bulk, &frame).unwrap();
        for len in 0..frame.len() {
            decode_frame(Lane::Bulk, &frame.slice(..len)).expect_err("cut short");
        }
    }
}

#[test]
fn a_flipped_bit_is_noticed_everywhere_but_in_a_batchs_own_checksummed_bytes() {
    for frame in frames() {
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let damaged = Bytes::from(damaged);
            if decode_frame(Lane::Bulk, &damaged).is_ok() {
                assert!(is_caught_by_batches(&damaged), "bit {bit} of {frame:?}");
            }
        }
    }
}

/// Whether the frame has a batch whose checksum is wrong.
fn is_caught_by_batches(bytes: &Bytes) -> bool {
    let header = FrameHeader::decode(bytes.first_chunk().unwrap()).unwrap();
    let (meta, payload) = bytes.slice(HEADER_LEN..).split_at_payload(header.meta_len);
    let frame = Arrived { kind: header.kind, correlation: header.correlation, meta, payload };
    let entries = match frame.kind {
        FrameKind::Answer => match decode_answer(&frame).unwrap().unwrap() {
            Reply::Replica(PeerReply::Batches(entries)) => entries,
            _ => return false,
        },
        _ => match decode_request(&frame).unwrap().body {
            Body::Whole(PeerRequest::Append(append)) => append.entries,
            _ => return false,
        },
    };
    entries.iter().any(|entry| matches!(&entry.payload, Payload::Batch(batch) if batch.verify().is_err()))
}

trait SplitAtPayload {
    fn split_at_payload(self, at: usize) -> (Bytes, Bytes);
}

impl SplitAtPayload for Bytes {
    fn split_at_payload(mut self, at: usize) -> (Bytes, Bytes) {
        let payload = self.split_off(at);
        (self, payload)
    }
}

/// Behind a right checksum stands whatever a broken peer put there.
#[test]
fn mutated_descriptions_with_a_right_checksum_never_panic() {
    let seed = match std::env::var("HIGHWATER_SEED") {
        Ok(seed) => seed.parse().expect("HIGHWATER_SEED is a number"),
        Err(_) => SystemRandom.next_u64(),
    };
    println!("replay with HIGHWATER_SEED={seed}");
    let mut state = seed;
    let mut draw = |end: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % end
    };
    let frames = frames();
    let mut taken = 0;
    for _ in 0..100_000 {
        let mut bytes = frames[draw(frames.len())].to_vec();
        for _ in 0..=draw(4) {
            let at = 4 + draw(bytes.len() - 4);
            match draw(3) {
                0 => bytes[at] ^= 1 << draw(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][draw(5)],
                _ => bytes.insert(at.max(HEADER_LEN).min(bytes.len()), draw(256) as u8),
            }
        }
        let meta_len = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
        let meta_end = HEADER_LEN.saturating_add(meta_len).min(bytes.len());
        let payload_len = (bytes.len() - meta_end) as u32;
        bytes[12..16].copy_from_slice(&payload_len.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..24]), &bytes[HEADER_LEN..meta_end]);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        taken += usize::from(decode_frame(Lane::Bulk, &bytes.into()).is_ok());
    }
    println!("{taken} of 100000 are frames all the same");
}

#[test]
fn a_length_above_the_limit_is_refused_by_the_header_alone() {
    for (lane, at, part) in
        [(Lane::Bulk, 8, "meta"), (Lane::Bulk, 12, "payload"), (Lane::Control, 12, "payload")]
    {
        let mut bytes = bytes_of(&Frame::keep_alive()).to_vec();
        bytes[4] = FrameKind::Request.number();
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = decode_frame(lane, &bytes.into()).unwrap_err();
        let PeerError::TooLong { part: found, len, .. } = error else { panic!("{error}") };
        assert_eq!((found, len), (part, u32::MAX as usize));
    }
}
