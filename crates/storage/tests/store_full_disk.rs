//! A disk that is full when a checkpoint wants to write: nothing is lost, the node goes on, and the next
//! checkpoint after some space was freed succeeds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use highwater_storage::disk::{Disk, SimDisk};
use highwater_storage::{Durability, NewPayload, Store};
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
