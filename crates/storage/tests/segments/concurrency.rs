//! One writer, many readers, retention and checkpoints at the same time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use highwater_storage::segment::{MapBudget, SegmentError, SegmentedLog};
use highwater_types::{Offset, TimestampMs};

use crate::support::{
    Bed, Model, Rng, append, assert_same, assert_slices, checkpoint, concat, fill, on_both_disks,
};

const BATCHES: usize = 600;

#[test]
fn readers_see_whole_batches_in_order_while_everything_changes() {
    on_both_disks(|bed: Bed| {
        let log = bed.create(Offset(0));
        let mut model = Model::new(Offset(0));
        let mut rng = Rng::new(9);
        let made: Vec<_> = (0..BATCHES).map(|_| model.make_random(&mut rng)).collect();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for seed in 0..3 {
                let (log, model, done) = (&log, &model, &done);
                scope.spawn(move || {
                    let mut rng = Rng::new(seed);
                    let mut held = Vec::new();
                    while !done.load(Ordering::Acquire) {
                        let (start, next) = (log.start_offset(), log.next_offset());
                        let from = Offset(start.0 + rng.below((next.0 - start.0) as u64 + 1) as i64);
                        let read = match log.read(from, next, 2000) {
                            // Retention was faster.
                            Err(SegmentError::OutOfRange { .. }) => continue,
                            read => read.expect("a read"),
                        };
                        if let Err(error) = log.offset_for_time(TimestampMs(rng.below(1000) as i64), from, next)
                        {
                            // The file of a detached segment may be gone when it is opened.
                            assert!(matches!(error, SegmentError::Io { .. }), "{error}");
                        }
                        held.push((from, next, read));
                        if held.len() > 20 {
                            for (from, next, read) in held.drain(..) {
                                let got = concat(&read.slices);
                                let due = concat(&model.read(from, next, 2000));
                                assert!(due.starts_with(&got), "read from {from}");
                                assert!(!got.is_empty() || from == next, "read from {from}");
                            }
                        }
                    }
                });
            }
            for (number, made) in made.iter().enumerate() {
                append(&log, made).expect("an append");
                if number % 50 == 49 {
                    let keep = Offset((made.batch.base_offset().0 - 100).max(0));
                    log.detach_before(keep).expect("a detach");
                    let work = log.checkpoint();
                    work.sync().expect("a sync");
                    log.delete_detached(work.mark()).expect("a deletion");
                }
            }
            done.store(true, Ordering::Release);
        });
        assert_eq!(log.next_offset(), model.next_offset);
    });
}

#[test]
fn the_budget_of_open_segments_holds_and_evicted_ones_open_again() {
    on_both_disks(|mut bed: Bed| {
        bed.options.segment_bytes = 200;
        let budget = MapBudget::new(8);
        let log = SegmentedLog::create(bed.disk.clone(), "a".into(), bed.options, budget.clone(), Offset(0));
        let mut model = Model::new(Offset(0));
        fill(&log, &mut model, &mut Rng::new(2), 100);
        let segments = log.segments().len();
        assert!(segments > 40, "{segments}");
        assert!(budget.resident() >= segments, "what is not durable stays open");
        checkpoint(&log);
        let slices: Vec<_> = (0..model.next_offset.0)
            .map(|from| log.read(Offset(from), model.next_offset, 1).expect("a read"))
            .collect();
        assert!(budget.resident() <= 9, "{} are open", budget.resident());
        for (from, read) in slices.iter().enumerate() {
            assert_slices(read, &model.read(Offset(from as i64), model.next_offset, 1));
        }
        assert_same(&log, &model);
    });
}
