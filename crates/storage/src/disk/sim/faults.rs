//! The faults that a test has ordered of a simulated disk.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// What is to go wrong. Paths are those under which a file was opened.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// How many syncs are left until one fails; 1 is the next.
    pub(super) failing_sync: Option<u64>,
    /// Files and directories whose next sync fails.
    pub(super) syncs: Vec<PathBuf>,
    /// Ranges that cannot be read.
    pub(super) reads: Vec<(PathBuf, Range<u64>)>,
    /// Files that cannot be written.
    pub(super) writes: Vec<PathBuf>,
}

impl Faults {
    /// Whether this sync fails. A failure is used up by it.
    pub(super) fn take_sync(&mut self, path: &Path) -> io::Result<()> {
        if let Some(left) = self.failing_sync {
            self.failing_sync = (left > 1).then(|| left - 1);
            if left <= 1 {
                return Err(Errno::IO.into());
            }
        }
        match self.syncs.iter().position(|failing| failing == path) {
            Some(index) => {
                self.syncs.swap_remove(index);
                Err(Errno::IO.into())
            }
            None => Ok(()),
        }
    }

    /// Whether this range can be read.
    pub(super) fn check_read(&self, path: &Path, range: &Range<u64>) -> io::Result<()> {
        let overlaps = |bad: &Range<u64>| bad.start < range.end && range.start < bad.end;
        match self.reads.iter().any(|(failing, bad)| failing == path && overlaps(bad)) {
            true => Err(Errno::IO.into()),
            false => Ok(()),
        }
    }

    /// Whether this file can be written.
    pub(super) fn check_write(&self, path: &Path) -> io::Result<()> {
        match self.writes.iter().any(|failing| failing == path) {
            true => Err(Errno::IO.into()),
            false => Ok(()),
        }
    }
}
