//! Lookups by time, with timestamps in any order, against the naive search.

use highwater_records::Compression;
use highwater_types::{Offset, TimestampMs};

use crate::support::{Bed, Model, Rng, append, checkpoint};

#[test]
fn the_smallest_offset_at_or_after_a_time_is_found_whatever_the_order() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let mut bed = Bed::sim(seed);
        bed.options.index_interval_bytes = 1 + rng.below(400);
        bed.options.segment_bytes = 300 + rng.below(1500);
        let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
        for _ in 0..30 {
            append(&log, &model.make_random(&mut rng)).expect("an append");
        }
        let reopened = bed.open(&checkpoint(&log)).expect("an open");
        for log in [&log, &reopened] {
            for _ in 0..60 {
                let time = rng.below(1100) as i64 - 50;
                let from = Offset(rng.below(model.next_offset.0 as u64 + 1) as i64);
                let from = if rng.below(2) == 0 { Offset(0) } else { from };
                let below = Offset(rng.below(model.next_offset.0 as u64 + 2) as i64);
                let below = if rng.below(2) == 0 { model.next_offset } else { below };
                let found = log.offset_for_time(TimestampMs(time), from, below).expect("a lookup");
                assert_eq!(found, model.offset_for_time(time, from, below), "{time} in {from}..{below}");
            }
            let newest = model.batches.iter().flat_map(|batch| &batch.timestamps).max().copied();
            let newest = newest.and_then(|newest| model.offset_for_time(newest, Offset(0), model.next_offset));
            assert_eq!(log.max_timestamp().expect("a lookup"), newest);
        }
    }
}

#[test]
fn an_empty_log_and_records_without_time_have_no_answer() {
    let bed = Bed::sim(1);
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    let all = Offset(i64::MAX);
    assert_eq!(log.offset_for_time(TimestampMs(0), Offset(0), all).expect("a lookup"), None);
    assert_eq!(log.max_timestamp().expect("a lookup"), None);
    append(&log, &model.make(&[-1, -1], 3, Compression::None)).expect("an append");
    assert_eq!(log.offset_for_time(TimestampMs(0), Offset(0), all).expect("a lookup"), None);
}
