//! Applying committed entries: batches enter their segment, the state above the log
//! takes them in, the high watermark advances.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use highwater_types::limits::APPLIED_AT_ONCE_MAX;
use highwater_types::{Offset, TimestampMs};

use super::group_log::{GroupLog, LogError};
use super::snapshot::GroupSnapshot;
use crate::applier::{Applied, Applier};
use crate::entry::{Entry, LogId, Payload};
use crate::segment::Append;

/// What applying one entry gave.
#[derive(Debug, Clone)]
pub struct AppliedEntry {
    /// The entry.
    pub id: LogId,
    /// A batch's first offset.
    pub base_offset: Option<Offset>,
    /// The state machine's answer.
    pub response: Bytes,
}

/// The state as of the last applied entry.
pub(super) struct AppliedState {
    pub(super) last: Option<LogId>,
    pub(super) membership: Option<Entry>,
    pub(super) machine: Machine,
}

/// The state above the log: encoded until its owner comes, then live.
pub(super) enum Machine {
    Stored(Bytes),
    Live(Box<dyn Applier>),
}

impl AppliedState {
    pub(super) fn stored(last: Option<LogId>, membership: Option<Entry>, state: Bytes) -> Self {
        Self { last, membership, machine: Machine::Stored(state) }
    }

    pub(super) fn snapshot(&self) -> Bytes {
        match &self.machine {
            Machine::Stored(bytes) => bytes.clone(),
            Machine::Live(applier) => applier.snapshot(),
        }
    }
}

impl GroupLog {
    /// Gives the group its state machine, restored to the last applied entry. Entries are applied only after this.
    ///
    /// # Errors
    /// When the stored state cannot be read.
    pub fn install(&self, mut applier: Box<dyn Applier>) -> Result<(), LogError> {
        let mut applied = self.applied.lock();
        applier.restore(&applied.snapshot())?;
        applied.machine = Machine::Live(applier);
        Ok(())
    }

    /// The last applied entry and the membership entry in force at it.
    pub fn applied(&self) -> (Option<LogId>, Option<Entry>) {
        let applied = self.applied.lock();
        (applied.last, applied.membership.clone())
    }

    /// The state above the log, encoded, as of the entry that is returned with it.
    pub fn snapshot(&self) -> (Option<LogId>, Bytes) {
        let applied = self.applied.lock();
        (applied.last, applied.snapshot())
    }

    /// Applies committed entries, which must follow the last applied one. On return they are visible to readers.
    ///
    /// Does disk IO (to the page cache) and must not be called from several threads at once.
    ///
    /// # Errors
    /// When a segment cannot be written; the entries before the failed one are applied.
    pub fn apply(
        self: &Arc<Self>,
        entries: Vec<Entry>,
        now: TimestampMs,
    ) -> Result<Vec<AppliedEntry>, LogError> {
        let mut results = Vec::with_capacity(entries.len());
        self.apply_from(&mut entries.into(), now, &mut results)?;
        Ok(results)
    }

    /// As [`GroupLog::apply`], but moves what it applied from `entries` to `results`, so that after an error that passes, a full
    /// disk, the rest can be applied by another call.
    ///
    /// # Errors
    /// When a segment cannot be written; the entry that failed is then the first in `entries`.
    pub fn apply_from(
        self: &Arc<Self>,
        entries: &mut VecDeque<Entry>,
        now: TimestampMs,
        results: &mut Vec<AppliedEntry>,
    ) -> Result<(), LogError> {
        let mut applied = self.applied.lock();
        let done = self.apply_each(&mut applied, entries, now, results);
        if let Machine::Live(applier) = &mut applied.machine {
            applier.applied();
        }
        done
    }

    fn apply_each(
        &self,
        applied: &mut AppliedState,
        entries: &mut VecDeque<Entry>,
        now: TimestampMs,
        results: &mut Vec<AppliedEntry>,
    ) -> Result<(), LogError> {
        while !entries.is_empty() {
            let (stored, failure) = self.store_front(entries, now);
            for entry in entries.drain(..stored) {
                results.push(self.apply_stored(applied, entry));
            }
            failure?;
        }
        Ok(())
    }

