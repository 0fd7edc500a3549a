//! A disk that is full when a checkpoint, or what is applied, wants to write: nothing is lost, the node goes on, and the next
//! attempt after some space was freed succeeds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use highwater_storage::disk::{Disk, SimDisk};
use highwater_storage::{Durability, NewPayload, Store};
use highwater_types::RaftIndex;
use highwater_types::limits::DISK_RESERVE_BYTES;

use support::*;

#[tokio::test]
async fn a_checkpoint_on_a_full_disk_passes_and_succeeds_once_there_is_space() {
    let random = Seeded::new(1);
    let sim = SimDisk::new(1);
    sim.set_capacity(Some(DISK_RESERVE_BYTES + (8 << 20)));
    let disk: Arc<dyn Disk> = Arc::new(sim.for_process());
    let (store_options, failures) = options(small_journal());
    let store = Store::open(disk.clone(), &store_options, &random).unwrap();
    let log = store.create_group(partition(1), group_options(Durability::Fsync, 64 << 10)).unwrap();
    log.install(Box::new(Chain::default())).unwrap();
    for index in 0..20 {
        append(&log, vec![new_entry(1, index, NewPayload::Proposed(batch(&random, 1000)))]).await.unwrap();
    }
    apply_to(&log, 19).unwrap();

    let hog = disk.create("hog".as_ref()).unwrap();
    hog.allocate(disk.free_bytes().unwrap()).unwrap();
    for _ in 0..2 {
        let error = store.checkpoint().await.unwrap_err();
        assert!(error.is_no_space(), "{error}");
    }
    drop(hog);
    disk.remove_file("hog".as_ref()).unwrap();
    store.checkpoint().await.unwrap();
    assert_eq!(failures.load(Ordering::SeqCst), 0);

    sim.crash();
    let store = open(sim.for_process(), &random).unwrap();
    let log = store.group(partition(1)).unwrap();
    assert_eq!((log.quarantine(), log.applied().0), (None, Some(id(1, 19))));
}

/// Many batches over several segments are applied at once, and the disk has room for some of them.
#[tokio::test]
async fn what_fits_of_many_batches_is_applied_and_the_rest_once_there_is_space() {
    const LAST: u64 = 39;
    for free_kib in [0, 3, 9, 17] {
        let random = Seeded::new(free_kib);
        let sim = SimDisk::new(free_kib);
        let disk: Arc<dyn Disk> = Arc::new(sim.for_process());
        let (store_options, failures) = options(small_journal());
        let store = Store::open(disk, &store_options, &random).unwrap();
        let log = store.create_group(partition(1), group_options(Durability::Fsync, 4 << 10)).unwrap();
        log.install(Box::new(Chain::default())).unwrap();
        let mut expected = Chain::default();
        for index in 0..=LAST {
            let entry = new_entry(1, index, NewPayload::Proposed(batch(&random, 700)));
            append(&log, vec![entry]).await.unwrap();
            expected.take(&payload_bytes(&log.entry(RaftIndex(index)).unwrap().payload));
        }
        sim.set_capacity(Some(sim.owned_bytes() + (free_kib << 10)));
        apply_to(&log, LAST).unwrap_err();
        let seen = look(&log);
        assert!(seen.applied < Some(id(1, LAST)), "{free_kib} KiB: {:?}", seen.applied);
        let applied = seen.applied.map_or(0, |last| last.index.0 + 1);
        let taken = Chain::decode(&seen.state).unwrap();
        assert_eq!(taken.entries, applied, "{free_kib} KiB: the state is that of the last applied entry");
        let end = log.segments().unwrap().next_offset();
        assert_eq!(seen.high_watermark, end, "{free_kib} KiB: all that is stored is applied");

        sim.set_capacity(None);
        apply_to(&log, LAST).unwrap();
        let seen = look(&log);
        assert_eq!(seen.applied, Some(id(1, LAST)));
        assert_eq!(Chain::decode(&seen.state), Some(expected), "{free_kib} KiB");
        assert_eq!(failures.load(Ordering::SeqCst), 0);
    }
}
