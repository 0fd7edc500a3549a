//! Every byte of a small store's journal and checkpoint flipped in turn, every length that its files may be cut
//! to, and files that are gone: what is opened afterwards is exactly right or says what is wrong.
//!
//! Of the empty part of a journal file only some places are tried, and no spare file;
//! `HIGHWATER_DAMAGE=all cargo test --release -p highwater-storage --test store_damage` tries every one.
//!
//! One exception is by design: after a power cut the newest groups, of which no later header states that they
//! were durable, cannot be told from a torn tail when they are damaged as well.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it saw")]

mod support;

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use highwater_storage::disk::{Disk, SimDisk};
use highwater_storage::journal::JournalOptions;
use highwater_storage::{Durability, GroupOptions, GroupSnapshot, NewPayload, Payload, Store};
use highwater_types::{GroupId, Offset};

use support::*;

type Files = BTreeMap<String, Vec<u8>>;
type Found = BTreeMap<GroupId, Seen>;

/// How the damaged store's last process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Killed,
    PowerCut,
}

fn tiny_journal() -> JournalOptions {
    JournalOptions {
        file_bytes: 8 << 10,
        first_file_bytes: 8 << 10,
        checkpoint_bytes: 1 << 20,
        bytes_max: 8 << 20,
        reserve_bytes: 1 << 10,
    }
}

fn open_tiny(disk: &SimDisk) -> Result<Arc<Store>, highwater_storage::OpenError> {
    Store::open(Arc::new(disk.for_process()), &options(tiny_journal()).0, &Seeded::new(5))
}

/// A store with a partition and the metadata group: applied and unapplied entries, votes, a truncation; and a group that was given
/// a leader's state. `rounds` sets its size.
async fn build(end: End, rounds: u64) -> Files {
    let random = Seeded::new(3);
    let disk = SimDisk::new(3);
    let store = open_tiny(&disk).unwrap();
    let partition = store.create_group(partition(1), group_options(Durability::Fsync, 4096)).unwrap();
    let no_batches = GroupOptions { durability: Durability::Fsync, segments: None };
    let metadata = store.create_group(GroupId::Metadata, no_batches).unwrap();
    for log in [&partition, &metadata] {
        log.install(Box::new(Chain::default())).unwrap();
        save_vote(log, 1).await.unwrap();
    }
    for round in 0..rounds {
        let batches = [2 * round, 2 * round + 1]
            .map(|index| new_entry(1, index, NewPayload::Proposed(batch(&random, 150))));
        append(&partition, batches.into()).await.unwrap();
        let control = Payload::Control(Bytes::from_static(b"a command"));
        append(&metadata, vec![new_entry(1, round, NewPayload::Ready(control))]).await.unwrap();
        if round == rounds / 2 {
            apply_to(&partition, 2 * round).unwrap();
            apply_to(&metadata, round).unwrap();
            store.checkpoint().await.unwrap();
        }
    }
    let jumped = store.create_group(support::partition(2), no_batches).unwrap();
    jumped.install_snapshot(leaders_state()).await.unwrap();
    save_vote(&partition, 2).await.unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    match end {
        End::Closed => store.close().await.unwrap(),
        End::Killed => disk.kill(),
        End::PowerCut => disk.crash(),
    }
    disk.files().into_iter().map(|name| (name.clone(), disk.read_cached(&name).unwrap())).collect()
}

fn leaders_state() -> Bytes {
    let (next_offset, log_start) = (Offset::ZERO, Offset::ZERO);
    let state = Bytes::from_static(b"a leader's");
    GroupSnapshot { last: id(1, 40), membership: None, next_offset, log_start, state }.encode()
}

fn restore(files: &Files) -> SimDisk {
    let disk = SimDisk::new(9);
    for (name, bytes) in files {
        let path = Path::new(name);
        disk.create_dir_all(path.parent().unwrap()).unwrap();
        let file = disk.create(path).unwrap();
        file.write_all_at(&mut [IoSlice::new(bytes)], 0).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
    }
    disk
}

/// The files to damage, each with the places in it.
fn places(files: &Files) -> Vec<(&String, Vec<usize>)> {
    let all = std::env::var_os("HIGHWATER_DAMAGE").is_some_and(|value| value == "all");
    let damaged = files.iter().filter(|(name, _)| {
        name.ends_with(".journal") || name.starts_with("checkpoint") || (all && name.ends_with(".spare"))
    });
    let used = |bytes: &[u8], at: usize| bytes[at.saturating_sub(8)..].iter().take(16).any(|byte| *byte != 0);
    damaged
        .map(|(name, bytes)| {
            (name, (0..bytes.len()).filter(|at| all || at % 61 == 0 || used(bytes, *at)).collect())
        })
        .collect()
}

/// Opens and looks; `None` when the store or a group says that something is wrong.
fn find(disk: &SimDisk) -> Option<Found> {
    let store = open_tiny(disk).ok()?;
    if store.quarantine().is_some() {
        return None;
    }
    let logs: Vec<_> = store.groups().into_iter().filter_map(|id| store.group(id)).collect();
    if logs.iter().any(|log| log.quarantine().is_some()) {
        return None;
    }
    Some(logs.iter().map(|log| (log.id(), look(log))).collect())
}

#[derive(Debug, Default)]
struct Tally {
    reported: u32,
    right: u32,
    torn: u32,
}

