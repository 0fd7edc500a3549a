//! The rules of storage, one scenario each: torn or corrupt, failed syncs, full disks, order of completions, and
//! what a restart must not forget.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it saw")]

mod support;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use highwater_records::BatchBuilder;
use highwater_storage::disk::{Disk, SimDisk};
use highwater_storage::journal::frame::GroupHeader;
use highwater_storage::{
    Durability, GroupLog, GroupOptions, NewEntry, NewPayload, Payload, Reservation, ReserveError, Store,
};
use highwater_types::GroupId;
use highwater_types::limits::DISK_RESERVE_BYTES;
use parking_lot::Mutex;

use support::*;

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn start(disk: &SimDisk) -> Arc<Store> {
    let store = open(disk.for_process(), &Seeded::new(1)).unwrap();
    for id in store.groups() {
        store.group(id).unwrap().install(Box::new(Chain::default())).unwrap();
    }
    store
}

fn create(store: &Store, number: u32, durability: Durability) -> Arc<GroupLog> {
    let log = store.create_group(partition(number), group_options(durability, 16 << 10)).unwrap();
    log.install(Box::new(Chain::default())).unwrap();
    log
}

/// The next entry of a log: a batch of about `bytes` bytes.
fn next(log: &GroupLog, random: &Seeded, bytes: usize) -> NewEntry {
    let index = log.bounds().1.map_or(0, |last| last.index.0 + 1);
    new_entry(1, index, NewPayload::Proposed(batch(random, bytes)))
}

