//! A disk in memory that loses what a real one may lose, by a seed.
//!
//! It keeps, for each file, the durable bytes and the page cache above them, and, for the tree
//! of names, the durable names and the changes that are pending. A power cut
//! ([`SimDisk::crash`]) decides for each unsynced 4096-byte page by itself whether it persists,
//! reverts or tears at 512-byte sectors, likewise for lengths and names. Now and then a page is
//! written back early, as kernels do. The death of the process ([`SimDisk::kill`]) loses nothing that
//! was written. All that chance decides comes from the seed, so a run can be replayed.
//!
//! It never sleeps, never touches the machine's disk, and never draws on other randomness.

mod content;
mod control;
mod faults;
mod file;
mod interruption;
mod names;
mod random;
mod state;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::error::failed;
use super::path::components;
use super::{Disk, DiskFile};
use file::{Handle, SimFile};
use names::Names;
use state::State;

/// A simulated disk. A clone is the same disk.
///
/// The handle that [`SimDisk::new`] gives stays usable over crashes; the one of
/// [`SimDisk::for_process`] dies with the process, as do all open files and mappings.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// The process that this handle dies with, if any.
    process: Option<u64>,
}

impl SimDisk {
    /// An empty disk of unlimited size.
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seed))), process: None }
    }

    /// The state and the path's components, for an operation that changes nothing.
    fn read<'p>(
        &self,
        operation: &'static str,
        path: &'p Path,
    ) -> io::Result<(MutexGuard<'_, State>, Vec<&'p str>)> {
        let state = self.state.lock();
        state.check_alive(self.process).map_err(|error| failed(operation, path, error))?;
        let path = components(path).map_err(|error| failed(operation, path, error))?;
        Ok((state, path))
    }

    /// Runs an operation that changes the tree of names and counts as one.
    fn change<T>(
        &self,
        operation: &'static str,
        path: &Path,
        change: impl FnOnce(&mut Names, &[&str]) -> io::Result<T>,
    ) -> io::Result<T> {
        let (mut state, names) = self.read(operation, path)?;
        state.operations += 1;
        state.has_orphans = true;
        change(&mut state.names, &names).map_err(|error| failed(operation, path, error))
    }

    fn handle(&self, state: &mut State, inode: names::Inode, path: &Path) -> Arc<dyn DiskFile> {
        Arc::new(SimFile(Handle::new(self.clone(), state, inode, path.to_path_buf())))
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let (mut state, names) = self.read("create", path)?;
        state.operations += 1;
        let inode = state.names.create_file(&names).map_err(|error| failed("create", path, error))?;
        Ok(self.handle(&mut state, inode, path))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let (mut state, names) = self.read("open", path)?;
        let inode = state.names.find_file(&names).map_err(|error| failed("open", path, error))?;
        Ok(self.handle(&mut state, inode, path))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let (state, names) = self.read("look up", path)?;
        Ok(state.names.find(&names).is_ok())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let target = components(to).map_err(|error| failed("rename to", to, error))?;
        self.change("rename", from, |names, from| names.rename(from, &target))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change("remove", path, Names::remove_file)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.change("create directory", path, Names::create_directories)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.change("remove directory", path, Names::remove_directories)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let (state, names) = self.read("list", path)?;
        state.names.list(&names).map_err(|error| failed("list", path, error))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let operation = "sync directory";
        let (mut state, names) = self.read(operation, path)?;
        state.operations += 1;
        // A failed sync leaves the changes pending: a journaling file system keeps their order.
        state.faults.take_sync(path).map_err(|error| failed(operation, path, error))?;
        state.names.sync_directory(&names).map_err(|error| failed(operation, path, error))?;
        state.forget_unreachable();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let (state, _) = self.read("measure the free space of", Path::new(""))?;
        Ok(state.free_bytes())
    }

    fn total_bytes(&self) -> io::Result<u64> {
        let (state, _) = self.read("measure the size of", Path::new(""))?;
        Ok(state.total_bytes())
    }

    fn boot_id(&self) -> io::Result<String> {
        let (state, _) = self.read("read the boot id of", Path::new(""))?;
        Ok(format!("simulated-{}-{}", state.seed, state.boot))
    }

    fn is_simulated(&self) -> bool {
        true
    }

    fn sync_delay(&self) -> Option<Duration> {
        self.state.lock().draw_sync_delay()
    }
}
