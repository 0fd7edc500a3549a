//! What a group promised, and whether what is found after a crash keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use highwater_storage::{Durability, GroupLog, GroupSnapshot, LogId, Payload, Vote};
use highwater_types::{Offset, RaftIndex};
use parking_lot::Mutex;

use super::{Chain, Seen, log_start_in, look, payload_bytes};

/// One entry as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub id: LogId,
    pub payload: Bytes,
    pub next_offset: Offset,
    pub log_start: Option<Offset>,
}

/// How the last life of the store ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// The process: the page cache stays.
    Killed,
    /// The power.
    PowerCut,
}

/// What completions report; they run in the journal's task.
#[derive(Debug, Default)]
pub struct Promised {
    /// Entries from index 0 that are stored as the group's durability says.
    pub stored: u64,
    /// Of these, those covered by a later sync: a vote or a checkpoint.
    pub durable: u64,
    pub vote: Option<Vote>,
    /// Numbers of completed calls, which must come in order (R15).
    pub last_completed: u64,
}

/// The model of one group.
pub struct GroupModel {
    pub durability: Durability,
    pub log: Vec<Known>,
    /// Everything that was ever appended at an index and may come back.
    possible: BTreeMap<u64, Vec<Known>>,
    pub promised: Arc<Mutex<Promised>>,
    pub applied: u64,
    /// As of the last durable checkpoint.
    pub checkpointed: u64,
    pub checkpointed_purge: Option<LogId>,
    pub purged: Option<LogId>,
    pub vote: Option<Vote>,
    pub calls: u64,
    /// Entries of this group are not committed for now.
    pub stalled: bool,
    /// Its creation may not be durable yet.
    pub may_be_missing: bool,
}

impl GroupModel {
    pub fn new(durability: Durability) -> Self {
        Self {
            durability,
            log: Vec::new(),
            possible: BTreeMap::new(),
            promised: Arc::default(),
            applied: 0,
            checkpointed: 0,
            checkpointed_purge: None,
            purged: None,
            vote: None,
            calls: 0,
            stalled: false,
            may_be_missing: true,
        }
    }

    pub fn next_index(&self) -> u64 {
        self.log.len() as u64
    }

    pub fn term(&self) -> u64 {
        let voted = self.vote.map_or(1, |vote| vote.term.0);
        voted.max(self.log.last().map_or(1, |known| known.id.term.0))
    }

    /// Takes in what was appended, as the log itself stamped it.
    pub fn appended(&mut self, log: &Arc<GroupLog>, count: u64) {
        for _ in 0..count {
            let index = self.next_index();
            let entry = log.entry(RaftIndex(index)).expect("an appended entry can be read at once");
            let before = self.log.last().map_or(Offset::ZERO, |known| known.next_offset);
            let next_offset = match &entry.payload {
                Payload::Batch(batch) => {
                    assert_eq!(batch.base_offset(), before, "offsets are dense");
                    batch.next_offset()
                }
                _ => before,
            };
            let known = Known {
                id: entry.id,
                payload: payload_bytes(&entry.payload),
                next_offset,
                log_start: log_start_in(&entry.payload),
            };
            self.possible.entry(index).or_default().push(known.clone());
            self.log.push(known);
        }
    }

    /// The log is cut to `keep` entries.
    pub fn truncated(&mut self, keep: u64) {
        self.log.truncate(keep as usize);
        let mut promised = self.promised.lock();
        promised.stored = promised.stored.min(keep);
        promised.durable = promised.durable.min(keep);
    }

    /// The state machine, log start and high watermark after the first `count` entries.
    pub fn state_after(&self, count: u64) -> (Chain, Offset, Offset) {
        let (mut chain, mut start, mut high) = (Chain::default(), Offset::ZERO, Offset::ZERO);
        for known in &self.log[..count as usize] {
            chain.take(&known.payload);
            high = known.next_offset;
            start = start.max(known.log_start.unwrap_or(Offset::ZERO).min(high));
        }
        (chain, start, high)
    }

