//! The disk as the storage engine sees it: a tree of files below one root, with
//! explicit durability. Two implementations, [`RealDisk`] and [`SimDisk`], pass one
//! conformance suite.
//!
//! The contract, which is POSIX's without its optimism:
//! - a write is in the page cache when it returns: it survives the process, not the power;
//! - [`DiskFile::sync_data`] makes a file's bytes and length durable;
//! - a file's *name* is durable only after [`Disk::sync_dir`] of its directory;
//! - of writes that were not synced, any subset of pages may survive a power cut, in any order;
//! - after a failed sync nothing may be assumed about the bytes it covered (fsyncgate):
//!   the caller never syncs that file again but ends the process.
//!
//! Errors name the operation and the path and keep their kind; [`is_no_space`] and [`os_error`] look below.
//! Paths are relative to the root, with `/` between components, never contain `..`,
//! and are at most 255 bytes long.

mod blocking;
mod error;
mod path;
mod real;
pub mod sigbus;
mod sim;

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use blocking::blocking;
pub use error::{is_device_failure, is_no_space, os_error};
pub use real::RealDisk;
pub use sim::SimDisk;

/// A tree of files below one root.
pub trait Disk: Send + Sync + 'static {
    /// Creates a file that must not exist yet, empty, open for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that must exist, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Whether a file or directory of that name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Renames a file, replacing what had the new name; durable after `sync_dir` of both directories.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Unlinks a file. Open files and mappings of it stay readable.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory and its missing parents; their names are durable on return.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all below it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, sorted. The empty path is the root.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes the names in a directory durable. The empty path is the root.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that can still be written.
    fn free_bytes(&self) -> io::Result<u64>;
    /// Bytes of the whole file system.
    fn total_bytes(&self) -> io::Result<u64>;
    /// Identifies this boot of the machine: a power cut or a reboot changes it, a restart of the process
    /// does not. What was written but not synced under another boot id may be lost.
    fn boot_id(&self) -> io::Result<String>;
    /// Whether blocking calls belong on threads of their own (a real disk) or run inline (a simulated one).
    fn is_simulated(&self) -> bool;
    /// How long the journal is to wait before its next sync, in simulated time: a real sync takes its own.
    fn sync_delay(&self) -> Option<Duration> {
        None
    }
}

/// One open file. All methods may be called from several threads at once.
pub trait DiskFile: Send + Sync + 'static {
    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `out` from `position`; `UnexpectedEof` when the file ends before.
    fn read_exact_at(&self, out: &mut [u8], position: u64) -> io::Result<()>;
    /// Writes all of `parts`, one after another, from `position`. On an error any part of it may have been written.
    fn write_all_at(&self, parts: &mut [IoSlice<'_>], position: u64) -> io::Result<()>;
    /// Reserves blocks up to `length` without changing the file's length. `StorageFull` when the disk has no room.
    fn allocate(&self, length: u64) -> io::Result<()>;
    /// Cuts the file or extends it with zeros; frees what was allocated beyond. Never called while the file is mapped beyond `length`.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Makes the bytes and the length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Maps the first `length` bytes for reading; `length` may lie beyond the file's end, but bytes there must not be read.
    fn map(&self, length: u64) -> io::Result<Arc<dyn Mapping>>;
}

/// A read-only view of a file's first bytes. It sees later writes to the file; callers only read
/// ranges that were written before and are never written again.
pub trait Mapping: Send + Sync + 'static {
    /// The number of bytes mapped.
    fn len(&self) -> u64;
    /// Whether nothing is mapped.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// A slice of the mapping, without a copy on a real disk; it keeps the mapping alive.
    ///
    /// # Panics
    /// When the range lies outside the mapping.
    fn slice(self: Arc<Self>, range: std::ops::Range<u64>) -> Bytes;
    /// Reads the range into memory, blocking. A page that cannot be read is an error here, instead of a SIGBUS
    /// at the load from a slice (where the kernel is Linux 5.14 or newer; before, this is only a hint).
    ///
    /// # Panics
    /// When the range lies outside the mapping.
    fn populate(&self, range: std::ops::Range<u64>) -> io::Result<()>;
}