async fn produce(log: &Arc<GroupLog>, random: &Seeded, bytes: usize) {
    let entry = next(log, random, bytes);
    let index = entry.id.index.0;
    append(log, vec![entry]).await.unwrap();
    apply_to(log, index).unwrap();
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn newest_journal(disk: &SimDisk) -> String {
    disk.files().into_iter().rfind(|name| name.ends_with(".journal")).unwrap()
}

#[test]
fn headers_forged_inside_a_torn_record_are_not_believed() {
    in_runtime(async {
        let (disk, random) = (SimDisk::new(1), Seeded::new(1));
        let store = start(&disk);
        let log = create(&store, 1, Durability::Memory);
        let forged = GroupHeader {
            generation: 1,
            lsn: 900,
            durable_lsn: 800,
            body_len: 0,
            frames: 0,
            body_crc: 0,
            last_in_file: false,
        };
        // One for each place that the record may have within eight bytes.
        let mut value = Vec::new();
        for shift in 0..8 {
            value.extend(forged.encode(0));
            value.extend(vec![0; 8 - shift]);
        }
        // Of a batch, for nothing else goes unsynced.
        let mut hostile = BatchBuilder::new();
        hostile.append(None, Some(&value), &[], NOW).unwrap();
        let hostile = NewPayload::Proposed(hostile.build().unwrap());
        append(&log, vec![next(&log, &random, 300)]).await.unwrap();
        append(&log, vec![new_entry(1, 1, hostile)]).await.unwrap();
        settle().await;
        disk.kill();
        let journal = newest_journal(&disk);
        let bytes = disk.read_cached(&journal).unwrap();
        let forged_at = bytes.windows(4).rposition(|window| window == b"HWGR").unwrap();
        // The group that holds the record is torn: its frame header is not what its checksum says.
        let group_at =
            bytes[..forged_at].windows(8).rposition(|window| window == b"\0\0\0\x11\x11\x11\x11\x11");
        disk.flip_bit(&journal, group_at.unwrap() as u64, 0).unwrap();
        let store = open(disk.for_process(), &random).unwrap();
        assert_eq!(store.quarantine(), None);
        let log = store.group(partition(1)).unwrap();
        assert_eq!(log.bounds().1, Some(id(1, 0)), "the torn group is cut, and only that");
    });
}

#[test]
fn after_a_failed_sync_nothing_is_acked_and_the_restart_makes_what_it_shows_durable() {
    in_runtime(async {
        for nth in 1..=3 {
            let (disk, random) = (SimDisk::new(nth), Seeded::new(nth));
            let (store_options, failures) = options(small_journal());
            let store = Store::open(Arc::new(disk.for_process()), &store_options, &random).unwrap();
            let log = create(&store, 1, Durability::Fsync);
            append(&log, vec![next(&log, &random, 500)]).await.unwrap();
            settle().await;
            disk.fail_sync(nth);
            let mut acked = 1;
            let mut failed = 0;
            for _ in 0..6 {
                match append(&log, vec![next(&log, &random, 500)]).await {
                    Ok(()) => {
                        assert_eq!(failed, 0, "nothing is acked after a failure");
                        acked += 1;
                    }
                    Err(_) => failed += 1,
                }
            }
            assert_eq!((acked, failed), (nth, 7 - nth));
            assert!(save_vote(&log, 9).await.is_err());
            assert!(store.checkpoint().await.is_err());
            assert_eq!(failures.load(Ordering::SeqCst), 1, "the host is told once");
            // The process ends; the page cache shows what the disk may not have.
            disk.kill();
            drop((store, log));
            let store = start(&disk);
            let shown = look(&store.group(partition(1)).unwrap());
            assert!(shown.entries.len() as u64 >= acked);
            disk.crash();
            drop(store);
            let store = start(&disk);
            let found = look(&store.group(partition(1)).unwrap());
            assert_eq!(found.entries, shown.entries, "seed {nth}: what a restart showed was not durable");
        }
    });
}

#[test]
fn what_was_reserved_fits_a_disk_without_a_byte_to_spare() {
    in_runtime(async {
        for seed in 0..40 {
            let (disk, random) = (SimDisk::new(seed), Seeded::new(seed));
            let (store_options, failures) = options(small_journal());
            let store = Store::open(Arc::new(disk.for_process()), &store_options, &random).unwrap();
            let log = create(&store, 1, Durability::Fsync);
            disk.set_capacity(Some(DISK_RESERVE_BYTES + (600 << 10)));
            let mut held = Vec::new();
            let mut busy = 0;
            loop {
                let bytes = 200 + random.below(11_000) as usize;
                let batch = batch(&random, bytes);
                match log.reserve(batch.size_in_bytes()) {
                    Ok(reservation) => held.push((batch, reservation)),
                    Err(ReserveError::Busy) => {
                        busy += 1;
                        assert!(busy < 1000, "seed {seed}: it stays busy on a full disk");
                        settle().await;
                    }
                    Err(ReserveError::NoSpace { .. }) => break,
                    Err(error) => panic!("seed {seed}: {error}"),
                }
            }
            assert!(held.len() >= 10, "seed {seed}: {} reservations", held.len());
            let total = 1 << 40;
            disk.set_capacity(Some(total));
            let used = total - disk.free_bytes().unwrap();
            disk.set_capacity(Some(used));
            for (index, (batch, reservation)) in held.into_iter().enumerate() {
                let entry = new_entry(1, index as u64, NewPayload::Proposed(batch));
                append(&log, vec![entry]).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                apply_to(&log, index as u64).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                reservation.consumed();
            }
            assert_eq!(failures.load(Ordering::SeqCst), 0);
        }
    });
}

#[test]
fn a_full_disk_refuses_produce_only_and_takes_it_again_when_freed() {
    in_runtime(async {
        let (disk, random) = (SimDisk::new(4), Seeded::new(4));
        let store = start(&disk);
        let (log, doomed) = (create(&store, 1, Durability::Fsync), create(&store, 2, Durability::Fsync));
        for _ in 0..20 {
            produce(&doomed, &random, 3000).await;
        }
        let total = 1 << 40;
        disk.set_capacity(Some(total));
        let used = total - disk.free_bytes().unwrap();
        disk.set_capacity(Some(used + DISK_RESERVE_BYTES + (300 << 10)));
        let refusal = loop {
            match log.reserve(4000) {
                Ok(reservation) => {
                    produce(&log, &random, 3000).await;
                    reservation.consumed();
                }
                Err(ReserveError::Busy) => settle().await,
                Err(error) => break error,
            }
        };
        assert!(matches!(refusal, ReserveError::NoSpace { .. }), "{refusal}");
        let before = look(&log).entries;
        for term in 2..40 {
            save_vote(&log, term).await.unwrap();
        }
        store.checkpoint().await.unwrap();
        store.remove_group(partition(2)).await.unwrap();
        store.checkpoint().await.unwrap();
        assert_eq!(look(&log).entries, before, "reads go on");
        // Someone frees space: no restart, only asking again.
        disk.set_capacity(None);
        let mut reserved: Option<Reservation> = None;
        for _ in 0..50 {
            if let Ok(reservation) = log.reserve(4000) {
                reserved = Some(reservation);
                break;
            }
            settle().await;
        }
        let reserved = reserved.expect("produce resumes by itself");
        let last = log.bounds().1.unwrap().index.0;
        append(&log, vec![new_entry(40, last + 1, NewPayload::Proposed(batch(&random, 3000)))]).await.unwrap();
        apply_to(&log, last + 1).unwrap();
        reserved.consumed();
    });
}

#[test]
fn journal_files_leave_the_reserve_to_what_makes_room() {
    in_runtime(async {
        let disk = SimDisk::new(11);
        disk.set_capacity(Some(DISK_RESERVE_BYTES + (1 << 20)));
        let store = start(&disk);
        let options = GroupOptions { durability: Durability::Fsync, segments: None };
        let log = store.create_group(GroupId::Metadata, options).unwrap();
        let mut held = Vec::new();
        loop {
            match log.reserve(10_000) {
                Ok(reservation) => held.push(reservation),
                Err(ReserveError::Busy) => settle().await,
                Err(error) => {
                    assert!(matches!(error, ReserveError::NoSpace { .. }), "{error}");
                    break;
                }
            }
        }
        assert!(disk.free_bytes().unwrap() >= DISK_RESERVE_BYTES);
        assert!(held.len() > 40, "{} reservations", held.len());
        store.checkpoint().await.unwrap();
    });
}

#[test]
fn a_journal_that_is_too_long_asks_for_its_checkpoint_as_often_as_it_refuses() {
    in_runtime(async {
        let (disk, random) = (SimDisk::new(5), Seeded::new(5));
        let mut store_options = options(small_journal()).0;
        store_options.journal.bytes_max = store_options.journal.checkpoint_bytes;
        let store = Store::open(Arc::new(disk.for_process()), &store_options, &random).unwrap();
        let log = create(&store, 1, Durability::Fsync);
        for _ in 0..60 {
            produce(&log, &random, 6000).await;
        }
        for _ in 0..2 {
            // A checkpoint that is asked for and fails, as on a full disk, must be asked for again.
            assert!(matches!(log.reserve(100), Err(ReserveError::Busy)));
            assert!(is_due(&store));
        }
        store.checkpoint().await.unwrap();
        store.checkpoint().await.unwrap();
        settle().await;
        drop(log.reserve(100).unwrap());
    });
}

#[test]
fn what_waits_for_its_majority_does_not_keep_the_node_checkpointing() {
    in_runtime(async {
        let (disk, random) = (SimDisk::new(6), Seeded::new(6));
        let store = start(&disk);
        let (waits, works) = (create(&store, 1, Durability::Fsync), create(&store, 2, Durability::Fsync));
        // More than after which a checkpoint is due.
        for _ in 0..60 {
            append(&waits, vec![next(&waits, &random, 6000)]).await.unwrap();
        }
        let mut checkpoints = 0;
        for _ in 0..400 {
            produce(&works, &random, 6000).await;
            while is_due(&store) {
                checkpoints += 1;
                assert!(checkpoints <= 400, "one checkpoint after another");
                store.checkpoint().await.unwrap();
                settle().await;
            }
        }
        // 2.4 MB were written, and what waits some times more.
        assert!((5..=200).contains(&checkpoints), "{checkpoints} checkpoints");
        assert!(journal_bytes(&disk) < 3 << 20, "{} bytes are held back", journal_bytes(&disk));
    });
}

fn is_due(store: &Store) -> bool {
    let due = std::pin::pin!(store.checkpoint_due());
    due.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
}

fn journal_bytes(disk: &SimDisk) -> usize {
    let files = disk.files().into_iter().filter(|name| name.ends_with(".journal"));
    files.map(|name| disk.read_cached(&name).map_or(0, |bytes| bytes.len())).sum()
}

#[test]
fn a_vote_makes_the_memory_appends_before_it_durable_and_completes_after_them() {
    in_runtime(async {
        for seed in 0..30 {
            let (disk, random) = (SimDisk::new(seed), Seeded::new(seed));
            let store = start(&disk);
            let log = create(&store, 1, Durability::Memory);
            let order = Arc::new(Mutex::new(Vec::new()));
            let voted = Arc::new(tokio::sync::Notify::new());
            for call in 0..8 {
                let (order, done) = (order.clone(), voted.clone());
                if call == 5 {
                    log.save_vote(vote(1), move |result| {
                        result.unwrap();
                        order.lock().push(call);
                        done.notify_one();
                    });
                } else {
                    let entry = next(&log, &random, 5000);
                    log.append(vec![entry], move |result| {
                        result.unwrap();
                        order.lock().push(call);
                    })
                    .unwrap();
                }
                if random.chance(30) {
                    tokio::task::yield_now().await;
                }
            }
            voted.notified().await;
            let completed = order.lock().clone();
            assert_eq!(completed, (0..completed.len()).collect::<Vec<_>>(), "seed {seed}");
            disk.crash();
            let store = start(&disk);
            let found = look(&store.group(partition(1)).unwrap());
            assert!(found.entries.len() >= 5, "seed {seed}: {} entries", found.entries.len());
            assert_eq!(found.vote, Some(vote(1)));
        }
    });
}

#[test]
fn an_unapplied_tail_of_many_files_survives_restart_after_restart() {
    in_runtime(async {
        let (disk, random) = (SimDisk::new(6), Seeded::new(6));
        let store = start(&disk);
        let log = create(&store, 1, Durability::Fsync);
        for _ in 0..60 {
            append(&log, vec![next(&log, &random, 9000)]).await.unwrap();
        }
        let entries = look(&log).entries;
        drop((store, log));
        for _ in 0..3 {
            disk.crash();
            let store = start(&disk);
            let found = look(&store.group(partition(1)).unwrap());
            assert_eq!(found.entries.len(), entries.len());
            assert_eq!(found.entries, entries);
        }
    });
}

#[test]
fn a_recovered_tail_can_be_read_after_its_files_were_recycled() {
    in_runtime(async {
        let (disk, random) = (SimDisk::new(7), Seeded::new(7));
        let store = start(&disk);
        let (stalled, busy) = (create(&store, 1, Durability::Fsync), create(&store, 2, Durability::Fsync));
        for _ in 0..5 {
            append(&stalled, vec![next(&stalled, &random, 2000)]).await.unwrap();
        }
        produce(&busy, &random, 100).await;
        let entries = look(&stalled).entries;
        disk.kill();
        drop((store, stalled, busy));
        let store = start(&disk);
        let (stalled, busy) = (store.group(partition(1)).unwrap(), store.group(partition(2)).unwrap());
        apply_to(&busy, 0).unwrap();
        for round in 0..100 {
            produce(&busy, &random, 9000).await;
            if round % 10 == 9 {
                store.checkpoint().await.unwrap();
            }
        }
        assert_eq!(look(&stalled).entries, entries);
        let journals = disk.files().into_iter().filter(|name| name.ends_with(".journal")).count();
        assert!(journals <= 6, "{journals} files are held back");
        disk.crash();
        drop((store, stalled, busy));
        assert_eq!(look(&start(&disk).group(partition(1)).unwrap()).entries, entries);
    });
}

#[test]
fn a_group_that_was_removed_and_came_back_has_only_its_new_data() {
    in_runtime(async {
        let (disk, random) = (SimDisk::new(8), Seeded::new(8));
        let store = start(&disk);
        let log = create(&store, 1, Durability::Fsync);
        save_vote(&log, 5).await.unwrap();
        for _ in 0..3 {
            produce(&log, &random, 500).await;
        }
        store.remove_group(partition(1)).await.unwrap();
        let log = create(&store, 1, Durability::Fsync);
        produce(&log, &random, 700).await;
        let seen = look(&log);
        disk.crash();
        drop((store, log));
        let found = look(&start(&disk).group(partition(1)).expect("its second life was acked"));
        assert_eq!((found.vote, found.entries), (None, seen.entries));
    });
}

#[test]
fn a_damaged_segment_is_found_by_every_start_until_it_is_whole_and_nothing_else_is_harmed() {
    in_runtime(async {
        let (disk, random) = (SimDisk::new(9), Seeded::new(9));
        let store = start(&disk);
        let (log, other) = (create(&store, 1, Durability::Fsync), create(&store, 2, Durability::Fsync));
        for log in [&log, &other] {
            for _ in 0..3 {
                produce(log, &random, 500).await;
            }
        }
        store.checkpoint().await.unwrap();
        let whole = look(&log);
        disk.kill();
        drop((store, log, other));
        let directory = highwater_storage::layout::group_directory(partition(1));
        let segment = directory.join("00000000000000000000.log");
        let bytes = disk.read_cached(&segment).unwrap();
        disk.truncate(&segment, 10).unwrap();
        for _ in 0..3 {
            let store = start(&disk);
            let (log, other) = (store.group(partition(1)).unwrap(), store.group(partition(2)).unwrap());
            assert_eq!((log.quarantine(), other.quarantine()), (None, None));
            let is_damaged = |log: &GroupLog| log.segments().unwrap().is_damaged();
            assert!(is_damaged(&log) && !is_damaged(&other));
            assert!(try_look(&log).is_err(), "what is damaged is not given out");
            assert_eq!(look(&other).quarantine, None);
            store.checkpoint().await.unwrap();
            disk.kill();
        }
        disk.overwrite(&segment, 0, &bytes).unwrap();
        let found = look(&start(&disk).group(partition(1)).unwrap());
        assert_eq!((found.quarantine, found.entries), (None, whole.entries));
    });
}

#[test]
fn a_group_without_batches_lives_through_crashes_as_one_with_them() {
    in_runtime(async {
        let disk = SimDisk::new(10);
        let store = start(&disk);
        let options = GroupOptions { durability: Durability::Fsync, segments: None };
        let log = store.create_group(GroupId::Metadata, options).unwrap();
        log.install(Box::new(Chain::default())).unwrap();
        for index in 0..300 {
            let control = Payload::Control(Bytes::from(format!("command {index}")));
            append(&log, vec![new_entry(1, index, NewPayload::Ready(control))]).await.unwrap();
        }
        apply_to(&log, 299).unwrap();
        store.checkpoint().await.unwrap();
        let point = log.purge_point().unwrap();
        log.purge(point).unwrap();
        store.checkpoint().await.unwrap();
        let seen = look(&log);
        disk.crash();
        drop((store, log));
        let found = look(&start(&disk).group(GroupId::Metadata).unwrap());
        assert_eq!((found.purged, found.last, found.state), (seen.purged, seen.last, seen.state));
    });
}
