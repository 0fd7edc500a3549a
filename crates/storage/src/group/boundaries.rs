//! The places where a group's log may be cut: entries whose state was kept.
//!
//! One is kept for each segment, as of the entry before its first batch, and one for a log of which nothing can be
//! read any more. A purge point is always one of them, so that a follower behind the log's start can be given the state
//! as of it (R17).
//!
//! Invariants
//! - in order of entries; offsets grow;
//! - a state is in memory until the checkpoint that lists it has written its file;
//! - the file of one that is let go of stays until a checkpoint that no longer lists it is durable.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use highwater_types::limits::BOUNDARY_STATES_BYTES_MAX;
use highwater_types::{Offset, RaftIndex};

use super::section::BoundaryRecord;
use super::snapshot::GroupSnapshot;
use super::state_file::{self, StateFile};
use crate::disk::Disk;
use crate::entry::LogId;
use crate::segment::SegmentError;

/// An entry after which the log may start.
#[derive(Debug, Clone)]
pub(crate) struct Boundary {
    pub(crate) file: StateFile,
    /// Where the first batch after the entry starts.
    pub(crate) offset: Offset,
    /// The state, until it is durable.
    bytes: Option<Bytes>,
    /// Whether its file was found damaged.
    pub(crate) is_unreadable: bool,
}

impl Boundary {
    /// One whose file is durable.
    pub(crate) fn durable(file: StateFile, offset: Offset) -> Self {
        Self { file, offset, bytes: None, is_unreadable: false }
    }

    pub(crate) fn last(&self) -> LogId {
        self.file.last
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.bytes.is_none()
    }

    /// The state, from memory or from its file. Blocks on the disk.
    ///
    /// # Errors
    /// What is wrong with the file, as text.
    pub(crate) fn read(&self, disk: &dyn Disk, directory: &Path) -> Result<(Bytes, GroupSnapshot), String> {
        match &self.bytes {
            Some(bytes) => {
                let snapshot = GroupSnapshot::decode(bytes).map_err(|error| error.to_string())?;
                Ok((bytes.clone(), snapshot))
            }
            None => self.file.read(disk, directory),
        }
    }
}

impl From<&BoundaryRecord> for Boundary {
    fn from(record: &BoundaryRecord) -> Self {
        Self::durable(record.into(), Offset(record.offset))
    }
}

/// The boundaries of one group.
#[derive(Debug, Default)]
pub(crate) struct Boundaries {
    list: Vec<Boundary>,
    /// Those that were let go of, whose files may exist.
    dropped: Vec<RaftIndex>,
    /// The newest that was given out as a snapshot: no older one may be given out after it.
    pub(crate) given_out: Option<LogId>,
}

/// What a checkpoint does for the boundaries that it captured.
#[derive(Debug, Default)]
pub(crate) struct StateWork {
    directory: PathBuf,
    unwritten: Vec<(StateFile, Bytes)>,
}

/// Which boundaries a checkpoint captured, to be told when it is durable.
#[derive(Debug, Default, Clone)]
pub(crate) struct StateMark {
    written: Vec<LogId>,
    dropped: Vec<RaftIndex>,
}

