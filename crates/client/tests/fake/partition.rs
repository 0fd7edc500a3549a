//! A partition of the fake node: batches in a list, and the five last batches of each producer.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use highwater_records::Batch;
use highwater_types::{ErrorCode, LeaderEpoch, Offset};

/// The last batches of a producer: sequence, count and offset of each.
type Window = VecDeque<(i32, i32, i64)>;

#[derive(Default)]
pub(crate) struct Partition {
    pub(crate) batches: Vec<Batch>,
    pub(crate) end: i64,
    producers: HashMap<i64, (i16, Window)>,
}

impl Partition {
    /// Appends a batch, or finds it appended already.
    pub(crate) fn append(&mut self, bytes: Bytes) -> Result<i64, ErrorCode> {
        let batch = Batch::parse(bytes).map_err(|error| error.code())?;
        batch.verify_from_producer().and_then(|()| batch.verify_records()).map_err(|error| error.code())?;
        if batch.producer_id().is_some()
            && let Some(base_offset) = self.find(&batch)?
        {
            return Ok(base_offset);
        }
        let base_offset = self.end;
        if batch.producer_id().is_some() {
            let (epoch, count) = (batch.producer_epoch().0, batch.record_count());
            let entry = self.producers.entry(batch.producer_id().0).or_insert((epoch, Window::new()));
            if entry.0 != epoch {
                *entry = (epoch, Window::new());
            }
            entry.1.push_back((batch.base_sequence().0, count, base_offset));
            if entry.1.len() > 5 {
                entry.1.pop_front();
            }
        }
        self.end += i64::from(batch.record_count());
        let stamped = batch.stamp(Offset(base_offset), LeaderEpoch(1)).to_bytes();
        self.batches.push(Batch::parse(stamped).expect("a stamped batch"));
        Ok(base_offset)
    }

    fn find(&self, batch: &Batch) -> Result<Option<i64>, ErrorCode> {
        let (epoch, sequence) = (batch.producer_epoch().0, batch.base_sequence().0);
        match self.producers.get(&batch.producer_id().0) {
            None if sequence == 0 => Ok(None),
            None => Err(ErrorCode::UnknownProducerId),
            Some((known, _)) if epoch < *known => Err(ErrorCode::InvalidProducerEpoch),
            Some((known, _)) if epoch > *known && sequence == 0 => Ok(None),
            Some((known, _)) if epoch > *known => Err(ErrorCode::OutOfOrderSequence),
            Some((_, window)) => {
                let same = window.iter().find(|(s, count, _)| *s == sequence && *count == batch.record_count());
                if let Some((_, _, base_offset)) = same {
                    return Ok(Some(*base_offset));
                }
                let expected = window.back().map_or(0, |(s, count, _)| s + count);
                if sequence == expected { Ok(None) } else { Err(ErrorCode::OutOfOrderSequence) }
            }
        }
    }

    pub(crate) fn values(&self) -> Vec<String> {
        let records = self.batches.iter().flat_map(|batch| batch.records());
        let value = |record: Result<highwater_records::Record, _>| {
            let value = record.expect("a whole record").value.unwrap_or_default();
            String::from_utf8(value.to_vec()).expect("UTF-8")
        };
        records.map(value).collect()
    }

    /// The batch that holds this offset.
    pub(crate) fn batch_at(&self, offset: i64) -> Option<&Batch> {
        self.batches.iter().find(|batch| batch.next_offset().0 > offset)
    }
}
