//! Little compressed data that becomes much is stopped at the limit.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests are tests too.

mod support;

use std::io::Write;

use bytes::Bytes;
use highwater_records::{Batch, BatchBuilder, BatchHeader, Compression, RecordsError, field};
use highwater_types::TimestampMs;
use support::reseal;

const VALUE_BYTES: usize = 4 << 20;
const LIMIT_BYTES: usize = 1 << 20;

fn bomb(compression: Compression) -> Batch {
    let mut builder = BatchBuilder::new().compression(compression);
    builder.append(None, Some(&vec![0; VALUE_BYTES]), &[], TimestampMs(0)).unwrap();
    builder.build().unwrap()
}

/// The header of a batch of one record, before whatever payload.
fn with_payload(compression: Compression, payload: &[u8]) -> Batch {
    let mut builder = BatchBuilder::new().compression(compression);
    builder.append(None, Some(b"v"), &[], TimestampMs(0)).unwrap();
    let template = builder.build().unwrap();
    let mut bytes = [&template.bytes()[..BatchHeader::LEN], payload].concat();
    let length = i32::try_from(bytes.len() - field::LEADER_EPOCH).unwrap();
    bytes[field::LENGTH..field::LEADER_EPOCH].copy_from_slice(&length.to_be_bytes());
    Batch::parse(reseal(bytes)).unwrap()
}

#[test]
fn a_bomb_ends_at_the_limit_with_its_sizes_in_the_error() {
    for compression in Compression::ALL.into_iter().skip(1) {
        let bomb = bomb(compression);
        assert!(bomb.size_in_bytes() < LIMIT_BYTES / 4, "{compression} compresses it");
        let expected = RecordsError::DecompressedTooLarge {
            compression,
            compressed_bytes: bomb.size_in_bytes() - BatchHeader::LEN,
            max: LIMIT_BYTES,
        };
        assert_eq!(bomb.verify_records_within(LIMIT_BYTES).unwrap_err(), expected);
        assert_eq!(bomb.records_within(LIMIT_BYTES).next().unwrap().unwrap_err(), expected);
        bomb.verify_records().unwrap();
    }
}

#[test]
fn the_limit_itself_is_allowed_and_one_byte_more_is_not() {
    for compression in Compression::ALL.into_iter().skip(1) {
        let bomb = bomb(compression);
        // Length (4), attributes, timestamp, offset, null key, value length (4), no headers.
        let records_bytes = VALUE_BYTES + 4 + 1 + 1 + 1 + 1 + 4 + 1;
        bomb.verify_records_within(records_bytes).unwrap();
        assert_eq!(bomb.records_within(records_bytes).count(), 1);
        bomb.verify_records_within(records_bytes - 1).unwrap_err();
        bomb.records_within(records_bytes - 1).next().unwrap().unwrap_err();
    }
}

#[test]
fn a_snappy_block_that_lies_about_its_size_is_refused_before_memory_is_taken() {
    let mut raw = snap::raw::Encoder::new().compress_vec(b"small").unwrap();
    raw.splice(..1, [0xff, 0xff, 0xff, 0x0f]); // Claims 32 MiB less one byte.
    let framed = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x0a"[..], &raw].concat();
    assert_eq!(raw.len(), 10);
    for payload in [raw, framed] {
        let error = with_payload(Compression::Snappy, &payload).verify_records().unwrap_err();
        assert!(error.to_string().contains("cannot decompress to the stated 33554431"), "{error}");
    }
}

#[test]
fn a_zstd_frame_that_asks_for_a_window_beyond_the_limit_is_refused() {
    // Magic, no single segment, window descriptor of 2^41 bytes, one empty last block.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00];
    let error = with_payload(Compression::Zstd, &frame).verify_records().unwrap_err();
    assert!(matches!(error, RecordsError::Decompress { .. }), "{error}");
}

#[test]
fn lz4_frames_that_kafka_could_not_read_are_refused() {
    let mut linked = lz4_flex::frame::FrameEncoder::with_frame_info(
        lz4_flex::frame::FrameInfo::new().block_mode(lz4_flex::frame::BlockMode::Linked),
        Vec::new(),
    );
    linked.write_all(&[0; 100]).unwrap();
    let linked = with_payload(Compression::Lz4, &linked.finish().unwrap());
    let error = linked.verify_records().unwrap_err().to_string();
    assert!(error.contains("independent blocks"), "{error}");

    let whole = bomb(Compression::Lz4).into_bytes();
    for cut in 1..=4 {
        let without_end = with_payload(Compression::Lz4, &whole[BatchHeader::LEN..whole.len() - cut]);
        let error = without_end.verify_records().unwrap_err().to_string();
        assert!(error.contains("the frame ends early"), "{error}");
    }
}

#[test]
fn raw_snappy_and_concatenated_gzip_of_other_clients_are_read() {
    let mut builder = BatchBuilder::new();
    builder.append(Some(b"key"), Some(&[b'x'; 500]), &[], TimestampMs(0)).unwrap();
    let plain = builder.build().unwrap();
    let records = &plain.bytes()[BatchHeader::LEN..];

    let raw = snap::raw::Encoder::new().compress_vec(records).unwrap();
    let gzip = |part: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap()
    };
    let members = [gzip(&records[..100]), gzip(&records[100..])].concat();
    for (compression, payload) in [(Compression::Snappy, raw), (Compression::Gzip, members)] {
        let batch = with_payload(compression, &payload);
        batch.verify_records().unwrap();
        let read: Vec<_> = batch.records().map(Result::unwrap).collect();
        assert_eq!(read, plain.records().map(Result::unwrap).collect::<Vec<_>>());
        assert_eq!(read[0].value, Some(Bytes::from(vec![b'x'; 500])));
    }
}
