//! The data directory on the machine's disk and on the simulated one: born, opened again, refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::IoSlice;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use highwater_storage::directory::{
    DataDirectory, DirectoryError, DirectoryOptions, Identity, Shutdown, layout,
};
use highwater_storage::disk::{Disk, RealDisk, SimDisk, sigbus};
use highwater_types::{Clock, ClusterId, NodeId, Random, TimestampMs};

const ROOT: &str = "HIGHWATER_TEST_DIRECTORY_ROOT";
const NODE: NodeId = NodeId(1);

/// Counts, so that each drawing differs and each run is the same.
#[derive(Default)]
struct Counter(AtomicU64);

impl Random for Counter {
    fn fill(&self, out: &mut [u8]) {
        out.fill(1 + self.0.fetch_add(1, Ordering::Relaxed) as u8);
    }
}

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> TimestampMs {
        TimestampMs(1_760_000_000_000)
    }
}

fn options() -> DirectoryOptions {
    DirectoryOptions::new(NODE, None)
}

fn open(root: &Path) -> Result<DataDirectory, DirectoryError> {
    DataDirectory::open(root, &options(), &FixedClock, &Counter::default())
}

/// Opens as a process of its own would.
fn open_simulated(disk: &SimDisk) -> Result<DataDirectory, DirectoryError> {
    DataDirectory::open_on(
        Arc::new(disk.for_process()),
        Path::new("sim"),
        &options(),
        &FixedClock,
        &Counter::default(),
    )
}

/// All files below a directory with their bytes.
fn contents(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn a_missing_directory_is_born_and_opened_again_with_the_same_identity() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("not/yet/there");
    let born = open(&root).unwrap();
    let identity = born.identity();
    assert_eq!((born.is_new(), born.shutdown()), (true, Shutdown::Clean));
    assert_eq!((identity.node, identity.created), (NODE, FixedClock.now()));
    for name in layout::SKELETON {
        assert!(root.join(name).is_dir(), "{name}");
    }
    drop(born);
    let again = open(&root).unwrap();
    assert_eq!((again.identity(), again.is_new()), (identity, false));
}

#[test]
fn an_emptied_directory_comes_back_as_another_incarnation() {
    let root = tempfile::tempdir().unwrap();
    let random = Counter::default();
    let open = || DataDirectory::open(root.path(), &options(), &FixedClock, &random).unwrap().identity();
    let first = open();
    for name in fs::read_dir(root.path()).unwrap() {
        let path = name.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    let second = open();
    assert_ne!(first.incarnation, second.incarnation);
    assert_ne!(first.cluster, second.cluster);
}

#[test]
fn the_identity_can_be_read_while_the_directory_is_in_use() {
    let root = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(root.path().to_path_buf());
    assert_eq!(Identity::read(&disk, root.path()).unwrap(), None);
    let directory = open(root.path()).unwrap();
    assert_eq!(Identity::read(&disk, root.path()).unwrap(), Some(directory.identity()));
}

#[test]
fn a_foreign_directory_is_refused_and_not_touched() {
    let root = tempfile::tempdir().unwrap();
    for name in ["notes.txt", "a", "b", "c"] {
        fs::write(root.path().join(name), "mine").unwrap();
    }
    let before = contents(root.path());
    let error = open(root.path()).unwrap_err();
    assert!(matches!(error, DirectoryError::Foreign { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("it holds a, b, c and 1 more"), "{message}");
    assert_eq!(contents(root.path()), before);
}

#[test]
fn a_file_in_place_of_the_directory_or_of_a_part_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "mine").unwrap();
    let error = open(&file).unwrap_err();
    assert!(matches!(error, DirectoryError::NotADirectory { .. }), "{error}");
    let directory = root.path().join("directory");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join(layout::JOURNAL), "mine").unwrap();
    let error = open(&directory).unwrap_err();
    assert!(matches!(error, DirectoryError::Foreign { .. }), "{error}");
}

#[test]
fn the_root_of_a_fresh_file_system_counts_as_empty() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("lost+found")).unwrap();
    assert!(open(root.path()).unwrap().is_new());
}

