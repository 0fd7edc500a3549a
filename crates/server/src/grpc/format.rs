//! The two forms in which records are returned: batches as they are stored, or structured
//! records, decoded here.

use bytes::Bytes;
use highwater_broker::{BrokerError, Fetched};
use highwater_proto::v1;
use highwater_records::{Record, RecordsError, split_batches};
use highwater_types::{ErrorCode, Offset, TimestampMs};
use prost::Message as _;

/// Bytes that a record costs in a list of records besides its own encoding: the tag and the length.
const FIELD_OVERHEAD_BYTES: usize = 6;

/// How a client wants its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Batches,
    Records,
}

impl Format {
    /// The format that a request names.
    pub(crate) fn parse(value: i32) -> Result<Self, BrokerError> {
        match v1::RecordFormat::try_from(value) {
            Ok(v1::RecordFormat::Unspecified | v1::RecordFormat::Batches) => Ok(Self::Batches),
            Ok(v1::RecordFormat::Records) => Ok(Self::Records),
            Err(_) => Err(BrokerError::invalid_request(format!("{value} is not a record format"))),
        }
    }

    /// What was fetched from `from` on, in this format, and the bytes that it counts. Decoded
    /// records end where `max_bytes` are reached; `next_offset` says where.
    pub(crate) fn render(
        self,
        fetched: Fetched,
        from: Offset,
        max_bytes: usize,
    ) -> Result<(v1::RecordData, usize), BrokerError> {
        match self {
            Self::Batches => {
                let bytes = fetched.size_bytes();
                Ok((super::convert::batches(fetched), bytes))
            }
            Self::Records => decode(fetched, from, max_bytes),
        }
    }
}

/// What a run of records counts, in either format.
pub(crate) fn size_bytes(data: &v1::RecordData) -> usize {
    let batches: usize = data.batches.iter().map(Bytes::len).sum();
    let records: usize = data.records.iter().map(|record| record.encoded_len() + FIELD_OVERHEAD_BYTES).sum();
    batches + records
}

/// Decodes batches into records from an offset on, at least one and then no more than fit.
fn decode(
    mut fetched: Fetched,
    from: Offset,
    max_bytes: usize,
) -> Result<(v1::RecordData, usize), BrokerError> {
    let mut records = Vec::new();
    let mut bytes = 0;
    let mut next_offset = fetched.next_offset;
    'all: for run in std::mem::take(&mut fetched.batches) {
        for batch in split_batches(run) {
            for record in batch.map_err(damaged)?.records() {
                let record = record.map_err(damaged)?;
                if record.offset < from {
                    continue;
                }
                let record = structured(record);
                let size = record.encoded_len() + FIELD_OVERHEAD_BYTES;
                if !records.is_empty() && bytes + size > max_bytes {
                    next_offset = Offset(record.offset.unwrap_or(next_offset.0));
                    break 'all;
                }
                bytes += size;
                records.push(record);
            }
        }
    }
    let data = v1::RecordData {
        batches: Vec::new(),
        records,
        next_offset: next_offset.0,
        high_watermark: fetched.high_watermark.0,
        log_start_offset: fetched.log_start.0,
    };
    Ok((data, bytes))
}

fn structured(record: Record) -> v1::Record {
    let headers = record.headers.into_iter();
    v1::Record {
        key: record.key,
        value: record.value,
        headers: headers.map(|header| v1::Header { key: lossy(&header.key), value: header.value }).collect(),
        timestamp_ms: (record.timestamp != TimestampMs::NONE).then_some(record.timestamp.0),
        offset: Some(record.offset.0),
    }
}

/// A header's name as text. Kafka says that it is UTF-8; what is not is shown as far as it can be.
fn lossy(name: &Bytes) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn damaged(error: RecordsError) -> BrokerError {
    BrokerError::new(ErrorCode::CorruptMessage, format!("a stored batch cannot be decoded: {error}"))
}

#[cfg(test)]
mod tests {
    use highwater_records::BatchBuilder;
    use highwater_types::LeaderEpoch;

    use super::*;

    fn fetched(first: i64, count: i64) -> Fetched {
        let mut builder = BatchBuilder::new();
        for number in 0..count {
            let value = vec![b'v'; 100];
            builder.append(None, Some(&value), &[], TimestampMs(number)).expect("fits");
        }
        let batch = builder.build().expect("not empty");
        let stamped = batch.stamp(Offset(first), LeaderEpoch(1));
        Fetched {
            batches: vec![stamped.to_bytes()],
            next_offset: Offset(first + count),
            high_watermark: Offset(first + count),
            log_start: Offset(0),
        }
    }

    #[test]
    fn records_below_the_wanted_offset_are_left_out() {
        let (data, _) = Format::Records.render(fetched(10, 5), Offset(12), 1 << 20).expect("whole");
        let offsets: Vec<_> = data.records.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, [Some(12), Some(13), Some(14)]);
        assert_eq!(data.next_offset, 15);
    }

    #[test]
    fn a_batch_that_decodes_to_more_than_fits_goes_on_where_it_was_cut() {
        let mut from = Offset(10);
        let mut seen = Vec::new();
        while from < Offset(15) {
            let (data, bytes) = Format::Records.render(fetched(10, 5), from, 250).expect("whole");
            assert!(bytes <= 250, "{bytes}");
            seen.extend(data.records.iter().filter_map(|record| record.offset));
            from = Offset(data.next_offset);
        }
        assert_eq!(seen, [10, 11, 12, 13, 14]);
    }

    #[test]
    fn damaged_bytes_are_an_error_and_not_fewer_records() {
        let mut damaged = fetched(0, 2);
        damaged.batches = vec![damaged.batches[0].slice(..80)];
        let error = Format::Records.render(damaged, Offset(0), 1 << 20).expect_err("cut short");
        assert_eq!(error.code, ErrorCode::CorruptMessage);
    }
}
