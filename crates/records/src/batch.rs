//! One whole batch as it came in: the bytes, untouched, and their decoded header.
//!
//! It never copies or changes the bytes, except where the log's own time has to go in.

use std::fmt;

use bytes::Bytes;
use highwater_types::limits::BATCH_DECOMPRESSED_BYTES_MAX;
use highwater_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, TimestampType};

use crate::attributes::Compression;
use crate::error::RecordsError;
use crate::header::{BatchHeader, field};
use crate::record::Records;
use crate::stamped::StampedBatch;
use crate::verify;

/// A view over exactly one batch. Cloning is cheap: the bytes are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    bytes: Bytes,
    header: BatchHeader,
}

impl Batch {
    /// Takes `bytes` as one batch. Checks that they are exactly one, that the magic is 2, and
    /// that the header's fields are possible (see [`BatchHeader`]). Costs O(1): neither the
    /// checksum nor any record is looked at.
    pub fn parse(bytes: Bytes) -> Result<Self, RecordsError> {
        let header = BatchHeader::parse(&bytes)?;
        let (stated, available) = (header.size_in_bytes, bytes.len());
        if available < stated {
            return Err(RecordsError::BatchTruncated { stated, available });
        }
        if available > stated {
            return Err(RecordsError::BytesAfterBatch { stated, available });
        }
        Ok(Self { bytes, header })
    }

    /// Checks the CRC32C, and the header's timestamps and producer fields among each other.
    /// Costs one pass over the bytes. Control batches pass: see [`Batch::is_control`].
    pub fn verify(&self) -> Result<(), RecordsError> {
        verify::batch(&self.header, &self.bytes[field::ATTRIBUTES..])
    }

    /// [`Batch::verify`], and what no producer may send: control batches and the log's own time.
    pub fn verify_from_producer(&self) -> Result<(), RecordsError> {
        self.verify()?;
        verify::allowed_from_producer(&self.header)
    }

    /// Walks all records without keeping them, decompressing as a stream into a fixed buffer:
    /// lengths, integers, offset deltas 0, 1, 2, …, headers, timestamps against the header, no
    /// leftover bytes, and at most [`BATCH_DECOMPRESSED_BYTES_MAX`] in all. It does not repeat
    /// [`Batch::verify`].
    pub fn verify_records(&self) -> Result<(), RecordsError> {
        self.verify_records_within(BATCH_DECOMPRESSED_BYTES_MAX)
    }

    /// [`Batch::verify_records`] with a limit of the caller's on the decompressed bytes.
    pub fn verify_records_within(&self, decompressed_bytes_max: usize) -> Result<(), RecordsError> {
        verify::records(&self.header, &self.payload(), decompressed_bytes_max)
    }

    /// The records, decoded one by one. Keys, values and headers are slices of this batch, or
    /// of the one buffer that it is decompressed into at the first `next`. The iterator ends
    /// after its first error.
    pub fn records(&self) -> Records {
        self.records_within(BATCH_DECOMPRESSED_BYTES_MAX)
    }

    /// [`Batch::records`] with a limit of the caller's on the decompressed bytes.
    pub fn records_within(&self, decompressed_bytes_max: usize) -> Records {
        Records::new(self.header, self.payload(), decompressed_bytes_max)
    }

    /// Gives the batch its place in a log. The body is shared, never copied: offset and epoch
    /// are outside the checksum.
    ///
    /// # Panics
    /// If `base_offset` is negative or leaves no room for the records.
    pub fn stamp(self, base_offset: Offset, epoch: LeaderEpoch) -> StampedBatch {
        StampedBatch::new(self, base_offset, epoch)
    }

    /// Replaces the timestamps by the log's: all records then have this one. The checksum
    /// covers it, so this copies the batch and computes the checksum anew.
    #[must_use]
    pub fn with_log_append_time(self, timestamp: TimestampMs) -> Self {
        let mut header = self.header;
        header.attributes = header.attributes.with_log_append_time();
        header.max_timestamp = timestamp;
        Self::assemble(header, &self.bytes[field::RECORDS..])
    }

    /// A batch of a header and its payload; size and checksum are filled in here.
    pub(crate) fn assemble(mut header: BatchHeader, payload: &[u8]) -> Self {
        header.size_in_bytes = BatchHeader::LEN + payload.len();
        let mut bytes = Vec::with_capacity(header.size_in_bytes);
        bytes.extend_from_slice(&header.to_bytes());
        bytes.extend_from_slice(payload);
        header.crc = crc32c::crc32c(&bytes[field::ATTRIBUTES..]);
        bytes[field::CRC..field::ATTRIBUTES].copy_from_slice(&header.crc.to_be_bytes());
        Self { bytes: Bytes::from(bytes), header }
    }

    /// The decoded header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole batch.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Length of the whole batch.
    pub fn size_in_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Offset of the first record.
    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// Offset of the last record, inclusive.
    pub fn last_offset(&self) -> Offset {
        self.header.last_offset()
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> Offset {
        self.header.next_offset()
    }

    /// Number of records, at least 1.
    pub fn record_count(&self) -> i32 {
        self.header.record_count
    }

    /// Epoch of the leader that appended the batch; −1 before that.
    pub fn partition_leader_epoch(&self) -> LeaderEpoch {
        self.header.partition_leader_epoch
    }

    /// Timestamp that the records' deltas count from.
    pub fn base_timestamp(&self) -> TimestampMs {
        self.header.base_timestamp
    }

    /// Latest timestamp of the records.
    pub fn max_timestamp(&self) -> TimestampMs {
        self.header.max_timestamp
    }

    /// Whose clock the timestamps are from.
    pub fn timestamp_type(&self) -> TimestampType {
        self.header.timestamp_type()
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Compression {
        self.header.compression()
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.header.attributes.is_transactional()
    }

    /// Whether the batch holds markers of the cluster instead of user records.
    pub fn is_control(&self) -> bool {
        self.header.attributes.is_control()
    }

    /// The idempotent producer, or none.
    pub fn producer_id(&self) -> ProducerId {
        self.header.producer_id
    }

    /// That producer's epoch.
    pub fn producer_epoch(&self) -> ProducerEpoch {
        self.header.producer_epoch
    }

    /// Sequence of the first record.
    pub fn base_sequence(&self) -> Sequence {
        self.header.base_sequence
    }

    /// What follows the header: the records, compressed or not.
    fn payload(&self) -> Bytes {
        self.bytes.slice(field::RECORDS..)
    }
}

impl fmt::Debug for Batch {
    /// The header only: a batch may hold megabytes, and its records are not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("header", &self.header).finish_non_exhaustive()
    }
}
