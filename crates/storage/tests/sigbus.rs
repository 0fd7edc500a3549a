//! A page that cannot be read under a mapping ends the process with a name for it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use highwater_storage::disk::{Disk, RealDisk, sigbus};
use highwater_types::exit_code::DISK_FAILED;

const ROOT: &str = "HIGHWATER_TEST_SIGBUS_ROOT";
const MAKES_MARKERS: &str = "HIGHWATER_TEST_SIGBUS_MARKERS";
const SEGMENT: &str = "topics/0b5f-0/00000000000000000000.log";

/// Runs the test `child` of this binary in a process of its own.
fn run_child(root: &Path, makes_markers: bool) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(ROOT, root);
    if makes_markers {
        command.env(MAKES_MARKERS, "1");
    }
    command.output().unwrap()
}

/// Does nothing unless it is run as a child: then it reads a mapped file that was cut behind its back.
#[test]
fn child() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let root = PathBuf::from(root);
    let disk = RealDisk::new(root.clone());
    if std::env::var_os(MAKES_MARKERS).is_some() {
        disk.mark_unreadable_segments(Path::new("quarantine")).unwrap();
    }
    disk.create_dir_all(Path::new(SEGMENT).parent().unwrap()).unwrap();
    let file = disk.create(Path::new(SEGMENT)).unwrap();
    file.write_all_at(&mut [IoSlice::new(&[7; 3 * 4096])], 0).unwrap();
    let mapping = file.map(1 << 20).unwrap();
    let slice = mapping.slice(0..3 * 4096);
    assert_eq!(slice[9000], 7);
    std::fs::OpenOptions::new().write(true).open(root.join(SEGMENT)).unwrap().set_len(100).unwrap();
    let sum: u32 = slice.iter().map(|byte| u32::from(*byte)).sum();
    unreachable!("read {sum} from a page that is gone");
}

#[test]
fn an_unreadable_mapped_page_ends_the_process_with_a_named_code_and_marks_the_segment() {
    let root = tempfile::tempdir().unwrap();
    let output = run_child(root.path(), true);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(DISK_FAILED), "{stderr}");
    let line = format!("segment file {SEGMENT} cannot be read at byte 4096;");
    assert!(stderr.contains(&line), "{stderr}");
    let markers = RealDisk::new(root.path().to_path_buf()).list(Path::new("quarantine")).unwrap();
    assert_eq!(markers, [sigbus::marker_name(Path::new(SEGMENT))]);
    assert_eq!(sigbus::marked_path(&markers[0]), Path::new(SEGMENT));
}

#[test]
fn without_the_handler_the_signal_keeps_its_own_meaning() {
    let root = tempfile::tempdir().unwrap();
    let output = run_child(root.path(), false);
    assert_eq!(output.status.code(), None, "killed by the signal");
    assert!(!root.path().join("quarantine").exists());
}
