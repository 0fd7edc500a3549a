//! Targets of `highwater-storage`: what is read from a disk that may lie.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use highwater_records::{Batch, StampedBatch};
use highwater_storage::GroupSnapshot;
use highwater_storage::checkpoint::{self, Checkpoint};
use highwater_storage::disk::{Disk, SimDisk};
use highwater_storage::entry::{Entry, LogId, Payload, Vote};
use highwater_storage::group::{EntryMessage, GroupSection};
use highwater_storage::journal::frame::{
    Change, FIRST_GROUP_POSITION, FileHeader, Frame, FrameHeader, GROUP_HEADER_LEN, GroupHeader, Install,
    Origin,
};
use highwater_storage::journal::{Position, file, scan};
use highwater_types::{FilePosition, GroupId, NodeId, Offset, RaftIndex, Term};

const JOURNAL_ID: u64 = 0x5eed;
const FILE_BYTES: usize = 8192;
/// Magic, version, checksum, length of the body.
const CHECKPOINT_HEADER_LEN: usize = 24;
/// The same in the file of a group's state.
const STATE_HEADER_LEN: usize = 24;

/// A frame of the journal, whatever its group's checksum says.
pub fn journal_frame(data: &[u8]) {
    let _ = GroupHeader::decode(data, JOURNAL_ID);
    let Some(header) = FrameHeader::decode(data) else { return };
    let Some(payload) = data.get(48..) else { return };
    let payload = Bytes::copy_from_slice(payload);
    if let Some(change) = header.change(payload.clone()) {
        // What was understood is written back as it was read.
        let again = Frame::new(header.group, &change).parts().concat();
        let read =
            FrameHeader::decode(&again).and_then(|header| header.change(Bytes::copy_from_slice(&again[48..])));
        assert!(read.is_some(), "a change that was read can be read again");
    }
}

/// Frames of every kind that carries a payload.
pub fn frame_seeds() -> Vec<Vec<u8>> {
    changes().iter().map(|change| Frame::new(GroupId::Metadata, change).parts().concat()).collect()
}

/// A whole journal file: as it is, and with the checksums of its groups made right.
pub fn journal_scan(data: &[u8]) {
    scan_file(data);
    scan_file(&with_group_checksums(data));
}

fn scan_file(data: &[u8]) {
    let disk = SimDisk::new(1);
    let path = file::live_path(Path::new("journal"), 1);
    put(&disk, &path, data);
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let from = Position { lsn: 1, generation: 1, at: FilePosition(FIRST_GROUP_POSITION) };
    let start = scan::ScanStart { journal_id: JOURNAL_ID, from, durable_lsn: 0 };
    let mut frames = 0;
    let scanned = scan::scan(&disk, Path::new("journal"), &start, &mut |frame| {
        frames += 1;
        let _ = frame.header.change(frame.payload);
        Ok(())
    });
    if let Ok(end) = scanned {
        assert!(end.next_lsn >= 1 && end.durable_lsn < end.next_lsn);
    }
}

/// The file with the right checksums in each group that follows another as the headers say. What
/// is behind a checksum must not panic either, and no search finds one by chance.
fn with_group_checksums(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    let mut position = FIRST_GROUP_POSITION;
    loop {
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        let Some(group) = bytes.get_mut(start..).filter(|rest| rest.len() >= GROUP_HEADER_LEN) else {
            return bytes;
        };
        let number = |at: usize| u32::from_le_bytes([group[at], group[at + 1], group[at + 2], group[at + 3]]);
        let long = |at: usize| u64::from(number(at)) | u64::from(number(at + 4)) << 32;
        let body_len = number(32);
        let body_end = GROUP_HEADER_LEN.saturating_add(usize::try_from(body_len).unwrap_or(usize::MAX));
        let Some(body) = group.get(GROUP_HEADER_LEN..body_end) else { return bytes };
        let header = GroupHeader {
            generation: long(8),
            lsn: long(16),
            durable_lsn: long(24),
            body_len,
            frames: number(36),
            body_crc: crc32c::crc32c(body),
            last_in_file: number(44) & 1 != 0,
        };
        group[..GROUP_HEADER_LEN].copy_from_slice(&header.encode(JOURNAL_ID));
        position = header.end(position);
    }
}

/// Two groups in a file.
pub fn journal_seeds() -> Vec<Vec<u8>> {
    let mut bytes = vec![0; FILE_BYTES];
    let header = FileHeader {
        generation: 1,
        first_lsn: 1,
        capacity: FILE_BYTES as u64,
        journal_id: JOURNAL_ID,
        durable_lsn: 0,
        origin: Origin::Continued,
    };
    let head = header.encode();
    bytes[..head.len()].copy_from_slice(&head);
    let mut position = FIRST_GROUP_POSITION;
    for lsn in 1..=2 {
        let body: Vec<u8> = frame_seeds().concat();
        let group = GroupHeader {
            generation: 1,
            lsn,
            durable_lsn: lsn - 1,
            last_in_file: false,
            body_len: u32::try_from(body.len()).unwrap_or(u32::MAX),
            frames: u32::try_from(changes().len()).unwrap_or(u32::MAX),
            body_crc: crc32c::crc32c(&body),
        };
        let encoded = [group.encode(JOURNAL_ID).to_vec(), body].concat();
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        bytes[start..start + encoded.len()].copy_from_slice(&encoded);
        position = group.end(position);
    }
    vec![bytes]
}

