//! What every disk does alike: one list of scenarios, run against the machine's disk and
//! against the simulated one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;

use highwater_storage::disk::{Disk, DiskFile, RealDisk, SimDisk};

macro_rules! on_every_disk {
    ($($scenario:ident),+ $(,)?) => {
        mod real_disk {
            $(#[test]
            fn $scenario() {
                let directory = tempfile::tempdir().unwrap();
                super::$scenario(&super::RealDisk::new(directory.path().to_path_buf()));
            })+
        }
        mod simulated_disk {
            $(#[test]
            fn $scenario() {
                super::$scenario(&super::SimDisk::new(7));
            })+
        }
    };
}

on_every_disk! {
    a_vectored_write_is_read_back_in_order,
    a_write_of_more_parts_than_one_call_takes_is_whole,
    a_write_beyond_the_end_leaves_zeros_between,
    a_read_beyond_the_end_is_an_unexpected_end,
    a_file_is_created_once_and_opened_only_when_it_exists,
    allocation_keeps_the_length,
    a_shorter_length_cuts_and_a_longer_one_shows_zeros,
    a_rename_replaces_the_target,
    a_removed_file_stays_readable_for_who_holds_it,
    directories_are_created_with_their_parents_and_listed_sorted,
    a_directory_is_removed_with_all_below_it,
    paths_that_leave_the_root_are_refused,
    a_mapping_reaches_beyond_the_end_and_sees_later_writes,
    a_slice_outlives_its_file_and_its_mapping,
    a_slice_outside_the_mapping_panics,
    a_page_beyond_the_end_is_an_error_of_populate,
    files_in_missing_directories_are_not_found,
    a_sync_of_all_that_can_be_synced_succeeds,
    the_boot_id_stays_the_same,
    errors_name_the_operation_and_the_path,
}

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn write(file: &Arc<dyn DiskFile>, bytes: &[u8], position: u64) {
    file.write_all_at(&mut [IoSlice::new(bytes)], position).unwrap();
}

fn read(file: &Arc<dyn DiskFile>, position: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0xff; length];
    file.read_exact_at(&mut bytes, position).unwrap();
    bytes
}

fn a_vectored_write_is_read_back_in_order(disk: &dyn Disk) {
    let file = disk.create(path("f")).unwrap();
    assert!(file.is_empty().unwrap());
    let mut parts =
        [IoSlice::new(b""), IoSlice::new(b"abc"), IoSlice::new(b""), IoSlice::new(b"defg"), IoSlice::new(b"")];
    file.write_all_at(&mut parts, 2).unwrap();
    file.write_all_at(&mut [], 100).unwrap();
    file.write_all_at(&mut [IoSlice::new(b"")], 100).unwrap();
    assert_eq!(file.len().unwrap(), 9);
    assert_eq!(read(&file, 0, 9), b"\0\0abcdefg");
    assert_eq!(read(&disk.open(path("f")).unwrap(), 4, 3), b"cde");
}

fn a_write_of_more_parts_than_one_call_takes_is_whole(disk: &dyn Disk) {
    let file = disk.create(path("f")).unwrap();
    let bytes: Vec<u8> = (0..5000_u32).flat_map(u32::to_le_bytes).collect();
    // Empty parts in long runs too: a call that takes only those writes nothing and is no failure.
    let mut parts: Vec<IoSlice<'_>> = (0..3000).map(|_| IoSlice::new(b"")).collect();
    parts.extend(bytes.chunks(4).map(IoSlice::new));
    parts.extend((0..3000).map(|_| IoSlice::new(b"")));
    file.write_all_at(&mut parts, 10).unwrap();
    assert_eq!(read(&file, 10, bytes.len()), bytes);
}

fn a_write_beyond_the_end_leaves_zeros_between(disk: &dyn Disk) {
    let file = disk.create(path("f")).unwrap();
    write(&file, b"a", 0);
    write(&file, b"b", 10_000);
    let bytes = read(&file, 0, 10_001);
    assert_eq!((bytes[0], bytes[10_000]), (b'a', b'b'));
    assert!(bytes[1..10_000].iter().all(|byte| *byte == 0));
}

