//! Forgetting the start of a log: which entries nobody needs, and letting them go.
//!
//! An entry may go once it is below the log start (a batch, by whole segments) or part of the state
//! above the log (any other entry), and a durable checkpoint has taken that in.

use highwater_types::Offset;

use super::group_log::{GroupLog, LogError, LogState};
use crate::entry::LogId;
use crate::journal::frame::{Change, Frame};
use crate::segment::SegmentedLog;

/// Entries other than batches that a group keeps before it is worth purging for them alone.
const KEPT_ENTRIES_MAX: usize = 256;

impl GroupLog {
    /// The newest entry that can be purged, when it is worth it.
    pub fn purge_point(&self) -> Option<LogId> {
        let membership = self.applied.lock().membership.as_ref().map(|entry| entry.id);
        let state = self.state.lock();
        let point = match &self.segments {
            Some(segments) => last_below_log_start(segments, &state)?,
            None => state.checkpointed?,
        };
        let frees_segments = self
            .segments
            .as_ref()
            .is_some_and(|segments| detach_end(segments, point) > segments.start_offset());
        let worth = frees_segments || state.kept.range(..=point.index).count() > KEPT_ENTRIES_MAX;
        (worth && Some(point) > state.purged && Some(point) <= state.checkpointed && membership <= Some(point))
            .then_some(point)
    }

    /// Forgets the entries up to `upto`, inclusive, and takes the segments that held them out of the log; their files are deleted
    /// after the next checkpoint. Never goes back.
    ///
    /// # Errors
    /// When the active segment must be sealed and that fails.
    ///
    /// # Panics
    /// When `upto` is not applied yet.
    pub fn purge(&self, upto: LogId) -> Result<(), LogError> {
        {
            let mut state = self.state.lock();
            assert!(
                Some(upto) <= state.applied,
                "group {} purges {upto} above applied {:?}",
                self.id,
                state.applied
            );
            if Some(upto) <= state.purged {
                return Ok(());
            }
            state.purged = Some(upto);
            state.kept.retain(|index, _| *index > upto.index);
            self.submit(vec![Frame::new(self.id, &Change::Purge(upto))], false, Box::new(|_| ()));
        }
        match &self.segments {
            Some(segments) => {
                detach(segments, upto)?;
                if let Some(journal) = self.services.journal.get() {
                    journal.space_detached();
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Notes what a durable checkpoint has applied.
    pub(crate) fn checkpointed(&self, applied: Option<LogId>) {
        let mut state = self.state.lock();
        state.checkpointed = state.checkpointed.max(applied);
    }
}

/// Takes the segments whose entries all lie at or below `upto` out of the log.
pub(crate) fn detach(segments: &SegmentedLog, upto: LogId) -> Result<(), crate::segment::SegmentError> {
    let end = detach_end(segments, upto);
    if end >= segments.next_offset() {
        segments.seal_active()?;
    }
    segments.detach_before(end)?;
    Ok(())
}

/// Where the first segment starts that holds an entry above `upto`.
fn detach_end(segments: &SegmentedLog, upto: LogId) -> Offset {
    let gone = segments
        .segments()
        .into_iter()
        .take_while(|info| info.last_index.is_some_and(|last| last <= upto.index));
    gone.last().map_or(segments.start_offset(), |info| info.next)
}

/// The last entry before the first segment that still has readable records.
fn last_below_log_start(segments: &SegmentedLog, state: &LogState) -> Option<LogId> {
    let readable = segments.segments().into_iter().find(|info| info.next > state.log_start);
    let Some(first_index) = readable.and_then(|info| info.first_index) else { return state.applied };
    let kept = state.kept.range(..first_index).next_back().map(|(_, entry)| entry.id);
    let runs = segments.run_table();
    let batch = runs
        .runs()
        .iter()
        .rev()
        .find(|run| run.last_index() < first_index)
        .map(|run| LogId { term: run.term, index: run.last_index() });
    kept.max(batch)
}
