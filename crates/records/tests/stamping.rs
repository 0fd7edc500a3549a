//! A batch gets its place in the log without its body being touched.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests are tests too.

mod support;

use bytes::Bytes;
use highwater_records::{Batch, Compression, RecordsError, StampedBatch};
use highwater_types::{LeaderEpoch, Offset};
use support::{read_fully, sample};

#[test]
fn stamping_changes_offset_and_epoch_only_and_shares_the_body() {
    for compression in Compression::ALL {
        let batch = sample(compression);
        let stamped = batch.clone().stamp(Offset(1000), LeaderEpoch(7));
        let (head, body) = stamped.parts();
        assert_eq!(body.as_ptr(), batch.bytes()[StampedBatch::HEAD_LEN..].as_ptr(), "the body is not copied");
        assert_eq!([&head[..], &body[..]].concat(), stamped.to_bytes());
        assert_eq!(head[8..12], batch.bytes()[8..12], "the length stays");
        assert_eq!((stamped.base_offset(), stamped.partition_leader_epoch()), (Offset(1000), LeaderEpoch(7)));
        assert_eq!((stamped.last_offset(), stamped.next_offset()), (Offset(1003), Offset(1004)));
        assert_eq!(stamped.size_in_bytes(), batch.size_in_bytes());

        let offsets: Vec<_> =
            read_fully(stamped.to_bytes()).unwrap().into_iter().map(|record| record.offset.0).collect();
        assert_eq!(offsets, [1000, 1001, 1002, 1003]);
        stamped.verify().unwrap();
        let without_copy: Result<Vec<_>, _> = stamped.records().collect();
        assert_eq!(without_copy, read_fully(stamped.to_bytes()));
    }
}

#[test]
fn a_batch_read_back_keeps_its_place() {
    let stamped = sample(Compression::Lz4).stamp(Offset(5), LeaderEpoch(3));
    let read_back = StampedBatch::from_batch(Batch::parse(stamped.to_bytes()).unwrap());
    assert_eq!(read_back, stamped);
    assert_eq!(read_back.to_batch(), stamped.to_batch());
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let stamped = sample(Compression::None).stamp(Offset(5), LeaderEpoch(3));
    let (head, body) = stamped.parts();
    assert_eq!(StampedBatch::from_parts(*head, body.clone()).unwrap(), stamped);
    let short = StampedBatch::from_parts(*head, body.slice(..body.len() - 1)).unwrap_err();
    assert!(matches!(short, RecordsError::BatchTruncated { .. }), "{short}");
    let long = StampedBatch::from_parts(*head, Bytes::from([body, &b"x"[..]].concat())).unwrap_err();
    assert!(matches!(long, RecordsError::BytesAfterBatch { .. }), "{long}");
    for len in 0..45 {
        StampedBatch::from_parts(*head, body.slice(..len)).unwrap_err();
    }
}

#[test]
#[should_panic(expected = "a log stamps offsets from 0 up, without overflow")]
fn an_offset_that_leaves_no_room_is_a_broken_invariant() {
    sample(Compression::None).stamp(Offset(i64::MAX - 2), LeaderEpoch(0));
}
