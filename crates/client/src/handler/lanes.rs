//! Which records may be handled now, and how far each partition is done. Pure.
//!
//! Invariants:
//! - of one partition and key one record is handled at a time, in the order of their offsets; records without a key have no order;
//! - a partition is done up to its first record that is not, whatever was handled behind it;
//! - what began before a partition was lost changes nothing of what it is when it comes back.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use highwater_types::Offset;
use tokio::sync::watch;

use crate::error::ClientError;
use crate::group::{GroupBatch, GroupRecord, OffsetCommit, TopicPartition};

/// What is handled one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LaneKey {
    /// The records of one key.
    Keyed(TopicPartition, Bytes),
    /// One record without a key.
    Free(TopicPartition, Offset),
}

/// A record that is to be handled.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) lane: LaneKey,
    /// Counts how often its partition came.
    life: u64,
    pub(crate) record: GroupRecord,
    /// Turns true when it is not to be tried again.
    pub(crate) ends: watch::Receiver<bool>,
}

/// What is kept of a job while it is handled.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    lane: LaneKey,
    life: u64,
    offset: Offset,
}

#[derive(Debug, Default)]
struct Lane {
    is_running: bool,
    waiting: VecDeque<Job>,
}

#[derive(Debug)]
struct Partition {
    life: u64,
    ends: watch::Sender<bool>,
    unfinished: BTreeSet<Offset>,
    running: usize,
    /// After the last record that was taken in.
    next: Offset,
    committed: Option<Offset>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    partitions: BTreeMap<TopicPartition, Partition>,
    lanes: HashMap<LaneKey, Lane>,
    /// Lanes whose first record may be handled.
    ready: VecDeque<LaneKey>,
    waiting: usize,
    lives: u64,
}

impl LaneKey {
    fn partition(&self) -> &TopicPartition {
        match self {
            Self::Keyed(partition, _) | Self::Free(partition, _) => partition,
        }
    }
}

impl Job {
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { lane: self.lane.clone(), life: self.life, offset: self.record.record.offset }
    }
}

impl Ticket {
    /// It failed for this reason.
    pub(crate) fn failed(&self, reason: String) -> ClientError {
        let of = self.lane.partition();
        let (topic, partition) = (of.topic.to_string(), of.partition.0);
        ClientError::HandlerFailed { topic, partition, offset: self.offset, reason }
    }
}

impl Lanes {
    /// Takes records in.
    pub(crate) fn take(&mut self, batch: GroupBatch) {
        let GroupBatch { topic, partition: index, records, next_offset } = batch;
        let of = TopicPartition::new(topic.clone(), index);
        let partition = self.partitions.entry(of.clone()).or_insert_with(|| {
            self.lives += 1;
            Partition {
                life: self.lives,
                ends: watch::Sender::new(false),
                unfinished: BTreeSet::new(),
                running: 0,
                next: next_offset,
                committed: None,
            }
        });
        partition.next = next_offset;
        for record in records {
            let lane_key = match &record.key {
                Some(key) => LaneKey::Keyed(of.clone(), key.clone()),
                None => LaneKey::Free(of.clone(), record.offset),
            };
            partition.unfinished.insert(record.offset);
            self.waiting += 1;
            let lane = self.lanes.entry(lane_key.clone()).or_default();
            if !lane.is_running && lane.waiting.is_empty() {
                self.ready.push_back(lane_key.clone());
            }
            let record = GroupRecord { topic: topic.clone(), partition: index, record };
            let (life, ends) = (partition.life, partition.ends.subscribe());
            lane.waiting.push_back(Job { lane: lane_key, life, record, ends });
        }
    }

    /// Records that were taken in and not begun.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Begins the next record that may be handled.
    pub(crate) fn begin(&mut self) -> Option<Job> {
        let lane = self.lanes.get_mut(&self.ready.pop_front()?)?;
        let job = lane.waiting.pop_front()?;
        lane.is_running = true;
        self.waiting -= 1;
        if let Some(partition) = self.partition_of(&job.ticket()) {
            partition.running += 1;
        }
        Some(job)
    }

    /// A record that was begun is handled or skipped, or was given up.
    pub(crate) fn end(&mut self, ticket: &Ticket, is_done: bool) {
        if let Some(partition) = self.partition_of(ticket) {
            partition.running -= 1;
            if is_done {
                partition.unfinished.remove(&ticket.offset);
            }
        }
        if let Some(lane) = self.lanes.get_mut(&ticket.lane) {
            lane.is_running = false;
            if lane.waiting.is_empty() {
                self.lanes.remove(&ticket.lane);
            } else {
                self.ready.push_back(ticket.lane.clone());
            }
        }
    }

    /// Nothing of these partitions is begun or tried again any more: all of them if none are named.
    pub(crate) fn drain(&mut self, only: Option<&[TopicPartition]>) {
        let is_meant = |partition: &TopicPartition| only.is_none_or(|only| only.contains(partition));
        for (_, partition) in self.partitions.iter().filter(|(of, _)| is_meant(of)) {
            partition.ends.send_replace(true);
        }
        let waiting = &mut self.waiting;
        self.lanes.retain(|key, lane| {
            if is_meant(key.partition()) {
                *waiting -= lane.waiting.len();
                lane.waiting.clear();
            }
            lane.is_running || !lane.waiting.is_empty()
        });
        self.ready.retain(|key| !is_meant(key.partition()));
    }