#[test]
fn data_without_an_identity_is_never_born_over() {
    for lost in [layout::JOURNAL, layout::CHECKPOINT, layout::TOPICS] {
        let root = tempfile::tempdir().unwrap();
        drop(open(root.path()).unwrap());
        fs::remove_file(root.path().join(layout::IDENTITY)).unwrap();
        fs::remove_file(root.path().join(layout::BOOT)).unwrap();
        fs::write(root.path().join(lost).join("1"), "data").unwrap();
        let before = contents(root.path());
        let error = open(root.path()).unwrap_err();
        assert!(matches!(error, DirectoryError::IdentityMissing { .. }), "{error}");
        assert!(error.to_string().contains(&format!("{lost}/1")), "{error}");
        assert_eq!(contents(root.path()), before);
    }
}

#[test]
fn a_directory_that_lost_a_part_is_refused() {
    for lost in layout::SKELETON {
        let root = tempfile::tempdir().unwrap();
        drop(open(root.path()).unwrap());
        fs::remove_dir(root.path().join(lost)).unwrap();
        let error = open(root.path()).unwrap_err();
        assert!(matches!(&error, DirectoryError::Incomplete { missing, .. } if *missing == lost), "{error}");
        assert!(!root.path().join(lost).exists());
    }
}

/// Replaces the identity by the same with one line changed, and sealed again.
fn rewrite_identity(root: &Path, from: &str, to: &str) {
    let path = root.join(layout::IDENTITY);
    let text = fs::read_to_string(&path).unwrap();
    let (body, _) = text.split_once("crc32c").unwrap();
    assert!(body.contains(from));
    let body = body.replace(from, to);
    let seal = crc32c::crc32c(body.as_bytes());
    fs::write(path, format!("{body}crc32c {seal:08x}\n")).unwrap();
}

#[test]
fn a_newer_format_is_refused_with_both_versions_named() {
    let root = tempfile::tempdir().unwrap();
    drop(open(root.path()).unwrap());
    rewrite_identity(root.path(), "format 1\n", "format 7\nshape unheard-of\n");
    let error = open(root.path()).unwrap_err();
    assert!(matches!(error, DirectoryError::NewerFormat { found: 7, supported: 1, .. }), "{error}");
    assert!(error.to_string().contains("format version 7") && error.to_string().contains("up to 1"), "{error}");
}

#[test]
fn a_damaged_identity_is_refused_at_every_bit_and_every_length() {
    let root = tempfile::tempdir().unwrap();
    drop(open(root.path()).unwrap());
    let path = root.path().join(layout::IDENTITY);
    let whole = fs::read(&path).unwrap();
    let flips = (0..whole.len()).map(|position| {
        let mut damaged = whole.clone();
        damaged[position] ^= 1 << (position % 8);
        damaged
    });
    let cuts = (0..whole.len()).map(|length| whole[..length].to_vec());
    let long = std::iter::once(vec![b'x'; 1 << 20]);
    for damaged in flips.chain(cuts).chain(long) {
        fs::write(&path, &damaged).unwrap();
        let error = open(root.path()).unwrap_err();
        assert!(matches!(error, DirectoryError::IdentityDamaged { .. }), "{error}");
    }
    rewrite_identity_to_nonsense(root.path(), &whole);
    let error = open(root.path()).unwrap_err();
    assert!(matches!(error, DirectoryError::IdentityDamaged { .. }), "{error}");
}

/// A whole seal around a line that cannot be read.
fn rewrite_identity_to_nonsense(root: &Path, whole: &[u8]) {
    fs::write(root.join(layout::IDENTITY), whole).unwrap();
    rewrite_identity(root, "node 1\n", "node one\n");
}

#[test]
fn another_nodes_or_clusters_directory_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let cluster = open(root.path()).unwrap().identity().cluster;
    let open_as = |node, cluster| {
        DataDirectory::open(
            root.path(),
            &DirectoryOptions::new(node, cluster),
            &FixedClock,
            &Counter::default(),
        )
    };
    let error = open_as(NodeId(2), None).unwrap_err();
    assert!(matches!(error, DirectoryError::OtherNode { expected: NodeId(2), found: NODE, .. }), "{error}");
    let random = Counter(AtomicU64::new(100));
    let other = ClusterId::draw(&random);
    let error = open_as(NODE, Some(other)).unwrap_err();
    assert!(matches!(error, DirectoryError::OtherCluster { .. }), "{error}");
    assert!(error.to_string().contains(&other.to_string()) && error.to_string().contains(&cluster.to_string()));
    open_as(NODE, Some(cluster)).unwrap();
}

#[test]
fn a_second_opening_in_the_same_process_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let first = open(root.path()).unwrap();
    let error = open(root.path()).unwrap_err();
    assert!(matches!(error, DirectoryError::Locked { pid, .. } if pid == Some(std::process::id())), "{error}");
    drop(first);
    open(root.path()).unwrap();
}

