//! Reading entries back, for followers and for applying after a restart: from the
//! tail, from the kept entries, or from the segments.

use highwater_types::{Offset, RaftIndex};

use super::group_log::{GroupLog, LogError};
use super::tail::TailEntry;
use crate::entry::{Entry, LogId, Payload};

impl GroupLog {
    /// The entries from `start` up to `end`, exclusive, as many as fit `bytes_max` but at least one.
    ///
    /// # Errors
    /// When an entry is purged, not there, or cannot be read.
    pub fn entries(&self, start: RaftIndex, end: RaftIndex, bytes_max: usize) -> Result<Vec<Entry>, LogError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut index = start;
        while index < end {
            let entry = self.entry(index)?;
            bytes += entry.payload.size_bytes();
            if !found.is_empty() && bytes > bytes_max {
                break;
            }
            found.push(entry);
            index = index.next();
        }
        Ok(found)
    }

    /// Where a batch right after the entry `id` starts; `None` for an entry that is not here, or that lies below the applied one.
    pub fn offset_after(&self, id: Option<LogId>) -> Option<Offset> {
        let state = self.state.lock();
        match id {
            Some(id) if Some(id) != state.applied => state.tail.offset_after(id),
            _ => (id == state.applied).then(|| state.tail.start_offset()),
        }
    }

    /// About how many bytes of batches come after the entry `index`.
    pub fn bytes_after(&self, index: RaftIndex) -> u64 {
        let applied = self.segments.as_ref().map_or(0, |segments| segments.bytes_after(index));
        applied + self.tail_bytes() as u64
    }

    /// One entry.
    ///
    /// # Errors
    /// As [`GroupLog::entries`].
    pub fn entry(&self, index: RaftIndex) -> Result<Entry, LogError> {
        match self.located(index) {
            Some(TailEntry::Loaded(entry)) => Ok(entry),
            Some(TailEntry::Stored(stored)) => {
                let read = stored.read(&self.services.disk, &self.services.journal_directory);
                read.or_else(|reason| self.entry_moved(index, reason))
            }
            None => self.read_segment(index),
        }
    }

    /// The entry was not where the tail said: it may have been carried forward, or applied, and its file recycled meanwhile.
    fn entry_moved(&self, index: RaftIndex, reason: String) -> Result<Entry, LogError> {
        match self.located(index) {
            Some(TailEntry::Loaded(entry)) => Ok(entry),
            Some(TailEntry::Stored(_)) => Err(self.unreadable(index, reason)),
            None => self.read_segment(index),
        }
    }

    /// The identity of an entry, without a look at what it holds: also of a batch that is damaged. `None` when it is not here.
    pub fn entry_id(&self, index: RaftIndex) -> Option<LogId> {
        let in_memory = self.located(index).map(|entry| entry.id());
        in_memory.or_else(|| {
            let run = self.segments.as_ref()?.locate(index)?.run;
            Some(LogId { term: run.term, index })
        })
    }

    fn located(&self, index: RaftIndex) -> Option<TailEntry> {
        let state = self.state.lock();
        state.tail.get(index).cloned().or_else(|| state.kept.get(&index).cloned().map(TailEntry::Loaded))
    }

    fn read_segment(&self, index: RaftIndex) -> Result<Entry, LogError> {
        let absent = || self.unreadable(index, "it is not in the log".to_owned());
        let segments = self.segments.as_ref().ok_or_else(absent)?;
        let (batch, term) = segments.batch_at_index(index)?.ok_or_else(absent)?;
        Ok(Entry { id: LogId { term, index }, payload: Payload::Batch(batch) })
    }

    fn unreadable(&self, index: RaftIndex, reason: String) -> LogError {
        LogError::Read { group: self.id, index, reason }
    }
}
