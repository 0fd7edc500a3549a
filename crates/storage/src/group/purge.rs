//! Forgetting the start of a log: which entries nobody needs, letting them go, and the state that stands for them.
//!
//! A log with batches is cut at a [boundary](super::boundaries) at or below its log start, once a durable checkpoint lists it.
//! A log without any is its state above the log and the newest entries; the state as of now stands for all before.

use std::sync::Arc;

use bytes::Bytes;
use highwater_types::limits::KEPT_ENTRIES_BYTES_MAX;
use highwater_types::{Offset, mutant};

use super::boundaries::{Boundary, StateMark, remove_files};
use super::group_log::{GroupLog, LogError, LogState};
use super::snapshot::GroupSnapshot;
use crate::disk::blocking;
use crate::entry::{Entry, LogId};
use crate::journal::frame::{Change, Frame};
use crate::layout;
use crate::segment::{SegmentError, SegmentedLog};

/// Entries other than batches that a group keeps before it is worth purging for them alone.
pub(super) const KEPT_ENTRIES_MAX: usize = 256;

/// A state for a follower whose next entry is gone.
#[derive(Debug, Clone)]
pub struct BuiltSnapshot {
    /// The newest entry that it takes in.
    pub last: LogId,
    /// The membership entry in force at `last`.
    pub membership: Option<Entry>,
    /// A [`GroupSnapshot`], encoded. Empty, and of no use to anybody, when the file that held it is damaged.
    pub bytes: Bytes,
}

impl BuiltSnapshot {
    fn new(snapshot: GroupSnapshot, bytes: Bytes) -> Self {
        Self { last: snapshot.last, membership: snapshot.membership, bytes }
    }
}

impl GroupLog {
    /// The newest entry that can be purged, when it is worth it. Of a log with batches, its state was read and is whole, so
    /// this may wait for the disk.
    pub fn purge_point(&self) -> Option<LogId> {
        let Some(segments) = &self.segments else {
            let state = self.state.lock();
            let point = state.checkpointed.filter(|point| Some(*point) > state.purged)?;
            return is_worth_it(&state, point).then_some(point);
        };
        loop {
            let boundary = {
                let state = self.state.lock();
                let newest = state.boundaries.iter().rev().find(|boundary| may_be_purged(boundary, &state))?;
                let point = newest.last();
                if detach_end(segments, point) <= segments.start_offset() && !is_worth_it(&state, point) {
                    return None;
                }
                newest.clone()
            };
            if self.read_boundary(&boundary).is_some() {
                return Some(boundary.last());
            }
        }
    }

    /// The state as of the [purge point](Self::purge_point), or when there is none as of what is purged already. `None` when
    /// nothing is, and nothing can be. From here on [`GroupLog::current_snapshot`] gives no older one.
    pub async fn build_snapshot(self: &Arc<Self>) -> Option<BuiltSnapshot> {
        let log = self.clone();
        blocking(&*self.services.disk, move || {
            let point = match &log.segments {
                Some(_) => log.purge_point(),
                None => log.applied_id(),
            };
            {
                let mut state = log.state.lock();
                state.boundaries.given_out = state.boundaries.given_out.max(point);
            }
            log.newest_snapshot()
        })
        .await
    }

    /// The newest state that was built, or the one that stands for what is purged; `None` when there is neither.
    pub async fn current_snapshot(self: &Arc<Self>) -> Option<BuiltSnapshot> {
        let log = self.clone();
        blocking(&*self.services.disk, move || log.newest_snapshot()).await
    }

    fn newest_snapshot(&self) -> Option<BuiltSnapshot> {
        let (point, candidates) = {
            let state = self.state.lock();
            let point = state.purged.max(state.boundaries.given_out)?;
            if self.segments.is_none() {
                drop(state);
                return self.snapshot_now();
            }
            // A later one will do as well, as long as it takes no record that is still to be read from a reader. The log start
            // itself may lag behind what is purged, until the entry that moved it is applied again.
            let will_do = |boundary: &&Boundary| {
                let is_unread = boundary.last() > point && boundary.offset <= state.log_start;
                boundary.last() == point || is_unread
            };
            (point, state.boundaries.iter().filter(will_do).cloned().collect::<Vec<_>>())
        };
        if let Some(built) = candidates.iter().find_map(|boundary| self.read_boundary(boundary)) {
            return Some(built);
        }
        tracing::error!(
            group = %self.id, %point,
            "the state where the log starts is damaged: a replica that is behind it cannot be brought up from here"
        );
        Some(BuiltSnapshot { last: point, membership: None, bytes: Bytes::new() })
    }

    /// The state as of the last applied entry.
    fn snapshot_now(&self) -> Option<BuiltSnapshot> {
        let snapshot = {
            let applied = self.applied.lock();
            let state = self.state.lock();
            GroupSnapshot {
                last: applied.last?,
                membership: applied.membership.clone(),
                next_offset: state.high_watermark,
                log_start: state.log_start,
                state: applied.snapshot(),
            }
        };
        let bytes = snapshot.encode();
        Some(BuiltSnapshot::new(snapshot, bytes))
    }

    fn read_boundary(&self, boundary: &Boundary) -> Option<BuiltSnapshot> {
        match boundary.read(&*self.services.disk, &layout::group_directory(self.id)) {
            Ok((bytes, snapshot)) => Some(BuiltSnapshot::new(snapshot, bytes)),
            Err(reason) => {
                tracing::warn!(group = %self.id, reason, "a state where the log could start is damaged; it is passed over");
                self.state.lock().boundaries.found_unreadable(boundary.last());
                None
            }
        }
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
            state.boundaries.drop_before(upto);
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

    /// Notes what a durable checkpoint has applied, and removes the files of states that it no longer lists.
    pub(crate) fn checkpointed(&self, applied: Option<LogId>, states: &StateMark) -> Result<(), SegmentError> {
        let gone = {
            let mut state = self.state.lock();
            state.checkpointed = state.checkpointed.max(applied);
            state.boundaries.checkpointed(states)
        };
        remove_files(&*self.services.disk, &layout::group_directory(self.id), &gone)
    }
}

/// Whether a log may be purged up to the boundary: nothing below it can be read, and it survives a crash.
fn may_be_purged(boundary: &Boundary, state: &LogState) -> bool {
    let point = Some(boundary.last());
    boundary.is_durable()
        && !boundary.is_unreadable
        && (boundary.offset <= state.log_start || mutant!(PurgePastStart))
        && point > state.purged
        && point <= state.checkpointed
}

/// Whether the entries up to `point` that are no batches are worth a purge.
fn is_worth_it(state: &LogState, point: LogId) -> bool {
    let kept = state.kept.range(..=point.index);
    let (count, bytes) =
        kept.fold((0, 0), |(count, bytes), (_, entry)| (count + 1, bytes + entry.payload.size_bytes()));
    count > KEPT_ENTRIES_MAX || bytes > KEPT_ENTRIES_BYTES_MAX
}

/// Takes the segments whose entries all lie at or below `upto` out of the log.
pub(crate) fn detach(segments: &SegmentedLog, upto: LogId) -> Result<(), SegmentError> {
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
