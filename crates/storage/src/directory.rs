//! The data directory of a node: whose it is, that only one process uses it, and how
//! the last one ended. It never looks into the journal, checkpoints or segments.
//!
//! ```text
//! highwater-data/
//! ├── identity        format version, cluster, node, incarnation: written once, at birth
//! ├── boot            how the last process ended, and on which boot of the machine
//! ├── lock            locked by the running process; its pid
//! ├── journal/        the write-ahead journal shared by all Raft groups
//! ├── checkpoint/     state that the journal no longer has to hold
//! ├── topics/         segments and indexes, by topic id and partition
//! └── quarantine/     an empty marker for each file that could not be read (SIGBUS)
//! ```
//!
//! Invariants: an identity means that all directories above existed, durably, before it; a directory
//! without one is never written to unless it is empty or half-made; a directory is never born again over data.

mod birth;
mod boot;
mod error;
mod identity;
pub mod layout;
mod lock;
mod sealed_text;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_types::{Clock, ClusterId, NodeId, ProcessEpoch, Random};

use crate::disk::{Disk, RealDisk, sigbus};
use birth::Survey;
use lock::DirectoryLock;

pub use boot::Shutdown;
pub use error::DirectoryError;
pub use identity::{FORMAT_VERSION, Identity};
pub use lock::locked_by;

/// Whose data directory is expected.
#[derive(Debug, Clone, Copy)]
pub struct DirectoryOptions {
    /// The node that opens the directory.
    pub node: NodeId,
    /// The cluster it must belong to. `None` takes the directory's own, and draws one for a new directory.
    pub cluster: Option<ClusterId>,
}

/// An open data directory. It stays locked against other processes until this is dropped.
pub struct DataDirectory {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    identity: Identity,
    shutdown: Shutdown,
    epoch: ProcessEpoch,
    is_new: bool,
    _lock: Option<DirectoryLock>,
}

impl DataDirectory {
    /// Opens the directory at `root` of the machine's disk, creating it when it is missing or empty. From then on
    /// a mapped page that cannot be read ends the process and marks its segment in `quarantine/`.
    ///
    /// # Errors
    /// When the directory is foreign, damaged, of a newer version or another node's, in use, or not writable.
    pub fn open(
        root: &Path,
        options: &DirectoryOptions,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError::from_io(root, source);
        let disk = RealDisk::new(root.to_path_buf());
        // Before the lock, so that a foreign directory does not get even a lock file; the survey that
        // counts is made again under the lock.
        birth::survey(&disk, root)?;
        disk.create_dir_all(Path::new("")).map_err(failed)?;
        let lock = DirectoryLock::take(root)?;
        let directory = Self::open_locked(Arc::new(disk.clone()), Some(lock), root, options, clock, random)?;
        disk.mark_unreadable_segments(Path::new(layout::QUARANTINE)).map_err(failed)?;
        Ok(directory)
    }

    /// Opens the directory that is the root of `disk`, without a lock: for a simulated disk. `root` is only for messages.
    ///
    /// # Errors
    /// As [`DataDirectory::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        root: &Path,
        options: &DirectoryOptions,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<Self, DirectoryError> {
        Self::open_locked(disk, None, root, options, clock, random)
    }

    fn open_locked(
        disk: Arc<dyn Disk>,
        lock: Option<DirectoryLock>,
        root: &Path,
        options: &DirectoryOptions,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError::from_io(root, source);
        let is_new = birth::survey(&*disk, root)? == Survey::Unborn;
        let identity = if is_new {
            birth::give_birth(&*disk, options, clock, random).map_err(failed)?
        } else {
            let identity =
                Identity::read(&*disk, root)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
            identity.check(root, options)?;
            birth::check_skeleton(&*disk, root)?;
            // The name may have been seen before it was durable, when a birth was cut short after its rename.
            disk.sync_dir(Path::new("")).map_err(failed)?;
            identity
        };
        let boot::Begun { shutdown, epoch } = boot::begin(&*disk, is_new, clock.now()).map_err(failed)?;
        Ok(Self { disk, root: root.to_path_buf(), identity, shutdown, epoch, is_new, _lock: lock })
    }

    /// The disk whose root is this directory.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Where the directory is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whose it is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// How the last process ended.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown
    }

    /// This process's epoch: greater than that of every process before it.
    pub fn epoch(&self) -> ProcessEpoch {
        self.epoch
    }

    /// Whether this call of open made the directory. A process that dies right after has made it too: what still
    /// has to be done for a new directory is told by its content, not by this.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The files that could not be read under a mapping, relative to the root, sorted.
    pub fn unreadable_files(&self) -> io::Result<Vec<PathBuf>> {
        let markers = self.disk.list(Path::new(layout::QUARANTINE))?;
        Ok(markers.iter().map(|marker| sigbus::marked_path(marker)).collect())
    }

    /// Removes a file's marker, once the file has been dealt with; durable on return.
    pub fn clear_unreadable(&self, path: &Path) -> io::Result<()> {
        let directory = Path::new(layout::QUARANTINE);
        self.disk.remove_file(&directory.join(sigbus::marker_name(path)))?;
        self.disk.sync_dir(directory)
    }

    /// Records that recovery after [`Shutdown::PowerLost`] is finished and its result durable. Until then every start
    /// reports the loss again.
    pub fn mark_recovered(&self) -> io::Result<()> {
        boot::record(&*self.disk, boot::State::Open, self.epoch)
    }

    /// Records a clean end; the last thing a process does with the directory, after everything it wrote was
    /// synced. Never called after a failed sync.
    pub fn mark_clean(&self) -> io::Result<()> {
        boot::record(&*self.disk, boot::State::Clean, self.epoch)
    }
}

impl std::fmt::Debug for DataDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataDirectory")
            .field("root", &self.root)
            .field("identity", &self.identity)
            .field("shutdown", &self.shutdown)
            .finish_non_exhaustive()
    }
}
