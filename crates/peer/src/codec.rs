//! Consensus' messages as frames, and back.
//!
//! Nothing is copied but what is small: a batch's body is a piece of the outgoing frame, and a slice of the incoming one.

mod answer;
mod coordinates;
mod request;
mod snapshot;
mod support;

use bytes::Bytes;

pub(crate) use answer::{answer_frame, decode_answer, failure_frame, shortened};
pub(crate) use request::{Body, Decoded, decode_request, encode_question};
pub(crate) use snapshot::{SnapshotHead, StateSender, check_chunk};
pub(crate) use support::{decode_ping, pong_frame};

use crate::error::PeerError;
use crate::frame::{Arrived, FrameHeader, FrameKind, HEADER_LEN};
use crate::handshake;
use crate::lane::Lane;

/// Takes `bytes` as one frame of `lane` and decodes all of it, as a connection does; for tests with hostile bytes.
///
/// # Errors
/// When a connection would not take it, or would answer it with an error.
pub fn decode_frame(lane: Lane, bytes: &Bytes) -> Result<(), PeerError> {
    let header = FrameHeader::decode(bytes.first_chunk::<HEADER_LEN>().ok_or(PeerError::CutShort)?)?;
    let limits = match header.kind {
        FrameKind::Hello | FrameKind::Welcome | FrameKind::Refusal => handshake::LIMITS,
        _ => lane.frame_limits(),
    };
    limits.check(&header)?;
    let meta_end = HEADER_LEN + header.meta_len;
    if bytes.len() != meta_end + header.payload_len {
        return Err(PeerError::CutShort);
    }
    let (meta, payload) = (bytes.slice(HEADER_LEN..meta_end), bytes.slice(meta_end..));
    header.check(&meta)?;
    let frame = Arrived { kind: header.kind, correlation: header.correlation, meta, payload };
    match header.kind {
        FrameKind::Hello => handshake::decode_hello(&frame).map(drop),
        FrameKind::Welcome | FrameKind::Refusal => handshake::decode_reply(&frame).map(drop),
        FrameKind::Request => decode_request(&frame).map(drop),
        FrameKind::Chunk => check_chunk(&frame).map(drop),
        FrameKind::Answer | FrameKind::Error | FrameKind::Pong => decode_answer(&frame).map(drop),
        FrameKind::Ping => decode_ping(&frame).map(drop),
        FrameKind::KeepAlive | FrameKind::Abandon => Ok(()),
        FrameKind::Unknown(kind) => Err(PeerError::Unexpected { kind, due: "a known kind" }),
    }
}

fn malformed(problem: impl Into<String>) -> PeerError {
    PeerError::Malformed { problem: problem.into() }
}

#[cfg(test)]
mod tests;
