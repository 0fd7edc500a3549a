//! Full disks: what was reserved can be appended, and what cannot be is refused before.

use highwater_records::Compression;
use highwater_storage::segment::{SegmentError, verify_partition};
use highwater_types::Offset;
use highwater_types::limits::{DISK_RESERVE_BYTES, SEGMENT_FIRST_ALLOCATION_BYTES};

use crate::support::{Bed, DIR, Model, append, assert_same, checkpoint};

#[test]
fn what_was_reserved_is_appended_on_a_full_disk_over_many_rolls() {
    let mut bed = Bed::sim(1);
    bed.options.segment_bytes = 40_000;
    let sim = bed.sim.clone().expect("a simulated disk");
    sim.set_capacity(Some(DISK_RESERVE_BYTES + 4 * SEGMENT_FIRST_ALLOCATION_BYTES));
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    let made: Vec<_> = (0..16).map(|_| model.make(&[1], 10_000, Compression::None)).collect();
    let bytes: u64 = made.iter().map(|made| made.batch.size_in_bytes() as u64).sum();
    log.reserve(bytes).expect("a reservation");
    // Everything else takes the rest, the reserve too.
    let rest = bed.disk.free_bytes().expect("a size");
    let hog = bed.disk.create("hog".as_ref()).expect("a file");
    hog.allocate(rest).expect("the rest");
    assert_eq!(bed.disk.free_bytes().expect("a size"), 0);
    for made in &made {
        append(&log, made).expect("what was reserved");
    }
    assert_eq!(log.reserved_bytes(), 0);
    assert_same(&log, &model);
    let refused = log.reserve(1 << 20);
    assert!(matches!(refused, Err(SegmentError::NoSpace { .. })), "{refused:?}");
    assert_eq!(log.reserved_bytes(), 0);

    drop(hog);
    bed.disk.remove_file("hog".as_ref()).expect("space again");
    log.reserve(10_100).expect("space again");
    append(&log, &model.make(&[1], 10_000, Compression::None)).expect("an append");
    assert_same(&log, &model);
    let manifest = checkpoint(&log);
    assert_eq!(verify_partition(&bed.disk, DIR.as_ref(), Some(&manifest)), []);
}

#[test]
fn the_reserve_is_kept_from_reservations_and_released_ones_are_free_again() {
    let bed = Bed::sim(1);
    let sim = bed.sim.clone().expect("a simulated disk");
    sim.set_capacity(Some(DISK_RESERVE_BYTES + 1000));
    let log = bed.create(Offset(0));
    match log.reserve(10) {
        Err(SegmentError::NoSpace { free, reserve, .. }) => {
            assert_eq!(reserve, DISK_RESERVE_BYTES);
            assert_eq!(free, DISK_RESERVE_BYTES + 1000);
        }
        other => panic!("{other:?}"),
    }
    sim.set_capacity(Some(DISK_RESERVE_BYTES + SEGMENT_FIRST_ALLOCATION_BYTES));
    log.reserve(SEGMENT_FIRST_ALLOCATION_BYTES).expect("all there is");
    assert!(log.reserve(1).is_err());
    log.release(100);
    log.reserve(100).expect("what was released");
    assert!(log.reserve(1).is_err());
}

#[test]
fn an_append_that_finds_no_space_leaves_the_log_whole() {
    let bed = Bed::sim(1);
    let sim = bed.sim.clone().expect("a simulated disk");
    sim.set_capacity(Some(100_000));
    let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
    append(&log, &model.make(&[1], 50_000, Compression::None)).expect("an append");
    let before = model.clone();
    let large = model.make(&[1], 60_000, Compression::None);
    let refused = append(&log, &large);
    assert!(matches!(refused, Err(SegmentError::NoSpace { .. })), "{refused:?}");
    assert_same(&log, &before);
    sim.set_capacity(None);
    append(&log, &large).expect("space again");
    assert_same(&log, &model);
}

#[test]
fn a_sealed_file_is_as_long_as_its_batches() {
    for bed in [Bed::sim(1), Bed::real()] {
        let (log, mut model) = (bed.create(Offset(0)), Model::new(Offset(0)));
        append(&log, &model.make(&[1], 30, Compression::None)).expect("an append");
        log.seal_active().expect("a seal");
        let file = bed.disk.open(&bed.files()[0]).expect("the file");
        assert_eq!(file.len().expect("a length"), log.size_bytes());
        assert_same(&log, &model);
    }
}
