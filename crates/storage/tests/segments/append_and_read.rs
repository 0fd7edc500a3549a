//! What is appended is read back, at every boundary.

use highwater_records::Compression;
use highwater_storage::segment::{Append, SegmentError, verify_partition};
use highwater_types::{Offset, RaftIndex, Term, TimestampMs};

use crate::support::{
    Bed, DIR, Model, Rng, append, assert_same, assert_slices, checkpoint, fill, on_both_disks,
};

#[test]
fn batches_over_many_segments_are_read_back_from_every_offset() {
    on_both_disks(|bed| {
        let (log, mut model) = (bed.create(Offset(5)), Model::new(Offset(5)));
        fill(&log, &mut model, &mut Rng::new(7), 40);
        assert!(log.segments().len() > 3, "the options make several segments");
        assert_same(&log, &model);
        let manifest = checkpoint(&log);
        assert_eq!(verify_partition(&bed.disk, DIR.as_ref(), Some(&manifest)), []);
        assert_eq!(verify_partition(&bed.disk, DIR.as_ref(), None), []);
        assert!(log.checkpoint().is_clean());
    });
}

#[test]
fn an_idle_log_has_no_directory_and_no_file() {
    let bed = Bed::sim(1);
    let log = bed.create(Offset(3));
    assert!(!bed.disk.exists(DIR.as_ref()).expect("a lookup"));
    assert_eq!((log.start_offset(), log.next_offset()), (Offset(3), Offset(3)));
    let work = log.checkpoint();
    work.sync().expect("nothing to sync");
    let log = bed.open(&work.manifest).expect("an open");
    assert_eq!(log.next_offset(), Offset(3));
    assert!(log.read(Offset(3), Offset(9), 100).expect("a read").is_empty());
}

