//! An open file of a simulated disk, and a mapping of it.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::MutexGuard;

use super::SimDisk;
use super::names::Inode;
use super::state::State;
use crate::disk::error::failed;
use crate::disk::{DiskFile, Mapping};

/// What keeps a file's bytes, even when its last name is gone: one for each open file and mapping.
#[derive(Debug)]
pub(super) struct Handle {
    disk: SimDisk,
    inode: Inode,
    /// The process that opened it.
    process: u64,
    path: PathBuf,
}

impl Handle {
    /// Counts itself in; `state` is the locked state of `disk`.
    pub(super) fn new(disk: SimDisk, state: &mut State, inode: Inode, path: PathBuf) -> Self {
        state.nodes.entry(inode).or_default().handles += 1;
        Self { disk, inode, process: state.process, path }
    }

    fn failed(&self, operation: &'static str, error: impl Into<io::Error>) -> io::Error {
        failed(operation, &self.path, error)
    }

    /// The state, for an operation that changes nothing.
    fn read(&self, operation: &'static str) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state.lock();
        state.check_alive(Some(self.process)).map_err(|error| self.failed(operation, error))?;
        Ok(state)
    }

    /// The state, for an operation that changes the disk and counts as one.
    fn change(&self, operation: &'static str) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.read(operation)?;
        state.operations += 1;
        Ok(state)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        // The death of its process has already counted it out.
        if state.process != self.process {
            return;
        }
        state.node(self.inode).handles -= 1;
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct SimFile(pub(super) Handle);

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.read("measure")?.node(self.0.inode).content.len())
    }

    fn read_exact_at(&self, out: &mut [u8], position: u64) -> io::Result<()> {
        let mut state = self.0.read("read")?;
        let range = position..position + out.len() as u64;
        state.faults.check_read(&self.0.path, &range).map_err(|error| self.0.failed("read", error))?;
        let content = &state.node(self.0.inode).content;
        if range.end > content.len() {
            return Err(self.0.failed("read", io::ErrorKind::UnexpectedEof));
        }
        content.read(out, position);
        Ok(())
    }

    fn write_all_at(&self, parts: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let interruption = self.0.read("write")?.interruption.take();
        if let Some(run) = interruption {
            run();
        }
        let mut state = self.0.change("write")?;
        let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
        let bytes = parts.concat();
        state.write(self.0.inode, &self.0.path, &bytes, position).map_err(|error| self.0.failed("write", error))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let operation = "allocate space for";
        let mut state = self.0.change(operation)?;
        state.allocate(self.0.inode, length).map_err(|error| self.0.failed(operation, error))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.change("set the length of")?.node(self.0.inode).content.set_len(length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.change("sync")?;
        let result = state.faults.take_sync(&self.0.path);
        let content = &mut state.node(self.0.inode).content;
        match result {
            Ok(()) => {
                content.sync();
                Ok(())
            }
            Err(error) => {
                content.give_up_dirty();
                Err(self.0.failed("sync", error))
            }
        }
    }

    fn map(&self, length: u64) -> io::Result<Arc<dyn Mapping>> {
        let mut state = self.0.read("map")?;
        let handle = Handle::new(self.0.disk.clone(), &mut state, self.0.inode, self.0.path.clone());
        Ok(Arc::new(SimMapping { handle, length }))
    }
}

/// A mapping. Its slices are copies of the page cache at the time they are made.
#[derive(Debug)]
struct SimMapping {
    handle: Handle,
    length: u64,
}

impl SimMapping {
    fn check(&self, range: &Range<u64>) {
        assert!(
            range.start <= range.end && range.end <= self.length,
            "range {range:?} lies outside a mapping of {} bytes",
            self.length
        );
    }
}

impl Mapping for SimMapping {
    fn len(&self) -> u64 {
        self.length
    }

    /// # Panics
    /// Also where a real disk raises SIGBUS: beyond the file's end, and where reads are ordered to fail.
    fn slice(self: Arc<Self>, range: Range<u64>) -> Bytes {
        self.check(&range);
        // At most the mapping's length, of which a copy is made.
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let mut state = self.handle.disk.state.lock();
        // A process that is dead reads nothing; zeros fail every check, should a test look at them.
        if state.process == self.handle.process {
            let path = &self.handle.path;
            assert!(
                state.faults.check_read(path, &range).is_ok(),
                "simulated SIGBUS: bytes {range:?} of {} cannot be read",
                path.display()
            );
            let content = &state.node(self.handle.inode).content;
            assert!(
                range.end <= content.len() || range.is_empty(),
                "simulated SIGBUS: bytes {range:?} of {} lie beyond its end at {}",
                path.display(),
                content.len()
            );
            content.read(&mut bytes, range.start);
        }
        bytes.into()
    }

    fn populate(&self, range: Range<u64>) -> io::Result<()> {
        self.check(&range);
        let mut state = self.handle.read("read")?;
        state
            .faults
            .check_read(&self.handle.path, &range)
            .map_err(|error| self.handle.failed("read", error))?;
        if range.end > state.node(self.handle.inode).content.len() {
            return Err(self.handle.failed("read", rustix::io::Errno::IO));
        }
        Ok(())
    }
}
