//! Old segments leave the log, then the disk, and readers notice nothing.

use highwater_records::Compression;
use highwater_storage::segment::SegmentError;
use highwater_types::Offset;

use crate::support::{Bed, Model, Rng, append, assert_same, assert_slices, checkpoint, fill, on_both_disks};

#[test]
fn a_slice_outlives_its_deleted_segment() {
    on_both_disks(|bed| {
        let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
        fill(&log, &mut model, &mut Rng::new(1), 30);
        let end = model.next_offset;
        let read = log.read(Offset(0), end, usize::MAX).expect("a read");
        let expected = model.read(Offset(0), end, usize::MAX);
        let before = bed.files().len();
        let second = log.segments()[2].base;
        assert_eq!(log.detach_before(second.plus(1)).expect("a detach"), 2);
        assert_eq!(log.start_offset(), second);
        model.batches.retain(|batch| batch.batch.base_offset() >= second);
        assert_same(&log, &model);
        assert!(matches!(log.read(Offset(0), end, 1), Err(SegmentError::OutOfRange { .. })));

        let work = log.checkpoint();
        work.sync().expect("a sync");
        assert!(bed.files().len() >= before, "files stay until the checkpoint is durable");
        assert_eq!(log.delete_detached(work.mark()).expect("a deletion"), 2);
        // Slices of the simulated disk are copies.
        assert!(bed.sim.is_some() || log.pinned_bytes() > 0);
        assert_slices(&read, &expected);
        drop(read);
        assert_eq!((log.pinned_bytes(), log.detached_bytes()), (0, 0));
        assert_same(&bed.open(&work.manifest).expect("an open"), &model);
    });
}

#[test]
fn a_segment_detached_after_the_capture_is_not_deleted_by_that_checkpoint() {
    let bed = Bed::sim(1);
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    fill(&log, &mut model, &mut Rng::new(1), 30);
    let work = log.checkpoint();
    log.detach_before(log.segments()[2].base).expect("a detach");
    work.sync().expect("a sync");
    assert_eq!(log.delete_detached(work.mark()).expect("nothing due"), 0);
    // A crash now opens the manifest that still lists them.
    assert_same(&bed.open(&work.manifest).expect("an open"), &model);
}

#[test]
fn everything_can_go_and_the_log_continues_where_it_was() {
    on_both_disks(|bed| {
        let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
        fill(&log, &mut model, &mut Rng::new(1), 20);
        let last = log.last_entry();
        log.detach_before(model.next_offset).expect("a detach");
        model.batches.clear();
        assert_same(&log, &model);
        assert_eq!(log.last_entry(), last);
        let work = log.checkpoint();
        work.sync().expect("a sync");
        log.delete_detached(work.mark()).expect("a deletion");
        assert_eq!(bed.files(), [] as [std::path::PathBuf; 0]);
        let log = bed.open(&work.manifest).expect("an open");
        assert_eq!(log.last_entry(), last);
        fill(&log, &mut model, &mut Rng::new(2), 20);
        assert_same(&log, &model);
    });
}

#[test]
fn a_log_that_jumps_ahead_starts_there() {
    on_both_disks(|bed| {
        let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
        fill(&log, &mut model, &mut Rng::new(1), 20);
        log.reset(Offset(5000)).expect("a jump");
        let (mut model, old) = (Model::new(Offset(5000)), model);
        model.next_index = old.next_index;
        model.term = old.term;
        assert_same(&log, &model);
        fill(&log, &mut model, &mut Rng::new(2), 20);
        assert_same(&log, &model);
        let work = log.checkpoint();
        work.sync().expect("a sync");
        log.delete_detached(work.mark()).expect("a deletion");
        assert_same(&bed.open(&work.manifest).expect("an open"), &model);
    });
}

#[test]
fn retention_keeps_what_is_reserved_when_the_active_segment_goes() {
    let bed = Bed::sim(1);
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    append(&log, &model.make(&[1], 100, Compression::None)).expect("an append");
    log.reserve(100_000).expect("a reservation");
    assert_eq!(log.detach_before(model.next_offset).expect("a detach"), 1);
    model.batches.clear();
    bed.sim.as_ref().expect("simulated").set_capacity(Some(0));
    append(&log, &model.make(&[1], 90_000, Compression::None)).expect("what was reserved");
    assert_same(&log, &model);
}

#[test]
fn a_failed_sync_poisons_all_later_ones() {
    let bed = Bed::sim(1);
    let sim = bed.sim.clone().expect("a simulated disk");
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    fill(&log, &mut model, &mut Rng::new(1), 3);
    sim.fail_sync(1);
    assert!(matches!(log.checkpoint().sync(), Err(SegmentError::Io { .. })));
    assert!(matches!(log.checkpoint().sync(), Err(SegmentError::Poisoned { .. })));
}

#[test]
fn a_checkpoint_syncs_what_changed_and_nothing_else() {
    let bed = Bed::sim(1);
    let sim = bed.sim.clone().expect("a simulated disk");
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    fill(&log, &mut model, &mut Rng::new(1), 30);
    checkpoint(&log);
    let before = sim.op_count();
    checkpoint(&log);
    assert_eq!(sim.op_count(), before, "nothing changed");
    append(&log, &model.make(&[1], 1, Compression::None)).expect("an append");
    let before = sim.op_count();
    checkpoint(&log);
    // The log file; both index files are written and synced when an entry was due.
    assert!(sim.op_count() - before <= 7, "{} operations", sim.op_count() - before);
}
