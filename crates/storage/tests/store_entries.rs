//! What a log takes, and what it makes of what the journal has of it: entries that do not follow, entries that are synced whatever the
//! group's durability, and one that nobody understands.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use bytes::Bytes;
use highwater_storage::disk::SimDisk;
use highwater_storage::journal::frame::{
    FILE_HEADER_LEN, FIRST_GROUP_POSITION, FileHeader, GROUP_HEADER_LEN, GroupHeader,
};
use highwater_storage::{Durability, LogError, NewPayload, Payload};
use highwater_types::{LeaderEpoch, Offset};

use support::*;

#[tokio::test]
async fn a_stamped_batch_of_another_place_is_refused_and_nothing_is_appended() {
    let (disk, random) = (SimDisk::new(1), Seeded::new(1));
    let store = open(disk.for_process(), &random).unwrap();
    let log = store.create_group(partition(1), group_options(Durability::Fsync, 16 << 10)).unwrap();
    append(&log, vec![new_entry(1, 0, NewPayload::Proposed(batch(&random, 300)))]).await.unwrap();
    let (bounds, end) = (log.bounds(), log.watermarks().log_end());
    let stamped = |offset, epoch| {
        NewPayload::Ready(Payload::Batch(batch(&random, 300).stamp(Offset(offset), LeaderEpoch(epoch))))
    };
    for (offset, epoch) in [(end.0 + 1, 1), (0, 1), (end.0, 0), (end.0, 2)] {
        // What comes before it in the same call is not appended either.
        let entries =
            [new_entry(1, 1, NewPayload::Ready(Payload::Blank)), new_entry(1, 2, stamped(offset, epoch))];
        let refused = log.append(entries, |_| panic!("it is not taken")).unwrap_err();
        assert!(matches!(refused, LogError::NotContiguous { .. }), "offset {offset}, epoch {epoch}: {refused}");
        assert_eq!((log.bounds(), log.watermarks().log_end()), (bounds, end));
    }
    append(&log, vec![new_entry(1, 1, stamped(end.0, 1))]).await.unwrap();
    disk.kill();
    let found = look(&open(disk.for_process(), &random).unwrap().group(partition(1)).unwrap());
    assert_eq!((found.last, found.entries.len()), (Some(id(1, 1)), 2));
}

#[tokio::test]
async fn memberships_commands_and_blank_entries_survive_a_power_cut_also_where_batches_are_not_synced() {
    let bytes = Bytes::from_static(b"8 bytes.");
    for payload in [Payload::Membership(bytes.clone()), Payload::Control(bytes), Payload::Blank] {
        for seed in 0..30 {
            let (disk, random) = (SimDisk::new(seed), Seeded::new(seed));
            let store = open(disk.for_process(), &random).unwrap();
            let log = store.create_group(partition(1), group_options(Durability::Memory, 16 << 10)).unwrap();
            save_vote(&log, 1).await.unwrap();
            append(&log, vec![new_entry(1, 0, NewPayload::Proposed(batch(&random, 300)))]).await.unwrap();
            append(&log, vec![new_entry(1, 1, NewPayload::Ready(payload.clone()))]).await.unwrap();
            disk.crash();
            let log = open(disk.for_process(), &random).unwrap().group(partition(1)).unwrap();
            assert_eq!(log.bounds().1, Some(id(1, 1)), "seed {seed}, {payload:?}");
            assert_eq!(log.entry(id(1, 1).index).unwrap().payload, payload, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn a_newest_frame_that_nobody_understands_quarantines_its_group_over_restarts_and_no_other() {
    let (disk, random) = (SimDisk::new(2), Seeded::new(2));
    let store = open(disk.for_process(), &random).unwrap();
    let logs = [1, 2].map(|number| {
        store.create_group(partition(number), group_options(Durability::Fsync, 16 << 10)).unwrap()
    });
    for log in &logs {
        save_vote(log, 1).await.unwrap();
        append(log, vec![new_entry(1, 0, NewPayload::Proposed(batch(&random, 300)))]).await.unwrap();
    }
    save_vote(&logs[1], 2).await.unwrap();
    let whole = look(&logs[0]);
    disk.kill();
    drop((store, logs));
    rewrite_newest_frame_as_unknown(&disk);
    for start in 0..2 {
        let store = open(disk.for_process(), &random).unwrap();
        assert_eq!(store.quarantine(), None);
        let (other, log) = (store.group(partition(1)).unwrap(), store.group(partition(2)).unwrap());
        let reason = log.quarantine().unwrap_or_default();
        assert!(reason.contains("cannot be understood"), "start {start}: {reason:?}, vote {:?}", log.vote());
        assert_eq!(look(&other), whole, "start {start}");
        disk.kill();
    }
}

/// Gives the last frame of the journal, a group of its own, a kind that there is not, with checksums that are right.
fn rewrite_newest_frame_as_unknown(disk: &SimDisk) {
    /// Where a frame's header has its kind.
    const KIND_POSITION: usize = 4;
    let journal = disk.files().into_iter().rfind(|name| name.ends_with(".journal")).unwrap();
    let bytes = disk.read_cached(&journal).unwrap();
    let file = FileHeader::decode(bytes.first_chunk::<FILE_HEADER_LEN>().unwrap()).unwrap();
    let mut newest = None;
    let mut position = FIRST_GROUP_POSITION;
    while let Some(header) = GroupHeader::decode(&bytes[position as usize..], file.journal_id) {
        if header.frames > 0 {
            newest = Some((position, header));
        }
        position = header.end(position);
    }
    let (position, header) = newest.unwrap();
    assert_eq!(header.frames, 1);
    let start = position as usize + GROUP_HEADER_LEN;
    let mut body = bytes[start..start + header.body_len as usize].to_vec();
    body[KIND_POSITION] = 200;
    let header = GroupHeader { body_crc: crc32c::crc32c(&body), ..header };
    let group = [&header.encode(file.journal_id)[..], &body].concat();
    disk.overwrite(&journal, position, &group).unwrap();
}
