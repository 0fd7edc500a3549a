//! A group's part in a checkpoint.

use super::group_log::GroupLog;
use super::section::{EntryMessage, GroupSection};
use crate::entry::Entry;
use crate::journal::frame::{Change, Frame};
use crate::journal::{Position, Progress};
use crate::segment::CheckpointWork;

/// A group's section and what must be synced before it counts.
pub(crate) struct Captured {
    pub(crate) section: GroupSection,
    pub(crate) work: Option<CheckpointWork>,
    /// Where the group's replay starts.
    pub(crate) replay_from: Position,
}

impl GroupLog {
    /// The group as of now. `progress` was taken before, so that every frame of the group that the
    /// section does not take in is at or after it, or in the tail.
    pub(crate) fn capture(&self, progress: &Progress) -> Captured {
        let applied = self.applied.lock();
        let state = self.state.lock();
        let replay_from = match state.tail.is_empty() {
            true => progress.next,
            false => {
                state.tail.first_written().filter(|at| at.lsn < progress.next.lsn).unwrap_or(progress.next)
            }
        };
        let work = self.segments.as_ref().map(|segments| segments.checkpoint());
        let section = GroupSection {
            group: self.id.to_bytes().to_vec(),
            options: self.options.lock().encode(),
            vote: state.vote.map(Into::into),
            committed: state.committed.map(Into::into),
            applied: applied.last.map(Into::into),
            purged: state.purged.map(Into::into),
            membership: applied.membership.as_ref().and_then(EntryMessage::new),
            kept: state.kept.values().filter_map(EntryMessage::new).collect(),
            segments: work.as_ref().map(|work| work.manifest.clone()).or_else(|| self.unopened.clone()),
            log_start: state.log_start.0,
            state: applied.snapshot(),
            replay_from_lsn: replay_from.lsn,
            broken: self.broken.clone(),
        };
        Captured { section, work, replay_from }
    }

    /// Writes the uncommitted tail into the journal again when it holds back files older than `generation`, so that
    /// they can be recycled by the next checkpoint. Replaying the copies changes nothing.
    pub(crate) fn carry_forward(self: &std::sync::Arc<Self>, generation: u64) {
        let mut state = self.state.lock();
        if state.tail.first_written().is_none_or(|at| at.generation >= generation) {
            return;
        }
        // What is read back from a file that may be recycled is kept in memory from here on.
        let (disk, directory) = (&self.services.disk, &self.services.journal_directory);
        if let Err(reason) = state.tail.load(|stored| stored.read(disk, directory)) {
            tracing::error!(group = %self.id, reason, "the journal's tail cannot be carried forward");
            return;
        }
        let entries: Vec<Entry> = state.tail.loaded().cloned().collect();
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
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
    }
}
