//! What the simulated disk loses and keeps. Each seed is a history of its own; a failure names it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use highwater_storage::disk::{Disk, DiskFile, SimDisk, is_device_failure, is_no_space};

const SEEDS: u64 = 200;
const PAGE: usize = 4096;

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn write(file: &Arc<dyn DiskFile>, bytes: &[u8], position: u64) {
    file.write_all_at(&mut [IoSlice::new(bytes)], position).unwrap();
}

/// A file `f` whose name and whose `pages` pages of ones are durable.
fn durable_file(disk: &SimDisk, pages: usize) -> Arc<dyn DiskFile> {
    let file = disk.create(path("f")).unwrap();
    write(&file, &vec![1; pages * PAGE], 0);
    file.sync_data().unwrap();
    disk.sync_dir(path("")).unwrap();
    file
}

#[test]
fn what_was_synced_survives_every_power_cut() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        durable_file(&disk, 5);
        for _ in 0..3 {
            disk.crash();
            assert_eq!(disk.read_cached("f").unwrap(), vec![1; 5 * PAGE], "seed {seed}");
            assert_eq!(disk.read_durable("f").unwrap(), vec![1; 5 * PAGE], "seed {seed}");
        }
    }
}

#[test]
fn each_unsynced_page_survives_or_not_by_itself_and_some_are_torn() {
    let (mut patterns, mut torn) = (BTreeSet::new(), 0);
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let file = durable_file(&disk, 3);
        write(&file, &[2; 3 * PAGE], 0);
        disk.crash();
        let bytes = disk.read_cached("f").unwrap();
        assert_eq!(bytes.len(), 3 * PAGE, "seed {seed}");
        for sector in bytes.chunks(512) {
            assert!(
                sector.iter().all(|byte| *byte == sector[0]) && (1..=2).contains(&sector[0]),
                "seed {seed}"
            );
        }
        let pages: Vec<_> = bytes.chunks(PAGE).collect();
        torn += pages.iter().filter(|page| page.contains(&1) && page.contains(&2)).count();
        patterns.insert(pages.iter().map(|page| page[0]).collect::<Vec<_>>());
    }
    assert_eq!(patterns.len(), 8, "every subset of three pages is seen");
    assert!(torn > 10, "{torn} torn pages");
}

#[test]
fn an_unsynced_length_may_be_old_new_or_between_and_shows_no_foreign_bytes() {
    let mut lengths = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let file = durable_file(&disk, 1);
        write(&file, &[2; 2 * PAGE], PAGE as u64);
        disk.crash();
        let bytes = disk.read_cached("f").unwrap();
        assert!((PAGE..=3 * PAGE).contains(&bytes.len()), "seed {seed}");
        assert!(bytes[..PAGE].iter().all(|byte| *byte == 1), "seed {seed}");
        assert!(bytes[PAGE..].iter().all(|byte| [0, 2].contains(byte)), "seed {seed}");
        lengths.insert(bytes.len());
    }
    assert!(lengths.contains(&PAGE) && lengths.contains(&(3 * PAGE)) && lengths.len() > 3, "{lengths:?}");
}

#[test]
fn a_cut_that_was_not_synced_may_come_back_but_later_extensions_are_not_garbage() {
    let mut lengths = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let file = durable_file(&disk, 3);
        file.set_len(100).unwrap();
        disk.crash();
        let bytes = disk.read_cached("f").unwrap();
        lengths.insert(bytes.len());
        assert!(bytes[..100].iter().all(|byte| *byte == 1), "seed {seed}");
        let file = disk.open(path("f")).unwrap();
        file.set_len(100).unwrap();
        file.set_len(3 * PAGE as u64).unwrap();
        assert!(disk.read_cached("f").unwrap()[100..].iter().all(|byte| *byte == 0), "seed {seed}");
    }
    assert!(lengths.contains(&100) && lengths.contains(&(3 * PAGE)), "{lengths:?}");
}

#[test]
fn a_name_that_was_not_synced_may_be_lost_with_all_its_synced_bytes() {
    let mut kept = 0;
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let file = disk.create(path("f")).unwrap();
        write(&file, b"abc", 0);
        file.sync_data().unwrap();
        assert!(disk.durable_files().is_empty(), "seed {seed}");
        disk.crash();
        if disk.exists(path("f")).unwrap() {
            assert_eq!(disk.read_cached("f").unwrap(), b"abc", "seed {seed}");
            kept += 1;
        }
    }
    assert!(kept > 0 && kept < SEEDS, "{kept} of {SEEDS} kept");
}

#[test]
fn a_rename_that_was_not_synced_shows_the_old_file_or_the_new_and_never_neither() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        durable_file(&disk, 1);
        let temp = disk.create(path("temp")).unwrap();
        write(&temp, b"new", 0);
        temp.sync_data().unwrap();
        disk.rename(path("temp"), path("f")).unwrap();
        disk.crash();
        let bytes = disk.read_cached("f").unwrap();
        let is_new = bytes == b"new";
        assert!(is_new || bytes == vec![1; PAGE], "seed {seed}");
        seen.insert((is_new, disk.exists(path("temp")).unwrap()));
    }
    assert_eq!(seen, BTreeSet::from([(false, false), (false, true), (true, false)]));
}

