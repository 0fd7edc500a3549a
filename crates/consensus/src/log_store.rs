//! openraft's log storage over a [`GroupLog`].

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{Stream, stream};
use highwater_storage::{Entry, GroupLog, LogError, Payload};
use highwater_types::RaftIndex;
use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::apply_gate::ApplyGate;
use crate::convert;
use crate::proposal_run::ProposalRuns;
use crate::type_config::Types;

/// Bytes of entries that are read at one time, to be sent or applied (R21: openraft bounds only their number).
pub(crate) const READ_BYTES_MAX: usize = 4 << 20;

/// The same where a reader does not go on from where it was; one entry may be larger.
const PROBE_BYTES_MAX: usize = 4 << 10;

/// How often a reader that met damage looks whether it is repaired.
const LOOK_FOR_REPAIR: Duration = Duration::from_millis(200);

/// The log of one group, for openraft's core and its readers.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: Arc<GroupLog>,
    runs: Arc<ProposalRuns>,
    /// What was found damaged when entries were read.
    damage: Arc<OnceLock<String>>,
    /// Says when the group stops.
    gate: Arc<ApplyGate>,
    /// Where this reader's last part of the log ended.
    read_to: RaftIndex,
}

impl LogStore {
    pub(crate) fn new(log: Arc<GroupLog>, runs: Arc<ProposalRuns>, gate: Arc<ApplyGate>) -> Self {
        Self { log, runs, damage: Arc::default(), gate, read_to: RaftIndex::ZERO }
    }

    /// What was found damaged when entries were read, for who has to say why a group does not start.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.damage.get().map(String::as_str)
    }

    /// The range as `start .. end`, cut to what the log holds.
    fn bounds(&self, range: &impl RangeBounds<u64>) -> (RaftIndex, RaftIndex) {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let (purged, last) = self.log.bounds();
        let first = purged.map_or(0, |purged| purged.index.0 + 1);
        let after_last = last.map_or(0, |last| last.index.0 + 1);
        (RaftIndex(start.max(first)), RaftIndex(end.min(after_last)))
    }

    fn read(
        &self,
        start: RaftIndex,
        end: RaftIndex,
        bytes_max: usize,
    ) -> Result<Vec<EntryOf<Types>>, io::Error> {
        let entries = self.log.entries(start, end, bytes_max).map_err(|error| {
            if let LogError::Segment(segment) = &error
                && segment.is_damage()
            {
                self.damage.get_or_init(|| segment.to_string());
            }
            convert::io_error(error)
        })?;
        entries.into_iter().map(convert::raft_entry).collect()
    }
}

/// Whether stored batches are damaged, and not the log itself: such are repaired.
fn is_damaged_segment(error: &LogError) -> bool {
    matches!(error, LogError::Segment(segment) if segment.is_damage())
}

