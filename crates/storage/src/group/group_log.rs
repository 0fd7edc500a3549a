//! [`GroupLog`]: appends, votes, truncation, purge.
//!
//! Locks are taken in this order: `applied`, then `state`. Neither is held across an await.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use highwater_records::{Batch, StampedBatch};
use highwater_types::{GroupId, Offset, RaftIndex, mutant};
use parking_lot::Mutex;

use super::apply::AppliedState;
use super::boundaries::Boundaries;
use super::identity::ReplicaIdentity;
use super::options::{Durability, GroupOptions};
use super::tail::{Tail, TailEntry, offset_after};
use crate::disk::Disk;
use crate::entry::{Entry, LogId, Payload, Vote};
use crate::journal::frame::{Change, Frame};
use crate::journal::{Journal, JournalError, Submission};
use crate::segment::{SegmentError, SegmentManifest, SegmentedLog};
use crate::watermarks::Watermarks;

/// Why a log refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The journal failed; the node is about to exit.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A segment failed.
    #[error(transparent)]
    Segment(#[from] Arc<SegmentError>),
    /// The disk failed while entries were read back.
    #[error("reading entry {index} of group {group} failed: {reason}")]
    Read {
        /// The group.
        group: GroupId,
        /// The entry.
        index: RaftIndex,
        /// What was wrong.
        reason: String,
    },
    /// An entry does not follow the one before it.
    #[error("entry {id} of group {group} does not follow: expected {expected}")]
    NotContiguous {
        /// The group.
        group: GroupId,
        /// The entry.
        id: LogId,
        /// What had to come.
        expected: String,
    },
    /// The group's stored data is damaged; it takes no part in consensus.
    #[error("group {group} is quarantined: {reason}")]
    Quarantined {
        /// The group.
        group: GroupId,
        /// What is damaged.
        reason: String,
    },
    /// The state above the log could not be restored.
    #[error(transparent)]
    Restore(#[from] crate::applier::RestoreError),
    /// A state from the leader cannot take the place of the log.
    #[error("the state that group {group} was sent cannot be installed: {reason}")]
    Install {
        /// The group.
        group: GroupId,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk failed while a state from the leader was written.
    #[error("writing the state that group {group} was sent failed: {source}")]
    InstallIo {
        /// The group.
        group: GroupId,
        /// What the disk said.
        source: Arc<std::io::Error>,
    },
}

impl LogError {
    /// Whether the cause is a full disk, which passes: nothing was written, and what failed can be done again.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Segment(error) => match &**error {
                SegmentError::NoSpace { .. } => true,
                SegmentError::Io { source, .. } => crate::disk::is_no_space(source),
                _ => false,
            },
            Self::InstallIo { source, .. } => crate::disk::is_no_space(source),
            _ => false,
        }
    }

    /// Whether stored data is damaged, which does not pass.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Segment(error) => error.is_damage(),
            Self::Quarantined { .. } | Self::Restore(_) => true,
            Self::Journal(_)
            | Self::Read { .. }
            | Self::NotContiguous { .. }
            | Self::Install { .. }
            | Self::InstallIo { .. } => false,
        }
    }
}

impl From<SegmentError> for LogError {
    fn from(error: SegmentError) -> Self {
        Self::Segment(Arc::new(error))
    }
}

/// An entry to append.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Its identity.
    pub id: LogId,
    /// What it holds.
    pub payload: NewPayload,
}

/// What an entry to append holds.
#[derive(Debug, Clone)]
pub enum NewPayload {
    /// Proposed here, by the leader: the log stamps it with its base offset and epoch.
    Proposed(Batch),
    /// Anything else, as it stands; a batch must follow the one before it.
    Ready(Payload),
}

/// What a group's log needs of its node.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) journal_directory: PathBuf,
    /// Empty until recovery is over, and for good in a store that is open for reading only.
    pub(crate) journal: Arc<OnceLock<Journal>>,
}

/// What a log is opened with: found by recovery, or empty.
pub(crate) struct Opened {
    pub(crate) id: GroupId,
    pub(crate) options: GroupOptions,
    pub(crate) segments: Option<Arc<SegmentedLog>>,
    /// What the checkpoint said of the segments.
    pub(crate) manifest: Option<SegmentManifest>,
    /// Why the log itself is damaged, when it is.
    pub(crate) broken: Option<String>,
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: Option<Entry>,
    pub(crate) kept: BTreeMap<RaftIndex, Entry>,
    pub(crate) boundaries: Boundaries,
    pub(crate) tail: Tail,
    pub(crate) log_start: Offset,
    pub(crate) state: Bytes,
    pub(crate) quarantine: Option<String>,
    pub(crate) identity: ReplicaIdentity,
}

