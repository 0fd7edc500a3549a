//! A push that is being handed out, batch by batch: checked and decoded when its turn comes. Pure.

use std::collections::VecDeque;

use bytes::Bytes;
use highwater_proto::v1::SubscribePush;
use highwater_records::{Record, split_batches};
use highwater_types::{Offset, PartitionIndex};

use crate::error::ClientError;
use crate::reader::read_set::ReadingId;

/// Records of one reading, in order, as they were stored together.
#[derive(Debug)]
pub(crate) struct ReadBatch {
    pub(crate) id: ReadingId,
    /// Empty when it only tells where the reading is.
    pub(crate) records: Vec<Record>,
    /// The offset after these records.
    pub(crate) next_offset: Offset,
    pub(crate) high_watermark: Offset,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) id: ReadingId,
    partition: PartitionIndex,
    /// Stored bytes, each with one or more batches.
    bytes: VecDeque<Bytes>,
    /// Where the user is.
    next_offset: Offset,
    /// Where the user is after all of the push.
    end_offset: Offset,
    high_watermark: Offset,
    pub(crate) charged_bytes: u64,
}

impl Current {
    /// A push for a reading that was at `from`, as far as that is known.
    pub(crate) fn new(id: ReadingId, from: Option<Offset>, push: SubscribePush) -> Self {
        let data = push.data.unwrap_or_default();
        let end_offset = Offset(data.next_offset);
        // A push without records says where the partition is, even if that is elsewhere than expected.
        let next_offset = if data.batches.is_empty() { end_offset } else { from.unwrap_or(Offset::ZERO) };
        Self {
            id,
            partition: PartitionIndex(push.partition),
            bytes: data.batches.into(),
            next_offset,
            end_offset,
            high_watermark: Offset(data.high_watermark),
            charged_bytes: push.charged_bytes,
        }
    }

    /// Whether all of it was handed out.
    pub(crate) fn is_over(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Decodes the next batch.
    pub(crate) fn next_batch(&mut self) -> Result<ReadBatch, ClientError> {
        let records = self.next_records()?;
        let (next_offset, high_watermark) = (self.next_offset, self.high_watermark);
        Ok(ReadBatch { id: self.id, records, next_offset, high_watermark })
    }

    /// Leaves `next_offset` after the batch.
    fn next_records(&mut self) -> Result<Vec<Record>, ClientError> {
        let (partition, from) = (self.partition.0, self.next_offset);
        let corrupt = |source| ClientError::CorruptBatch { partition, offset: from, source };
        let mut records = Vec::new();
        if let Some(bytes) = self.bytes.pop_front() {
            let length = bytes.len();
            let mut batches = split_batches(bytes.clone());
            if let Some(batch) = batches.next().transpose().map_err(corrupt)? {
                batch.verify().map_err(corrupt)?;
                if length > batch.size_in_bytes() {
                    self.bytes.push_front(bytes.slice(batch.size_in_bytes()..));
                }
                if !batch.is_control() && batch.next_offset() > from {
                    let is_new =
                        |record: &Result<Record, _>| record.as_ref().map_or(true, |r| r.offset >= from);
                    records = batch.records().filter(is_new).collect::<Result<_, _>>().map_err(corrupt)?;
                }
                self.next_offset = from.max(batch.next_offset());
            }
        }
        if self.bytes.is_empty() {
            self.next_offset = self.end_offset.max(self.next_offset);
        }
        Ok(records)
    }
}
