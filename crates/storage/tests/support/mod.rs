//! What the store's scenarios share: randomness by seed, small stores, batches, a state machine
//! that notices an entry that is missing or applied twice, and a model of what a store promised.
#![allow(dead_code, unreachable_pub, clippy::print_stdout, reason = "each test program uses its own part")]

pub mod model;
pub mod workload;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use highwater_records::{Batch, BatchBuilder};
use highwater_storage::disk::Disk;
use highwater_storage::journal::JournalOptions;
use highwater_storage::{
    Applied, Applier, Durability, Entry, GroupLog, GroupOptions, LogError, LogId, NewEntry, NewPayload,
    OpenError, Payload, RestoreError, SegmentOptions, Store, StoreOptions,
};
use highwater_types::{
    GroupId, NodeId, Offset, PartitionId, PartitionIndex, RaftIndex, Random, Term, TimestampMs, TopicId,
};
use parking_lot::Mutex;

/// The wall clock of every scenario: it stands still.
pub const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

/// A generator whose draws depend on its seed alone.
pub struct Seeded(Mutex<u64>);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    pub fn next(&self) -> u64 {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Whether something happens that happens `percent` times of 100.
    pub fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Random for Seeded {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// The group of partition `number` of one topic.
pub fn partition(number: u32) -> GroupId {
    let mut topic = [0x11; 16];
    topic[15] = (number / 4) as u8;
    let mut id = [0; GroupId::ENCODED_LEN];
    id[..16].copy_from_slice(&topic);
    id[16..].copy_from_slice(&number.to_be_bytes());
    GroupId::from_bytes(id)
}

/// A topic id and partition as one group, for many topics.
pub fn group_of_topic(random: &Seeded, index: u32) -> GroupId {
    GroupId::Partition(PartitionId { topic: TopicId::draw(random), index: PartitionIndex(index) })
}

/// Small files, so that little data rolls, checkpoints and recycles them.
pub fn small_journal() -> JournalOptions {
    JournalOptions {
        file_bytes: 64 << 10,
        first_file_bytes: 32 << 10,
        checkpoint_bytes: 256 << 10,
        bytes_max: 4 << 20,
        reserve_bytes: 4 << 10,
    }
}

pub fn options(journal: JournalOptions) -> (StoreOptions, Arc<AtomicUsize>) {
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = failures.clone();
    let on_failure = Arc::new(move |_: &highwater_storage::journal::JournalError| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    (
        StoreOptions {
            journal,
            mapped_segments_max: 16,
            on_failure,
            unreadable: Vec::new(),
            power_lost: false,
        },
        failures,
    )
}

pub fn open(disk: impl Disk, random: &Seeded) -> Result<Arc<Store>, OpenError> {
    Store::open(Arc::new(disk), &options(small_journal()).0, random)
}

pub fn group_options(durability: Durability, segment_bytes: u64) -> GroupOptions {
    let segments = SegmentOptions { segment_bytes, segment_ms: i64::MAX, index_interval_bytes: 512 };
    GroupOptions { durability, segments: Some(segments) }
}

/// A batch of one to three records of about `bytes` bytes in all.
pub fn batch(random: &Seeded, bytes: usize) -> Batch {
    let mut builder = BatchBuilder::new();
    let records = 1 + random.below(3) as usize;
    for _ in 0..records {
        let mut value = vec![0; bytes / records];
        random.fill(&mut value);
        builder.append(Some(b"key"), Some(&value), &[], NOW).expect("the record fits");
    }
    builder.build().expect("the batch is not empty")
}

pub fn id(term: u64, index: u64) -> LogId {
    LogId { term: Term(term), index: RaftIndex(index) }
}

pub fn vote(term: u64) -> highwater_storage::Vote {
    highwater_storage::Vote { term: Term(term), node: NodeId(1), committed: true }
}

pub fn new_entry(term: u64, index: u64, payload: NewPayload) -> NewEntry {
    NewEntry { id: id(term, index), payload }
}

/// Appends and waits.
pub async fn append(log: &Arc<GroupLog>, entries: Vec<NewEntry>) -> Result<(), String> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    log.append(entries, move |result| drop(sender.send(result))).map_err(|error| error.to_string())?;
    receiver.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// Saves a vote and waits.
pub async fn save_vote(log: &Arc<GroupLog>, term: u64) -> Result<(), String> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    log.save_vote(vote(term), move |result| drop(sender.send(result)));
    receiver.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// Commits and applies what is above the applied entry, up to `index` inclusive.
pub fn apply_to(log: &Arc<GroupLog>, index: u64) -> Result<(), String> {
    let from = log.applied().0.map_or(0, |last| last.index.0 + 1);
    if from > index {
        return Ok(());
    }
    let entries =
        log.entries(RaftIndex(from), RaftIndex(index + 1), usize::MAX).map_err(|error| error.to_string())?;
    log.save_committed(entries.last().map(|entry| entry.id));
    log.apply(entries, NOW).map(drop).map_err(|error| error.to_string())
}

/// An entry's kind and payload as one comparable piece.
pub fn payload_bytes(payload: &Payload) -> Bytes {
    let (kind, bytes) = match payload {
        Payload::Blank => (0, Bytes::new()),
        Payload::Membership(bytes) => (1, bytes.clone()),
        Payload::Control(bytes) => (2, bytes.clone()),
        Payload::Batch(batch) => (3, batch.to_bytes()),
    };
    let mut out = vec![kind];
    out.extend_from_slice(&bytes);
    out.into()
}

/// A state machine that is a function of every entry applied, in order. A control entry of eight bytes moves the log start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    pub entries: u64,
    pub crc: u32,
}

impl Chain {
    pub fn take(&mut self, payload: &[u8]) {
        self.entries += 1;
        self.crc = crc32c::crc32c_append(self.crc, payload);
    }

    fn encode(self) -> Bytes {
        let mut out = self.entries.to_le_bytes().to_vec();
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.into()
    }

    pub fn decode(state: &[u8]) -> Option<Self> {
        if state.is_empty() {
            return Some(Self::default());
        }
        let (entries, crc) = state.split_at_checked(8)?;
        Some(Self {
            entries: u64::from_le_bytes(entries.try_into().ok()?),
            crc: u32::from_le_bytes(crc.try_into().ok()?),
        })
    }
}

/// The new log start that a control entry asks for.
pub fn log_start_in(payload: &Payload) -> Option<Offset> {
    match payload {
        Payload::Control(bytes) => Some(Offset(i64::from_le_bytes(bytes.as_ref().try_into().ok()?))),
        _ => None,
    }
}

impl Applier for Chain {
    fn apply(&mut self, entry: &Entry) -> Applied {
        self.take(&payload_bytes(&entry.payload));
        Applied { response: Bytes::new(), log_start: log_start_in(&entry.payload) }
    }

    fn snapshot(&self) -> Bytes {
        self.encode()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        *self = Self::decode(state).ok_or_else(|| RestoreError(format!("{} bytes", state.len())))?;
        Ok(())
    }
}

/// Everything that can be seen of a group, to compare two openings.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub vote: Option<highwater_storage::Vote>,
    pub committed: Option<LogId>,
    pub purged: Option<LogId>,
    pub last: Option<LogId>,
    pub applied: Option<LogId>,
    pub state: Bytes,
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub log_end: Offset,
    pub quarantine: Option<String>,
    pub entries: Vec<(LogId, Bytes)>,
}

/// Looks at all of a group.
///
/// # Panics
/// When an entry above the purged one cannot be read.
pub fn look(log: &Arc<GroupLog>) -> Seen {
    try_look(log).unwrap_or_else(|error| panic!("{error}"))
}

/// Looks at all of a group, unless an entry cannot be read: the power may have gone.
pub fn try_look(log: &Arc<GroupLog>) -> Result<Seen, LogError> {
    let (purged, last) = log.bounds();
    let (applied, state) = log.snapshot();
    let watermarks = log.watermarks();
    let mut entries = Vec::new();
    let first = purged.map_or(0, |purged| purged.index.0 + 1);
    for index in first..last.map_or(0, |last| last.index.0 + 1) {
        let entry = log.entry(RaftIndex(index))?;
        if let Payload::Batch(batch) = &entry.payload {
            batch.verify().unwrap_or_else(|error| panic!("entry {index} of {}: {error}", log.id()));
        }
        entries.push((entry.id, payload_bytes(&entry.payload)));
    }
    Ok(Seen {
        vote: log.vote(),
        committed: log.committed(),
        purged,
        last,
        applied,
        state,
        log_start: watermarks.log_start(),
        high_watermark: watermarks.high_watermark(),
        log_end: watermarks.log_end(),
        quarantine: log.quarantine().map(str::to_owned),
        entries,
    })
}

/// A value of the environment, as a number.
pub fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