/// A copy of a checkpoint: as it is, and with its checksum and length made right.
pub fn checkpoint_copy(data: &[u8]) {
    read_copy(data);
    if let Some((head, body)) = data.split_at_checked(CHECKPOINT_HEADER_LEN) {
        let length = (body.len() as u64).to_le_bytes();
        let crc = crc32c::crc32c(&[&head[8..12], &length, body].concat());
        read_copy(&[&head[..12], &crc.to_le_bytes(), &length, body].concat());
    }
}

fn read_copy(data: &[u8]) {
    let disk = SimDisk::new(1);
    put(&disk, Path::new("checkpoint/a"), data);
    let _ = checkpoint::read(&disk, Path::new("checkpoint"));
    let _ = checkpoint::findings(&disk, Path::new("checkpoint"));
}

/// A checkpoint of one group, as it lies on the disk.
pub fn checkpoint_seeds() -> Vec<Vec<u8>> {
    let disk = SimDisk::new(1);
    let id = LogId { term: Term(3), index: RaftIndex(17) };
    let membership = Entry { id, payload: Payload::Membership(Bytes::from_static(b"members")) };
    let section = GroupSection {
        group: GroupId::Metadata.to_bytes().to_vec(),
        options: Bytes::from_static(&[8, 1]),
        vote: Some(Vote { term: id.term, node: NodeId(1), committed: true }.into()),
        committed: Some(id.into()),
        applied: Some(id.into()),
        purged: Some(id.into()),
        membership: EntryMessage::new(&membership),
        kept: EntryMessage::new(&membership).into_iter().collect(),
        state: Bytes::from_static(b"state"),
        replay_from_lsn: 40,
        ..GroupSection::default()
    };
    let checkpoint = Checkpoint {
        sequence: 7,
        journal_id: JOURNAL_ID,
        replay_from: Some(Position { lsn: 41, generation: 2, at: FilePosition(4096) }.into()),
        durable_lsn: 41,
        groups: vec![section],
        removed: vec![GroupId::Metadata.to_bytes().to_vec()],
    };
    let written = disk
        .create_dir_all(Path::new("checkpoint"))
        .and_then(|()| checkpoint::write(&disk, Path::new("checkpoint"), &checkpoint))
        .and_then(|()| disk.open(Path::new("checkpoint/a")));
    let Ok(file) = written else { return Vec::new() };
    let mut bytes = vec![0; usize::try_from(file.len().unwrap_or(0)).unwrap_or(0)];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => vec![bytes],
        Err(_) => Vec::new(),
    }
}

/// A group's state, from a file or from another node: as it is, and with its checksum and length made right.
pub fn group_snapshot(data: &[u8]) {
    decode_snapshot(data);
    if let Some((head, body)) = data.split_at_checked(STATE_HEADER_LEN) {
        let length = (body.len() as u64).to_le_bytes();
        let crc = crc32c::crc32c(&[&head[..12], &length, body].concat());
        decode_snapshot(&[&head[..12], &crc.to_le_bytes(), &length, body].concat());
    }
}

fn decode_snapshot(data: &[u8]) {
    if let Ok(snapshot) = GroupSnapshot::decode(&Bytes::copy_from_slice(data)) {
        assert!(snapshot.log_start <= snapshot.next_offset);
        assert!(snapshot.membership.as_ref().is_none_or(|entry| entry.id <= snapshot.last));
        assert!(GroupSnapshot::decode(&snapshot.encode()).is_ok(), "what was read can be read again");
    }
}

/// A state with all of its parts.
pub fn snapshot_seeds() -> Vec<Vec<u8>> {
    let id = |index| LogId { term: Term(3), index: RaftIndex(index) };
    let members = Entry { id: id(9), payload: Payload::Membership(Bytes::from_static(b"members")) };
    let snapshot = GroupSnapshot {
        last: id(17),
        membership: Some(members),
        next_offset: Offset(70),
        log_start: Offset(12),
        state: Bytes::from_static(b"some state"),
    };
    vec![snapshot.encode().to_vec()]
}

fn changes() -> Vec<Change> {
    let id = LogId { term: Term(3), index: RaftIndex(17) };
    let entry = |payload| Change::Append(Entry { id, payload });
    let smallest = crate::records::batch_seeds().into_iter().min_by_key(Vec::len);
    let batch = smallest.and_then(|bytes| Batch::parse(Bytes::from(bytes)).ok()).map(StampedBatch::from_batch);
    let mut changes = vec![
        entry(Payload::Blank),
        entry(Payload::Control(Bytes::from_static(b"a command"))),
        entry(Payload::Membership(Bytes::from_static(b"members"))),
        Change::Vote(Vote { term: Term(3), node: NodeId(1), committed: true }),
        Change::Committed(id),
        Change::Truncate(Some(RaftIndex(9))),
        Change::Purge(id),
        Change::Create(Bytes::from_static(&[8, 1])),
        Change::Remove,
        Change::Install(Install { last: id, next_offset: Offset(70), state_len: 88, state_crc: 0x5eed }),
    ];
    changes.extend(batch.map(|batch| entry(Payload::Batch(batch))));
    changes
}

/// # Panics
/// When the simulated disk, which has no faults here, refuses.
fn put(disk: &SimDisk, path: &Path, data: &[u8]) {
    let made =
        path.parent().map_or(Ok(()), |parent| disk.create_dir_all(parent)).and_then(|()| disk.create(path));
    let file = made.expect("a simulated disk without faults creates a file");
    file.write_all_at(&mut [std::io::IoSlice::new(data)], 0).expect("and writes it");
}
