//! A read-only mapping of a file, and slices of it that keep it alive.
//!
//! Invariants that make a slice sound, kept by everything above the disk:
//! - a slice covers only bytes that were written before it was made and that are never
//!   written again (segments hold committed batches only, append only);
//! - a mapped file is never cut below what was handed out.
//!
//! A page that the device cannot read is a SIGBUS, which [`sigbus`] turns into a named exit.
#![expect(unsafe_code, reason = "a slice of a mapping is made from its address")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::io::Errno;

use super::Root;
use crate::disk::{Mapping, sigbus};

/// A mapping of a file's first bytes. Fields drop in this order: the range leaves the
/// table of mapped ranges before the memory is unmapped and can be another's.
#[derive(Debug)]
pub(super) struct RealMapping {
    _registration: sigbus::Registration,
    memory: MmapRaw,
    length: usize,
    _root: Arc<Root>,
}

impl RealMapping {
    /// Maps `length` bytes of `file`, which may reach beyond its end.
    pub(super) fn new(file: &File, length: u64, path: &Path, root: &Arc<Root>) -> io::Result<Self> {
        let length = usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let memory = MmapOptions::new().len(length).map_raw_read_only(file)?;
        let quarantine = root.quarantine.get().map(AsRawFd::as_raw_fd);
        let registration = sigbus::register(memory.as_ptr() as usize, length, path, quarantine);
        Ok(Self { _registration: registration, memory, length, _root: Arc::clone(root) })
    }

    /// `range` as indexes into the memory.
    fn indexes(&self, range: &Range<u64>) -> Range<usize> {
        assert!(
            range.start <= range.end && range.end <= self.length as u64,
            "range {range:?} lies outside a mapping of {} bytes",
            self.length
        );
        // Both fit: they are at most `self.length`, which is a `usize`.
        range.start as usize..range.end as usize
    }
}

impl Mapping for RealMapping {
    fn len(&self) -> u64 {
        self.length as u64
    }

    fn slice(self: Arc<Self>, range: Range<u64>) -> Bytes {
        let range = self.indexes(&range);
        if range.is_empty() {
            return Bytes::new();
        }
        Bytes::from_owner(Slice { mapping: self, range })
    }

    fn populate(&self, range: Range<u64>) -> io::Result<()> {
        let range = self.indexes(&range);
        if range.is_empty() {
            return Ok(());
        }
        match self.memory.advise_range(Advice::PopulateRead, range.start, range.len()) {
            // A kernel before 5.14 only takes the hint.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                self.memory.advise_range(Advice::WillNeed, range.start, range.len())
            }
            // The page could not be read: what a load from it would have met as SIGBUS.
            Err(error) if error.raw_os_error() == Some(Errno::FAULT.raw_os_error()) => Err(Errno::IO.into()),
            result => result,
        }
    }
}

/// A part of a mapping; the owner of the `Bytes` made from it.
struct Slice {
    mapping: Arc<RealMapping>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the range lies inside the mapping (checked in `indexes`), which `self.mapping` keeps
        // mapped for as long as this slice lives. The bytes are initialised: they are a file's. Nobody
        // changes them: the mapping is read-only, the range was written before it was handed out, and
        // the layers above never write a committed range again nor cut a mapped file (module invariants).
        unsafe {
            std::slice::from_raw_parts(self.mapping.memory.as_ptr().add(self.range.start), self.range.len())
        }
    }
}
