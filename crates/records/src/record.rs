//! Records as a consumer sees them, and the iterator that decodes them out of a batch.

use std::borrow::Cow;
use std::fmt;
use std::iter::FusedIterator;

use bytes::Bytes;
use highwater_types::{Offset, TimestampMs};

use crate::attributes::Compression;
use crate::compression::decompress;
use crate::decode;
use crate::error::RecordsError;
use crate::header::BatchHeader;
use crate::input::RecordInput;

/// A header of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The name; UTF-8 by convention, which the format does not enforce. Names may repeat.
    pub key: Bytes,
    /// The value, or null.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header of a name and a value.
    pub fn new(key: impl Into<Bytes>, value: Option<Bytes>) -> Self {
        Self { key: key.into(), value }
    }

    /// The name as text; bytes that are not UTF-8 become U+FFFD.
    pub fn key_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }
}

/// One record. Its bytes are slices of the batch it came from, and keep that in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// The producer's time or the log's, as the batch says.
    pub timestamp: TimestampMs,
    /// The key, or null.
    pub key: Option<Bytes>,
    /// The value, or null.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
}

/// Iterates over the records of one batch; see [`crate::Batch::records`].
#[derive(Clone)]
pub struct Records {
    batch: BatchHeader,
    /// What is left to decode: still compressed before the first `next`.
    rest: Bytes,
    compressed: bool,
    decompressed_bytes_max: usize,
    next_index: usize,
    done: bool,
}

impl Records {
    pub(crate) fn new(batch: BatchHeader, payload: Bytes, decompressed_bytes_max: usize) -> Self {
        let compressed = batch.compression() != Compression::None;
        Self { batch, rest: payload, compressed, decompressed_bytes_max, next_index: 0, done: false }
    }

    // Not `count`: on `&mut self` that would be the iterator's own, which consumes it.
    fn record_count(&self) -> usize {
        usize::try_from(self.batch.record_count).expect("a parsed header has a positive count")
    }

    fn decode_next(&mut self) -> Result<Record, RecordsError> {
        if self.compressed {
            self.rest = decompress(self.batch.compression(), self.rest.clone(), self.decompressed_bytes_max)?;
            self.compressed = false;
        }
        let index = self.next_index;
        let raw = decode::record(&self.batch, index, &mut self.rest)?;
        self.next_index += 1;
        self.done = self.next_index == self.record_count();
        if self.done && !self.rest.at_end()? {
            return Err(RecordsError::BytesAfterRecords { count: self.record_count() });
        }
        let delta = i64::try_from(index).expect("an index within a batch fits 31 bits");
        Ok(Record {
            offset: self.batch.base_offset.plus(delta),
            timestamp: raw.timestamp,
            key: raw.key,
            value: raw.value,
            headers: raw.headers.into_iter().map(|(key, value)| Header { key, value }).collect(),
        })
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let record = self.decode_next();
        self.done |= record.is_err();
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.done { (0, Some(0)) } else { (1, Some(self.record_count() - self.next_index)) }
    }
}

impl FusedIterator for Records {}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records")
            .field("batch", &self.batch)
            .field("next_index", &self.next_index)
            .finish_non_exhaustive()
    }
}
