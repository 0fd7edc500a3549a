//! A group's part in a checkpoint.

use super::apply::AppliedState;
use super::boundaries::{StateMark, StateWork};
use super::group_log::{GroupLog, LogState};
use super::purge::KEPT_ENTRIES_MAX;
use super::section::{EntryMessage, GroupSection};
use super::snapshot::GroupSnapshot;
use crate::disk::Disk;
use crate::entry::Entry;
use crate::journal::frame::{Change, Frame};
use crate::journal::{Position, Progress};
use crate::layout;
use crate::segment::{CheckpointMark, CheckpointWork, SegmentError};

/// A group's section and what must be synced before it counts.
pub(crate) struct Captured {
    pub(crate) section: GroupSection,
    pub(crate) work: SyncWork,
    /// Which of the group's boundaries the section lists.
    pub(crate) states: StateMark,
    /// Where the group's replay starts.
    pub(crate) replay_from: Position,
}

/// The syncs that make a section true.
pub(crate) struct SyncWork {
    segments: Option<CheckpointWork>,
    states: StateWork,
}

impl SyncWork {
    /// Names the capture of the segments.
    pub(crate) fn mark(&self) -> Option<CheckpointMark> {
        self.segments.as_ref().map(CheckpointWork::mark)
    }

    /// Makes what the section states durable. Blocks on the disk.
    ///
    /// # Errors
    /// A full disk passes. After any other error the node must end (R2).
    pub(crate) fn sync(&self, disk: &dyn Disk) -> Result<(), SegmentError> {
        if let Some(segments) = &self.segments {
            segments.sync()?;
        }
        self.states.sync(disk)
    }
}

impl GroupLog {
    /// The group as of now. `progress` was taken before, so that every frame of the group that the
    /// section does not take in is at or after it, or in the tail.
    pub(crate) fn capture(&self, progress: &Progress) -> Captured {
        let applied = self.applied.lock();
        let mut state = self.state.lock();
        let encoded = applied.snapshot();
        self.keep_end(&applied, &mut state, &encoded);
        let replay_from = match state.tail.is_empty() {
            true => progress.next,
            false => {
                state.tail.first_written().filter(|at| at.lsn < progress.next.lsn).unwrap_or(progress.next)
            }
        };
        let segments = self.segments.as_ref().map(|segments| segments.checkpoint());
        let (unwritten, states) = state.boundaries.capture(layout::group_directory(self.id));
        let section = GroupSection {
            group: self.id.to_bytes().to_vec(),
            options: self.options.lock().encode(),
            vote: state.vote.map(Into::into),
            committed: state.committed.map(Into::into),
            applied: applied.last.map(Into::into),
            purged: state.purged.map(Into::into),
            membership: applied.membership.as_ref().and_then(EntryMessage::new),
            kept: state.kept.values().filter_map(EntryMessage::new).collect(),
            segments: segments.as_ref().map(|work| work.manifest.clone()).or_else(|| self.unopened.clone()),
            log_start: state.log_start.0,
            state: encoded,
            replay_from_lsn: replay_from.lsn,
            broken: self.broken.clone(),
            boundaries: state.boundaries.records(),
            incarnation: state.identity.incarnation.map(|incarnation| incarnation.0),
            is_doubtful: state.identity.is_doubtful,
        };
        Captured { section, work: SyncWork { segments, states: unwritten }, states, replay_from }
    }

    /// Keeps the state as of the last applied entry when nothing before it can be read any more: no segment will start
    /// there by itself while nothing is appended.
    fn keep_end(&self, applied: &AppliedState, state: &mut LogState, encoded: &bytes::Bytes) {
        let (Some(segments), Some(last)) = (&self.segments, applied.last) else { return };
        let end = state.high_watermark;
        let holds_much = segments.start_offset() < end || state.kept.len() > KEPT_ENTRIES_MAX;
        let is_unread = state.log_start >= end && segments.next_offset() == end;
        if !is_unread || !holds_much || state.boundaries.reach(end) {
            return;
        }
        state.boundaries.keep(&GroupSnapshot {
            last,
            membership: applied.membership.clone(),
            next_offset: end,
            log_start: state.log_start,
            state: encoded.clone(),
        });
    }

    /// Writes the uncommitted tail into the journal again when it holds back files older than `generation`, so that
    /// they can be recycled by the next checkpoint. Replaying the copies changes nothing. Returns the bytes that it writes.
    pub(crate) fn carry_forward(self: &std::sync::Arc<Self>, generation: u64) -> u64 {
        let mut state = self.state.lock();
        if state.tail.first_written().is_none_or(|at| at.generation >= generation) {
            return 0;
        }
        // What is read back from a file that may be recycled is kept in memory from here on.
        let (disk, directory) = (&self.services.disk, &self.services.journal_directory);
        if let Err(reason) = state.tail.load(|stored| stored.read(disk, directory)) {
            tracing::error!(group = %self.id, reason, "the journal's tail cannot be carried forward");
            return 0;
        }
        let entries: Vec<Entry> = state.tail.loaded().cloned().collect();
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return 0 };
        let (first, last) = (first.id.index, last.id);
        let frames = entries.into_iter().map(|entry| Frame::new(self.id, &Change::Append(entry))).collect();
        // As one submission: of copies that were durable in part, a replay would cut off what the rest stands for.
        let log = std::sync::Arc::downgrade(self);
        let done = move |result: Result<Position, _>| {
            if let (Ok(position), Some(log)) = (result, log.upgrade()) {
                log.state.lock().tail.written(first, last, position);
            }
        };
        self.submit(frames, true, Box::new(done));
        state.tail.bytes() as u64
    }
}
