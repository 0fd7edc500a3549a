//! A follower that is given a leader's state, and the files that this state lies in: the power goes at every operation of the
//! disk, every byte is damaged, and what is opened afterwards is the log before the jump, the log after it, or says what is wrong.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it saw")]

mod support;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use highwater_storage::disk::{Disk, SimDisk};
use highwater_storage::{
    Durability, Entry, GroupLog, GroupOptions, GroupSnapshot, LogId, NewPayload, Payload, Store, layout,
};
use highwater_types::{GroupId, Offset, RaftIndex};

use support::*;

const GROUP: u32 = 1;
/// Entries of the leader's log.
const ENTRIES: u64 = 60;

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn options_of(id: GroupId) -> GroupOptions {
    match id {
        GroupId::Metadata => GroupOptions { durability: Durability::Fsync, segments: None },
        GroupId::Partition(_) => group_options(Durability::Fsync, 4096),
    }
}

fn create(store: &Arc<Store>, id: GroupId) -> Arc<GroupLog> {
    let log = store.create_group(id, options_of(id)).unwrap();
    log.install(Box::new(Chain::default())).unwrap();
    log
}

/// The entry at `index` of the one log that leader and follower share.
fn payload(id: GroupId, random: &Seeded, index: u64) -> NewPayload {
    match (id, index % 7) {
        (_, 3) => NewPayload::Ready(Payload::Membership(Bytes::from(format!("members at {index}")))),
        (GroupId::Partition(_), 0..6) => NewPayload::Proposed(batch(random, 700)),
        _ => NewPayload::Ready(Payload::Control(Bytes::from(format!("command {index}")))),
    }
}

/// A leader's log, of which the start is purged, and its state there.
struct Leader {
    entries: Vec<Entry>,
    seen: Seen,
    snapshot: Bytes,
    point: GroupSnapshot,
}

async fn lead(id: GroupId) -> Leader {
    let (disk, random) = (SimDisk::new(70), Seeded::new(70));
    let store = open(disk.for_process(), &random).unwrap();
    let log = create(&store, id);
    save_vote(&log, 1).await.unwrap();
    for index in 0..ENTRIES {
        append(&log, vec![new_entry(1, index, payload(id, &random, index))]).await.unwrap();
    }
    apply_to(&log, ENTRIES - 1).unwrap();
    let entries = log.entries(RaftIndex(0), RaftIndex(ENTRIES), usize::MAX).unwrap();
    let start = Offset(log.watermarks().high_watermark().0 * 2 / 3);
    let control = Payload::Control(Bytes::copy_from_slice(&start.0.to_le_bytes()));
    append(&log, vec![new_entry(1, ENTRIES, NewPayload::Ready(control))]).await.unwrap();
    apply_to(&log, ENTRIES).unwrap();
    let last = log.entry(RaftIndex(ENTRIES)).unwrap();
    let before = log.snapshot();
    store.checkpoint().await.unwrap();
    let built = log.build_snapshot().await;
    if let Some(point) = log.purge_point() {
        log.purge(point).unwrap();
        assert_eq!(built.as_ref().unwrap().last, point);
    }
    let current = log.current_snapshot().await.unwrap();
    assert_eq!(log.snapshot(), before);
    let point = GroupSnapshot::decode(&current.bytes).unwrap();
    assert_eq!((current.last, built.unwrap().bytes), (point.last, current.bytes.clone()));
    // It is the state as of its entry, with the membership then, not as of now.
    let upto = usize::try_from(point.last.index.0 + 1).unwrap();
    let mut chain = Chain::default();
    entries.iter().chain([&last]).take(upto).for_each(|entry| chain.take(&payload_bytes(&entry.payload)));
    assert_eq!(Chain::decode(&point.state), Some(chain));
    let members = entries[..upto.min(entries.len())]
        .iter()
        .rfind(|entry| matches!(entry.payload, Payload::Membership(_)));
    assert_eq!(point.membership.as_ref().map(|entry| entry.id), members.map(|entry| entry.id));
    let seen = look(&log);
    Leader { entries: entries.into_iter().chain([last]).collect(), seen, snapshot: current.bytes, point }
}

