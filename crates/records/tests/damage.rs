//! Damaged batches are refused, or provably harmless; none makes the reader panic.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests are tests too.

mod support;

use bytes::Bytes;
use highwater_records::{
    Batch, BatchBuilder, BatchHeader, Compression, Header, Record, RecordsError, field, split_batches,
};
use highwater_types::{Offset, TimestampMs};
use support::{golden_files, read_fully, reseal, sample};

/// The stamps of the log are outside the checksum: what reads them back checks them
/// against what it knows of the log.
fn is_stamp(position: usize) -> bool {
    position < field::LENGTH || (field::LEADER_EPOCH..field::MAGIC).contains(&position)
}

fn without_offsets(records: Vec<Record>) -> Vec<Record> {
    records.into_iter().map(|record| Record { offset: Offset::ZERO, ..record }).collect()
}

#[test]
fn every_flipped_bit_is_refused_or_only_moves_the_batch() {
    for compression in Compression::ALL {
        let whole = sample(compression).into_bytes();
        let expected = without_offsets(read_fully(whole.clone()).unwrap());
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.to_vec();
                damaged[position] ^= 1 << bit;
                match read_fully(Bytes::from(damaged)) {
                    Err(_) => {}
                    Ok(records) => {
                        assert!(is_stamp(position), "{compression}: bit {bit} of byte {position} went unseen");
                        assert_eq!(without_offsets(records), expected);
                    }
                }
            }
        }
    }
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    for (name, bytes) in golden_files() {
        for len in 0..bytes.len().min(3000) {
            assert!(
                Batch::parse(bytes.slice(..len)).is_err() || name == "two-batches",
                "{name} cut to {len} bytes"
            );
        }
        let longer = Bytes::from([&bytes[..], b"\0"].concat());
        Batch::parse(longer.clone()).unwrap_err();
        assert!(split_batches(longer).any(|batch| batch.is_err()), "{name} with a byte more");
    }
}

/// Below a checksum that was made to fit, damage may go unseen as long as both readers
/// agree about it.
#[test]
fn damage_below_a_right_checksum_never_panics_and_both_readers_agree() {
    for compression in Compression::ALL {
        let whole = sample(compression).into_bytes();
        for position in field::ATTRIBUTES..whole.len() {
            for mask in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x7f, 0xff] {
                let mut damaged = whole.to_vec();
                damaged[position] ^= mask;
                readers_agree(reseal(damaged));
            }
        }
        for len in BatchHeader::LEN..whole.len() {
            readers_agree(with_payload(&whole, &whole[BatchHeader::LEN..len]));
        }
    }
}

fn readers_agree(bytes: Bytes) {
    let Ok(batch) = Batch::parse(bytes) else {
        return;
    };
    let _ = batch.verify();
    let records: Result<Vec<_>, _> = batch.records().collect();
    match (batch.verify_records(), records) {
        (Ok(()), Ok(_)) | (Err(RecordsError::MaxTimestampMismatch { .. }), Ok(_)) | (Err(_), Err(_)) => {}
        (verified, records) => panic!("the walk says {verified:?}, the iterator {records:?}"),
    }
}

/// The header of `batch` in front of another payload, with length and checksum to fit.
fn with_payload(batch: &[u8], payload: &[u8]) -> Bytes {
    let mut bytes = [&batch[..BatchHeader::LEN], payload].concat();
    let length = i32::try_from(bytes.len() - field::LEADER_EPOCH).unwrap();
    bytes[field::LENGTH..field::LEADER_EPOCH].copy_from_slice(&length.to_be_bytes());
    reseal(bytes)
}

fn with_field(batch: &Batch, at: usize, value: &[u8]) -> Bytes {
    let mut bytes = batch.bytes().to_vec();
    bytes[at..at + value.len()].copy_from_slice(value);
    reseal(bytes)
}