impl LogStore {
    /// The entries of a range; one that is damaged stands as a blank one. The core asks for these when it starts, to learn which terms
    /// its log has, and where memberships are; neither is in a batch.
    fn read_for_start(&self, start: RaftIndex, end: RaftIndex) -> Result<Vec<EntryOf<Types>>, io::Error> {
        let entry = |index: u64| {
            let index = RaftIndex(index);
            match (self.log.entry(index), self.log.entry_id(index)) {
                (Err(error), Some(id)) if is_damaged_segment(&error) => {
                    convert::raft_entry(Entry { id, payload: Payload::Blank })
                }
                (entry, _) => convert::raft_entry(entry.map_err(convert::io_error)?),
            }
        };
        (start.0..end.0).map(entry).collect()
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<EntryOf<Types>>, io::Error> {
        let (start, end) = self.bounds(&range);
        match self.log.entries(start, end, usize::MAX) {
            Ok(entries) => entries.into_iter().map(convert::raft_entry).collect(),
            Err(error) if is_damaged_segment(&error) => self.read_for_start(start, end),
            Err(error) => Err(convert::io_error(error)),
        }
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<EntryOf<Types>>, io::Error> {
        // A new leader looks for where a follower's log ends, in halves of its own log: what it sends with each look, the follower has.
        let bytes_max = if self.read_to.0 == start { READ_BYTES_MAX } else { PROBE_BYTES_MAX };
        // A follower that needs damaged batches waits for their repair: a failed read would end the whole group.
        loop {
            let (from, below) = self.bounds(&(start..end));
            if from.0 > start {
                // They were purged. A replication that openraft has given up meanwhile still reads, and what comes after a gap must not
                // stand for what was asked.
                return Ok(Vec::new());
            }
            match self.log.entries(from, below, bytes_max) {
                Err(error) if is_damaged_segment(&error) && !self.gate.is_stopped() => {
                    sleep(LOOK_FOR_REPAIR).await;
                }
                Err(error) => return Err(convert::io_error(error)),
                Ok(entries) => {
                    self.read_to = RaftIndex(start + entries.len() as u64);
                    return entries.into_iter().map(convert::raft_entry).collect();
                }
            }
        }
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<EntryOf<Types>, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = self.bounds(&range);
        let chunks = stream::unfold((self.clone(), start), move |(store, start)| async move {
            if start >= end {
                return None;
            }
            match store.read(start, end, READ_BYTES_MAX) {
                Ok(entries) => {
                    let next = RaftIndex(start.0 + entries.len() as u64);
                    Some((stream::iter(entries.into_iter().map(Ok).collect::<Vec<_>>()), (store, next)))
                }
                Err(error) => Some((stream::iter(vec![Err(error)]), (store, end))),
            }
        });
        Box::pin(futures_util::StreamExt::flatten(chunks))
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<Types>>, io::Error> {
        Ok(self.log.vote().map(convert::raft_vote))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let (purged, last) = self.log.bounds();
        Ok(LogState {
            last_purged_log_id: purged.map(convert::raft_log_id),
            last_log_id: last.or(purged).map(convert::raft_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        Self { read_to: RaftIndex::ZERO, ..self.clone() }
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> Result<(), io::Error> {
        let (sender, receiver) = oneshot::channel();
        self.log.save_vote(convert::vote(vote), move |result| drop(sender.send(result)));
        match receiver.await {
            Ok(result) => result.map_err(io::Error::other),
            Err(_) => Err(io::Error::other("the journal went away before the vote was durable")),
        }
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<Types>>) -> Result<(), io::Error> {
        self.log.save_committed(committed.as_ref().map(convert::log_id));
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogIdOf<Types>>, io::Error> {
        Ok(self.log.committed().map(convert::raft_log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = EntryOf<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(|entry| convert::new_entry(entry, &self.runs));
        self.log
            .append(entries, move |result| callback.io_completed(result.map_err(io::Error::other)))
            .map_err(convert::io_error)
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Types>>) -> Result<(), io::Error> {
        self.log.truncate_after(last.as_ref().map(|id| convert::log_id(id).index));
        Ok(())
    }

    async fn purge(&mut self, upto: LogIdOf<Types>) -> Result<(), io::Error> {
        self.log.purge(convert::log_id(&upto)).map_err(convert::io_error)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;
    use highwater_storage::disk::SimDisk;
    use highwater_storage::journal::JournalOptions;
    use highwater_storage::{
        Applied, Applier, Durability, GroupOptions, LogId, NewEntry, NewPayload, RestoreError, Store,
        StoreOptions,
    };
    use highwater_types::{GroupId, SystemRandom, Term, TimestampMs};

    use super::*;

    /// Does nothing with what it applies.
    pub(crate) struct Nothing;

    impl Applier for Nothing {
        fn apply(&mut self, _: &Entry) -> Applied {
            Applied { response: Bytes::new(), log_start: None }
        }

        fn snapshot(&self) -> Bytes {
            Bytes::new()
        }

        fn restore(&mut self, _: &[u8]) -> Result<(), RestoreError> {
            Ok(())
        }
    }

    /// An empty store on a simulated disk.
    pub(crate) fn store() -> Arc<Store> {
        let options = StoreOptions {
            journal: JournalOptions::default(),
            mapped_segments_max: 1,
            unreadable: Vec::new(),
            power_lost: false,
            on_failure: Arc::new(|_| ()),
        };
        Store::open(Arc::new(SimDisk::new(1).for_process()), &options, &SystemRandom).unwrap()
    }

    /// A group's log with so many entries of so many bytes, all applied.
    fn entries(count: u64, bytes: usize) -> (Arc<Store>, Arc<GroupLog>) {
        let store = store();
        let group = GroupOptions { durability: Durability::Fsync, segments: None };
        let log = store.create_group(GroupId::Metadata, group).unwrap();
        log.install(Box::new(Nothing)).unwrap();
        let payload = || NewPayload::Ready(Payload::Control(Bytes::from(vec![7; bytes])));
        let entries: Vec<_> = (0..count).map(|index| NewEntry { id: id(index), payload: payload() }).collect();
        log.append(entries, |stored| stored.unwrap()).unwrap();
        log.save_committed(Some(id(count - 1)));
        let entries = log.entries(RaftIndex(0), RaftIndex(count), usize::MAX).unwrap();
        log.apply(entries, TimestampMs(0)).unwrap();
        (store, log)
    }

    fn id(index: u64) -> LogId {
        LogId { term: Term(1), index: RaftIndex(index) }
    }

    /// The indexes of the entries that a replication is given at one time.
    async fn read(reader: &mut LogStore, start: u64) -> Vec<u64> {
        let entries = reader.limited_get_log_entries(start, 10).await.unwrap();
        entries.iter().map(|entry| entry.log_id.index).collect()
    }

    #[tokio::test]
    async fn who_goes_on_reads_much_and_who_looks_around_reads_little() {
        let (_store, log) = entries(10, 2000);
        let mut reader = LogStore::new(log, Arc::default(), Arc::new(ApplyGate::new()));
        assert_eq!(read(&mut reader, 5).await, [5, 6]);
        assert_eq!(read(&mut reader, 8).await, [8, 9]);
        assert_eq!(read(&mut reader, 2).await, [2, 3]);
        assert_eq!(read(&mut reader, 4).await, [4, 5, 6, 7, 8, 9]);
        let mut another = reader.get_log_reader().await;
        assert_eq!(read(&mut another, 6).await, [6, 7]);
        assert_eq!(read(&mut reader.get_log_reader().await, 0).await.len(), 10);
    }

    #[tokio::test]
    async fn entries_that_are_few_and_large_are_not_all_read_at_one_time() {
        // Two of them are 3 MiB.
        let (_store, log) = entries(3, 3 << 19);
        let mut reader = LogStore::new(log, Arc::default(), Arc::new(ApplyGate::new()));
        assert_eq!(read(&mut reader, 0).await, [0, 1]);
        assert_eq!(read(&mut reader, 2).await, [2]);
        // One that is larger than all that may be read is read alone.
        let (_store, log) = entries(2, 5 << 20);
        let mut reader = LogStore::new(log, Arc::default(), Arc::new(ApplyGate::new()));
        assert_eq!(read(&mut reader, 0).await, [0]);
        assert_eq!(read(&mut reader, 1).await, [1]);
    }

    #[tokio::test]
    async fn what_follows_a_purged_entry_is_not_read_in_its_place() {
        let (_store, log) = entries(10, 2000);
        log.purge(id(5)).unwrap();
        let mut reader = LogStore::new(log, Arc::default(), Arc::new(ApplyGate::new()));
        assert_eq!(read(&mut reader, 3).await, [0; 0]);
        assert_eq!(read(&mut reader, 6).await, [6, 7]);
    }
}