fn as_new(entries: &[Entry]) -> Vec<highwater_storage::NewEntry> {
    let new = |entry: &Entry| highwater_storage::NewEntry {
        id: entry.id,
        payload: NewPayload::Ready(entry.payload.clone()),
    };
    entries.iter().map(new).collect()
}

/// How far the follower is.
#[derive(Debug, Clone, Copy)]
struct Behind {
    stored: usize,
    applied: usize,
    checkpointed: bool,
}

/// A follower that is behind.
async fn follow(store: &Arc<Store>, id: GroupId, leader: &Leader, behind: Behind) -> Result<(), String> {
    let log = store.group(id).unwrap();
    save_vote(&log, 1).await?;
    append(&log, as_new(&leader.entries[..behind.stored])).await?;
    if let Some(last) = behind.applied.checked_sub(1) {
        apply_to(&log, last as u64)?;
    }
    if behind.checkpointed {
        store.checkpoint().await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The follower gets the state, and the leader's log from there on.
async fn catch_up(store: &Arc<Store>, id: GroupId, leader: &Leader) -> Result<(), String> {
    let log = store.group(id).unwrap();
    log.install_snapshot(leader.snapshot.clone()).await.map_err(|error| error.to_string())?;
    let next = log.bounds().1.map_or(0, |last| last.index.0 + 1);
    append(&log, as_new(&leader.entries[usize::try_from(next).unwrap()..])).await?;
    apply_to(&log, ENTRIES)?;
    store.checkpoint().await.map_err(|error| error.to_string())?;
    store.checkpoint().await.map_err(|error| error.to_string())
}

/// What the leader has above the state that it sends.
fn expected_of(leader: &Leader) -> Vec<(LogId, Bytes)> {
    let above = leader.entries.iter().filter(|entry| entry.id > leader.point.last);
    above.map(|entry| (entry.id, payload_bytes(&entry.payload))).collect()
}

fn check_caught_up(log: &Arc<GroupLog>, leader: &Leader, what: &str) {
    let seen = look(log);
    assert_eq!(seen.quarantine, None, "{what}");
    assert_eq!((seen.applied, &seen.state), (leader.seen.applied, &leader.seen.state), "{what}");
    assert_eq!((seen.log_start, seen.log_end), (leader.seen.log_start, leader.seen.log_end), "{what}");
    let above: Vec<_> = seen.entries.into_iter().filter(|(id, _)| *id > leader.point.last).collect();
    assert_eq!(above, expected_of(leader), "{what}");
}

fn files_in(disk: &SimDisk, id: GroupId, extension: &str) -> Vec<String> {
    let directory = layout::group_directory(id);
    disk.files()
        .into_iter()
        .filter(|name| Path::new(name).starts_with(&directory) && name.ends_with(extension))
        .collect()
}

const DISTANCES: [Behind; 6] = [
    Behind { stored: 1, applied: 0, checkpointed: false },
    Behind { stored: 12, applied: 9, checkpointed: false },
    Behind { stored: 12, applied: 12, checkpointed: true },
    Behind { stored: 20, applied: 14, checkpointed: true },
    // It has entries after the state's last that were not known to be committed.
    Behind { stored: 58, applied: 10, checkpointed: true },
    Behind { stored: 58, applied: 10, checkpointed: false },
];

/// Runs a follower's whole story with the power going after `operations`; `None` when it was over before.
async fn cut_after(id: GroupId, leader: &Leader, behind: Behind, operations: u64) -> Option<()> {
    let what = format!("{id}, {behind:?}, {operations} operations");
    let (disk, random) = (SimDisk::new(operations), Seeded::new(operations));
    let store = open(disk.for_process(), &random).unwrap();
    create(&store, id);
    follow(&store, id, leader, behind).await.unwrap();
    let start = look(&store.group(id).unwrap());
    disk.crash_after_ops(operations);
    let mut is_jump_durable = false;
    if store.group(id).unwrap().install_snapshot(leader.snapshot.clone()).await.is_ok() {
        is_jump_durable = true;
        let done = catch_up(&store, id, leader).await;
        if done.is_ok() && !disk.is_power_cut() {
            check_caught_up(&store.group(id).unwrap(), leader, &what);
            return None;
        }
    }
    assert!(disk.is_power_cut(), "{what}");
    disk.crash();
    drop(store);
    let mut again = open(disk.for_process(), &random).unwrap();
    if random.chance(30) {
        // And once more.
        disk.crash();
        again = open(disk.for_process(), &random).unwrap();
    }
    let log = again.group(id).unwrap();
    let seen = look(&log);
    assert_eq!(seen.quarantine, None, "{what}");
    let has_jumped = seen.applied >= Some(leader.point.last);
    assert!(has_jumped || !is_jump_durable, "{what}: an install that was durable is lost");
    assert_eq!(seen.vote, Some(vote(1)), "{what}");
    if !has_jumped {
        assert_eq!((seen.last, &seen.entries), (start.last, &start.entries), "{what}: before the jump");
    }
    log.install(Box::new(Chain::default())).unwrap();
    catch_up(&again, id, leader).await.unwrap();
    check_caught_up(&log, leader, &what);
    disk.crash();
    drop((again, log));
    let last = open(disk.for_process(), &random).unwrap();
    check_caught_up(&last.group(id).unwrap(), leader, &what);
    // Nothing is left of what it jumped over.
    let boundaries = files_in(&disk, id, ".state");
    match id {
        GroupId::Metadata => assert_eq!(boundaries, Vec::<String>::new(), "{what}"),
        GroupId::Partition(_) => {
            let first = files_in(&disk, id, ".log").remove(0);
            assert!(first.ends_with(&format!("{:020}.log", leader.point.next_offset.0)), "{what}: {first}");
            assert!(!boundaries.is_empty(), "{what}");
        }
    }
    Some(())
}

#[test]
fn a_follower_whose_power_goes_at_any_operation_of_a_jump_has_jumped_or_not() {
    in_runtime(async {
        for id in [partition(GROUP), GroupId::Metadata] {
            let leader = lead(id).await;
            for behind in DISTANCES {
                let mut operations = 0;
                while cut_after(id, &leader, behind, operations).await.is_some() {
                    operations += 1;
                }
                assert!(operations > 20, "{operations} operations are no jump");
                println!("{id}, {behind:?}: the power went {operations} times");
            }
        }
    });
}

/// The frame of the jump is in the page cache only, where a start sees it; then the power goes during that start.
#[test]
fn a_jump_whose_sync_failed_costs_nothing_when_the_power_goes_during_the_next_start() {
    in_runtime(async {
        let id = partition(GROUP);
        let leader = lead(id).await;
        for behind in DISTANCES {
            for operations in 0.. {
                let what = format!("{behind:?}, {operations} operations");
                let (disk, random) = (SimDisk::new(operations), Seeded::new(operations));
                let store = open(disk.for_process(), &random).unwrap();
                let log = create(&store, id);
                follow(&store, id, &leader, behind).await.unwrap();
                let before = look(&log);
                for journal in disk.files().iter().filter(|name| name.ends_with(".journal")) {
                    disk.fail_sync_of(journal);
                }
                assert!(log.install_snapshot(leader.snapshot.clone()).await.is_err(), "{what}");
                disk.kill();
                disk.clear_faults();
                drop((store, log));
                disk.crash_after_ops(operations);
                let opened = open(disk.for_process(), &random);
                if !disk.is_power_cut() {
                    assert!(operations > 10, "{what}");
                    assert_eq!(look(&opened.unwrap().group(id).unwrap()).applied, Some(leader.point.last));
                    break;
                }
                disk.crash();
                drop(opened);
                let store = open(disk.for_process(), &random).unwrap();
                let log = store.group(id).unwrap();
                let seen = look(&log);
                assert_eq!(seen.quarantine, None, "{what}");
                if seen.applied < Some(leader.point.last) {
                    assert_eq!((seen.last, seen.entries), (before.last, before.entries), "{what}");
                }
                log.install(Box::new(Chain::default())).unwrap();
                catch_up(&store, id, &leader).await.unwrap();
                check_caught_up(&log, &leader, &what);
            }
        }
    });
}

#[test]
fn entries_after_the_state_stay_when_they_follow_it_and_go_when_they_do_not() {
    in_runtime(async {
        let id = partition(GROUP);
        let leader = lead(id).await;
        let (disk, random) = (SimDisk::new(5), Seeded::new(5));
        let store = open(disk.for_process(), &random).unwrap();
        let log = create(&store, id);
        follow(&store, id, &leader, DISTANCES[4]).await.unwrap();
        log.install_snapshot(leader.snapshot.clone()).await.unwrap();
        assert_eq!(log.bounds().1, Some(leader.entries[57].id));
        disk.crash();
        drop((store, log));
        let store = open(disk.for_process(), &random).unwrap();
        assert_eq!(store.group(id).unwrap().bounds().1, Some(leader.entries[57].id));

        // The same indexes, by a leader that nobody followed.
        let (disk, random) = (SimDisk::new(6), Seeded::new(6));
        let store = open(disk.for_process(), &random).unwrap();
        let log = create(&store, id);
        for index in 0..ENTRIES {
            append(&log, vec![new_entry(0, index, payload(id, &random, index))]).await.unwrap();
        }
        log.install_snapshot(leader.snapshot.clone()).await.unwrap();
        assert_eq!(log.bounds(), (Some(leader.point.last), Some(leader.point.last)));
        disk.crash();
        drop((store, log));
        let store = open(disk.for_process(), &random).unwrap();
        let log = store.group(id).unwrap();
        assert_eq!(log.bounds(), (Some(leader.point.last), Some(leader.point.last)));
        assert_eq!(log.watermarks().log_end(), leader.point.next_offset);
    });
}

#[test]
fn a_state_that_is_older_changes_nothing_and_one_that_contradicts_is_refused() {
    in_runtime(async {
        let id = partition(GROUP);
        let leader = lead(id).await;
        let (disk, random) = (SimDisk::new(7), Seeded::new(7));
        let store = open(disk.for_process(), &random).unwrap();
        let log = create(&store, id);
        follow(&store, id, &leader, Behind { stored: 30, applied: 30, checkpointed: false }).await.unwrap();
        let before = look(&log);
        let older = GroupSnapshot { last: leader.entries[20].id, membership: None, ..leader.point.clone() };
        log.install_snapshot(older.encode()).await.unwrap();
        let back = GroupSnapshot { next_offset: Offset(3), log_start: Offset(0), ..leader.point.clone() };
        assert!(log.install_snapshot(back.encode()).await.is_err());
        let unknown = GroupSnapshot { state: Bytes::from_static(b"no chain"), ..leader.point.clone() };
        assert!(log.install_snapshot(unknown.encode()).await.is_err());
        assert!(log.install_snapshot(leader.snapshot.slice(1..)).await.is_err());
        assert_eq!(look(&log), before);
        log.install_snapshot(leader.snapshot.clone()).await.unwrap();
        // What the core does after it.
        log.purge(leader.point.last).unwrap();
        assert_eq!(log.bounds().0, Some(leader.point.last));
    });
}

#[test]
fn a_jump_on_a_full_disk_changes_nothing_and_succeeds_once_there_is_room() {
    in_runtime(async {
        for id in [partition(GROUP), GroupId::Metadata] {
            let leader = lead(id).await;
            let (disk, random) = (SimDisk::new(13), Seeded::new(13));
            let store = open(disk.for_process(), &random).unwrap();
            let log = create(&store, id);
            follow(&store, id, &leader, DISTANCES[1]).await.unwrap();
            let before = look(&log);
            disk.set_capacity(Some(0));
            for _ in 0..2 {
                let error = log.install_snapshot(leader.snapshot.clone()).await.unwrap_err();
                assert!(error.is_no_space(), "{error}");
                assert_eq!(look(&log), before);
            }
            disk.set_capacity(None);
            catch_up(&store, id, &leader).await.unwrap();
            check_caught_up(&log, &leader, "with room");
        }
    });
}

#[test]
fn readers_keep_what_they_read_before_a_jump() {
    in_runtime(async {
        let id = partition(GROUP);
        let leader = lead(id).await;
        let (disk, random) = (SimDisk::new(8), Seeded::new(8));
        let store = open(disk.for_process(), &random).unwrap();
        let log = create(&store, id);
        follow(&store, id, &leader, Behind { stored: 12, applied: 12, checkpointed: true }).await.unwrap();
        let end = log.watermarks().high_watermark();
        let read = log.segments().unwrap().read(Offset(0), end, 1 << 20).unwrap();
        let copy: Vec<Bytes> = read.slices.iter().map(|slice| Bytes::copy_from_slice(slice)).collect();
        catch_up(&store, id, &leader).await.unwrap();
        assert_eq!(read.slices, copy);
    });
}

/// A follower that has jumped and was then killed: the frame is in the journal only.
async fn jumped(id: GroupId, leader: &Leader) -> SimDisk {
    let (disk, random) = (SimDisk::new(9), Seeded::new(9));
    let store = open(disk.for_process(), &random).unwrap();
    let log = create(&store, id);
    follow(&store, id, leader, DISTANCES[2]).await.unwrap();
    log.install_snapshot(leader.snapshot.clone()).await.unwrap();
    append(&log, as_new(&leader.entries[usize::try_from(leader.point.last.index.0 + 1).unwrap()..]))
        .await
        .unwrap();
    disk.kill();
    disk
}

#[test]
fn every_damaged_byte_of_a_state_that_only_the_journal_names_quarantines_its_group_and_no_other() {
    in_runtime(async {
        for id in [partition(GROUP), GroupId::Metadata] {
            let leader = lead(id).await;
            let disk = jumped(id, &leader).await;
            let name = files_in(&disk, id, ".state").pop().unwrap();
            let length = disk.read_cached(&name).unwrap().len() as u64;
            let places = (0..length).map(Some).chain([None]);
            for place in places {
                let disk = jumped(id, &leader).await;
                match place {
                    Some(at) => disk.flip_bit(&name, at, (at % 8) as u8).unwrap(),
                    None => disk.remove_file(Path::new(&name)).unwrap(),
                }
                let found = findings(&disk);
                for _ in 0..2 {
                    let store = open(disk.for_process(), &Seeded::new(1)).unwrap();
                    assert_eq!(store.quarantine(), None);
                    let log = store.group(id).unwrap();
                    let reason = log.quarantine().unwrap_or_else(|| panic!("byte {place:?} of {name}: whole?"));
                    assert!(reason.contains(".state"), "{reason}");
                    // What the checkpoint proves is there to be read.
                    let seen = look(&log);
                    assert_eq!(
                        seen.applied.map(|applied| applied.index.0),
                        Some(11),
                        "byte {place:?} of {name}"
                    );
                    assert_eq!(seen.vote, Some(vote(1)));
                    disk.kill();
                }
                assert!(found.iter().any(|finding| finding.contains(".state")), "{found:?}");
            }
        }
    });
}

/// What an offline look finds, beside the identity, which this directory was never given.
fn findings(disk: &SimDisk) -> Vec<String> {
    let identity = Path::new("identity");
    if !disk.exists(identity).unwrap() {
        disk.create(identity).unwrap();
    }
    let disk: Arc<dyn Disk> = Arc::new(disk.for_process());
    let found = highwater_storage::inspect::inspect(&disk, Path::new("data")).unwrap().findings;
    found.into_iter().filter(|finding| !finding.contains("identity")).collect()
}

#[test]
fn a_damaged_state_of_a_segment_is_found_by_an_inspection_and_the_log_is_cut_elsewhere() {
    in_runtime(async {
        let id = partition(GROUP);
        let (disk, random) = (SimDisk::new(11), Seeded::new(11));
        let store = open(disk.for_process(), &random).unwrap();
        let log = create(&store, id);
        for index in 0..ENTRIES {
            append(&log, vec![new_entry(1, index, payload(id, &random, index))]).await.unwrap();
        }
        let end = log.watermarks().log_end().0 - 3;
        let control = Payload::Control(Bytes::copy_from_slice(&end.to_le_bytes()));
        append(&log, vec![new_entry(1, ENTRIES, NewPayload::Ready(control))]).await.unwrap();
        apply_to(&log, ENTRIES).unwrap();
        store.checkpoint().await.unwrap();
        assert_eq!(findings(&disk), Vec::<String>::new());
        let mut points = Vec::new();
        for _ in 0..3 {
            let point = log.purge_point().unwrap();
            let name = layout::group_directory(id).join(format!("{:020}.state", point.index.0));
            let length = disk.read_cached(&name).unwrap().len() as u64;
            disk.flip_bit(&name, random.below(length), 3).unwrap();
            points.push(point);
        }
        assert!(points.is_sorted_by(|later, earlier| later > earlier), "{points:?}");
        assert_eq!(findings(&disk).len(), 3);
        disk.kill();
        drop((store, log));

        let store = open(disk.for_process(), &random).unwrap();
        let log = store.group(id).unwrap();
        assert_eq!(log.quarantine(), None, "a state is no data");
        log.install(Box::new(Chain::default())).unwrap();
        let point = log.purge_point().unwrap();
        assert!(point < points[2], "{point}");
        assert_eq!(log.build_snapshot().await.unwrap().last, point);
        log.purge(point).unwrap();
        // Now the one that stands for what is gone is lost too: nothing may be given out that would take records from a reader.
        let name = layout::group_directory(id).join(format!("{:020}.state", point.index.0));
        disk.remove_file(&name).unwrap();
        let current = log.current_snapshot().await.unwrap();
        assert_eq!((current.last, current.bytes.len()), (point, 0));
        assert!(GroupSnapshot::decode(&current.bytes).is_err());
    });
}

#[test]
fn everything_below_the_log_start_goes_and_a_snapshot_stands_for_it() {
    in_runtime(async {
        let id = partition(GROUP);
        let (disk, random) = (SimDisk::new(12), Seeded::new(12));
        let store = open(disk.for_process(), &random).unwrap();
        let log = create(&store, id);
        for index in 0..5 {
            append(&log, vec![new_entry(1, index, NewPayload::Proposed(batch(&random, 300)))]).await.unwrap();
        }
        let end = log.watermarks().log_end();
        let control = Payload::Control(Bytes::copy_from_slice(&end.0.to_le_bytes()));
        append(&log, vec![new_entry(1, 5, NewPayload::Ready(control))]).await.unwrap();
        apply_to(&log, 5).unwrap();
        store.checkpoint().await.unwrap();
        let built = log.build_snapshot().await.unwrap();
        assert_eq!(built.last, id_of(5));
        log.purge(built.last).unwrap();
        store.checkpoint().await.unwrap();
        assert_eq!(files_in(&disk, id, ".log"), Vec::<String>::new());
        disk.crash();
        drop((store, log));
        let store = open(disk.for_process(), &random).unwrap();
        let log = store.group(id).unwrap();
        assert_eq!(log.current_snapshot().await.unwrap().bytes, built.bytes);
        assert_eq!(findings(&disk), Vec::<String>::new());
    });
}

fn id_of(index: u64) -> LogId {
    support::id(1, index)
}
