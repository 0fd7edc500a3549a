//! The lock that keeps a second process out of a data directory.
//!
//! It is `flock` on an open file, so it ends with the process, however that ends. The file stays;
//! its content, the holder's pid, is only for the message to the other.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::error::DirectoryError;
use super::layout::LOCK;

/// Holds a data directory for as long as it lives.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock of the directory, which exists.
    pub(super) fn take(root: &Path) -> Result<Self, DirectoryError> {
        let failed = |source: io::Error| DirectoryError::from_io(root, source);
        let mut options = OpenOptions::new();
        // Not truncated before the lock is ours: the pid in it may be another's.
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(root.join(LOCK))
            .map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(DirectoryError::Locked { path: root.to_path_buf(), pid: holder(&file) });
            }
            Err(error) => return Err(failed(error.into())),
        }
        let pid = format!("{}\n", std::process::id());
        file.write_all_at(pid.as_bytes(), 0).and_then(|()| file.set_len(pid.len() as u64)).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// The pid of the process that has the directory locked, 0 when it cannot be told; `None` when nobody has.
pub fn locked_by(root: &Path) -> Option<u32> {
    let file = File::open(root.join(LOCK)).ok()?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Some(holder(&file).unwrap_or(0)),
        // Given back when the file is closed.
        Ok(()) | Err(_) => None,
    }
}

/// The pid that the file names, if its holder has written it yet.
fn holder(file: &File) -> Option<u32> {
    let mut text = [0; 16];
    let length = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.lines().next()?.parse().ok()
}
