//! Frames: all that nodes send each other.
//!
//! A frame is a header, a description in protobuf (`meta`, see `wire.rs`), and a payload of raw bytes that the description
//! explains. Integers are little-endian.
//!
//! ```text
//!  0       4      5          8          12            16            24     28
//!  ├─magic─┼─kind─┼─reserved─┼─meta_len─┼─payload_len─┼─correlation─┼─crc──┼─meta…─┼─payload…─┤
//! ```
//!
//! `crc` is the CRC32C of the header before it and of the meta. The payload is not in it: batch bodies carry their own
//! checksum, which whoever takes them verifies, and the meta has one for every other piece. So a batch is summed up once, not at each
//! layer. What a batch's own checksum leaves out, its first 16 bytes, travels in the meta.
//!
//! `correlation` ties an answer to its request; it is 0 where there is none. `reserved` is written as zero and ignored.
//! Kinds are added, never changed: a receiver answers a kind that it does not know with an error and goes on.
//! The header, and hello and refusal with it, stay as they are in every version.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::error::PeerError;

/// First bytes of every frame.
pub(crate) const MAGIC: [u8; 4] = *b"HWPR";
/// Bytes of a frame's header.
pub(crate) const HEADER_LEN: usize = 28;
const CRC_AT: usize = 24;

/// What a frame is. The numbers are on the wire and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// Who dials, and whom; the first frame of a connection.
    Hello,
    /// The acceptor's answer: who it is.
    Welcome,
    /// The acceptor's other answer: why not.
    Refusal,
    /// Nothing but a sign of life, from either end. Has no answer.
    KeepAlive,
    /// A request to a replica; for a large snapshot, with its first bytes.
    Request,
    /// The next bytes of the snapshot of a request.
    Chunk,
    /// No more bytes of the snapshot will come. Has no answer.
    Abandon,
    /// The answer to a request.
    Answer,
    /// The other answer: nothing was taken of the request.
    Error,
    /// Asks the node for its support.
    Ping,
    /// Gives it.
    Pong,
    /// A kind that this build does not know.
    Unknown(u8),
}

impl FrameKind {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Welcome => 2,
            Self::Refusal => 3,
            Self::KeepAlive => 4,
            Self::Request => 5,
            Self::Chunk => 6,
            Self::Abandon => 7,
            Self::Answer => 8,
            Self::Error => 9,
            Self::Ping => 10,
            Self::Pong => 11,
            Self::Unknown(number) => number,
        }
    }

    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Hello,
            2 => Self::Welcome,
            3 => Self::Refusal,
            4 => Self::KeepAlive,
            5 => Self::Request,
            6 => Self::Chunk,
            7 => Self::Abandon,
            8 => Self::Answer,
            9 => Self::Error,
            10 => Self::Ping,
            11 => Self::Pong,
            number => Self::Unknown(number),
        }
    }
}

/// Ties an answer to its request, on one lane between two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Correlation(pub(crate) u64);

impl Correlation {
    /// Of frames that stand alone.
    pub(crate) const NONE: Self = Self(0);
}

/// The decoded header of a frame. Its lengths are as stated: whoever reads on has to check them first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    pub(crate) meta_len: usize,
    pub(crate) payload_len: usize,
    pub(crate) correlation: Correlation,
    stated_crc: u32,
    own_crc: u32,
}

impl FrameHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// When the bytes do not begin as a frame does.
    pub(crate) fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, PeerError> {
        let [m0, m1, m2, m3, kind, _, _, _, tail @ ..] = *bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(PeerError::NotAFrame { found: [m0, m1, m2, m3] });
        }
        let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, c4, c5, c6, c7, d0, d1, d2, d3] = tail;
        Ok(Self {
            kind: FrameKind::from_number(kind),
            meta_len: u32::from_le_bytes([a0, a1, a2, a3]) as usize,
            payload_len: u32::from_le_bytes([b0, b1, b2, b3]) as usize,
            correlation: Correlation(u64::from_le_bytes([c0, c1, c2, c3, c4, c5, c6, c7])),
            stated_crc: u32::from_le_bytes([d0, d1, d2, d3]),
            own_crc: crc32c::crc32c(&bytes[..CRC_AT]),
        })
    }

    /// Checks header and `meta` against the frame's checksum.
    ///
    /// # Errors
    /// When they were damaged.
    pub(crate) fn check(&self, meta: &[u8]) -> Result<(), PeerError> {
        let found = crc32c::crc32c_append(self.own_crc, meta);
        if found != self.stated_crc {
            return Err(PeerError::Checksum { stated: self.stated_crc, found });
        }
        Ok(())
    }
}

