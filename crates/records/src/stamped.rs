//! A batch with its place in a log.
//!
//! ```text
//! byte  0             8         12            16
//!       +-------------+---------+-------------+==========================
//!       | base offset | length  | leader epoch| magic, CRC, … to the end
//!       +-------------+---------+-------------+==========================
//!       '--------------- head ----------------'---- body, shared --------'
//! ```
//!
//! Only the head is this batch's own. The body is the very memory that the producer's batch
//! arrived in, so that giving a batch its offset costs 16 bytes, whatever its size.

use std::fmt;

use bytes::{Bytes, BytesMut};
use highwater_types::limits::BATCH_DECOMPRESSED_BYTES_MAX;
use highwater_types::{LeaderEpoch, Offset, TimestampMs};

use crate::batch::Batch;
use crate::error::RecordsError;
use crate::header::{BatchHeader, field};
use crate::record::Records;
use crate::verify;

/// A batch whose base offset and leader epoch are the log's. Cloning is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct StampedBatch {
    head: [u8; Self::HEAD_LEN],
    body: Bytes,
    header: BatchHeader,
}

impl StampedBatch {
    /// Bytes of the head.
    pub const HEAD_LEN: usize = field::MAGIC;

    pub(crate) fn new(batch: Batch, base_offset: Offset, epoch: LeaderEpoch) -> Self {
        let end = base_offset.0.checked_add(i64::from(batch.record_count()));
        assert!(
            base_offset.0 >= 0 && end.is_some(),
            "a log stamps offsets from 0 up, without overflow: {base_offset} for {} records",
            batch.record_count()
        );
        let header = BatchHeader { base_offset, partition_leader_epoch: epoch, ..*batch.header() };
        Self::with_header(batch, header)
    }

    /// A batch as read back from a log: it keeps the offset and epoch that it carries.
    pub fn from_batch(batch: Batch) -> Self {
        let header = *batch.header();
        Self::with_header(batch, header)
    }

    fn with_header(batch: Batch, header: BatchHeader) -> Self {
        let mut head = [0; Self::HEAD_LEN];
        head.copy_from_slice(&header.to_bytes()[..Self::HEAD_LEN]);
        Self { head, body: batch.into_bytes().slice(Self::HEAD_LEN..), header }
    }

    /// Puts a stamped batch together from its parts, as they came from [`StampedBatch::parts`].
    /// Checks what [`Batch::parse`] checks, without copying the body.
    pub fn from_parts(head: [u8; Self::HEAD_LEN], body: Bytes) -> Result<Self, RecordsError> {
        const BODY_HEADER_LEN: usize = BatchHeader::LEN - StampedBatch::HEAD_LEN;
        let available = Self::HEAD_LEN + body.len();
        let Some(body_header) = body.first_chunk::<BODY_HEADER_LEN>() else {
            return Err(RecordsError::HeaderTruncated { available, needed: BatchHeader::LEN });
        };
        let mut raw = [0; BatchHeader::LEN];
        raw[..Self::HEAD_LEN].copy_from_slice(&head);
        raw[Self::HEAD_LEN..].copy_from_slice(body_header);
        let header = BatchHeader::parse(&raw)?;
        let stated = header.size_in_bytes;
        match available.cmp(&stated) {
            std::cmp::Ordering::Less => Err(RecordsError::BatchTruncated { stated, available }),
            std::cmp::Ordering::Greater => Err(RecordsError::BytesAfterBatch { stated, available }),
            std::cmp::Ordering::Equal => Ok(Self { head, body, header }),
        }
    }

    /// Head and body, to be written one after the other.
    pub fn parts(&self) -> (&[u8; Self::HEAD_LEN], &Bytes) {
        (&self.head, &self.body)
    }

    /// The whole batch in one piece; copies it.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.size_in_bytes());
        bytes.extend_from_slice(&self.head);
        bytes.extend_from_slice(&self.body);
        bytes.freeze()
    }

    /// The whole batch as a [`Batch`] with its stamped offset and epoch; copies it.
    pub fn to_batch(&self) -> Batch {
        Batch::parse(self.to_bytes()).expect("a stamped batch is a parsed one with another place")
    }

    /// Checks what [`Batch::verify`] checks, without copying.
    pub fn verify(&self) -> Result<(), RecordsError> {
        verify::batch(&self.header, &self.body[field::ATTRIBUTES - Self::HEAD_LEN..])
    }

    /// The records with their stamped offsets, as [`Batch::records`] gives them.
    pub fn records(&self) -> Records {
        let payload = self.body.slice(field::RECORDS - Self::HEAD_LEN..);
        Records::new(self.header, payload, BATCH_DECOMPRESSED_BYTES_MAX)
    }

    /// The decoded header, with the stamped offset and epoch.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Length of head and body together.
    pub fn size_in_bytes(&self) -> usize {
        self.header.size_in_bytes
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

    /// Latest timestamp of the records.
    pub fn max_timestamp(&self) -> TimestampMs {
        self.header.max_timestamp
    }

    /// Epoch of the leader that appended the batch.
    pub fn partition_leader_epoch(&self) -> LeaderEpoch {
        self.header.partition_leader_epoch
    }
}

impl fmt::Debug for StampedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StampedBatch").field("header", &self.header).finish_non_exhaustive()
    }
}