    /// Compares a reopened log with what was promised, then takes it as the truth.
    pub fn check_reopened(&mut self, log: &Arc<GroupLog>, death: Death) -> Seen {
        let seen = look(log);
        let name = log.id();
        assert_eq!(seen.quarantine, None, "group {name}");
        let (stored, durable, vote) = {
            let promised = self.promised.lock();
            (promised.stored, promised.durable, promised.vote)
        };
        let must_have = match (self.durability, death) {
            (Durability::Fsync, _) | (Durability::Memory, Death::Killed) => stored,
            (Durability::Memory, Death::PowerCut) => durable.max(self.checkpointed),
        };
        let length = seen.last.map_or(0, |last| last.index.0 + 1);
        assert!(
            length >= must_have,
            "group {name}, {:?}, {death:?}: {length} of {must_have} promised entries are there, applied {:?}",
            self.durability,
            seen.applied
        );
        self.check_entries(&seen, must_have, length);
        assert!(
            vote.is_none_or(|acked| seen.vote.is_some_and(|found| found.supersedes(&acked))),
            "group {name} has vote {:?}, older than {vote:?}",
            seen.vote
        );
        let applied = seen.applied.map_or(0, |applied| applied.index.0 + 1);
        assert!(applied >= self.checkpointed, "group {name} forgot that it applied {}", self.checkpointed);
        assert!(applied <= length, "group {name} applied {applied} of {length} entries");
        assert!(seen.committed.is_none_or(|committed| committed.index.0 < length), "group {name}: {seen:?}");
        let (chain, start, high) = self.state_after(applied);
        assert_eq!(Chain::decode(&seen.state), Some(chain), "group {name}: the state after {applied} entries");
        assert_eq!((seen.log_start, seen.high_watermark), (start, high), "group {name}");
        let end = self.log.last().map_or(Offset::ZERO, |known| known.next_offset);
        assert_eq!(seen.log_end, end, "group {name}");
        assert!(seen.purged >= self.checkpointed_purge, "group {name}: what was purged came back");
        assert!(seen.purged <= self.purged.max(self.checkpointed_purge), "group {name} purged too much");
        self.adopt(&seen, applied);
        seen
    }

    /// What a replica behind the log's start would be given is the state as of what is purged.
    pub async fn check_snapshot(&self, log: &Arc<GroupLog>) {
        let name = log.id();
        let Some(built) = log.current_snapshot().await else {
            assert_eq!(log.bounds().0, None, "group {name} has nothing that stands for what is purged");
            return;
        };
        let found = GroupSnapshot::decode(&built.bytes).unwrap_or_else(|error| panic!("group {name}: {error}"));
        let (chain, start, high) = self.state_after(found.last.index.0 + 1);
        assert_eq!(Some(found.last), log.bounds().0, "group {name}");
        assert_eq!(Chain::decode(&found.state), Some(chain), "group {name} as of {}", found.last);
        assert_eq!((found.log_start, found.next_offset), (start, high), "group {name} as of {}", found.last);
    }

    fn check_entries(&mut self, seen: &Seen, must_have: u64, length: u64) {
        let mut log: Vec<Known> = self.log[..must_have as usize].to_vec();
        let first = seen.purged.map_or(0, |purged| purged.index.0 + 1);
        for index in must_have..length {
            assert!(index >= first, "an entry that was not promised cannot have been purged");
            let (id, payload) = &seen.entries[(index - first) as usize];
            let known = self.possible.get(&index).and_then(|possible| {
                possible.iter().find(|known| known.id == *id && known.payload == *payload).cloned()
            });
            log.push(known.unwrap_or_else(|| panic!("entry {id} was never appended so")));
        }
        for (index, (id, payload)) in (first..).zip(&seen.entries) {
            let known = &log[index as usize];
            assert_eq!((known.id, &known.payload), (*id, payload), "entry {index}");
        }
        self.log = log;
    }

    fn adopt(&mut self, seen: &Seen, applied: u64) {
        let length = self.next_index();
        self.possible.retain(|index, _| *index < length);
        for (index, known) in (0..).zip(&self.log) {
            self.possible.insert(index, vec![known.clone()]);
        }
        self.applied = applied;
        self.checkpointed = applied;
        self.purged = seen.purged;
        self.checkpointed_purge = seen.purged;
        self.vote = seen.vote;
        self.may_be_missing = false;
        self.calls = 0;
        // Opening rewrote the tail and synced it.
        self.promised = Arc::new(Mutex::new(Promised {
            stored: length,
            durable: length,
            vote: seen.vote,
            last_completed: 0,
        }));
    }
}