pub(super) struct LogState {
    pub(super) identity: ReplicaIdentity,
    /// Whether the journal or a checkpoint says that batches are not synced.
    pub(super) is_relaxed: bool,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) committed_saved: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// Mirrors `AppliedState::last`, so that readers need not wait for an apply.
    pub(super) applied: Option<LogId>,
    /// What the newest durable checkpoint has applied.
    pub(super) checkpointed: Option<LogId>,
    pub(super) kept: BTreeMap<RaftIndex, Entry>,
    pub(super) boundaries: Boundaries,
    pub(super) tail: Tail,
    pub(super) log_start: Offset,
    pub(super) high_watermark: Offset,
}

/// One Raft group's log on this node.
pub struct GroupLog {
    pub(super) id: GroupId,
    pub(super) services: Services,
    pub(super) segments: Option<Arc<SegmentedLog>>,
    pub(super) options: Mutex<GroupOptions>,
    pub(super) state: Mutex<LogState>,
    pub(super) applied: Mutex<AppliedState>,
    pub(super) quarantine: Option<String>,
    /// Of segments that could not be opened: later checkpoints repeat it, so that nothing is forgotten.
    pub(super) unopened: Option<SegmentManifest>,
    /// What quarantines the group for good: later checkpoints repeat it, for the journal will not show it again.
    pub(super) broken: Option<String>,
}

impl GroupLog {
    pub(crate) fn open(opened: Opened, services: Services) -> Arc<Self> {
        let high_watermark = opened.segments.as_ref().map_or(Offset::ZERO, |segments| segments.next_offset());
        let unopened = opened.manifest.filter(|_| opened.segments.is_none());
        Arc::new(Self {
            id: opened.id,
            unopened,
            broken: opened.broken,
            services,
            segments: opened.segments,
            options: Mutex::new(opened.options),
            state: Mutex::new(LogState {
                identity: opened.identity,
                is_relaxed: opened.options.durability == Durability::Memory,
                vote: opened.vote,
                // R12: what is known committed never exceeds what is there.
                committed: opened.committed.min(opened.tail.last().max(opened.applied)),
                committed_saved: opened.committed,
                purged: opened.purged,
                applied: opened.applied,
                checkpointed: opened.applied,
                kept: opened.kept,
                boundaries: opened.boundaries,
                tail: opened.tail,
                log_start: opened.log_start,
                high_watermark: high_watermark.max(opened.log_start),
            }),
            applied: Mutex::new(AppliedState::stored(opened.applied, opened.membership, opened.state)),
            quarantine: opened.quarantine,
        })
    }

    /// The group.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// How the group stores its log.
    pub fn options(&self) -> GroupOptions {
        *self.options.lock()
    }

    /// Changes how the group stores what comes; the next checkpoint persists it.
    pub fn set_options(&self, options: GroupOptions) {
        if let (Some(segments), Some(changed)) = (&self.segments, options.segments) {
            segments.set_options(changed);
        }
        if options.durability == Durability::Fsync {
            self.state.lock().is_relaxed = false;
        }
        *self.options.lock() = options;
    }

    /// The committed batches; `None` for a group without batches, or when they could not be opened.
    pub fn segments(&self) -> Option<&Arc<SegmentedLog>> {
        self.segments.as_ref()
    }

    /// Why the group is kept out of service, when it is.
    pub fn quarantine(&self) -> Option<&str> {
        self.quarantine.as_deref()
    }

    /// The offsets that bound the log.
    pub fn watermarks(&self) -> Watermarks {
        let state = self.state.lock();
        Watermarks::new(
            state.log_start,
            state.high_watermark,
            state.tail.next_offset().max(state.high_watermark),
        )
    }

    /// The vote, as of the last [`GroupLog::save_vote`].
    pub fn vote(&self) -> Option<Vote> {
        self.state.lock().vote
    }

    /// The newest entry known committed.
    pub fn committed(&self) -> Option<LogId> {
        self.state.lock().committed
    }

