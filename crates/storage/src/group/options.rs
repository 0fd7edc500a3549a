//! What a group is created with.

use bytes::Bytes;
use prost::Message;

use crate::segment::SegmentOptions;

/// When an appended entry counts as stored on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// After `fdatasync`: it survives a power cut.
    #[default]
    Fsync,
    /// In the page cache: it survives the process, not the power. Votes are synced all the same (R20).
    Memory,
}

/// How a group stores its log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupOptions {
    /// When an appended batch is acknowledged.
    pub durability: Durability,
    /// How batches lie in segments; `None` for a group that has no batches.
    pub segments: Option<SegmentOptions>,
}

#[derive(Clone, PartialEq, Message)]
struct OptionsMessage {
    #[prost(bool, tag = "1")]
    memory: bool,
    #[prost(message, optional, tag = "2")]
    segments: Option<SegmentsMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct SegmentsMessage {
    #[prost(uint64, tag = "1")]
    segment_bytes: u64,
    #[prost(int64, tag = "2")]
    segment_ms: i64,
    #[prost(uint64, tag = "3")]
    index_interval_bytes: u64,
}

impl GroupOptions {
    /// The persisted form.
    pub fn encode(&self) -> Bytes {
        let message = OptionsMessage {
            memory: self.durability == Durability::Memory,
            segments: self.segments.map(|segments| SegmentsMessage {
                segment_bytes: segments.segment_bytes,
                segment_ms: segments.segment_ms,
                index_interval_bytes: segments.index_interval_bytes,
            }),
        };
        message.encode_to_vec().into()
    }

    /// The inverse of [`GroupOptions::encode`].
    ///
    /// # Errors
    /// When the bytes are not options of this version.
    pub fn decode(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let message = OptionsMessage::decode(bytes)?;
        Ok(Self {
            durability: if message.memory { Durability::Memory } else { Durability::Fsync },
            segments: message.segments.map(|segments| SegmentOptions {
                segment_bytes: segments.segment_bytes,
                segment_ms: segments.segment_ms,
                index_interval_bytes: segments.index_interval_bytes,
            }),
        })
    }
}