#[test]
fn header_fields_out_of_range_are_named_in_the_error() {
    let batch = sample(Compression::Zstd);
    let parse = |at, value: &[u8]| Batch::parse(with_field(&batch, at, value)).unwrap_err();

    for length in [i32::MIN, -1, 0, 48, 17 << 20, i32::MAX] {
        let error = parse(field::LENGTH, &length.to_be_bytes());
        let stated = i64::from(length);
        assert!(matches!(error, RecordsError::LengthOutOfRange { length, .. } if length == stated), "{error}");
    }
    for magic in [0_i8, 1, 3, -1] {
        assert_eq!(parse(field::MAGIC, &magic.to_be_bytes()), RecordsError::UnsupportedMagic { magic });
    }
    assert_eq!(parse(field::ATTRIBUTES, &[0, 5]), RecordsError::UnknownCompression { id: 5 });
    assert_eq!(
        parse(field::ATTRIBUTES, &[0x80, 0x44]),
        RecordsError::ReservedAttributes { attributes: 0x8044, reserved: 0x8040 }
    );
    assert_eq!(
        parse(field::LAST_OFFSET_DELTA, &4_i32.to_be_bytes()),
        RecordsError::OffsetDeltaMismatch { last_offset_delta: 4, count: 4 }
    );
    for base_offset in [-1, i64::MIN, i64::MAX - 3] {
        assert_eq!(
            parse(field::BASE_OFFSET, &base_offset.to_be_bytes()),
            RecordsError::OffsetOutOfRange { base_offset, count: 4 }
        );
    }
}

#[test]
fn a_count_that_the_payload_cannot_hold_is_refused_at_once() {
    for compression in Compression::ALL {
        let batch = sample(compression);
        for count in [i32::MIN, -1, 0, (1 << 20) + 1, i32::MAX] {
            let error =
                Batch::parse(with_field(&batch, field::RECORD_COUNT, &count.to_be_bytes())).unwrap_err();
            assert!(matches!(error, RecordsError::CountOutOfRange { .. }), "{compression}: {error}");
        }
        let mut bytes = batch.bytes().to_vec();
        bytes[field::RECORD_COUNT..][..4].copy_from_slice(&5_i32.to_be_bytes());
        bytes[field::LAST_OFFSET_DELTA..][..4].copy_from_slice(&4_i32.to_be_bytes());
        let one_more = Batch::parse(reseal(bytes)).unwrap();
        let error = one_more.verify_records().unwrap_err();
        assert_eq!(error, RecordsError::RecordsEndEarly { index: 4, count: 5 }, "{compression}");
        assert_eq!(one_more.records().last().unwrap().unwrap_err(), error);
    }
}

#[test]
fn lengths_inside_a_record_are_checked_against_what_remains() {
    // length, attributes, timestamp delta, offset delta; then key, value, headers.
    let record = |parts: &[u8]| {
        let mut builder = BatchBuilder::new();
        builder.append(None, None, &[], TimestampMs(0)).unwrap();
        let template = builder.build().unwrap();
        let body = [&[0, 0, 0], parts].concat();
        let length = u8::try_from(body.len() * 2).unwrap();
        let payload = [&[length], &body[..]].concat();
        let batch = Batch::parse(with_payload(template.bytes(), &payload)).unwrap();
        readers_agree(batch.bytes().clone());
        batch.verify_records().unwrap_err()
    };
    const INT_MAX: [u8; 5] = [0xfe, 0xff, 0xff, 0xff, 0x0f];
    const MINUS_TWO: u8 = 3;
    let huge = i32::MAX as usize;
    let truncated = |error| matches!(error, RecordsError::RecordTruncated { needed, .. } if needed == huge);
    assert!(truncated(record(&[&INT_MAX[..], &[1, 0]].concat())), "key");
    assert!(truncated(record(&[&[1], &INT_MAX[..], &[0]].concat())), "value");
    assert!(truncated(record(&[&[1, 1, 2], &INT_MAX[..], &[1]].concat())), "header key");
    let headers = record(&[&[1, 1], &INT_MAX[..]].concat());
    assert_eq!(headers, RecordsError::HeaderCount { index: 0, count: i64::from(i32::MAX), max: 0 });
    assert_eq!(record(&[MINUS_TWO, 1, 0]), RecordsError::NegativeLength { index: 0, length: -2 });
    assert_eq!(record(&[1, 1, 2, 1, 1]), RecordsError::NegativeLength { index: 0, length: -1 });
    assert_eq!(record(&[1, 1, 0, 0]), RecordsError::RecordLeftover { index: 0, extra: 1 });
    let endless = record(&[&[0xff; 5][..], &[1, 0]].concat());
    assert_eq!(endless, RecordsError::VarintOverflow { index: 0, bytes_max: 5 });
}

