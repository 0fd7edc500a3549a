//! A smoke of the store on the machine's own disk: the journal's threads under many appenders, checkpoints and
//! removals beside them, and a process that is killed with -9 in the middle.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it saw")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use highwater_records::Batch;
use highwater_storage::disk::RealDisk;
use highwater_storage::{Durability, GroupLog, NewPayload, Store};
use highwater_types::RaftIndex;

use support::*;

const THREADS: u32 = 8;
const GROUPS_PER_THREAD: u32 = 2;
const APPENDS: u64 = 120;
/// Where a child process keeps its store; set by the test that starts it.
const CHILD_DIRECTORY: &str = "HIGHWATER_CHILD_DIRECTORY";

fn open_real(directory: &Path) -> Arc<Store> {
    open(RealDisk::new(directory.to_path_buf()), &Seeded::new(1)).unwrap()
}

/// The batch that every process knows to be entry `index` of group `group`.
fn known_batch(group: u32, index: u64) -> Batch {
    let random = Seeded::new(u64::from(group) << 32 | index);
    let bytes = 30 + random.below(4000) as usize;
    batch(&random, bytes)
}

fn append_one(log: &Arc<GroupLog>, group: u32, index: u64) -> Result<(), String> {
    let (sender, receiver) = mpsc::channel();
    let entry = new_entry(1, index, NewPayload::Proposed(known_batch(group, index)));
    log.append(vec![entry], move |result| drop(sender.send(result))).map_err(|error| error.to_string())?;
    receiver.recv().map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

fn check(store: &Store, group: u32, at_least: u64) {
    let log = store.group(partition(group)).unwrap();
    let length = log.bounds().1.map_or(0, |last| last.index.0 + 1);
    assert!(length >= at_least, "group {group}: {length} of {at_least} acked entries");
    for index in 0..length {
        let entry = log.entry(RaftIndex(index)).unwrap();
        let found: Bytes = payload_bytes(&entry.payload);
        // The kind, then what the log stamps, then what the producer made.
        assert_eq!(found[17..], known_batch(group, index).bytes()[16..], "group {group}, entry {index}");
    }
}

fn work(store: &Store, thread: u32) {
    let groups: Vec<u32> = (0..GROUPS_PER_THREAD).map(|number| thread * GROUPS_PER_THREAD + number).collect();
    for group in &groups {
        let durability = if group % 4 == 3 { Durability::Memory } else { Durability::Fsync };
        let log = store.create_group(partition(*group), group_options(durability, 64 << 10)).unwrap();
        log.install(Box::new(Chain::default())).unwrap();
    }
    for index in 0..APPENDS {
        for group in &groups {
            let log = store.group(partition(*group)).unwrap();
            append_one(&log, *group, index).unwrap();
            // Some groups keep an unapplied tail.
            if group % 3 != 0 && index % 5 == 4 {
                apply_to(&log, index).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_checkpoint_that_nobody_waits_for_any_more_is_over_before_the_next_begins() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_real(directory.path());
    let log = store.create_group(partition(1), group_options(Durability::Fsync, 64 << 10)).unwrap();
    log.install(Box::new(Chain::default())).unwrap();
    for round in 0..60 {
        let batch = NewPayload::Proposed(known_batch(1, round));
        append(&log, vec![new_entry(1, round, batch)]).await.unwrap();
        // Its caller goes before it is over, as one that ends with its node does.
        tokio::select! {
            biased;
            result = store.checkpoint() => result.unwrap(),
            () = turns(round) => {}
        }
        store.checkpoint().await.unwrap();
    }
}

/// Lets others go on so many times.
async fn turns(count: u64) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

#[test]
fn threads_that_append_beside_checkpoints_and_removals_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let store = open_real(directory.path());
    let done = Arc::new(AtomicBool::new(false));
    let checkpoints = runtime.spawn({
        let (store, done) = (store.clone(), done.clone());
        async move {
            while !done.load(Ordering::Acquire) {
                store.checkpoint().await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let removals = runtime.spawn({
        let (store, done) = (store.clone(), done.clone());
        async move {
            let mut group = 1000;
            while !done.load(Ordering::Acquire) {
                let log =
                    store.create_group(partition(group), group_options(Durability::Fsync, 64 << 10)).unwrap();
                log.install(Box::new(Chain::default())).unwrap();
                let batch = NewPayload::Proposed(known_batch(group, 0));
                append(&log, vec![new_entry(1, 0, batch)]).await.unwrap();
                apply_to(&log, 0).unwrap();
                store.remove_group(partition(group)).await.unwrap();
                group += 1;
            }
            group - 1000
        }
    });
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || work(store, thread));
        }
    });
    done.store(true, Ordering::Release);
    runtime.block_on(async {
        checkpoints.await.unwrap();
        println!("{} groups came and went", removals.await.unwrap());
        store.close().await.unwrap();
    });
    drop(store);
    let store = open_real(directory.path());
    assert_eq!(store.groups().len() as u32, THREADS * GROUPS_PER_THREAD);
    for group in 0..THREADS * GROUPS_PER_THREAD {
        check(&store, group, APPENDS);
    }
    runtime.block_on(store.close()).unwrap();
}

/// Not a test of its own: what the killed process runs.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else { return };
    let store = open_real(Path::new(&directory));
    std::thread::scope(|scope| {
        for group in 0..4 {
            let store = &store;
            scope.spawn(move || {
                let durability = if group == 3 { Durability::Memory } else { Durability::Fsync };
                let log = store.create_group(partition(group), group_options(durability, 64 << 10)).unwrap();
                log.install(Box::new(Chain::default())).unwrap();
                let first = log.bounds().1.map_or(0, |last| last.index.0 + 1);
                for index in first.. {
                    append_one(&log, group, index).unwrap();
                    println!("\nacked {group} {index}");
                    if group != 0 && index % 7 == 0 {
                        apply_to(&log, index).unwrap();
                    }
                }
            });
        }
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            loop {
                runtime.block_on(store.checkpoint_due());
                runtime.block_on(store.checkpoint()).unwrap();
            }
        });
    });
}

#[test]
fn what_a_killed_process_acked_is_there_after_every_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut acked = [0_u64; 4];
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_appends_until_it_is_killed", "--nocapture"])
            .env(CHILD_DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        while seen < 150 + 60 * round {
            let line = lines.next().expect("the child goes on until it is killed").unwrap();
            seen += note(&mut acked, &line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts too.
        for line in lines.map_while(Result::ok) {
            note(&mut acked, &line);
        }
        let store = open_real(directory.path());
        for group in 0..4 {
            check(&store, group, acked[group as usize]);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for id in store.groups() {
            store.group(id).unwrap().install(Box::new(Chain::default())).unwrap();
        }
        runtime.block_on(store.close()).unwrap();
    }
    println!("acked {acked:?}");
}

/// Takes in a line of the child; counts it when it says that an entry is acked.
fn note(acked: &mut [u64; 4], line: &str) -> u64 {
    let mut words = line.split(' ');
    let (Some("acked"), Some(group), Some(index), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return 0;
    };
    let (Ok(group), Ok(index)) = (group.parse::<usize>(), index.parse::<u64>()) else { return 0 };
    acked[group] = acked[group].max(index + 1);
    1
}