impl Boundaries {
    /// What a checkpoint lists, and what it no longer does.
    pub(crate) fn stored(list: Vec<Boundary>, dropped: Vec<RaftIndex>) -> Self {
        Self { list, dropped, given_out: None }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Boundary> {
        self.list.iter()
    }

    /// Whether a state as of `offset` is kept, or a later one.
    pub(crate) fn reach(&self, offset: Offset) -> bool {
        self.list.last().is_some_and(|last| last.offset >= offset)
    }

    /// Keeps a state. Of those that wait for a checkpoint the oldest go when they are too many bytes: the log is then
    /// cut at a later one.
    pub(crate) fn keep(&mut self, snapshot: &GroupSnapshot) {
        if self.reach(snapshot.next_offset) {
            return;
        }
        let bytes = snapshot.encode();
        let file = StateFile::of(snapshot.last, &bytes);
        self.dropped.retain(|index| *index != snapshot.last.index);
        self.list.push(Boundary { bytes: Some(bytes), ..Boundary::durable(file, snapshot.next_offset) });
        let waiting = |boundary: &Boundary| boundary.bytes.as_ref().map_or(0, Bytes::len);
        let mut excess = self.list.iter().map(waiting).sum::<usize>().saturating_sub(BOUNDARY_STATES_BYTES_MAX);
        while excess > 0
            && let Some(oldest) = self.list.iter().position(|boundary| !boundary.is_durable())
            && oldest + 1 < self.list.len()
        {
            let boundary = self.list.remove(oldest);
            excess = excess.saturating_sub(waiting(&boundary));
            self.dropped.push(boundary.last().index);
        }
    }

    /// Lets go of all before `upto`.
    pub(crate) fn drop_before(&mut self, upto: LogId) {
        let gone = self.list.partition_point(|boundary| boundary.last() < upto);
        self.dropped.extend(self.list.drain(..gone).map(|boundary| boundary.last().index));
    }

    /// `boundary`, whose file is durable, takes the place of all; `None` when nobody needs a file from here on.
    pub(crate) fn replace(&mut self, installed: StateFile, boundary: Option<Boundary>) {
        self.dropped.extend(self.list.drain(..).map(|boundary| boundary.last().index));
        if boundary.is_none() {
            self.dropped.push(installed.last.index);
        }
        self.list.extend(boundary);
    }

    /// The boundary's file cannot be read.
    pub(crate) fn found_unreadable(&mut self, last: LogId) {
        for boundary in self.list.iter_mut().filter(|boundary| boundary.last() == last) {
            boundary.is_unreadable = true;
        }
    }

    pub(crate) fn records(&self) -> Vec<BoundaryRecord> {
        let record = |boundary: &Boundary| BoundaryRecord {
            last: boundary.last().into(),
            offset: boundary.offset.0,
            length: boundary.file.length,
            crc: boundary.file.crc,
        };
        self.list.iter().map(record).collect()
    }

    /// What a checkpoint has to write, and what it takes in.
    pub(crate) fn capture(&self, directory: PathBuf) -> (StateWork, StateMark) {
        let unwritten = |boundary: &Boundary| Some((boundary.file, boundary.bytes.clone()?));
        let work = StateWork { directory, unwritten: self.list.iter().filter_map(unwritten).collect() };
        let written = work.unwritten.iter().map(|(file, _)| file.last).collect();
        let mark = StateMark { written, dropped: self.dropped.clone() };
        (work, mark)
    }

    /// The checkpoint of `mark` is durable: returns the entries whose files may be removed.
    pub(crate) fn checkpointed(&mut self, mark: &StateMark) -> Vec<RaftIndex> {
        for boundary in self.list.iter_mut().filter(|boundary| mark.written.contains(&boundary.last())) {
            boundary.bytes = None;
        }
        self.dropped.extract_if(.., |index| mark.dropped.contains(index)).collect()
    }
}

impl StateWork {
    /// Writes the files that do not exist yet; durable on return. Blocks on the disk.
    ///
    /// # Errors
    /// A full disk passes. After any other error the node must end (R2).
    pub(crate) fn sync(&self, disk: &dyn Disk) -> Result<(), SegmentError> {
        for (file, bytes) in &self.unwritten {
            file.write(disk, &self.directory, bytes)
                .map_err(|source| SegmentError::creating("write", file.path(&self.directory), source))?;
        }
        if self.unwritten.is_empty() {
            return Ok(());
        }
        disk.sync_dir(&self.directory)
            .map_err(|source| SegmentError::io("sync directory", &self.directory, source))
    }
}

/// Removes the files of boundaries that no checkpoint lists any more.
pub(crate) fn remove_files(disk: &dyn Disk, directory: &Path, gone: &[RaftIndex]) -> Result<(), SegmentError> {
    gone.iter()
        .try_for_each(|index| state_file::remove(disk, directory, *index))
        .map_err(|source| SegmentError::io("remove a state file from", directory, source))
}

#[cfg(test)]
mod tests {
    use highwater_types::Term;

    use super::*;

    fn snapshot(index: u64, state_bytes: usize) -> GroupSnapshot {
        GroupSnapshot {
            last: LogId { term: Term(1), index: RaftIndex(index) },
            membership: None,
            next_offset: Offset(i64::try_from(index).unwrap() * 10),
            log_start: Offset::ZERO,
            state: vec![0; state_bytes].into(),
        }
    }

    fn indexes(boundaries: &Boundaries) -> Vec<u64> {
        boundaries.iter().map(|boundary| boundary.last().index.0).collect()
    }

    #[test]
    fn states_that_wait_for_a_checkpoint_are_bounded_and_the_newest_stays_whatever_its_size() {
        let mut boundaries = Boundaries::default();
        for index in 1..=5 {
            boundaries.keep(&snapshot(index, BOUNDARY_STATES_BYTES_MAX / 3));
        }
        assert_eq!(indexes(&boundaries), [4, 5]);
        boundaries.keep(&snapshot(6, 2 * BOUNDARY_STATES_BYTES_MAX));
        assert_eq!(indexes(&boundaries), [6]);
        // Written ones take no memory.
        let (_, mark) = boundaries.capture(PathBuf::new());
        assert_eq!(boundaries.checkpointed(&mark), [1, 2, 3, 4, 5].map(RaftIndex));
        boundaries.keep(&snapshot(7, 10));
        assert_eq!(indexes(&boundaries), [6, 7]);
    }

    #[test]
    fn of_two_states_at_one_offset_the_first_stays_and_a_file_goes_only_after_a_later_checkpoint() {
        let mut boundaries = Boundaries::default();
        boundaries.keep(&snapshot(1, 10));
        let same = GroupSnapshot { next_offset: Offset(10), ..snapshot(2, 10) };
        boundaries.keep(&same);
        assert_eq!(indexes(&boundaries), [1]);
        boundaries.keep(&snapshot(3, 10));
        let (_, before) = boundaries.capture(PathBuf::new());
        boundaries.drop_before(snapshot(3, 0).last);
        assert_eq!(boundaries.checkpointed(&before), [], "the checkpoint lists it");
        let (_, after) = boundaries.capture(PathBuf::new());
        assert_eq!(boundaries.checkpointed(&after), [RaftIndex(1)]);
    }
}