#[test]
fn bytes_after_the_last_record_are_refused_in_every_codec() {
    for compression in Compression::ALL {
        let batch = sample(compression);
        let payload = [&batch.bytes()[BatchHeader::LEN..], &[0; 8]].concat();
        let longer = Batch::parse(with_payload(batch.bytes(), &payload)).unwrap();
        longer.verify().unwrap();
        longer.verify_records().unwrap_err();
        longer.records().collect::<Result<Vec<_>, _>>().unwrap_err();
    }
}

#[test]
fn offsets_and_timestamps_that_contradict_the_header_are_refused() {
    let batch = sample(Compression::None);
    let wrong_max = Batch::parse(with_field(&batch, field::MAX_TIMESTAMP, &9_i64.to_be_bytes())).unwrap();
    assert_eq!(
        wrong_max.verify_records().unwrap_err(),
        RecordsError::MaxTimestampMismatch { stated: 9, actual: 1_700_000_000_007 }
    );
    for timestamp in [-2, i64::MIN] {
        let negative =
            Batch::parse(with_field(&batch, field::BASE_TIMESTAMP, &timestamp.to_be_bytes())).unwrap();
        assert_eq!(negative.verify().unwrap_err(), RecordsError::TimestampOutOfRange { timestamp });
        negative.verify_records().unwrap_err();
    }
    let mut bytes = batch.bytes().to_vec();
    let offset_delta = BatchHeader::LEN + 3;
    assert_eq!(bytes[offset_delta], 0);
    bytes[offset_delta] = 2;
    let moved = Batch::parse(reseal(bytes)).unwrap();
    assert_eq!(
        moved.verify_records().unwrap_err(),
        RecordsError::RecordOffsetDelta { index: 0, offset_delta: 1 }
    );
}

#[test]
fn producers_may_not_write_control_batches_or_the_time_of_the_log() {
    let batch = sample(Compression::None);
    let control = Batch::parse(with_field(&batch, field::ATTRIBUTES, &[0, 0x20])).unwrap();
    control.verify().unwrap();
    assert!(control.is_control());
    assert_eq!(control.verify_from_producer().unwrap_err(), RecordsError::ControlFromProducer);
    let log_time = batch.with_log_append_time(TimestampMs(1));
    log_time.verify().unwrap();
    assert_eq!(log_time.verify_from_producer().unwrap_err(), RecordsError::LogAppendTimeFromProducer);
}

#[test]
fn the_builder_refuses_what_no_reader_would_take_and_stays_usable() {
    let mut builder = BatchBuilder::new();
    assert_eq!(builder.clone().build().unwrap_err(), RecordsError::EmptyBatch);
    builder.append(None, Some(b"first"), &[], TimestampMs::NONE).unwrap();
    let size = builder.size_in_bytes();
    let huge = vec![0; 16 << 20];
    let too_large = builder.append(None, Some(&huge), &[], TimestampMs(0)).unwrap_err();
    assert!(matches!(too_large, RecordsError::BatchTooLarge { .. }), "{too_large}");
    let headers = vec![Header::new("h", None); 10_001];
    let too_many = builder.append(None, None, &headers, TimestampMs(0)).unwrap_err();
    assert!(matches!(too_many, RecordsError::HeaderCount { count: 10_001, .. }), "{too_many}");
    for timestamp in [TimestampMs(-2), TimestampMs(i64::MAX)] {
        builder.append(None, None, &[], timestamp).unwrap_err();
    }
    assert_eq!(builder.size_in_bytes(), size, "a refused record leaves no trace");
    assert_eq!(read_fully(builder.build().unwrap().into_bytes()).unwrap().len(), 1);
}