#[test]
fn a_synced_rename_survives_and_so_does_all_it_builds_on() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(path("a")).unwrap();
        disk.create_dir_all(path("b")).unwrap();
        let file = disk.create(path("a/temp")).unwrap();
        write(&file, b"abc", 0);
        file.sync_data().unwrap();
        disk.rename(path("a/temp"), path("b/final")).unwrap();
        disk.sync_dir(path("a")).unwrap();
        disk.sync_dir(path("b")).unwrap();
        disk.crash();
        assert_eq!(disk.files(), ["b/final"], "seed {seed}");
        assert_eq!(disk.read_cached("b/final").unwrap(), b"abc", "seed {seed}");
    }
}

#[test]
fn a_change_never_persists_without_the_earlier_ones_of_the_same_name() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        durable_file(&disk, 1);
        disk.create(path("temp")).unwrap();
        disk.sync_dir(path("")).unwrap();
        disk.rename(path("temp"), path("f")).unwrap();
        disk.remove_file(path("f")).unwrap();
        disk.crash();
        seen.insert(disk.files());
    }
    let both = vec!["f".to_owned(), "temp".to_owned()];
    assert_eq!(seen, BTreeSet::from([vec![], vec!["f".to_owned()], both]));
}

#[test]
fn a_synced_name_does_not_lose_the_file_that_was_moved_away_from_it() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        for name in ["a", "b"] {
            disk.create_dir_all(path(name)).unwrap();
        }
        disk.create(path("a/x")).unwrap();
        disk.sync_dir(path("a")).unwrap();
        disk.rename(path("a/x"), path("b/x")).unwrap();
        disk.create(path("a/x")).unwrap();
        disk.rename(path("a/x"), path("a/y")).unwrap();
        disk.sync_dir(path("a")).unwrap();
        disk.crash();
        assert_eq!(disk.files(), ["a/y", "b/x"], "seed {seed}");
    }
}

#[test]
fn an_unsynced_unlink_may_come_back_and_a_synced_one_never() {
    let mut came_back = 0;
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        durable_file(&disk, 1);
        disk.remove_file(path("f")).unwrap();
        disk.crash();
        if disk.exists(path("f")).unwrap() {
            came_back += 1;
            assert_eq!(disk.read_cached("f").unwrap(), vec![1; PAGE], "seed {seed}");
            disk.remove_file(path("f")).unwrap();
        }
        disk.sync_dir(path("")).unwrap();
        disk.crash();
        assert!(!disk.exists(path("f")).unwrap(), "seed {seed}");
    }
    assert!(came_back > 0 && came_back < SEEDS, "{came_back}");
}

#[test]
fn a_directory_removed_midway_never_leaves_a_name_without_its_directory() {
    let mut left = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(path("d/e")).unwrap();
        for name in ["d/1", "d/e/2"] {
            disk.create(path(name)).unwrap();
        }
        disk.sync_dir(path("d")).unwrap();
        disk.sync_dir(path("d/e")).unwrap();
        disk.remove_dir_all(path("d")).unwrap();
        disk.crash();
        left.insert((disk.exists(path("d")).unwrap(), disk.files()));
        if disk.exists(path("d")).unwrap() {
            disk.remove_dir_all(path("d")).unwrap();
        }
        disk.sync_dir(path("")).unwrap();
        disk.crash();
        assert!(!disk.exists(path("d")).unwrap(), "seed {seed}");
    }
    assert!(left.contains(&(false, vec![])) && left.len() >= 4, "{left:?}");
}

#[test]
fn the_death_of_the_process_loses_nothing_and_keeps_the_boot_id() {
    let disk = SimDisk::new(1);
    let process = disk.for_process();
    let boot_id = process.boot_id().unwrap();
    let file = process.create(path("f")).unwrap();
    write(&file, b"abc", 0);
    disk.kill();
    assert_eq!(disk.read_cached("f").unwrap(), b"abc");
    assert_eq!(disk.boot_id().unwrap(), boot_id);
    assert!(file.len().is_err() && file.sync_data().is_err());
    assert!(process.open(path("f")).is_err());
    assert!(disk.for_process().open(path("f")).is_ok());
}

#[test]
fn a_power_cut_ends_all_handles_and_changes_the_boot_id() {
    let disk = SimDisk::new(1);
    let boot_id = disk.boot_id().unwrap();
    let file = durable_file(&disk, 1);
    let mapping = file.map(PAGE as u64).unwrap();
    disk.crash();
    assert_ne!(disk.boot_id().unwrap(), boot_id);
    assert!(file.read_exact_at(&mut [0], 0).is_err());
    assert!(mapping.populate(0..1).is_err());
    assert_eq!(&mapping.slice(0..2)[..], &[0, 0], "a dead process reads nothing");
}