fn a_read_beyond_the_end_is_an_unexpected_end(disk: &dyn Disk) {
    let file = disk.create(path("f")).unwrap();
    write(&file, b"abc", 0);
    let error = file.read_exact_at(&mut [0; 4], 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    file.read_exact_at(&mut [], 3).unwrap();
}

fn a_file_is_created_once_and_opened_only_when_it_exists(disk: &dyn Disk) {
    assert_eq!(disk.open(path("f")).err().unwrap().kind(), ErrorKind::NotFound);
    assert!(!disk.exists(path("f")).unwrap());
    disk.create(path("f")).unwrap();
    assert!(disk.exists(path("f")).unwrap());
    assert_eq!(disk.create(path("f")).err().unwrap().kind(), ErrorKind::AlreadyExists);
}

fn allocation_keeps_the_length(disk: &dyn Disk) {
    let file = disk.create(path("f")).unwrap();
    write(&file, b"abc", 0);
    file.allocate(0).unwrap();
    file.allocate(1 << 20).unwrap();
    file.allocate(1 << 16).unwrap();
    assert_eq!(file.len().unwrap(), 3);
    assert_eq!(read(&file, 0, 3), b"abc");
}

fn a_shorter_length_cuts_and_a_longer_one_shows_zeros(disk: &dyn Disk) {
    let file = disk.create(path("f")).unwrap();
    write(&file, &[7; 9000], 0);
    file.set_len(5000).unwrap();
    file.set_len(9000).unwrap();
    let bytes = read(&file, 0, 9000);
    assert!(bytes[..5000].iter().all(|byte| *byte == 7));
    assert!(bytes[5000..].iter().all(|byte| *byte == 0));
}

fn a_rename_replaces_the_target(disk: &dyn Disk) {
    disk.create_dir_all(path("d")).unwrap();
    let old = disk.create(path("d/target")).unwrap();
    write(&old, b"old", 0);
    write(&disk.create(path("temp")).unwrap(), b"new", 0);
    disk.rename(path("temp"), path("d/target")).unwrap();
    assert!(!disk.exists(path("temp")).unwrap());
    assert_eq!(read(&disk.open(path("d/target")).unwrap(), 0, 3), b"new");
    assert_eq!(read(&old, 0, 3), b"old");
    assert_eq!(disk.rename(path("temp"), path("x")).unwrap_err().kind(), ErrorKind::NotFound);
}

fn a_removed_file_stays_readable_for_who_holds_it(disk: &dyn Disk) {
    let file = disk.create(path("f")).unwrap();
    write(&file, b"abc", 0);
    let mapping = file.map(4096).unwrap();
    disk.remove_file(path("f")).unwrap();
    disk.sync_dir(path("")).unwrap();
    assert!(!disk.exists(path("f")).unwrap());
    assert_eq!(disk.remove_file(path("f")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(read(&file, 0, 3), b"abc");
    drop(file);
    assert_eq!(&mapping.slice(0..3)[..], b"abc");
}

fn directories_are_created_with_their_parents_and_listed_sorted(disk: &dyn Disk) {
    disk.create_dir_all(path("a/b/c")).unwrap();
    disk.create_dir_all(path("a/b/c")).unwrap();
    disk.create_dir_all(path("")).unwrap();
    for name in ["z", "m", "0"] {
        disk.create(&path("a/b").join(name)).unwrap();
    }
    assert_eq!(disk.list(path("a/b")).unwrap(), ["0", "c", "m", "z"]);
    assert_eq!(disk.list(path("")).unwrap(), ["a"]);
    assert_eq!(disk.list(path("none")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.list(path("a/b/z")).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(disk.create_dir_all(path("a/b/z")).unwrap_err().kind(), ErrorKind::AlreadyExists);
}

fn a_directory_is_removed_with_all_below_it(disk: &dyn Disk) {
    disk.create_dir_all(path("a/b")).unwrap();
    disk.create(path("a/f")).unwrap();
    disk.create(path("a/b/g")).unwrap();
    disk.remove_dir_all(path("a")).unwrap();
    disk.sync_dir(path("")).unwrap();
    assert!(disk.list(path("")).unwrap().is_empty());
    assert_eq!(disk.remove_dir_all(path("a")).unwrap_err().kind(), ErrorKind::NotFound);
    disk.create_dir_all(path("a")).unwrap();
    assert!(disk.list(path("a")).unwrap().is_empty());
}

fn paths_that_leave_the_root_are_refused(disk: &dyn Disk) {
    let long = "x".repeat(256);
    for bad in ["/etc/passwd", "../f", "a/../../f", &long] {
        assert_eq!(disk.create(path(bad)).err().unwrap().kind(), ErrorKind::InvalidInput, "{bad}");
        assert_eq!(disk.exists(path(bad)).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
    }
}

fn a_mapping_reaches_beyond_the_end_and_sees_later_writes(disk: &dyn Disk) {
    let file = disk.create(path("f")).unwrap();
    let mapping = file.map(1 << 20).unwrap();
    assert_eq!(mapping.len(), 1 << 20);
    assert!(mapping.clone().slice(5..5).is_empty());
    file.allocate(1 << 20).unwrap();
    write(&file, &[1; 5000], 0);
    assert_eq!(&mapping.clone().slice(4000..5000)[..], &[1; 1000]);
    write(&file, &[2; 5000], 5000);
    mapping.populate(0..10_000).unwrap();
    mapping.populate(7..7).unwrap();
    assert_eq!(&mapping.slice(4999..5001)[..], &[1, 2]);
}

fn a_slice_outlives_its_file_and_its_mapping(disk: &dyn Disk) {
    let file = disk.create(path("f")).unwrap();
    write(&file, b"high water", 0);
    let mapping = file.map(4096).unwrap();
    let slice = mapping.clone().slice(5..10);
    drop((file, mapping));
    let part = slice.slice(0..2);
    disk.remove_file(path("f")).unwrap();
    assert_eq!(&slice[..], b"water");
    assert_eq!(&part[..], b"wa");
}

fn a_slice_outside_the_mapping_panics(disk: &dyn Disk) {
    let file = disk.create(path("f")).unwrap();
    write(&file, &[1; 8192], 0);
    let mapping = file.map(4096).unwrap();
    let outside = std::panic::AssertUnwindSafe(|| mapping.slice(4000..4097));
    assert!(std::panic::catch_unwind(outside).is_err());
}

fn a_page_beyond_the_end_is_an_error_of_populate(disk: &dyn Disk) {
    let file = disk.create(path("f")).unwrap();
    write(&file, &[1; 4096], 0);
    let mapping = file.map(1 << 16).unwrap();
    mapping.populate(0..4096).unwrap();
    let error = mapping.populate(0..8192).unwrap_err();
    assert!(highwater_storage::disk::is_device_failure(&error), "{error}");
}

fn files_in_missing_directories_are_not_found(disk: &dyn Disk) {
    assert_eq!(disk.create(path("d/f")).err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(disk.open(path("d/f")).err().unwrap().kind(), ErrorKind::NotFound);
    assert!(!disk.exists(path("d/f")).unwrap());
    assert_eq!(disk.sync_dir(path("d")).unwrap_err().kind(), ErrorKind::NotFound);
}

fn a_sync_of_all_that_can_be_synced_succeeds(disk: &dyn Disk) {
    disk.create_dir_all(path("d")).unwrap();
    let file = disk.create(path("d/f")).unwrap();
    write(&file, b"abc", 0);
    file.sync_data().unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(path("d")).unwrap();
    disk.sync_dir(path("")).unwrap();
    assert!(disk.free_bytes().unwrap() > 0);
}

fn the_boot_id_stays_the_same(disk: &dyn Disk) {
    let id = disk.boot_id().unwrap();
    assert!(!id.is_empty() && !id.contains(char::is_whitespace));
    assert_eq!(disk.boot_id().unwrap(), id);
}

fn errors_name_the_operation_and_the_path(disk: &dyn Disk) {
    disk.create_dir_all(path("d")).unwrap();
    let message = disk.open(path("d/missing")).err().unwrap().to_string();
    assert!(message.starts_with("cannot open d/missing: "), "{message}");
    let file = disk.create(path("d/short")).unwrap();
    let message = file.read_exact_at(&mut [0], 0).unwrap_err().to_string();
    assert!(message.starts_with("cannot read d/short: "), "{message}");
}
