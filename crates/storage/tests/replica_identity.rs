//! Who a replica is to its group, and whether it still has what it acknowledged (R20), through crashes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::future::Future;
use std::sync::Arc;

use highwater_storage::disk::SimDisk;
use highwater_storage::{Durability, GroupLog, NewPayload, Store, StoreOptions};
use highwater_types::Incarnation;
use tokio::sync::oneshot;

use support::*;

const SEGMENT_BYTES: u64 = 16 << 10;

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn start(disk: &SimDisk, power_lost: bool) -> Arc<Store> {
    let options = StoreOptions { power_lost, ..options(small_journal()).0 };
    let store = Store::open(Arc::new(disk.for_process()), &options, &Seeded::new(1)).unwrap();
    for id in store.groups() {
        store.group(id).unwrap().install(Box::new(Chain::default())).unwrap();
    }
    store
}

/// A group that has voted and has a batch.
async fn voter(store: &Store, number: u32, durability: Durability) -> Arc<GroupLog> {
    let log = store.create_group(partition(number), group_options(durability, SEGMENT_BYTES)).unwrap();
    log.install(Box::new(Chain::default())).unwrap();
    save_vote(&log, 1).await.unwrap();
    let payload = NewPayload::Proposed(batch(&Seeded::new(2), 100));
    append(&log, vec![new_entry(1, 0, payload)]).await.unwrap();
    log
}

async fn renew(log: &Arc<GroupLog>, incarnation: u64) {
    let (sender, receiver) = oneshot::channel();
    log.renew(Incarnation(incarnation), move |result| drop(sender.send(result)));
    receiver.await.unwrap().unwrap();
}

fn is_doubtful(store: &Store, number: u32) -> bool {
    store.group(partition(number)).unwrap().is_doubtful()
}

#[test]
fn after_a_power_cut_only_voters_whose_batches_are_not_synced_are_in_doubt_and_a_crash_does_not_end_it() {
    in_runtime(async {
        let disk = SimDisk::new(1);
        let store = start(&disk, false);
        voter(&store, 1, Durability::Memory).await;
        voter(&store, 2, Durability::Fsync).await;
        let silent =
            store.create_group(partition(3), group_options(Durability::Memory, SEGMENT_BYTES)).unwrap();
        silent.install(Box::new(Chain::default())).unwrap();
        store.checkpoint().await.unwrap();
        drop((silent, store));

        let store = start(&disk, false);
        assert!(!is_doubtful(&store, 1), "a process that died takes nothing with it");
        drop(store);
        disk.crash();
        let store = start(&disk, true);
        assert_eq!([1, 2, 3].map(|number| is_doubtful(&store, number)), [true, false, false]);
        drop(store);
        // The second start finds the same boot, and knows of the power cut from the checkpoint alone.
        disk.crash();
        assert!(is_doubtful(&start(&disk, false), 1));
    });
}

#[test]
fn a_topic_that_is_changed_to_memory_is_known_as_that_before_its_first_batch_is_acked() {
    in_runtime(async {
        let disk = SimDisk::new(1);
        let store = start(&disk, false);
        let log = voter(&store, 1, Durability::Fsync).await;
        store.checkpoint().await.unwrap();
        log.set_options(group_options(Durability::Memory, SEGMENT_BYTES));
        let payload = NewPayload::Proposed(batch(&Seeded::new(3), 100));
        append(&log, vec![new_entry(1, 1, payload)]).await.unwrap();
        drop((log, store));
        disk.crash();
        assert!(is_doubtful(&start(&disk, true), 1));
    });
}

#[test]
fn a_replica_that_became_another_member_is_that_after_every_crash_and_has_its_log() {
    in_runtime(async {
        let disk = SimDisk::new(1);
        let store = start(&disk, false);
        let log = voter(&store, 1, Durability::Memory).await;
        assert_eq!(log.incarnation(), None);
        // What was appended before is durable with it.
        renew(&log, 77).await;
        drop((log, store));
        for _ in 0..2 {
            disk.crash();
            let store = start(&disk, false);
            let log = store.group(partition(1)).unwrap();
            assert_eq!((log.incarnation(), log.is_doubtful()), (Some(Incarnation(77)), false));
            assert_eq!(log.bounds().1, Some(id(1, 0)));
            store.checkpoint().await.unwrap();
        }
    });
}

#[test]
fn a_replica_that_gave_up_its_data_is_empty_and_another_member_after_a_crash() {
    in_runtime(async {
        let disk = SimDisk::new(1);
        let store = start(&disk, false);
        let log = voter(&store, 1, Durability::Fsync).await;
        apply_to(&log, 0).unwrap();
        drop(log);
        let options = group_options(Durability::Fsync, SEGMENT_BYTES);
        let renewed = store.renew_group(partition(1), options, Incarnation(5)).await.unwrap();
        assert_eq!((renewed.bounds(), renewed.vote()), ((None, None), None));
        drop((renewed, store));
        for _ in 0..2 {
            disk.crash();
            let store = start(&disk, false);
            let log = store.group(partition(1)).unwrap();
            assert_eq!((log.incarnation(), log.bounds()), (Some(Incarnation(5)), (None, None)));
            assert_eq!((log.vote(), log.quarantine()), (None, None));
            store.checkpoint().await.unwrap();
        }
    });
}