    /// The last applied entry.
    pub fn applied_id(&self) -> Option<LogId> {
        self.state.lock().applied
    }

    /// The newest purged entry and the last entry.
    pub fn bounds(&self) -> (Option<LogId>, Option<LogId>) {
        let state = self.state.lock();
        (state.purged, state.last())
    }

    /// Saves a vote. `done` runs when it and every earlier append of the group are durable, whatever the group's durability.
    ///
    /// # Panics
    /// When the vote would go back: the consensus layer is broken then.
    pub fn save_vote(&self, vote: Vote, done: impl FnOnce(Result<(), JournalError>) + Send + 'static) {
        let mut state = self.state.lock();
        assert!(
            state.vote.is_none_or(|older| vote.supersedes(&older)),
            "the vote of group {} goes back from {:?} to {vote:?}",
            self.id,
            state.vote
        );
        state.vote = Some(vote);
        if mutant!(LostVote) {
            return done(Ok(()));
        }
        self.submit(
            vec![Frame::new(self.id, &Change::Vote(vote))],
            true,
            Box::new(|result| done(result.map(drop))),
        );
    }

    /// Notes what is committed. It is persisted with the next append, without a sync of its own.
    pub fn save_committed(&self, committed: Option<LogId>) {
        let mut state = self.state.lock();
        state.committed = state.committed.max(committed);
    }

    /// Appends entries, which must follow the last one, and stamps the proposed batches. `done` runs when they are stored as the
    /// group's durability says, in the order of the calls (R15).
    ///
    /// # Errors
    /// When an entry does not follow; nothing is appended then.
    pub fn append(
        self: &Arc<Self>,
        entries: impl IntoIterator<Item = NewEntry>,
        done: impl FnOnce(Result<(), JournalError>) + Send + 'static,
    ) -> Result<(), LogError> {
        let mut state = self.state.lock();
        let entries = self.stamp(&state, entries)?;
        if entries.is_empty() {
            self.submit(Vec::new(), self.is_synced(), Box::new(|result| done(result.map(drop))));
            return Ok(());
        }
        let mut piece = Piece { is_synced: self.begin_relaxing(&mut state), ..Piece::default() };
        if piece.is_synced {
            piece.frames.push(Frame::new(self.id, &Change::Options(self.options().encode())));
        }
        for entry in entries {
            let (id, next_offset) = (entry.id, offset_after(&entry.payload, state.tail.next_offset()));
            let change = Change::Append(entry);
            let frame = Frame::new(self.id, &change);
            let is_batch =
                matches!(&change, Change::Append(entry) if matches!(entry.payload, Payload::Batch(_)));
            if let Some(full) = piece.push(frame, id, is_batch, self.submission_bytes_max()) {
                self.submit_piece(full, |_| ());
            }
            if let Change::Append(entry) = change {
                state.tail.push(TailEntry::Loaded(entry), next_offset, None);
            }
        }
        if let Some(committed) = state.committed.filter(|_| state.committed != state.committed_saved) {
            piece.frames.push(Frame::new(self.id, &Change::Committed(committed)));
            state.committed_saved = state.committed;
        }
        self.submit_piece(piece, done);
        Ok(())
    }

    /// Submits appended entries. To be called under the lock, so that the journal has the group's changes in the order of
    /// its log.
    fn submit_piece(
        self: &Arc<Self>,
        piece: Piece,
        done: impl FnOnce(Result<(), JournalError>) + Send + 'static,
    ) {
        let log = Arc::downgrade(self);
        let completion = move |result: Result<crate::journal::Position, JournalError>| {
            if let (Ok(position), Some((first, last)), Some(log)) = (&result, piece.ids, log.upgrade()) {
                log.state.lock().tail.written(first, last, *position);
            }
            done(result.map(drop));
        };
        self.submit(piece.frames, piece.is_synced || self.is_synced(), Box::new(completion));
    }

    /// Whether the journal has yet to learn that batches are not synced from here on: it must, durably, before the first of them is
    /// acknowledged. Otherwise a start after a power cut would take the log for whole (R20).
    fn begin_relaxing(&self, state: &mut LogState) -> bool {
        let begins = !state.is_relaxed && !self.is_synced();
        state.is_relaxed |= begins;
        begins
    }

