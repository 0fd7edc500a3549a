//! Builds a batch record by record.
//!
//! Records are encoded as they are appended, against the first one's timestamp, and
//! compressed in one go at the end. Sizes are exact before compression.

use bytes::Bytes;
use highwater_types::limits::{
    BATCH_BYTES_MAX, BATCH_DECOMPRESSED_BYTES_MAX, BATCH_RECORDS_MAX, RECORD_HEADERS_MAX,
};
use highwater_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::attributes::{Attributes, Compression};
use crate::batch::Batch;
use crate::compression::compress;
use crate::error::RecordsError;
use crate::header::BatchHeader;
use crate::record::Header;
use crate::varint;

/// Collects records for one batch with base offset 0 and no leader epoch.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    compression: Compression,
    transactional: bool,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: Sequence,
    records: Vec<u8>,
    record_count: usize,
    base_timestamp: TimestampMs,
    max_timestamp: TimestampMs,
}

impl BatchBuilder {
    /// A builder without compression, producer or transaction.
    pub fn new() -> Self {
        Self {
            compression: Compression::None,
            transactional: false,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: Sequence::NONE,
            records: Vec::new(),
            record_count: 0,
            base_timestamp: TimestampMs::NONE,
            max_timestamp: TimestampMs::NONE,
        }
    }

    /// Compresses the records with this codec.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Makes it a batch of an idempotent producer.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
        self
    }

    /// Makes it part of a transaction; the producer must be set too.
    #[must_use]
    pub fn transactional(mut self, transactional: bool) -> Self {
        self.transactional = transactional;
        self
    }

    /// Appends a record. [`TimestampMs::NONE`] stands for no timestamp. On an error the
    /// builder is as it was: a batch that is full can still be built.
    pub fn append(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
        timestamp: TimestampMs,
    ) -> Result<(), RecordsError> {
        if self.record_count == BATCH_RECORDS_MAX {
            return Err(RecordsError::TooManyRecords { max: BATCH_RECORDS_MAX });
        }
        if headers.len() > RECORD_HEADERS_MAX {
            let count = i64::try_from(headers.len()).unwrap_or(i64::MAX);
            return Err(RecordsError::HeaderCount { index: self.record_count, count, max: RECORD_HEADERS_MAX });
        }
        if timestamp < TimestampMs::NONE {
            return Err(RecordsError::TimestampOutOfRange { timestamp: timestamp.0 });
        }
        let bytes = self.size_hint_after(key, value, headers, timestamp);
        let max = self.size_in_bytes_max();
        if bytes > max {
            return Err(RecordsError::BatchTooLarge { bytes, max });
        }
        let base_timestamp = self.base_timestamp_with(timestamp);
        // With both at least −1 this is out of reach for all but the last representable time.
        let Some(delta) = timestamp.0.checked_sub(base_timestamp.0) else {
            return Err(RecordsError::TimestampOutOfRange { timestamp: timestamp.0 });
        };
        self.records.reserve(bytes - self.size_in_bytes());
        let body = self.body_size(key, value, headers, timestamp);
        put_len(&mut self.records, body);
        self.records.push(0);
        varint::put(&mut self.records, delta);
        put_len(&mut self.records, self.record_count);
        put_nullable(&mut self.records, key);
        put_nullable(&mut self.records, value);
        put_len(&mut self.records, headers.len());
        for header in headers {
            put_nullable(&mut self.records, Some(&header.key));
            put_nullable(&mut self.records, header.value.as_deref());
        }
        self.base_timestamp = base_timestamp;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.record_count += 1;
        Ok(())
    }

    /// Exact size in bytes of the uncompressed batch with this record appended.
    pub fn size_hint_after(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
        timestamp: TimestampMs,
    ) -> usize {
        let body = self.body_size(key, value, headers, timestamp);
        self.size_in_bytes() + len_size(body) + body
    }

    /// Exact size in bytes of the batch as it is now, uncompressed, header included.
    pub fn size_in_bytes(&self) -> usize {
        BatchHeader::LEN + self.records.len()
    }

    /// Number of records appended.
    pub fn record_count(&self) -> usize {
        self.record_count
    }

    /// Whether no record was appended.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// The batch. Fails if it is empty, if the producer's fields contradict each other, or if
    /// it is too large after compression.
    pub fn build(self) -> Result<Batch, RecordsError> {
        if self.is_empty() {
            return Err(RecordsError::EmptyBatch);
        }
        let compressed;
        let payload = match self.compression {
            Compression::None => &self.records,
            codec => {
                compressed = compress(codec, &self.records)?;
                &compressed
            }
        };
        let size_in_bytes = BatchHeader::LEN + payload.len();
        if size_in_bytes > BATCH_BYTES_MAX {
            return Err(RecordsError::BatchTooLarge { bytes: size_in_bytes, max: BATCH_BYTES_MAX });
        }
        let header = BatchHeader {
            base_offset: Offset::ZERO,
            size_in_bytes,
            partition_leader_epoch: LeaderEpoch(-1),
            crc: 0,
            attributes: Attributes::new(self.compression, self.transactional),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            record_count: i32::try_from(self.record_count).expect("the limit on records fits 31 bits"),
        };
        crate::verify::producer_fields(&header)?;
        Ok(Batch::assemble(header, payload))
    }

    /// Compression can only be counted on at the end, so until then a compressed batch may
    /// grow as far as its reader will decompress it.
    fn size_in_bytes_max(&self) -> usize {
        match self.compression {
            Compression::None => BATCH_BYTES_MAX,
            _ => BATCH_DECOMPRESSED_BYTES_MAX,
        }
    }

    fn base_timestamp_with(&self, timestamp: TimestampMs) -> TimestampMs {
        if self.is_empty() { timestamp } else { self.base_timestamp }
    }

    /// Bytes of a record after its length field.
    fn body_size(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
        timestamp: TimestampMs,
    ) -> usize {
        const ATTRIBUTES: usize = 1;
        let delta = timestamp.0.saturating_sub(self.base_timestamp_with(timestamp).0);
        let headers_size: usize = headers
            .iter()
            .map(|header| {
                nullable_size(Some(&header.key)) + nullable_size(header.value.as_ref().map(Bytes::as_ref))
            })
            .sum();
        ATTRIBUTES
            + varint::size(delta)
            + len_size(self.record_count)
            + nullable_size(key)
            + nullable_size(value)
            + len_size(headers.len())
            + headers_size
    }
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

fn signed(len: usize) -> i64 {
    i64::try_from(len).expect("a length in memory fits 63 bits")
}

fn len_size(len: usize) -> usize {
    varint::size(signed(len))
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    varint::put(out, signed(len));
}

fn nullable_size(bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => varint::size(-1),
        Some(bytes) => len_size(bytes.len()) + bytes.len(),
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::put(out, -1),
        Some(bytes) => {
            put_len(out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}
