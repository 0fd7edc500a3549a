//! The attribute bits of a batch.
//!
//! ```text
//! bit  15                 7 6 5 4 3 2 1 0
//!      +-------------------+-+-+-+-+-----+
//!      |     reserved      |r|C|T|L| zip |
//!      +-------------------+-+-+-+-+-----+
//! zip  compression codec          L  timestamps are the log's (LogAppendTime)
//! T    part of a transaction      C  control batch: markers of the cluster itself
//! r    Kafka's delete horizon, which only compaction writes: refused like the reserved bits
//! ```

use std::fmt;

use highwater_types::TimestampType;

use crate::error::RecordsError;

/// How the records of a batch are compressed. The numbers are the format's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    #[default]
    None = 0,
    /// Gzip members.
    Gzip = 1,
    /// Snappy, in the framing of snappy-java.
    Snappy = 2,
    /// The LZ4 frame format.
    Lz4 = 3,
    /// Zstandard frames.
    Zstd = 4,
}

impl Compression {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec with this number in the attribute bits.
    pub fn from_id(id: u8) -> Result<Self, RecordsError> {
        Self::ALL.into_iter().find(|codec| *codec as u8 == id).ok_or(RecordsError::UnknownCompression { id })
    }

    /// The name as Kafka's `compression.type` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec of this name; the inverse of [`Compression::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The attribute bits, known to be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes(u16);

impl Attributes {
    const COMPRESSION: u16 = 0b111;
    const LOG_APPEND_TIME: u16 = 1 << 3;
    const TRANSACTIONAL: u16 = 1 << 4;
    const CONTROL: u16 = 1 << 5;
    const RESERVED: u16 = !0b11_1111;

    /// Attributes of a batch with the producer's timestamps.
    pub fn new(compression: Compression, transactional: bool) -> Self {
        let transactional = if transactional { Self::TRANSACTIONAL } else { 0 };
        Self(compression as u16 | transactional)
    }

    /// Checks raw bits: the codec is known and no reserved bit is set.
    pub fn from_bits(bits: u16) -> Result<Self, RecordsError> {
        let reserved = bits & Self::RESERVED;
        if reserved != 0 {
            return Err(RecordsError::ReservedAttributes { attributes: bits, reserved });
        }
        let attributes = Self(bits);
        Compression::from_id(attributes.compression_id())?;
        Ok(attributes)
    }

    /// The bits as they stand in the header.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// The codec.
    pub fn compression(self) -> Compression {
        Compression::from_id(self.compression_id()).expect("checked when the bits came in")
    }

    /// Whose clock the timestamps are from.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds markers of the cluster instead of user records.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// The same, with the log's timestamps.
    #[must_use]
    pub fn with_log_append_time(self) -> Self {
        Self(self.0 | Self::LOG_APPEND_TIME)
    }

    fn compression_id(self) -> u8 {
        (self.0 & Self::COMPRESSION) as u8
    }
}
