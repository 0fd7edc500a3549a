//! The one writer of the journal: lays out groups, writes, syncs, completes.
//!
//! Invariant: `stated_lsn ≤ durable_lsn < next_lsn`, where `stated_lsn` is the newest
//! durable LSN that a header in the journal states.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use highwater_types::{FilePosition, GroupId};
use parking_lot::Mutex;

use super::file::{self, Files};
use super::frame::{FIRST_GROUP_POSITION, FileHeader, GROUP_HEADER_LEN, GroupHeader, Origin};
use super::position::{Position, Progress};
use super::submission::Submission;
use crate::disk::{Disk, DiskFile};

/// Why the journal stopped. The node cannot go on: it exits, and its restart rewrites
/// the journal's tail before it promises anything (R2).
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// A write failed.
    #[error("writing the journal at LSN {lsn} failed: {source}")]
    Write {
        /// The group that was being written.
        lsn: u64,
        /// What the disk said.
        source: Arc<io::Error>,
    },
    /// A sync failed: what it covered may be lost although it can still be read.
    #[error("syncing the journal up to LSN {lsn} failed: {source}")]
    Sync {
        /// The newest group that the sync was to make durable.
        lsn: u64,
        /// What the disk said.
        source: Arc<io::Error>,
    },
    /// The writer panicked: a bug.
    #[error("the journal's writer panicked; its message is in the log before this")]
    Panicked,
    /// The node is stopping.
    #[error("the journal is closed")]
    Closed,
}

pub(super) struct Writer {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: PathBuf,
    pub(super) files: Arc<Mutex<Files>>,
    pub(super) file_bytes: u64,
    journal_id: u64,
    file: Arc<dyn DiskFile>,
    generation: u64,
    capacity: u64,
    position: u64,
    next_lsn: u64,
    durable_lsn: u64,
    stated_lsn: u64,
    dirty: bool,
    frames: u64,
    bytes: u64,
}

/// Where a writer starts.
pub(super) struct WriterStart {
    pub(super) journal_id: u64,
    pub(super) generation: u64,
    pub(super) next_lsn: u64,
    pub(super) durable_lsn: u64,
    pub(super) first_file_bytes: u64,
}

impl Writer {
    /// Begins the file of a recovery. Its header is durable on return, before any group of it can be: without the
    /// header, a group that a power cut left of it would look like the continuation of the file before.
    pub(super) fn begin(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        files: Arc<Mutex<Files>>,
        file_bytes: u64,
        start: &WriterStart,
    ) -> io::Result<Self> {
        let (file, capacity) = take_file(&*disk, &directory, &files, start.generation, start.first_file_bytes)?;
        let header = FileHeader {
            generation: start.generation,
            first_lsn: start.next_lsn,
            capacity,
            journal_id: start.journal_id,
            durable_lsn: start.durable_lsn,
            origin: Origin::Recovery,
        };
        file.write_all_at(&mut [IoSlice::new(&header.encode())], 0)?;
        file.sync_data()?;
        Ok(Self {
            disk,
            directory,
            files,
            file_bytes,
            journal_id: start.journal_id,
            file,
            generation: start.generation,
            capacity,
            position: FIRST_GROUP_POSITION,
            next_lsn: start.next_lsn,
            durable_lsn: start.durable_lsn,
            stated_lsn: start.durable_lsn,
            dirty: false,
            frames: 0,
            bytes: 0,
        })
    }

    /// Where the next group goes, unless it needs a new file.
    fn next(&self) -> Position {
        Position { lsn: self.next_lsn, generation: self.generation, at: FilePosition(self.position) }
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { next: self.next(), durable_lsn: self.durable_lsn }
    }

    /// Bytes of groups that fit the file, besides the one that ends it.
    /// Bytes of the file that is being written.
    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Frames written since the start.
    pub(super) fn frames_written(&self) -> u64 {
        self.frames
    }

    /// Bytes of all groups that were written.
    pub(super) fn bytes_written(&self) -> u64 {
        self.bytes
    }

    pub(super) fn room_in_file(&self) -> u64 {
        self.capacity.saturating_sub(self.position + GROUP_HEADER_LEN as u64)
    }

    /// Writes the submissions' frames as one group. Durable only after [`Writer::sync`].
    pub(super) fn write(&mut self, submissions: &[Submission]) -> Result<Position, JournalError> {
        let parts: Vec<&[u8]> =
            submissions.iter().flat_map(|s| &s.frames).flat_map(super::frame::Frame::parts).collect();
        let frames = submissions.iter().map(|s| s.frames.len()).sum::<usize>();
        self.write_parts(&parts, frames)
    }

    /// Writes a group without frames, which states what is durable, so that damage to it can be told
    /// from a torn tail though nothing follows. Not synced: it is worth only what it tells.
    pub(super) fn mark(&mut self) -> Result<(), JournalError> {
        if self.stated_lsn < self.durable_lsn && self.room_in_file() >= GROUP_HEADER_LEN as u64 {
            self.write_parts(&[], 0)?;
        }
        Ok(())
    }