    /// Whether something of these partitions is being handled.
    pub(crate) fn is_busy(&self, partitions: &[TopicPartition]) -> bool {
        partitions.iter().filter_map(|of| self.partitions.get(of)).any(|partition| partition.running > 0)
    }

    /// These partitions are somebody else's.
    pub(crate) fn forget(&mut self, partitions: &[TopicPartition]) {
        for of in partitions {
            self.partitions.remove(of);
        }
    }

    /// How far partitions are done, where that is news: all of them if none are named.
    pub(crate) fn due(&self, only: Option<&[TopicPartition]>) -> Vec<OffsetCommit> {
        let due = |(of, partition): (&TopicPartition, &Partition)| {
            let done = partition.unfinished.first().copied().unwrap_or(partition.next);
            let is_news = partition.committed.is_none_or(|committed| committed < done);
            (is_news && only.is_none_or(|only| only.contains(of))).then(|| OffsetCommit::new(of.clone(), done))
        };
        self.partitions.iter().filter_map(due).collect()
    }

    pub(crate) fn committed(&mut self, offsets: &[OffsetCommit]) {
        for commit in offsets {
            if let Some(partition) = self.partitions.get_mut(&commit.partition) {
                partition.committed = partition.committed.max(Some(commit.offset));
            }
        }
    }

    fn partition_of(&mut self, ticket: &Ticket) -> Option<&mut Partition> {
        self.partitions.get_mut(ticket.lane.partition()).filter(|partition| partition.life == ticket.life)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_records::Record;
    use highwater_types::{PartitionIndex, TimestampMs};

    fn of() -> TopicPartition {
        TopicPartition::new("t", PartitionIndex(0))
    }

    /// Records with these keys, from this offset on; `-` is none.
    fn take(lanes: &mut Lanes, from: i64, keys: &str) {
        let record = |(offset, key): (i64, char)| Record {
            offset: Offset(offset),
            timestamp: TimestampMs(0),
            key: (key != '-').then(|| key.to_string().into()),
            value: None,
            headers: Vec::new(),
        };
        let records: Vec<_> = (from..).zip(keys.chars()).map(record).collect();
        let next_offset = Offset(from + i64::try_from(records.len()).expect("few"));
        lanes.take(GroupBatch { topic: "t".into(), partition: PartitionIndex(0), records, next_offset });
    }

    fn begin(lanes: &mut Lanes) -> BTreeMap<i64, Ticket> {
        std::iter::from_fn(|| lanes.begin()).map(|job| (job.record.record.offset.0, job.ticket())).collect()
    }

    fn done(lanes: &Lanes) -> Vec<i64> {
        lanes.due(None).iter().map(|commit| commit.offset.0).collect()
    }

    #[test]
    fn a_key_waits_for_its_own_records_only_and_the_frontier_for_the_slowest() {
        let mut lanes = Lanes::default();
        take(&mut lanes, 5, "aab-a-");
        let first = begin(&mut lanes);
        assert_eq!(first.keys().copied().collect::<Vec<_>>(), [5, 7, 8, 10]);
        assert_eq!((done(&lanes), lanes.waiting()), (vec![5], 2));
        for offset in [7, 8, 10] {
            lanes.end(&first[&offset], true);
        }
        assert_eq!((done(&lanes), lanes.begin().is_none()), (vec![5], true));
        lanes.end(&first[&5], true);
        let second = begin(&mut lanes);
        assert_eq!((second.keys().copied().collect::<Vec<_>>(), done(&lanes)), (vec![6], vec![6]));
        lanes.end(&second[&6], true);
        let third = begin(&mut lanes);
        lanes.end(&third[&9], true);
        assert_eq!(done(&lanes), [11]);
        assert!(lanes.lanes.is_empty() && lanes.ready.is_empty());
    }

    #[test]
    fn what_is_drained_is_not_begun_and_counts_as_not_done() {
        let mut lanes = Lanes::default();
        take(&mut lanes, 0, "aab");
        let job = lanes.begin().expect("the first");
        lanes.drain(Some(&[of()]));
        assert!(*job.ends.borrow());
        assert_eq!((lanes.waiting(), lanes.begin().is_none(), lanes.is_busy(&[of()])), (0, true, true));
        lanes.end(&job.ticket(), true);
        assert_eq!((done(&lanes), lanes.is_busy(&[of()])), (vec![1], false));
    }

    #[test]
    fn what_began_in_an_earlier_life_holds_its_key_back_and_finishes_nothing() {
        let mut lanes = Lanes::default();
        take(&mut lanes, 0, "a");
        let old = lanes.begin().expect("the first").ticket();
        lanes.drain(Some(&[of()]));
        lanes.forget(&[of()]);
        take(&mut lanes, 0, "ab");
        let new = begin(&mut lanes);
        assert_eq!(new.keys().copied().collect::<Vec<_>>(), [1], "the key is still being handled");
        lanes.end(&old, true);
        assert_eq!(done(&lanes), [0]);
        assert_eq!(begin(&mut lanes).keys().copied().collect::<Vec<_>>(), [0]);
    }
}
