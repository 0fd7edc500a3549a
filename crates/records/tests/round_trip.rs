//! What goes into a batch comes out of it, whatever it is.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests are tests too.

mod support;

use bytes::Bytes;
use highwater_records::{Batch, BatchBuilder, BatchHeader, Compression, Header, Record, split_batches};
use highwater_types::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use support::{read_fully, seeded};

fn some_bytes(len_max: usize) -> impl Strategy<Value = Bytes> {
    prop_oneof![vec(any::<u8>(), 0..40), (any::<u8>(), 0..len_max).prop_map(|(byte, len)| vec![byte; len]),]
        .prop_map(Bytes::from)
}

fn header() -> impl Strategy<Value = Header> {
    (some_bytes(70), option::of(some_bytes(200))).prop_map(|(key, value)| Header { key, value })
}

fn timestamp() -> impl Strategy<Value = TimestampMs> {
    // The whole range but its very last value, which has no distance from −1 in 64 bits.
    prop_oneof![Just(-1), 0..1_i64 << 41, 0..i64::MAX].prop_map(TimestampMs)
}

fn record() -> impl Strategy<Value = Record> {
    (timestamp(), option::of(some_bytes(300)), option::of(some_bytes(70_000)), vec(header(), 0..4)).prop_map(
        |(timestamp, key, value, headers)| Record { offset: Offset::ZERO, timestamp, key, value, headers },
    )
}

/// Offsets count up from 0.
fn records() -> impl Strategy<Value = Vec<Record>> {
    vec(record(), 1..30).prop_map(|mut records| {
        for (record, offset) in records.iter_mut().zip(0..) {
            record.offset = Offset(offset);
        }
        records
    })
}

fn compression() -> impl Strategy<Value = Compression> {
    proptest::sample::select(Compression::ALL.to_vec())
}

fn build(compression: Compression, records: &[Record]) -> Batch {
    let mut builder = BatchBuilder::new().compression(compression);
    for record in records {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let hint = builder.size_hint_after(key, value, &record.headers, record.timestamp);
        builder.append(key, value, &record.headers, record.timestamp).unwrap();
        assert_eq!(builder.size_in_bytes(), hint, "the size hint is exact");
    }
    let uncompressed = builder.size_in_bytes();
    let batch = builder.build().unwrap();
    assert!(compression != Compression::None || batch.size_in_bytes() == uncompressed);
    batch
}

#[test]
fn records_of_every_shape_survive_every_codec() {
    TestRunner::new(seeded(300))
        .run(&(compression(), records()), |(compression, records)| {
            let batch = build(compression, &records);
            prop_assert_eq!(batch.compression(), compression);
            prop_assert_eq!(batch.header(), &BatchHeader::parse(batch.bytes()).unwrap());
            prop_assert_eq!(&batch.header().to_bytes()[..], &batch.bytes()[..BatchHeader::LEN]);
            let latest = records.iter().map(|record| record.timestamp).max();
            prop_assert_eq!(Some(batch.max_timestamp()), latest);
            batch.verify_from_producer().unwrap();
            prop_assert_eq!(read_fully(batch.into_bytes()).unwrap(), records);
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_log_append_time_replaces_every_timestamp_and_nothing_else() {
    TestRunner::new(seeded(100))
        .run(&(compression(), records(), timestamp()), |(compression, records, time)| {
            let batch = build(compression, &records).with_log_append_time(time);
            prop_assert_eq!(batch.max_timestamp(), time);
            let expected: Vec<_> =
                records.into_iter().map(|record| Record { timestamp: time, ..record }).collect();
            prop_assert_eq!(read_fully(batch.into_bytes()).unwrap(), expected);
            Ok(())
        })
        .unwrap();
}

#[test]
fn batches_one_after_the_other_are_split_into_what_they_were() {
    TestRunner::new(seeded(100))
        .run(&vec((compression(), records()), 0..5), |batches| {
            let batches: Vec<_> =
                batches.iter().map(|(compression, records)| build(*compression, records)).collect();
            let bytes: Vec<u8> = batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect();
            let split: Result<Vec<_>, _> = split_batches(Bytes::from(bytes)).collect();
            prop_assert_eq!(split.unwrap(), batches);
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_producer_is_kept_and_contradictions_are_refused() {
    let with = |id, epoch, sequence, transactional| {
        let producer = (ProducerId(id), ProducerEpoch(epoch), Sequence(sequence));
        let mut builder =
            BatchBuilder::new().producer(producer.0, producer.1, producer.2).transactional(transactional);
        builder.append(None, Some(b"v"), &[], TimestampMs(0)).unwrap();
        builder.build()
    };
    let batch = with(7, 1, i32::MAX, true).unwrap();
    batch.verify_from_producer().unwrap();
    assert_eq!(batch.producer_id(), ProducerId(7));
    assert_eq!(batch.producer_epoch(), ProducerEpoch(1));
    assert_eq!(batch.base_sequence(), Sequence(i32::MAX));
    assert!(batch.is_transactional());
    with(-1, -1, -1, false).unwrap();
    with(7, -1, 0, false).unwrap_err();
    with(7, 0, -1, false).unwrap_err();
    with(-2, 0, 0, false).unwrap_err();
    with(-1, -1, -1, true).unwrap_err();
}

#[test]
fn uncompressed_records_are_slices_of_the_batch() {
    let value = vec![b'x'; 1000];
    let mut builder = BatchBuilder::new();
    builder.append(Some(b"k"), Some(&value), &[], TimestampMs(0)).unwrap();
    let batch = builder.build().unwrap();
    let record = batch.records().next().unwrap().unwrap();
    assert!(batch.bytes().as_ptr_range().contains(&record.value.unwrap().as_ptr()));
}