#[test]
fn after_the_ordered_number_of_operations_all_fail_until_the_power_is_back() {
    let disk = SimDisk::new(1);
    let file = durable_file(&disk, 1);
    let before = disk.op_count();
    disk.crash_after_ops(2);
    write(&file, b"a", 0);
    file.sync_data().unwrap();
    assert!(disk.is_power_cut());
    assert!(file.write_all_at(&mut [IoSlice::new(b"b")], 0).is_err());
    assert!(file.len().is_err() && disk.list(path("")).is_err() && disk.create(path("g")).is_err());
    assert_eq!(disk.op_count(), before + 2);
    disk.crash();
    assert_eq!(disk.read_cached("f").unwrap()[0], b'a');
    assert!(disk.create(path("g")).is_ok());
}

#[test]
fn a_seed_replays_to_the_same_bytes() {
    let run = |seed| {
        let disk = SimDisk::new(seed);
        let file = durable_file(&disk, 8);
        for round in 0..20_u8 {
            write(&file, &[round; 5000], u64::from(round) * 1700);
            disk.create(path(&format!("n{round}"))).unwrap();
        }
        disk.crash();
        (disk.read_cached("f").unwrap(), disk.files())
    };
    assert_eq!(run(42), run(42));
    assert_ne!(run(42), run(43));
}

#[test]
fn a_failed_sync_makes_the_next_one_lie() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let file = durable_file(&disk, 1);
        write(&file, b"lost", 0);
        disk.fail_sync(1);
        let synced_by_chance = disk.read_durable("f").unwrap()[0] == b'l';
        assert!(is_device_failure(&file.sync_data().unwrap_err()));
        file.sync_data().unwrap();
        disk.kill();
        assert_eq!(&disk.read_cached("f").unwrap()[..4], b"lost", "seed {seed}: the page cache shows it");
        disk.crash();
        let survived = disk.read_cached("f").unwrap()[0] == b'l';
        assert_eq!(survived, synced_by_chance, "seed {seed}");
    }
}

#[test]
fn sync_faults_hit_the_nth_sync_or_the_named_file_once() {
    let disk = SimDisk::new(1);
    let file = durable_file(&disk, 1);
    let other = disk.create(path("g")).unwrap();
    disk.fail_sync(2);
    file.sync_data().unwrap();
    disk.sync_dir(path("")).unwrap_err();
    disk.sync_dir(path("")).unwrap();
    disk.fail_sync_of("g");
    file.sync_data().unwrap();
    other.sync_data().unwrap_err();
    other.sync_data().unwrap();
}

#[test]
fn a_full_disk_refuses_growth_but_takes_what_was_reserved() {
    let disk = SimDisk::new(1);
    disk.set_capacity(Some(10 * PAGE as u64));
    let file = disk.create(path("f")).unwrap();
    file.allocate(6 * PAGE as u64).unwrap();
    let other = disk.create(path("g")).unwrap();
    assert_eq!(disk.free_bytes().unwrap(), 4 * PAGE as u64);
    assert!(is_no_space(&other.allocate(5 * PAGE as u64).unwrap_err()));
    write(&other, &[1; 4 * PAGE], 0);
    let error = other.write_all_at(&mut [IoSlice::new(&[2; 100])], 4 * PAGE as u64 - 50).unwrap_err();
    assert!(is_no_space(&error), "{error}");
    write(&file, &[3; 6 * PAGE], 0);
    disk.remove_file(path("g")).unwrap();
    assert_eq!(disk.free_bytes().unwrap(), 0, "an open file keeps its blocks");
    drop(other);
    assert_eq!(disk.free_bytes().unwrap(), 4 * PAGE as u64);
    disk.set_capacity(None);
    write(&file, &[4; 100 * PAGE], 0);
}

#[test]
fn reads_and_writes_fail_where_ordered() {
    let disk = SimDisk::new(1);
    let file = durable_file(&disk, 2);
    disk.fail_read("f", 4096..4097);
    file.read_exact_at(&mut [0; 10], 4080).unwrap();
    assert!(is_device_failure(&file.read_exact_at(&mut [0; 20], 4080).unwrap_err()));
    assert!(is_device_failure(&file.map(8192).unwrap().populate(0..8192).unwrap_err()));
    disk.fail_write("f");
    assert!(is_device_failure(&file.write_all_at(&mut [IoSlice::new(b"x")], 0).unwrap_err()));
    disk.clear_faults();
    file.read_exact_at(&mut [0; 20], 4080).unwrap();
    write(&file, b"x", 0);
}

#[test]
fn damage_is_seen_at_once_and_after_a_power_cut() {
    let disk = SimDisk::new(1);
    let file = durable_file(&disk, 2);
    disk.flip_bit("f", 5000, 3).unwrap();
    disk.overwrite("f", 10, b"zz").unwrap();
    assert!(disk.flip_bit("f", 2 * PAGE as u64, 0).is_err());
    let mut byte = [0];
    file.read_exact_at(&mut byte, 5000).unwrap();
    assert_eq!(byte, [9]);
    disk.truncate("f", 6000).unwrap();
    disk.crash();
    let bytes = disk.read_cached("f").unwrap();
    assert_eq!((bytes.len(), bytes[5000], &bytes[10..12]), (6000, 9, &b"zz"[..]));
}
