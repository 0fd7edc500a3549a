//! An append that is larger than a journal file, on a disk that filled up after its room was reserved: it takes the files that
//! were prepared for it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use highwater_storage::disk::{Disk, SimDisk};
use highwater_storage::{Durability, NewPayload, ReserveError, Store};
use highwater_types::limits::DISK_RESERVE_BYTES;

use support::*;

const ENTRIES: u64 = 20;

#[tokio::test]
async fn an_append_larger_than_a_file_fits_what_was_reserved_on_a_full_disk() {
    let random = Seeded::new(1);
    let sim = SimDisk::new(1);
    sim.set_capacity(Some(DISK_RESERVE_BYTES + (8 << 20)));
    let disk: Arc<dyn Disk> = Arc::new(sim.for_process());
    let (store_options, failures) = options(small_journal());
    let store = Store::open(disk.clone(), &store_options, &random).unwrap();
    let log = store.create_group(partition(1), group_options(Durability::Fsync, 1 << 20)).unwrap();
    log.install(Box::new(Chain::default())).unwrap();

    let batches: Vec<_> = (0..ENTRIES).map(|_| batch(&random, 7000)).collect();
    let mut reservations = Vec::new();
    for batch in &batches {
        reservations.push(loop {
            match log.reserve(batch.size_in_bytes()) {
                Ok(reservation) => break reservation,
                // The journal's task prepares a file.
                Err(ReserveError::Busy) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        });
    }
    let hog = disk.create("hog".as_ref()).unwrap();
    hog.allocate(disk.free_bytes().unwrap()).unwrap();
    let entries =
        (0..).zip(batches).map(|(index, batch)| new_entry(1, index, NewPayload::Proposed(batch))).collect();
    append(&log, entries).await.unwrap();
    assert_eq!(failures.load(Ordering::SeqCst), 0);
    apply_to(&log, ENTRIES - 1).unwrap();
    reservations.into_iter().for_each(highwater_storage::Reservation::consumed);

    drop(hog);
    disk.remove_file("hog".as_ref()).unwrap();
    sim.crash();
    let store = open(sim.for_process(), &random).unwrap();
    let log = store.group(partition(1)).unwrap();
    assert_eq!((log.quarantine(), log.bounds().1), (None, Some(id(1, ENTRIES - 1))));
}
