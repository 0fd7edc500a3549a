//! What a test does to a simulated disk from outside: power cuts, faults, damage, and a look at it.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::interruption::Interruption;
use super::{Names, SimDisk};
use crate::disk::error::failed;
use crate::disk::path::components;

/// Power and processes.
impl SimDisk {
    /// A handle as one process holds it: it dies with the next [`SimDisk::crash`] or [`SimDisk::kill`],
    /// so that what is left running of a dead process cannot touch the disk of the next.
    #[must_use]
    pub fn for_process(&self) -> Self {
        let process = Some(self.state.lock().process);
        Self { state: self.state.clone(), process }
    }

    /// Cuts the power and restores it: of what is not durable any part may be lost. Open files and mappings
    /// are dead, the boot id changes, and a cut ordered by [`SimDisk::crash_after_ops`] is over.
    pub fn crash(&self) {
        self.state.lock().lose_power();
    }

    /// Ends the process: open files and mappings are dead, what was written stays, durable or not.
    pub fn kill(&self) {
        self.state.lock().end_process();
    }

    /// Lets `count` more mutating operations pass; after them every operation fails until [`SimDisk::crash`].
    pub fn crash_after_ops(&self, count: u64) {
        let mut state = self.state.lock();
        state.cut_at = Some(state.operations + count);
    }

    /// Whether the power is cut now, by [`SimDisk::crash_after_ops`].
    pub fn is_power_cut(&self) -> bool {
        self.state.lock().is_cut()
    }

    /// Whether [`SimDisk::crash_after_ops`] has ordered a cut that no [`SimDisk::crash`] has ended yet.
    pub fn is_cut_ordered(&self) -> bool {
        self.state.lock().cut_at.is_some()
    }

    /// Mutating operations so far: writes, syncs and changes of names, whether they succeeded or not.
    pub fn op_count(&self) -> u64 {
        self.state.lock().operations
    }
}

/// Faults. A path is the one under which a file was created or opened.
impl SimDisk {
    /// Limits what all files together may own; a write or an allocation beyond it is `StorageFull`.
    /// `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// Bytes that all files together own: what [`SimDisk::set_capacity`] limits.
    pub fn owned_bytes(&self) -> u64 {
        self.state.lock().owned_bytes()
    }

    /// How many milliseconds a sync of the journal takes from now on, drawn each time. An empty range takes no time.
    pub fn set_sync_delay(&self, milliseconds: Range<u64>) {
        self.state.lock().sync_delay_ms = milliseconds;
    }

    /// The `nth` sync from now, of a file or a directory, fails once with EIO; 1 is the next. A file's dirty
    /// pages then count as clean: syncing again succeeds without making them durable.
    pub fn fail_sync(&self, nth: u64) {
        self.state.lock().faults.failing_sync = Some(nth);
    }

    /// The next sync of this file or directory fails once, as by [`SimDisk::fail_sync`].
    pub fn fail_sync_of(&self, path: impl AsRef<Path>) {
        self.state.lock().faults.syncs.push(path.as_ref().to_path_buf());
    }

    /// Reads that touch the range fail with EIO until [`SimDisk::clear_faults`]; a mapped read panics, where a
    /// real disk raises SIGBUS.
    pub fn fail_read(&self, path: impl AsRef<Path>, range: Range<u64>) {
        self.state.lock().faults.reads.push((path.as_ref().to_path_buf(), range));
    }

    /// Writes to the file fail with EIO until [`SimDisk::clear_faults`], after some part was written.
    pub fn fail_write(&self, path: impl AsRef<Path>) {
        self.state.lock().faults.writes.push(path.as_ref().to_path_buf());
    }

    /// Takes back all ordered faults, not the capacity nor a power cut.
    pub fn clear_faults(&self) {
        self.state.lock().faults = Default::default();
    }
}

/// Order between threads, without threads.
impl SimDisk {
    /// Runs `run` once, right before the next write to a file: what another thread may do at that moment. It
    /// may use the disk. Another order takes the place of one that has not run.
    pub fn before_next_write(&self, run: impl FnOnce() + Send + 'static) {
        self.state.lock().interruption = Interruption(Some(Box::new(run)));
    }
}

/// Damage, in the page cache and on the disk at once. Counts as no operation, and works while the power is cut.
impl SimDisk {
    /// Flips one bit, `bit < 8`, of the byte at `position`.
    pub fn flip_bit(&self, path: impl AsRef<Path>, position: u64, bit: u8) -> io::Result<()> {
        let bytes = self.read_cached(&path)?;
        let index = usize::try_from(position).unwrap_or(usize::MAX);
        let byte =
            bytes.get(index).ok_or_else(|| failed("damage", path.as_ref(), io::ErrorKind::UnexpectedEof))?;
        self.overwrite(path, position, &[byte ^ 1 << bit])
    }

    /// Overwrites bytes; extends the file when they reach beyond its end.
    pub fn overwrite(&self, path: impl AsRef<Path>, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.inspect(path.as_ref(), Names::find_file, |content| content.overwrite(bytes, position))
    }

    /// Cuts the file, or extends it with zeros. What was not synced in it becomes durable.
    pub fn truncate(&self, path: impl AsRef<Path>, length: u64) -> io::Result<()> {
        self.inspect(path.as_ref(), Names::find_file, |content| content.truncate(length))
    }
}

/// A look from outside. Counts as no operation, and works while the power is cut.
impl SimDisk {
    /// The file's bytes as a process sees them.
    pub fn read_cached(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        self.inspect(path.as_ref(), Names::find_file, |content| content.cached_bytes())
    }

    /// The file's durable bytes, under its durable name.
    pub fn read_durable(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        self.inspect(path.as_ref(), Names::find_durable_file, |content| content.durable_bytes())
    }

    /// The paths of all files as a process sees them, sorted.
    pub fn files(&self) -> Vec<String> {
        self.state.lock().names.files(false)
    }

    /// The paths of all files whose names are durable, sorted.
    pub fn durable_files(&self) -> Vec<String> {
        self.state.lock().names.files(true)
    }

    fn inspect<T>(
        &self,
        path: &Path,
        find: impl FnOnce(&Names, &[&str]) -> io::Result<super::names::Inode>,
        look: impl FnOnce(&mut super::content::Content) -> T,
    ) -> io::Result<T> {
        let mut state = self.state.lock();
        let inode = components(path)
            .and_then(|names| find(&state.names, &names))
            .map_err(|error| failed("inspect", path, error))?;
        Ok(look(&mut state.nodes.entry(inode).or_default().content))
    }
}
