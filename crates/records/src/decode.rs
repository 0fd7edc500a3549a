//! One record, decoded from any [`RecordInput`].
//!
//! ```text
//! length      zigzag varint   bytes of the record after this field
//! attributes  1 byte          unused
//! timestamp   zigzag varlong  less the batch's base timestamp
//! offset      zigzag varint   less the batch's base offset
//! key         zigzag varint length, −1 for null; then the bytes
//! value       the same
//! headers     zigzag varint count; each a key (length ≥ 0) and a value (like the record's)
//! ```
//!
//! A record's parts never reach beyond its stated length, nor that beyond its input.

use highwater_types::limits::RECORD_HEADERS_MAX;
use highwater_types::{TimestampMs, TimestampType};

use crate::error::RecordsError;
use crate::header::BatchHeader;
use crate::input::RecordInput;
use crate::varint;

/// The least a header takes: two one-byte lengths.
const HEADER_BYTES_MIN: usize = 2;

/// A record whose runs of bytes are whatever the input makes of them.
pub(crate) struct RawRecord<C> {
    pub(crate) timestamp: TimestampMs,
    pub(crate) key: Option<C>,
    pub(crate) value: Option<C>,
    pub(crate) headers: Vec<RawHeader<C>>,
}

/// A header's key and value.
pub(crate) type RawHeader<C> = (C, Option<C>);

/// Reads the record with number `index` of the batch.
pub(crate) fn record<I: RecordInput>(
    batch: &BatchHeader,
    index: usize,
    input: &mut I,
) -> Result<RawRecord<I::Chunk>, RecordsError> {
    let remaining = input.remaining_max();
    let mut reader = RecordReader { input, index, count: batch.record_count, remaining };
    if reader.input.at_end()? {
        return Err(reader.ends_early());
    }
    let length = reader.length()?;
    if length > reader.remaining {
        return Err(reader.truncated(length));
    }
    reader.remaining = length;
    reader.byte()?;
    let timestamp = record_timestamp(batch, index, reader.varlong()?)?;
    let offset_delta = reader.varint()?;
    if usize::try_from(offset_delta) != Ok(index) {
        return Err(RecordsError::RecordOffsetDelta { index, offset_delta });
    }
    let key = reader.nullable()?;
    let value = reader.nullable()?;
    let headers = reader.headers()?;
    if reader.remaining > 0 {
        return Err(RecordsError::RecordLeftover { index, extra: reader.remaining });
    }
    Ok(RawRecord { timestamp, key, value, headers })
}

/// With the log's time the deltas mean nothing, so they are not looked at.
fn record_timestamp(batch: &BatchHeader, index: usize, delta: i64) -> Result<TimestampMs, RecordsError> {
    if batch.timestamp_type() == TimestampType::LogAppendTime {
        return Ok(batch.max_timestamp);
    }
    let base_timestamp = batch.base_timestamp.0;
    match base_timestamp.checked_add(delta) {
        Some(timestamp) if timestamp >= TimestampMs::NONE.0 => Ok(TimestampMs(timestamp)),
        _ => Err(RecordsError::TimestampDelta { index, base_timestamp, delta }),
    }
}

struct RecordReader<'a, I> {
    input: &'a mut I,
    index: usize,
    /// Number of records that the batch states.
    count: i32,
    /// Bytes that are left of the record, or of the input before its length is known.
    remaining: usize,
}

impl<I: RecordInput> RecordReader<'_, I> {
    #[inline]
    fn byte(&mut self) -> Result<u8, RecordsError> {
        if self.remaining == 0 {
            return Err(self.truncated(1));
        }
        let byte = self.input.byte()?.ok_or_else(|| self.ends_early())?;
        self.remaining -= 1;
        Ok(byte)
    }

    #[inline]
    fn chunk(&mut self, len: usize) -> Result<I::Chunk, RecordsError> {
        if len > self.remaining {
            return Err(self.truncated(len));
        }
        let chunk = self.input.take(len)?.ok_or_else(|| self.ends_early())?;
        self.remaining -= len;
        Ok(chunk)
    }

    /// Bits beyond the 64th are refused by the last byte's value, so none gets lost.
    #[inline]
    fn varlong(&mut self) -> Result<i64, RecordsError> {
        let mut value = 0_u64;
        for position in 0..varint::BYTES_MAX_64 {
            let byte = self.byte()?;
            if position + 1 == varint::BYTES_MAX_64 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * position);
            if byte & 0x80 == 0 {
                return Ok(varint::unzigzag(value));
            }
        }
        Err(RecordsError::VarintOverflow { index: self.index, bytes_max: varint::BYTES_MAX_64 })
    }

    #[inline]
    fn varint(&mut self) -> Result<i32, RecordsError> {
        let mut value = 0_u32;
        for position in 0..varint::BYTES_MAX_32 {
            let byte = self.byte()?;
            if position + 1 == varint::BYTES_MAX_32 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << (7 * position);
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i32 ^ -((value & 1) as i32));
            }
        }
        Err(RecordsError::VarintOverflow { index: self.index, bytes_max: varint::BYTES_MAX_32 })
    }

    fn length(&mut self) -> Result<usize, RecordsError> {
        let length = self.varint()?;
        usize::try_from(length).map_err(|_| RecordsError::NegativeLength { index: self.index, length })
    }

    fn nullable(&mut self) -> Result<Option<I::Chunk>, RecordsError> {
        match self.varint()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(len) => self.chunk(len).map(Some),
                Err(_) => Err(RecordsError::NegativeLength { index: self.index, length }),
            },
        }
    }

    fn headers(&mut self) -> Result<Vec<RawHeader<I::Chunk>>, RecordsError> {
        let stated = self.varint()?;
        let max = RECORD_HEADERS_MAX.min(self.remaining / HEADER_BYTES_MIN);
        let count = match usize::try_from(stated) {
            Ok(count) if count <= max => count,
            _ => {
                let count = i64::from(stated);
                return Err(RecordsError::HeaderCount { index: self.index, count, max });
            }
        };
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            let key_len = self.length()?;
            headers.push((self.chunk(key_len)?, self.nullable()?));
        }
        Ok(headers)
    }

    #[cold]
    fn ends_early(&self) -> RecordsError {
        RecordsError::RecordsEndEarly { index: self.index, count: self.count }
    }

    #[cold]
    fn truncated(&self, needed: usize) -> RecordsError {
        RecordsError::RecordTruncated { index: self.index, needed, remaining: self.remaining }
    }
}
