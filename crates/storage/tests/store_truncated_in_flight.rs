//! An append of which a part was truncated before it was written: what stays counts as written, so that no
//! checkpoint passes it over.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use bytes::Bytes;
use highwater_storage::disk::SimDisk;
use highwater_storage::{Durability, NewPayload, Payload};
use highwater_types::RaftIndex;

use support::*;

fn control(number: u8) -> NewPayload {
    NewPayload::Ready(Payload::Control(Bytes::copy_from_slice(&[number; 8])))
}

#[tokio::test]
async fn entries_that_outlive_a_truncation_of_their_append_outlive_a_checkpoint_and_a_power_cut() {
    let random = Seeded::new(1);
    let disk = SimDisk::new(1);
    let store = open(disk.for_process(), &random).unwrap();
    let log = store.create_group(partition(1), group_options(Durability::Fsync, 64 << 10)).unwrap();
    log.install(Box::new(Chain::default())).unwrap();

    // Nothing is written before this task first waits.
    let (sender, first) = tokio::sync::oneshot::channel();
    let entries: Vec<_> = (0..6).map(|index| new_entry(1, index, control(1))).collect();
    log.append(entries, move |result| drop(sender.send(result))).unwrap();
    log.truncate_after(Some(RaftIndex(2)));
    append(&log, vec![new_entry(2, 3, control(2))]).await.unwrap();
    first.await.unwrap().unwrap();
    store.checkpoint().await.unwrap();
    disk.crash();

    let store = open(disk.for_process(), &random).unwrap();
    let log = store.group(partition(1)).unwrap();
    assert_eq!(log.quarantine(), None);
    assert_eq!(log.bounds(), (None, Some(id(2, 3))));
    let terms: Vec<_> = log
        .entries(RaftIndex(0), RaftIndex(4), usize::MAX)
        .unwrap()
        .into_iter()
        .map(|entry| entry.id.term.0)
        .collect();
    assert_eq!(terms, [1, 1, 1, 2]);
}