#[test]
fn reads_outside_the_log_say_what_it_holds() {
    let bed = Bed::sim(1);
    let (log, mut model) = (bed.create(Offset(10)), Model::new(Offset(10)));
    fill(&log, &mut model, &mut Rng::new(1), 3);
    let next = model.next_offset;
    for outside in [Offset(9), next.next()] {
        match log.read(outside, Offset(i64::MAX), 100) {
            Err(SegmentError::OutOfRange { offset, start, next: end }) => {
                assert_eq!((offset, start, end), (outside, Offset(10), next));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn nothing_at_or_above_the_bound_is_read() {
    let bed = Bed::sim(1);
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    fill(&log, &mut model, &mut Rng::new(2), 12);
    for from in 0..=model.next_offset.0 {
        for below in 0..=model.next_offset.0 + 1 {
            let read = log.read(Offset(from), Offset(below), usize::MAX).expect("a read");
            assert_slices(&read, &model.read(Offset(from), Offset(below), usize::MAX));
        }
    }
}

#[test]
fn many_batches_at_once_equal_one_by_one_and_roll_between() {
    on_both_disks(|bed| {
        let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
        let mut rng = Rng::new(3);
        let made: Vec<_> = (0..50).map(|_| model.make_random(&mut rng)).collect();
        let appends: Vec<Append<'_>> =
            made.iter().map(|made| Append { batch: &made.batch, index: made.index, term: made.term }).collect();
        log.append_all(&appends, TimestampMs(0)).expect("an append");
        assert!(log.segments().len() > 3);
        assert_same(&log, &model);
    });
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_own() {
    on_both_disks(|bed| {
        let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
        for value_bytes in [10, 200_000, 10] {
            append(&log, &model.make(&[1], value_bytes, Compression::None)).expect("an append");
        }
        assert_eq!(log.segments().len(), 3);
        assert_same(&log, &model);
    });
}

#[test]
fn a_batch_that_does_not_follow_is_refused_and_nothing_changes() {
    let bed = Bed::sim(1);
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    append(&log, &model.make(&[1, 2], 9, Compression::None)).expect("an append");
    let before = model.clone();
    let good = model.make(&[3], 9, Compression::None);
    let skipped = model.make(&[4], 9, Compression::None);
    let attempts = [
        (&skipped.batch, skipped.index, skipped.term),
        (&good.batch, RaftIndex(1), good.term),
        (&good.batch, good.index, Term(0)),
        (&good.batch, good.index, Term(9)),
    ];
    for (batch, index, term) in attempts {
        let refused = log.append(batch, index, term, TimestampMs(0));
        assert!(matches!(refused, Err(SegmentError::NotContiguous { .. })), "{refused:?}");
        assert_same(&log, &before);
    }
    append(&log, &good).expect("the next one");
}

#[test]
fn an_old_segment_is_rolled_and_a_clock_that_goes_back_rolls_nothing() {
    let mut bed = Bed::sim(1);
    bed.options.segment_ms = 100;
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    for now in [1000, 1099, 500] {
        let made = model.make(&[1], 5, Compression::None);
        log.append(&made.batch, made.index, made.term, TimestampMs(now)).expect("an append");
        assert_eq!(log.segments().len(), 1, "at {now}");
    }
    assert!(!log.roll_if_expired(TimestampMs(1099)).expect("a check"));
    assert!(log.roll_if_expired(TimestampMs(1100)).expect("a roll"));
    assert!(!log.roll_if_expired(TimestampMs(9999)).expect("nothing to roll"));
    append(&log, &model.make(&[1], 5, Compression::None)).expect("an append");
    assert_eq!(log.segments().len(), 2);
    assert_same(&log, &model);
}

#[test]
fn batches_by_index_come_in_order_without_those_that_are_none() {
    let bed = Bed::sim(1);
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    fill(&log, &mut model, &mut Rng::new(11), 40);
    let end = model.next_index;
    for from in 0..=end.0 {
        for (below, bytes_max) in [(end, usize::MAX), (end, 300), (end, 0), (RaftIndex(from + 5), 400)] {
            let got = log.batches_at_indexes(RaftIndex(from), below, bytes_max).expect("a lookup");
            let mut total = 0;
            let due = model.batches.iter().filter(|b| b.index >= RaftIndex(from) && b.index < below);
            let due: Vec<_> = due
                .enumerate()
                .take_while(|(number, batch)| {
                    total += batch.batch.size_in_bytes();
                    *number == 0 || total <= bytes_max
                })
                .map(|(_, batch)| (batch.index, batch.term, batch.bytes()))
                .collect();
            let got: Vec<_> = got.iter().map(|b| (b.index, b.term, b.batch.to_bytes())).collect();
            assert!(got == due, "from {from} below {below} within {bytes_max}");
        }
    }
    assert!(log.batch_at_index(RaftIndex(0)).expect("a lookup").is_none());
    assert!(log.batch_at_index(end).expect("a lookup").is_none());
}

#[test]
fn a_log_is_not_created_over_the_segments_of_another() {
    let bed = Bed::sim(1);
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    fill(&log, &mut model, &mut Rng::new(1), 3);
    drop(log);
    let other = bed.create(Offset(0));
    let made = Model::new(Offset(0)).make(&[1], 5, Compression::None);
    let refused = append(&other, &made);
    assert!(matches!(refused, Err(SegmentError::NotEmpty { .. })), "{refused:?}");
}

#[test]
fn a_failed_write_publishes_nothing_and_can_be_repeated() {
    let bed = Bed::sim(1);
    let sim = bed.sim.clone().expect("a simulated disk");
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    fill(&log, &mut model, &mut Rng::new(4), 2);
    let before = model.clone();
    sim.fail_write(&bed.files()[0]);
    let made = model.make(&[7], 50, Compression::None);
    assert!(matches!(append(&log, &made), Err(SegmentError::Io { .. })));
    assert_same(&log, &before);
    sim.clear_faults();
    append(&log, &made).expect("an append");
    fill(&log, &mut model, &mut Rng::new(5), 10);
    assert_same(&log, &model);
    let manifest = checkpoint(&log);
    assert_eq!(verify_partition(&bed.disk, DIR.as_ref(), Some(&manifest)), []);
}

#[test]
fn a_log_open_for_reading_only_reads_and_changes_nothing() {
    let bed = Bed::sim(1);
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    fill(&log, &mut model, &mut Rng::new(4), 20);
    let manifest = checkpoint(&log);
    let durable = model.clone();
    fill(&log, &mut model, &mut Rng::new(5), 20);
    drop(log);
    let files = bed.files();
    let budget = highwater_storage::segment::MapBudget::new(8);
    let log = highwater_storage::segment::SegmentedLog::open_read_only(
        bed.disk.clone(),
        DIR.into(),
        bed.options,
        budget,
        &manifest,
    )
    .expect("an open");
    assert_same(&log, &durable);
    assert!(matches!(log.reserve(1), Err(SegmentError::ReadOnly { .. })));
    assert!(matches!(append(&log, &model.batches[20]), Err(SegmentError::ReadOnly { .. })));
    assert_eq!(bed.files(), files);
}
