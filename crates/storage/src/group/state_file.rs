//! The file of a [`GroupSnapshot`]: `{index of its last entry, 20 digits}.state`, in the group's directory.
//!
//! A state is named after its entry and not after the offset where its segment starts, for two states can share an
//! offset, and a file that a checkpoint lists must never be written again. A file counts only when a checkpoint or a
//! frame of the journal names it with its length and checksum; all others are left over from a crash.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use highwater_types::RaftIndex;
use highwater_types::limits::PEER_SNAPSHOT_BYTES_MAX;

use super::section::BoundaryRecord;
use super::snapshot::GroupSnapshot;
use crate::disk::Disk;
use crate::entry::LogId;
use crate::journal::frame::Install;

/// What names a state file: enough to tell whether it is the one that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StateFile {
    /// The entry that it is as of.
    pub(crate) last: LogId,
    /// The file's length in bytes.
    pub(crate) length: u64,
    /// CRC32C of the whole file.
    pub(crate) crc: u32,
}

impl From<&BoundaryRecord> for StateFile {
    fn from(record: &BoundaryRecord) -> Self {
        Self { last: record.last.into(), length: record.length, crc: record.crc }
    }
}

impl From<Install> for StateFile {
    fn from(install: Install) -> Self {
        Self { last: install.last, length: install.state_len, crc: install.state_crc }
    }
}

impl StateFile {
    /// The name of a file with these bytes.
    pub(crate) fn of(last: LogId, bytes: &[u8]) -> Self {
        Self { last, length: bytes.len() as u64, crc: crc32c::crc32c(bytes) }
    }

    /// Where it lies.
    pub(crate) fn path(&self, directory: &Path) -> PathBuf {
        path(directory, self.last.index)
    }

    /// Reads the file and checks that it is the one.
    ///
    /// # Errors
    /// What is wrong with it, as text.
    pub(crate) fn read(&self, disk: &dyn Disk, directory: &Path) -> Result<(Bytes, GroupSnapshot), String> {
        let path = self.path(directory);
        let wrong = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
        let file = disk.open(&path).map_err(|error| wrong(&error))?;
        let actual = file.len().map_err(|error| wrong(&error))?;
        if actual != self.length || actual > PEER_SNAPSHOT_BYTES_MAX as u64 {
            return Err(wrong(&format!("it has {actual} bytes, {} were written", self.length)));
        }
        let length = usize::try_from(actual).map_err(|error| wrong(&error))?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0).map_err(|error| wrong(&error))?;
        if crc32c::crc32c(&bytes) != self.crc {
            return Err(wrong(&"its content is not what was written"));
        }
        let bytes = Bytes::from(bytes);
        let snapshot = GroupSnapshot::decode(&bytes).map_err(|error| wrong(&error))?;
        if snapshot.last != self.last {
            return Err(wrong(&format!("it is as of entry {}, not {}", snapshot.last, self.last)));
        }
        Ok((bytes, snapshot))
    }

    /// Writes the file, in the place of a leftover of its name; durable once the directory is synced too.
    pub(crate) fn write(&self, disk: &dyn Disk, directory: &Path, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(directory);
        let file = match disk.create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.remove_file(&path)?;
                disk.create(&path)?
            }
            result => result?,
        };
        file.write_all_at(&mut [IoSlice::new(bytes)], 0)?;
        file.sync_data()
    }
}

/// Removes the state file of an entry; one that is gone is no error.
pub(crate) fn remove(disk: &dyn Disk, directory: &Path, index: RaftIndex) -> io::Result<()> {
    match disk.remove_file(&path(directory, index)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes every state file but those of the entries in `keep`.
pub(crate) fn sweep(disk: &dyn Disk, directory: &Path, keep: &BTreeSet<RaftIndex>) -> io::Result<()> {
    let names = match disk.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    for index in names.iter().filter_map(|name| parse(name)).filter(|index| !keep.contains(index)) {
        remove(disk, directory, index)?;
    }
    Ok(())
}

fn path(directory: &Path, index: RaftIndex) -> PathBuf {
    directory.join(format!("{:020}.state", index.0))
}

/// The entry in a file's name, when it is a state file's.
fn parse(name: &str) -> Option<RaftIndex> {
    let digits = name.strip_suffix(".state")?;
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok().map(RaftIndex))?
}
