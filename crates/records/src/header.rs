//! The fixed header of a batch.
//!
//! ```text
//! byte  0         8       12      16 17      21   23        27         35        43
//!       +---------+-------+-------+--+-------+----+---------+----------+---------+
//!       |base     |length |leader |m |CRC32C |attr|last     |base      |max      |
//!       |offset   |(rest) |epoch  |2 |of 21..|    |off.delta|timestamp |timestamp|
//!       +---------+-------+-------+--+-------+----+---------+----------+---------+
//! byte  43        51      53       57      61
//!       +---------+-------+--------+-------+=========
//!       |producer |prod.  |base    |record |records,
//!       |id       |epoch  |sequence|count  |compressed or not
//!       +---------+-------+--------+-------+=========
//! ```
//!
//! All integers are big-endian. `length` counts the bytes after itself. The CRC leaves out
//! the first 21 bytes, so that a log can stamp base offset and leader epoch without touching it.

use highwater_types::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};
use highwater_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, TimestampType};

use crate::attributes::{Attributes, Compression};
use crate::error::RecordsError;

/// Where each field of the header starts, in bytes from the start of the batch.
pub mod field {
    /// Offset of the first record, `i64`.
    pub const BASE_OFFSET: usize = 0;
    /// Bytes that follow this field, `i32`.
    pub const LENGTH: usize = 8;
    /// Epoch of the leader that appended the batch, `i32`.
    pub const LEADER_EPOCH: usize = 12;
    /// Version of the format, `i8`.
    pub const MAGIC: usize = 16;
    /// CRC32C of everything from [`ATTRIBUTES`] on, `u32`.
    pub const CRC: usize = 17;
    /// Attribute bits, `u16`. The checksum covers the batch from here on.
    pub const ATTRIBUTES: usize = 21;
    /// Offset of the last record less the base offset, `i32`.
    pub const LAST_OFFSET_DELTA: usize = 23;
    /// Timestamp of the first record, `i64`.
    pub const BASE_TIMESTAMP: usize = 27;
    /// Latest timestamp of the records, `i64`.
    pub const MAX_TIMESTAMP: usize = 35;
    /// Producer id or −1, `i64`.
    pub const PRODUCER_ID: usize = 43;
    /// Producer epoch or −1, `i16`.
    pub const PRODUCER_EPOCH: usize = 51;
    /// Sequence of the first record or −1, `i32`.
    pub const BASE_SEQUENCE: usize = 53;
    /// Number of records, `i32`.
    pub const RECORD_COUNT: usize = 57;
    /// End of the header: the first record, or the first compressed byte.
    pub const RECORDS: usize = 61;
}

/// The length field counts from behind itself; the batch is longer by this.
const LENGTH_OVERHEAD: usize = field::LEADER_EPOCH;
const LENGTH_MIN: usize = BatchHeader::LEN - LENGTH_OVERHEAD;
const LENGTH_MAX: usize = BATCH_BYTES_MAX - LENGTH_OVERHEAD;
/// The least a record takes: seven one-byte fields.
const RECORD_BYTES_MIN: usize = 7;

/// The decoded header of a batch, every field within its range.
///
/// `61 ≤ size_in_bytes ≤ BATCH_BYTES_MAX`, `1 ≤ record_count ≤ BATCH_RECORDS_MAX`,
/// `0 ≤ base_offset`, and the offset after the last record does not overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Bytes of the whole batch, this header included.
    pub size_in_bytes: usize,
    /// Epoch of the leader that appended the batch; −1 before that.
    pub partition_leader_epoch: LeaderEpoch,
    /// CRC32C of the batch from its attributes on, as stated.
    pub crc: u32,
    /// Compression, timestamp type, transactional, control.
    pub attributes: Attributes,
    /// Timestamp that the records' deltas count from.
    pub base_timestamp: TimestampMs,
    /// Latest timestamp of the records; the time of the append with `LogAppendTime`.
    pub max_timestamp: TimestampMs,
    /// The idempotent producer, or none.
    pub producer_id: ProducerId,
    /// That producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record.
    pub base_sequence: Sequence,
    /// Number of records.
    pub record_count: i32,
}

impl BatchHeader {
    /// Bytes of the header.
    pub const LEN: usize = field::RECORDS;
    /// The only supported version of the format.
    pub const MAGIC: i8 = 2;
    /// Bytes after which [`BatchHeader::peek_size`] knows the batch's length.
    pub const PEEK_LEN: usize = field::LEADER_EPOCH;

    /// The size in bytes of the whole batch that starts with `bytes`, header included; only the
    /// length field is read and checked. Fails on fewer than [`BatchHeader::PEEK_LEN`] bytes.
    pub fn peek_size(bytes: &[u8]) -> Result<usize, RecordsError> {
        let Some(prefix) = bytes.first_chunk::<{ Self::PEEK_LEN }>() else {
            return Err(RecordsError::HeaderTruncated { available: bytes.len(), needed: Self::PEEK_LEN });
        };
        let length = i32::from_be_bytes(field_at::<4>(prefix, field::LENGTH));
        match usize::try_from(length) {
            Ok(rest) if (LENGTH_MIN..=LENGTH_MAX).contains(&rest) => Ok(rest + LENGTH_OVERHEAD),
            _ => Err(RecordsError::LengthOutOfRange {
                length: i64::from(length),
                min: LENGTH_MIN,
                max: LENGTH_MAX,
            }),
        }
    }