/// A frame as it arrived, whole and with a right checksum.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) kind: FrameKind,
    pub(crate) correlation: Correlation,
    pub(crate) meta: Bytes,
    pub(crate) payload: Bytes,
}

/// A frame on its way out: header and meta in one piece, and the payload in the pieces that it is made of.
#[derive(Debug)]
pub(crate) struct Frame {
    head: Bytes,
    payload: Vec<Bytes>,
    len: usize,
}

impl Frame {
    /// Puts a frame together.
    ///
    /// # Errors
    /// When meta or payload are longer than a header can state.
    pub(crate) fn new(
        kind: FrameKind,
        correlation: Correlation,
        meta: &impl Message,
        payload: Vec<Bytes>,
    ) -> Result<Self, PeerError> {
        let meta_len = meta.encoded_len();
        let payload_len = payload.iter().map(Bytes::len).sum();
        let mut head = BytesMut::with_capacity(HEADER_LEN + meta_len);
        head.put_slice(&MAGIC);
        head.put_u8(kind.number());
        head.put_bytes(0, 3);
        head.put_u32_le(stated("meta", meta_len)?);
        head.put_u32_le(stated("payload", payload_len)?);
        head.put_u64_le(correlation.0);
        head.put_u32_le(0);
        meta.encode(&mut head).map_err(|error| PeerError::Malformed { problem: error.to_string() })?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..CRC_AT]), &head[HEADER_LEN..]);
        head[CRC_AT..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
        Ok(Self { head: head.freeze(), payload, len: HEADER_LEN + meta_len + payload_len })
    }

    /// A sign of life.
    pub(crate) fn keep_alive() -> Self {
        let mut head = [0; HEADER_LEN];
        head[..4].copy_from_slice(&MAGIC);
        head[4] = FrameKind::KeepAlive.number();
        let crc = crc32c::crc32c(&head[..CRC_AT]);
        head[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        Self { head: Bytes::copy_from_slice(&head), payload: Vec::new(), len: HEADER_LEN }
    }

    /// Bytes of all of it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the meta.
    pub(crate) fn meta_len(&self) -> usize {
        self.head.len() - HEADER_LEN
    }

    /// Bytes of the payload.
    pub(crate) fn payload_len(&self) -> usize {
        self.len - self.head.len()
    }

    /// The pieces, in the order in which they are written.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.head).chain(&self.payload)
    }
}

fn stated(part: &'static str, len: usize) -> Result<u32, PeerError> {
    u32::try_from(len).map_err(|_| PeerError::TooLong { part, len, max: u32::MAX as usize })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_number() {
        for number in 0..=u8::MAX {
            assert_eq!(FrameKind::from_number(number).number(), number);
        }
    }

    #[test]
    fn a_sign_of_life_is_a_frame_like_any_other() {
        let built = Frame::new(FrameKind::KeepAlive, Correlation::NONE, &(), Vec::new()).unwrap();
        assert_eq!(Frame::keep_alive().head, built.head);
    }

    #[test]
    fn the_layout_is_what_the_ruler_says() {
        let frame =
            Frame::new(FrameKind::Answer, Correlation(0x0102_0304_0506_0708), &7_u32, vec![Bytes::from("ab")]);
        let frame = frame.unwrap();
        let bytes: Vec<u8> = frame.pieces().flatten().copied().collect();
        assert_eq!(bytes[..8], *b"HWPR\x08\0\0\0");
        assert_eq!(bytes[8..16], [2, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(bytes[16..24], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(bytes[28..], *b"\x08\x07ab");
        assert_eq!(bytes.len(), frame.len());
    }
}