/// Holds what damage gave against what was there. After a power cut the tail may be shorter, and no more than that.
fn judge(tally: &mut Tally, end: End, found: Option<Found>, whole: &Found, what: &str) {
    match found {
        None => tally.reported += 1,
        Some(found) if found == *whole => tally.right += 1,
        Some(found) => {
            assert_eq!(end, End::PowerCut, "{what}: wrong data");
            let lost = found.iter().zip(whole).filter(|(found, whole)| found != whole).count();
            assert!(found.len() == whole.len() && lost <= 1, "{what}: more than the newest group is lost");
            for (found, whole) in found.values().zip(whole.values()) {
                assert!(whole.entries.starts_with(&found.entries), "{what}: entries that never were");
            }
            tally.torn += 1;
        }
    }
}

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn flip_every_byte(end: End) {
    in_runtime(async {
        let files = build(end, 6).await;
        let whole = find(&restore(&files)).unwrap();
        for (name, places) in places(&files) {
            let mut tally = Tally::default();
            for position in places {
                let disk = restore(&files);
                let bit = (position % 8) as u8;
                disk.flip_bit(name, position as u64, bit).unwrap();
                let what = format!("{end:?}, bit {bit} of byte {position} of {name}");
                judge(&mut tally, end, find(&disk), &whole, &what);
            }
            println!("{end:?} {name} flipped: {tally:?}");
            assert!(name.starts_with("checkpoint") <= (tally.reported == 0), "one copy is enough");
        }
    });
}

fn cut_to_every_length(end: End) {
    in_runtime(async {
        let files = build(end, 6).await;
        let whole = find(&restore(&files)).unwrap();
        for (name, places) in places(&files) {
            let mut tally = Tally::default();
            for length in places {
                let disk = restore(&files);
                disk.truncate(name, length as u64).unwrap();
                judge(&mut tally, end, find(&disk), &whole, &format!("{end:?}, {name} cut to {length}"));
            }
            println!("{end:?} {name} cut: {tally:?}");
            assert_eq!(tally.torn, 0, "a cut file is never a torn tail");
        }
    });
}

#[test]
fn a_flipped_bit_in_a_closed_store_is_harmless_or_reported() {
    flip_every_byte(End::Closed);
}

#[test]
fn a_flipped_bit_in_a_killed_store_is_harmless_or_reported() {
    flip_every_byte(End::Killed);
}

#[test]
fn a_flipped_bit_after_a_power_cut_costs_at_most_the_newest_group() {
    flip_every_byte(End::PowerCut);
}

#[test]
fn a_cut_file_of_a_closed_store_is_harmless_or_reported() {
    cut_to_every_length(End::Closed);
}

#[test]
fn a_cut_file_of_a_killed_store_is_harmless_or_reported() {
    cut_to_every_length(End::Killed);
}

#[test]
fn a_missing_journal_file_is_reported_also_when_it_is_the_newest() {
    in_runtime(async {
        let files = build(End::Killed, 40).await;
        let journals: Vec<_> = files.keys().filter(|name| name.ends_with(".journal")).cloned().collect();
        assert!(journals.len() >= 3, "{journals:?}");
        assert!(find(&restore(&files)).is_some());
        for missing in &journals {
            let mut files = files.clone();
            files.remove(missing);
            let opened = open_tiny(&restore(&files));
            let reason = match &opened {
                Ok(store) => store.quarantine().unwrap_or_default().to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(reason.contains("journal file"), "without {missing}: {reason:?}");
        }
    });
}

#[test]
fn one_missing_checkpoint_is_harmless_and_both_are_an_error() {
    in_runtime(async {
        for end in [End::Closed, End::Killed] {
            let files = build(end, 6).await;
            let whole = find(&restore(&files));
            for missing in ["checkpoint/a", "checkpoint/b"] {
                let mut files = files.clone();
                files.remove(missing).unwrap();
                assert_eq!(find(&restore(&files)), whole, "without {missing}");
            }
            let mut files = files.clone();
            files.retain(|name, _| !name.starts_with("checkpoint"));
            let error = open_tiny(&restore(&files)).err().unwrap().to_string();
            assert!(error.contains("no checkpoint"), "{error}");
        }
    });
}

#[test]
fn a_damaged_store_stays_as_it_is() {
    in_runtime(async {
        let files = build(End::Killed, 6).await;
        let journal = files.keys().find(|name| name.ends_with(".journal")).unwrap();
        let mut damaged = files.clone();
        // Inside the first group that is replayed: everything later states that it was durable.
        let at = files[journal].iter().rposition(|byte| *byte != 0).unwrap() - 600;
        damaged.get_mut(journal).unwrap()[at] ^= 1;
        let disk = restore(&damaged);
        for _ in 0..2 {
            let store = open_tiny(&disk).unwrap();
            assert!(store.quarantine().unwrap().contains("damaged"));
            store.close().await.unwrap();
            let now: Files =
                disk.files().into_iter().map(|name| (name.clone(), disk.read_cached(&name).unwrap())).collect();
            assert_eq!(now, damaged, "a quarantined store is evidence");
        }
        // Once the damage is gone, all is there.
        disk.overwrite(journal, at as u64, &files[journal][at..=at]).unwrap();
        assert_eq!(find(&disk), find(&restore(&files)));
    });
}