    /// Decodes and checks the header at the start of `bytes`. The rest of the batch need not
    /// be there; the checksum is not checked.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordsError> {
        let Some(raw) = bytes.first_chunk::<{ Self::LEN }>() else {
            return Err(RecordsError::HeaderTruncated { available: bytes.len(), needed: Self::LEN });
        };
        let magic = i8::from_be_bytes(field_at(raw, field::MAGIC));
        if magic != Self::MAGIC {
            return Err(RecordsError::UnsupportedMagic { magic });
        }
        let header = Self {
            base_offset: Offset(i64::from_be_bytes(field_at(raw, field::BASE_OFFSET))),
            size_in_bytes: Self::peek_size(raw)?,
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(field_at(raw, field::LEADER_EPOCH))),
            crc: u32::from_be_bytes(field_at(raw, field::CRC)),
            attributes: Attributes::from_bits(u16::from_be_bytes(field_at(raw, field::ATTRIBUTES)))?,
            base_timestamp: TimestampMs(i64::from_be_bytes(field_at(raw, field::BASE_TIMESTAMP))),
            max_timestamp: TimestampMs(i64::from_be_bytes(field_at(raw, field::MAX_TIMESTAMP))),
            producer_id: ProducerId(i64::from_be_bytes(field_at(raw, field::PRODUCER_ID))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field_at(raw, field::PRODUCER_EPOCH))),
            base_sequence: Sequence(i32::from_be_bytes(field_at(raw, field::BASE_SEQUENCE))),
            record_count: i32::from_be_bytes(field_at(raw, field::RECORD_COUNT)),
        };
        header.check_count()?;
        let last_offset_delta = i32::from_be_bytes(field_at(raw, field::LAST_OFFSET_DELTA));
        if last_offset_delta != header.record_count - 1 {
            return Err(RecordsError::OffsetDeltaMismatch { last_offset_delta, count: header.record_count });
        }
        let end = header.base_offset.0.checked_add(i64::from(header.record_count));
        if header.base_offset.0 < 0 || end.is_none() {
            return Err(RecordsError::OffsetOutOfRange {
                base_offset: header.base_offset.0,
                count: header.record_count,
            });
        }
        Ok(header)
    }

    /// The header as it stands at the start of a batch.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let length = i32::try_from(self.size_in_bytes - LENGTH_OVERHEAD).expect("a batch length fits 31 bits");
        let mut raw = [0; Self::LEN];
        let mut put = |at: usize, value: &[u8]| raw[at..at + value.len()].copy_from_slice(value);
        put(field::BASE_OFFSET, &self.base_offset.0.to_be_bytes());
        put(field::LENGTH, &length.to_be_bytes());
        put(field::LEADER_EPOCH, &self.partition_leader_epoch.0.to_be_bytes());
        put(field::MAGIC, &Self::MAGIC.to_be_bytes());
        put(field::CRC, &self.crc.to_be_bytes());
        put(field::ATTRIBUTES, &self.attributes.bits().to_be_bytes());
        put(field::LAST_OFFSET_DELTA, &(self.record_count - 1).to_be_bytes());
        put(field::BASE_TIMESTAMP, &self.base_timestamp.0.to_be_bytes());
        put(field::MAX_TIMESTAMP, &self.max_timestamp.0.to_be_bytes());
        put(field::PRODUCER_ID, &self.producer_id.0.to_be_bytes());
        put(field::PRODUCER_EPOCH, &self.producer_epoch.0.to_be_bytes());
        put(field::BASE_SEQUENCE, &self.base_sequence.0.to_be_bytes());
        put(field::RECORD_COUNT, &self.record_count.to_be_bytes());
        raw
    }

    /// Offset of the last record, inclusive.
    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.record_count) - 1)
    }

    /// Offset after the last record: where the next batch starts.
    pub fn next_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.record_count))
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Compression {
        self.attributes.compression()
    }

    /// Whose clock the timestamps are from.
    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    /// A count beyond what the payload can hold is refused here, so that nothing later
    /// needs to distrust it. Compressed records are counted when they are walked.
    fn check_count(&self) -> Result<(), RecordsError> {
        let payload_bytes = self.size_in_bytes - Self::LEN;
        let max = match self.compression() {
            Compression::None => BATCH_RECORDS_MAX.min(payload_bytes / RECORD_BYTES_MIN),
            _ => BATCH_RECORDS_MAX,
        };
        match usize::try_from(self.record_count) {
            Ok(count) if (1..=max).contains(&count) => Ok(()),
            _ => Err(RecordsError::CountOutOfRange { count: self.record_count, max, payload_bytes }),
        }
    }
}

fn field_at<const N: usize>(raw: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&raw[at..at + N]);
    out
}

const _: () = assert!(BatchHeader::LEN == 61);