    /// Most bytes of entries that are submitted as one: the journal never splits a submission, and one that no
    /// prepared file has room for would need space that nobody reserved (R3).
    fn submission_bytes_max(&self) -> u64 {
        self.services.journal.get().map_or(u64::MAX, |journal| journal.options().group_bytes_max())
    }

    fn is_synced(&self) -> bool {
        self.options.lock().durability == Durability::Fsync
    }

    /// Checks that the entries follow, and gives proposed batches their offset and epoch.
    fn stamp(
        &self,
        state: &LogState,
        entries: impl IntoIterator<Item = NewEntry>,
    ) -> Result<Vec<Entry>, LogError> {
        let mut previous = state.last();
        let mut offset = state.tail.next_offset();
        let mut stamped = Vec::new();
        for entry in entries {
            let expected = previous.map_or(RaftIndex::ZERO, |id| id.index.next());
            if entry.id.index != expected || previous.is_some_and(|id| entry.id.term < id.term) {
                return Err(self.not_contiguous(entry.id, format!("index {expected} after {previous:?}")));
            }
            let payload = match entry.payload {
                NewPayload::Proposed(batch) => Payload::Batch(batch.stamp(offset, entry.id.term.into())),
                NewPayload::Ready(payload) => payload,
            };
            if let Payload::Batch(batch) = &payload {
                self.check_batch(batch, entry.id, offset)?;
            }
            offset = offset_after(&payload, offset);
            previous = Some(entry.id);
            stamped.push(Entry { id: entry.id, payload });
        }
        Ok(stamped)
    }

    /// A batch's CRC leaves out its offset and epoch, so they are checked against the log (R5).
    fn check_batch(&self, batch: &StampedBatch, id: LogId, offset: Offset) -> Result<(), LogError> {
        if batch.base_offset() != offset || batch.partition_leader_epoch() != id.term.into() {
            return Err(self.not_contiguous(id, format!("a batch at offset {offset} of epoch {}", id.term)));
        }
        Ok(())
    }

    fn not_contiguous(&self, id: LogId, expected: String) -> LogError {
        LogError::NotContiguous { group: self.id, id, expected }
    }

    /// Drops the entries above `index`, which were never committed; `None` drops all of the tail. Durable with the next append,
    /// which is soon enough: an entry that comes back after a crash is truncated again.
    ///
    /// # Panics
    /// When an applied entry would go.
    pub fn truncate_after(&self, index: Option<RaftIndex>) {
        let mut state = self.state.lock();
        let applied = state.applied.map(|id| id.index);
        assert!(index >= applied, "group {} truncates to {index:?}, below applied {applied:?}", self.id);
        state.tail.truncate_after(index);
        self.submit(vec![Frame::new(self.id, &Change::Truncate(index))], false, Box::new(|_| ()));
    }

    /// Bytes of the uncommitted tail that are held in memory.
    pub fn tail_bytes(&self) -> usize {
        self.state.lock().tail.bytes()
    }

    pub(super) fn submit(&self, frames: Vec<Frame>, sync: bool, done: crate::journal::Completion) {
        match self.services.journal.get() {
            Some(journal) => journal.submit(Submission { group: self.id, frames, sync, done }),
            None => done(Err(JournalError::Closed)),
        }
    }
}

/// Consecutive entries on their way into the journal.
#[derive(Default)]
struct Piece {
    frames: Vec<Frame>,
    /// Whether it holds anything but batches: only they may be acknowledged before they are synced (R20).
    is_synced: bool,
    bytes: u64,
    /// The first index and the last entry.
    ids: Option<(RaftIndex, LogId)>,
}

impl Piece {
    /// Adds an entry; gives back what was there before when both together are more than `bytes_max`.
    fn push(&mut self, frame: Frame, id: LogId, is_batch: bool, bytes_max: u64) -> Option<Self> {
        let bytes = frame.len() as u64;
        let is_full = self.ids.is_some() && self.bytes + bytes > bytes_max;
        let full = is_full.then(|| std::mem::take(self));
        self.frames.push(frame);
        self.is_synced |= !is_batch;
        self.bytes += bytes;
        self.ids = Some((self.ids.map_or(id.index, |(first, _)| first), id));
        full
    }
}

impl LogState {
    pub(super) fn last(&self) -> Option<LogId> {
        self.tail.last().or(self.applied)
    }
}