/// Does nothing unless it is run as a child: then it holds the directory until it is killed.
#[test]
fn child() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let _directory = open(Path::new(&root)).unwrap();
    println!("holding");
    // Ends when the parent closes the pipe, so that no child outlives a failed test.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

/// A process that holds the directory when this returns.
fn spawn_holder(root: &Path) -> Child {
    use std::io::BufRead;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(ROOT, root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|line| line.unwrap());
    assert!(lines.any(|line| line.ends_with("holding")), "the child did not open the directory");
    child
}

#[test]
fn a_second_process_is_refused_until_the_first_is_killed_and_then_told_how_it_ended() {
    let root = tempfile::tempdir().unwrap();
    let mut holder = spawn_holder(root.path());
    let error = open(root.path()).unwrap_err();
    assert!(matches!(error, DirectoryError::Locked { pid, .. } if pid == Some(holder.id())), "{error}");
    let message = error.to_string();
    assert!(message.contains(&root.path().display().to_string()), "{message}");
    assert!(message.contains(&format!("process {}", holder.id())), "{message}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(open(root.path()).unwrap().shutdown(), Shutdown::ProcessDied);
}

/// Runs on a thread that is nobody, should the tests run as root, whom no permission stops.
fn as_nobody<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    let run = || {
        if rustix::process::geteuid().is_root() {
            let nobody = rustix::process::Uid::from_raw(65534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        run()
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_read_only_directory_is_refused_with_what_to_do_but_can_be_read() {
    let parent = tempfile::tempdir().unwrap();
    set_mode(parent.path(), 0o755);
    let empty = parent.path().join("empty");
    let used = parent.path().join("used");
    fs::create_dir(&empty).unwrap();
    let identity = open(&used).unwrap().identity();
    set_mode(&used.join(layout::IDENTITY), 0o444);
    set_mode(&used.join(layout::LOCK), 0o444);
    for directory in [&empty, &used] {
        set_mode(directory, 0o555);
        let error = as_nobody(|| open(directory)).unwrap_err();
        assert!(matches!(error, DirectoryError::NotWritable { .. }), "{error}");
        assert!(error.to_string().contains("write permission"), "{error}");
    }
    let disk = RealDisk::new(used.clone());
    let read = as_nobody(|| Identity::read(&disk, &used));
    assert_eq!(read.unwrap(), Some(identity));
    let below = as_nobody(|| open(&empty.join("below"))).unwrap_err();
    assert!(matches!(below, DirectoryError::NotWritable { .. }), "{below}");
    set_mode(&used, 0o755);
}

#[test]
fn the_end_of_the_last_process_is_reported() {
    let disk = SimDisk::new(1);
    let directory = open_simulated(&disk).unwrap();
    assert_eq!(directory.shutdown(), Shutdown::Clean);
    disk.kill();
    assert_eq!(open_simulated(&disk).unwrap().shutdown(), Shutdown::ProcessDied);
    disk.kill();
    let directory = open_simulated(&disk).unwrap();
    assert_eq!(directory.shutdown(), Shutdown::ProcessDied);
    directory.mark_clean().unwrap();
    disk.crash();
    assert_eq!(open_simulated(&disk).unwrap().shutdown(), Shutdown::Clean);
    disk.crash();
    assert_eq!(open_simulated(&disk).unwrap().shutdown(), Shutdown::PowerLost);
}

#[test]
fn a_lost_power_is_reported_until_recovery_has_finished() {
    let disk = SimDisk::new(1);
    open_simulated(&disk).unwrap();
    disk.crash();
    for _ in 0..3 {
        assert_eq!(open_simulated(&disk).unwrap().shutdown(), Shutdown::PowerLost);
        disk.kill();
    }
    open_simulated(&disk).unwrap().mark_recovered().unwrap();
    disk.kill();
    assert_eq!(open_simulated(&disk).unwrap().shutdown(), Shutdown::ProcessDied);
}

#[test]
fn a_missing_or_damaged_boot_record_counts_as_a_lost_power() {
    let disk = SimDisk::new(1);
    open_simulated(&disk).unwrap().mark_clean().unwrap();
    disk.flip_bit(layout::BOOT, 20, 1).unwrap();
    assert_eq!(open_simulated(&disk).unwrap().shutdown(), Shutdown::PowerLost);
    open_simulated(&disk).unwrap().mark_clean().unwrap();
    disk.remove_file(Path::new(layout::BOOT)).unwrap();
    assert_eq!(open_simulated(&disk).unwrap().shutdown(), Shutdown::PowerLost);
}

#[test]
fn a_birth_cut_short_at_any_operation_is_finished_at_the_next_start() {
    let operations = {
        let disk = SimDisk::new(0);
        open_simulated(&disk).unwrap();
        disk.op_count()
    };
    let (mut redone, mut kept) = (0, 0);
    for seed in 0..40 {
        for cut in 0..operations {
            let disk = SimDisk::new(seed);
            disk.crash_after_ops(cut);
            open_simulated(&disk).unwrap_err();
            disk.crash();
            let survived = Identity::read(&disk, Path::new("sim"))
                .unwrap_or_else(|error| panic!("seed {seed}, cut after {cut}: {error}"));
            let directory =
                open_simulated(&disk).unwrap_or_else(|error| panic!("seed {seed}, cut after {cut}: {error}"));
            match survived {
                Some(identity) => {
                    assert_eq!(directory.identity(), identity, "seed {seed}, cut after {cut}");
                    kept += 1;
                }
                None => redone += 1,
            }
            disk.crash();
            let again = open_simulated(&disk).unwrap();
            assert_eq!(again.identity(), directory.identity(), "seed {seed}, cut after {cut}");
        }
    }
    assert!(redone > 0 && kept > 0, "{redone} redone, {kept} kept");
}

#[test]
fn a_start_cut_short_at_any_operation_never_hides_that_the_power_was_lost() {
    for seed in 0..40 {
        for cut in 0..10 {
            let disk = SimDisk::new(seed);
            open_simulated(&disk).unwrap();
            disk.crash();
            disk.crash_after_ops(cut);
            if let Ok(directory) = open_simulated(&disk) {
                assert_eq!(directory.shutdown(), Shutdown::PowerLost, "seed {seed}, cut after {cut}");
            }
            disk.crash();
            let shutdown = open_simulated(&disk).unwrap().shutdown();
            assert_eq!(shutdown, Shutdown::PowerLost, "seed {seed}, cut after {cut}");
        }
    }
}

#[test]
fn a_birth_on_a_full_disk_fails_and_succeeds_once_there_is_room() {
    let disk = SimDisk::new(1);
    disk.set_capacity(Some(0));
    let error = open_simulated(&disk).unwrap_err();
    assert!(
        matches!(&error, DirectoryError::Io { source, .. } if highwater_storage::disk::is_no_space(source)),
        "{error}"
    );
    disk.set_capacity(None);
    assert!(open_simulated(&disk).unwrap().is_new());
}

#[test]
fn a_failed_sync_during_birth_is_an_error_and_the_next_start_finishes_it() {
    for nth in 1..=8 {
        let disk = SimDisk::new(nth);
        disk.fail_sync(nth);
        let _ = open_simulated(&disk);
        disk.crash();
        disk.clear_faults();
        open_simulated(&disk).unwrap_or_else(|error| panic!("sync {nth}: {error}"));
    }
}

#[test]
fn unreadable_files_are_listed_until_they_are_cleared() {
    let disk = SimDisk::new(1);
    let directory = open_simulated(&disk).unwrap();
    assert!(directory.unreadable_files().unwrap().is_empty());
    let segment = Path::new("topics/a-0/1.log");
    let marker = Path::new(layout::QUARANTINE).join(sigbus::marker_name(segment));
    disk.create(&marker).unwrap().write_all_at(&mut [IoSlice::new(b"")], 0).unwrap();
    assert_eq!(directory.unreadable_files().unwrap(), [segment]);
    directory.clear_unreadable(segment).unwrap();
    assert!(directory.unreadable_files().unwrap().is_empty());
}

#[test]
fn a_node_born_by_command_remembers_whom_to_ask_and_is_a_founder_only_when_it_was_told_so() {
    for founds in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let cluster = ClusterId::draw(&Counter(AtomicU64::new(40)));
        let ask = vec!["a.example.com:7400".to_owned(), "b:1".to_owned()];
        let ordered =
            DirectoryOptions { founds, ask: ask.clone(), ..DirectoryOptions::new(NODE, Some(cluster)) };
        drop(DataDirectory::open(root.path(), &ordered, &FixedClock, &Counter::default()).unwrap());
        let again = open(root.path()).unwrap();
        assert_eq!((again.identity().cluster, again.identity().founder), (cluster, founds));
        assert_eq!(again.whom_to_ask(), ask);
    }
}

#[test]
fn a_half_recovered_directory_is_refused_until_the_recovery_is_finished() {
    let root = tempfile::tempdir().unwrap();
    let mut directory = open(root.path()).unwrap();
    let was = directory.identity().cluster;
    let [first, second] = [50, 60].map(|start| ClusterId::draw(&Counter(AtomicU64::new(start))));
    directory.begin_recovery(first, TimestampMs(1)).unwrap();
    drop(directory);
    let error = open(root.path()).unwrap_err();
    assert!(matches!(error, DirectoryError::RecoveryCutShort { .. }), "{error}");

    let again = DirectoryOptions { recovers: true, ..options() };
    let mut directory = DataDirectory::open(root.path(), &again, &FixedClock, &Counter::default()).unwrap();
    let record = directory.begin_recovery(second, TimestampMs(2)).unwrap();
    assert_eq!((record.cluster, record.was), (first, vec![was]), "it keeps the id that it began with");
    directory.finish_recovery().unwrap();
    drop(directory);
    let directory = open(root.path()).unwrap();
    assert_eq!(directory.identity().cluster, first);
    assert!(directory.recovery().unwrap().is_finished);
}

/// A directory with something in all that a new life sets aside, durably.
fn lived_in(seed: u64) -> (SimDisk, Identity) {
    let disk = SimDisk::new(seed);
    let identity = open_simulated(&disk).unwrap().identity();
    for name in [layout::JOURNAL, layout::CHECKPOINT, layout::TOPICS] {
        let file = disk.create(&Path::new(name).join("old")).unwrap();
        file.write_all_at(&mut [IoSlice::new(name.as_bytes())], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new(name)).unwrap();
    }
    (disk, identity)
}

#[test]
fn a_new_life_that_is_cut_short_at_any_operation_never_mixes_the_old_data_with_the_new() {
    let begin = |disk: &SimDisk| {
        let mut directory = open_simulated(disk)?;
        Ok::<_, DirectoryError>(
            directory.begin_anew(&FixedClock, &Counter::default()).map(|aside| (directory, aside)),
        )
    };
    let (disk, old) = lived_in(0);
    let before = disk.op_count();
    let (directory, aside) = begin(&disk).unwrap().unwrap();
    assert_ne!(directory.identity().incarnation, old.incarnation);
    assert!(!directory.identity().founder);
    let operations = disk.op_count() - before;
    let (mut kept, mut renewed) = (0, 0);
    for seed in 0..20 {
        for cut in 0..operations {
            let (disk, old) = lived_in(seed);
            disk.crash_after_ops(cut);
            assert!(!begin(&disk).is_ok_and(|begun| begun.is_ok()), "seed {seed}, cut after {cut}");
            disk.crash();
            let directory =
                open_simulated(&disk).unwrap_or_else(|error| panic!("seed {seed}, cut after {cut}: {error}"));
            let is_old = directory.identity().incarnation == old.incarnation;
            for name in [layout::JOURNAL, layout::CHECKPOINT, layout::TOPICS] {
                let (here, there) = (Path::new(name).join("old"), aside.join(name).join("old"));
                let found = [disk.exists(&here).unwrap(), disk.exists(&there).unwrap()];
                assert_eq!(found, [is_old, !is_old], "seed {seed}, cut after {cut}: {name}");
            }
            assert_eq!(directory.identity().replaces, None, "seed {seed}, cut after {cut}");
            *if is_old { &mut kept } else { &mut renewed } += 1;
        }
    }
    assert!(kept > 0 && renewed > 0, "{kept} kept, {renewed} renewed");
}

#[test]
fn what_was_set_aside_may_be_deleted_in_part_without_costing_the_new_life_anything() {
    let (disk, _) = lived_in(0);
    let mut directory = open_simulated(&disk).unwrap();
    let aside = directory.begin_anew(&FixedClock, &Counter::default()).unwrap();
    let identity = directory.identity();
    let journal = Path::new(layout::JOURNAL).join("new");
    disk.create(&journal).unwrap().sync_data().unwrap();
    disk.sync_dir(Path::new(layout::JOURNAL)).unwrap();
    disk.remove_dir_all(&aside.join(layout::JOURNAL)).unwrap();
    drop(directory);
    let directory = open_simulated(&disk).unwrap();
    assert_eq!(directory.identity(), identity);
    assert!(disk.exists(&journal).unwrap());
    assert!(directory.unreadable_files().unwrap().is_empty(), "what was set aside is no mark");
}