    fn write_parts(&mut self, parts: &[&[u8]], frames: usize) -> Result<Position, JournalError> {
        let body_len: usize = parts.iter().map(|part| part.len()).sum();
        let needed = super::frame::align((GROUP_HEADER_LEN + body_len) as u64);
        if needed > self.room_in_file() {
            self.rotate(needed)?;
        }
        self.write_group(parts, frames, false)
    }

    /// Writes one group at the current position, which has room for it.
    fn write_group(
        &mut self,
        parts: &[&[u8]],
        frames: usize,
        last_in_file: bool,
    ) -> Result<Position, JournalError> {
        let body_len: usize = parts.iter().map(|part| part.len()).sum();
        let header = GroupHeader {
            generation: self.generation,
            lsn: self.next_lsn,
            durable_lsn: self.durable_lsn,
            body_len: u32::try_from(body_len).expect("limits keep a group below 4 GiB"),
            frames: u32::try_from(frames).expect("limits keep a group's frames below 2^32"),
            body_crc: parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part)),
            last_in_file,
        };
        let head = header.encode(self.journal_id);
        let mut slices = Vec::with_capacity(parts.len() + 1);
        slices.push(IoSlice::new(&head));
        slices.extend(parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)));
        self.file.write_all_at(&mut slices, self.position).map_err(|source| self.write_error(source))?;
        let written = self.next();
        let end = header.end(self.position);
        self.bytes += end - self.position;
        self.position = end;
        self.frames += frames as u64;
        self.stated_lsn = self.durable_lsn;
        // A marker too: once an LSN counts as durable, a later header may state it.
        self.dirty = true;
        self.next_lsn += 1;
        Ok(written)
    }

    /// Makes all written groups durable.
    pub(super) fn sync(&mut self) -> Result<(), JournalError> {
        let lsn = self.next_lsn - 1;
        if self.dirty {
            self.file.sync_data().map_err(|source| JournalError::Sync { lsn, source: Arc::new(source) })?;
            self.dirty = false;
        }
        self.durable_lsn = lsn;
        Ok(())
    }

    /// Goes on in the next file. The name of that is durable before the old file says that there is one, and the old
    /// file is durable before the next one is begun.
    fn rotate(&mut self, needed: u64) -> Result<(), JournalError> {
        let capacity = (FIRST_GROUP_POSITION + needed + GROUP_HEADER_LEN as u64).max(self.file_bytes);
        let generation = self.generation + 1;
        let (file, capacity) = take_file(&*self.disk, &self.directory, &self.files, generation, capacity)
            .map_err(|source| self.write_error(source))?;
        self.write_group(&[], 0, true)?;
        self.sync()?;
        let header = FileHeader {
            generation,
            first_lsn: self.next_lsn,
            capacity,
            journal_id: self.journal_id,
            durable_lsn: self.durable_lsn,
            // Also during a recovery: nothing but its first file leads here.
            origin: Origin::Continued,
        };
        file.write_all_at(&mut [IoSlice::new(&header.encode())], 0)
            .map_err(|source| self.write_error(source))?;
        self.file = file;
        self.generation = generation;
        self.capacity = capacity;
        self.position = FIRST_GROUP_POSITION;
        Ok(())
    }

    fn write_error(&self, source: io::Error) -> JournalError {
        JournalError::Write { lsn: self.next_lsn, source: Arc::new(source) }
    }
}

/// Takes a spare file of at least `capacity` bytes (or makes one) into use under `generation`, with its length; its name is
/// durable on return.
fn take_file(
    disk: &dyn Disk,
    directory: &std::path::Path,
    files: &Mutex<Files>,
    generation: u64,
    capacity: u64,
) -> io::Result<(Arc<dyn DiskFile>, u64)> {
    let mut spare = files.lock().take_spare(capacity);
    if spare.is_none() {
        file::prepare_spare(disk, directory, files, capacity)?;
        spare = files.lock().take_spare(capacity);
    }
    let spare = spare.expect("a spare file of this capacity was just prepared");
    let path = file::live_path(directory, generation);
    disk.rename(&spare.path, &path)?;
    disk.sync_dir(directory)?;
    // An empty file counts as live too, so that its room is part of the journal's size.
    files.lock().add_live(generation, spare.capacity);
    Ok((disk.open(&path)?, spare.capacity))
}

/// Splits what a write completed at once from what must wait for the sync: a submission
/// that asks for it, and every later one of the same Raft group (R15).
pub(super) fn split_by_sync(submissions: Vec<Submission>) -> (Vec<Submission>, Vec<Submission>) {
    let mut waiting: BTreeSet<GroupId> = BTreeSet::new();
    let mut at_once = Vec::new();
    let mut after_sync = Vec::new();
    for submission in submissions {
        if submission.sync || waiting.contains(&submission.group) {
            waiting.insert(submission.group);
            after_sync.push(submission);
        } else {
            at_once.push(submission);
        }
    }
    (at_once, after_sync)
}