    /// Writes the batches at the front into their segments, as many as follow each other, at once. Says how many entries can be
    /// applied: those batches, or one entry that is none; and why not more, if a segment cannot be written.
    fn store_front(&self, entries: &VecDeque<Entry>, now: TimestampMs) -> (usize, Result<(), LogError>) {
        let Some(segments) = &self.segments else { return (1, Ok(())) };
        let batches: Vec<Append<'_>> = entries.iter().map_while(as_append).take(APPLIED_AT_ONCE_MAX).collect();
        if batches.is_empty() {
            return (1, Ok(()));
        }
        match segments.append_all(&batches, now) {
            Ok(()) => (batches.len(), Ok(())),
            Err(error) => {
                let end = segments.next_offset();
                let stored = batches.iter().take_while(|append| append.batch.next_offset() <= end).count();
                (stored, Err(error.into()))
            }
        }
    }

    /// Applies an entry whose batch, if it has one, is in its segment.
    fn apply_stored(&self, applied: &mut AppliedState, entry: Entry) -> AppliedEntry {
        let next = applied.last.map_or(0, |last| last.index.0 + 1);
        assert_eq!(entry.id.index.0, next, "group {} applies its log in order", self.id);
        let base_offset = match (&entry.payload, &self.segments) {
            (Payload::Batch(batch), Some(_)) => Some(batch.base_offset()),
            _ => None,
        };
        if let Some(offset) = base_offset {
            self.keep_boundary(applied, offset);
        }
        let Applied { response, log_start } = match &mut applied.machine {
            Machine::Live(applier) => applier.apply(&entry),
            Machine::Stored(_) => panic!("group {} applies before its state machine is installed", self.id),
        };
        applied.last = Some(entry.id);
        if matches!(entry.payload, Payload::Membership(_)) {
            applied.membership = Some(entry.clone());
        }
        let id = entry.id;
        self.note_applied(entry, log_start);
        AppliedEntry { id, base_offset, response }
    }

    /// When the batch at `offset`, which is not applied yet, is the first of its segment: keeps the state as of the entry before
    /// it, for the log may start there one day.
    fn keep_boundary(&self, applied: &AppliedState, offset: Offset) {
        let starts = self.segments.as_ref().is_some_and(|segments| segments.starts_segment(offset));
        let Some(last) = applied.last.filter(|_| starts) else { return };
        let mut state = self.state.lock();
        if state.boundaries.reach(offset) {
            return;
        }
        let snapshot = GroupSnapshot {
            last,
            membership: applied.membership.clone(),
            next_offset: offset,
            log_start: state.log_start,
            state: applied.snapshot(),
        };
        state.boundaries.keep(&snapshot);
    }

    /// Moves the entry out of the tail and the watermarks forward. What lies below a new log start stays
    /// on the disk until it is purged, for followers may still need it.
    fn note_applied(&self, entry: Entry, log_start: Option<Offset>) {
        let mut state = self.state.lock();
        let popped = state.tail.pop_applied();
        assert_eq!(popped.map(|p| p.id()), Some(entry.id), "group {} applies what it appended", self.id);
        state.applied = Some(entry.id);
        match &entry.payload {
            Payload::Batch(batch) => state.high_watermark = batch.next_offset(),
            Payload::Blank | Payload::Membership(_) | Payload::Control(_) => {
                state.kept.insert(entry.id.index, entry);
            }
        }
        if let Some(start) = log_start {
            state.log_start = state.log_start.max(start.min(state.high_watermark));
        }
    }
}

fn as_append(entry: &Entry) -> Option<Append<'_>> {
    match &entry.payload {
        Payload::Batch(batch) => Some(Append { batch, index: entry.id.index, term: entry.id.term }),
        Payload::Blank | Payload::Membership(_) | Payload::Control(_) => None,
    }
}
