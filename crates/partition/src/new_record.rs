//! A record that the broker puts into a batch itself, for clients that send records
//! and not batches.

use bytes::Bytes;
use highwater_records::{Header, RecordsError};
use highwater_types::TimestampMs;
use highwater_types::limits::RECORD_HEADERS_MAX;

/// One record to append.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewRecord {
    /// The key, or null.
    pub key: Option<Bytes>,
    /// The value, or null.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
    /// When it happened; `None` is the time at which the broker takes it.
    pub timestamp: Option<TimestampMs>,
}

impl NewRecord {
    /// Most bytes that the integers of a record take: length, attributes, timestamp and
    /// offset delta, and the lengths of key, value and headers.
    const OVERHEAD_BYTES_MAX: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;
    /// Most bytes that the lengths of one header's key and value take.
    const HEADER_OVERHEAD_BYTES_MAX: usize = 10;

    /// Bytes of key, value and headers, without what encoding adds.
    pub(crate) fn payload_bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter();
        length(&self.key)
            + length(&self.value)
            + headers.map(|header| header.key.len() + length(&header.value)).sum::<usize>()
    }

    /// No less than the record takes within a batch.
    pub(crate) fn encoded_bytes_max(&self) -> usize {
        Self::OVERHEAD_BYTES_MAX + self.headers.len() * Self::HEADER_OVERHEAD_BYTES_MAX + self.payload_bytes()
    }

    /// Checks what no batch can hold, so that building one from checked records can fail
    /// by its size only.
    pub(crate) fn check(&self, index: usize) -> Result<(), RecordsError> {
        if self.headers.len() > RECORD_HEADERS_MAX {
            return Err(RecordsError::HeaderCount {
                index,
                count: i64::try_from(self.headers.len()).unwrap_or(i64::MAX),
                max: RECORD_HEADERS_MAX,
            });
        }
        match self.timestamp {
            Some(timestamp) if timestamp < TimestampMs::NONE => {
                Err(RecordsError::TimestampOutOfRange { timestamp: timestamp.0 })
            }
            _ => Ok(()),
        }
    }
}
