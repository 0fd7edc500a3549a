//! The data directory of a node: whose it is, that only one process uses it, and how
//! the last one ended. It never looks into the journal, checkpoints or segments.
//!
//! ```text
//! highwater-data/
//! ├── identity        format version, cluster, node, incarnation: written at birth, and when the node goes on alone
//! ├── birth           only of a node that was born by command: where nodes of its cluster are
//! ├── recovery        only of a node that went on alone from a cluster that lost its majority
//! ├── boot            how the last process ended, and on which boot of the machine
//! ├── lock            locked by the running process; its pid
//! ├── journal/        the write-ahead journal shared by all Raft groups
//! ├── checkpoint/     state that the journal no longer has to hold
//! ├── topics/         segments and indexes, by topic id and partition
//! └── quarantine/     an empty marker for each file that could not be read (SIGBUS), and data that was set aside
//! ```
//!
//! Invariants: an identity means that all directories above existed, durably, before it; a directory
//! without one is never written to unless it is empty or half-made; a directory is never born again over data.

mod anew;
mod birth;
mod boot;
mod error;
mod identity;
pub mod layout;
mod lock;
mod recovery;
mod sealed_text;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_types::{Clock, ClusterId, NodeId, ProcessEpoch, Random, TimestampMs};

use crate::disk::{Disk, RealDisk, sigbus};
use birth::Survey;
use lock::DirectoryLock;

pub use boot::Shutdown;
pub use error::DirectoryError;
pub use identity::{FORMAT_VERSION, Identity};
pub use lock::locked_by;
pub use recovery::RecoveryRecord;

/// Whose data directory is expected.
#[derive(Debug, Clone)]
pub struct DirectoryOptions {
    /// The node that opens the directory.
    pub node: NodeId,
    /// The cluster it must belong to. `None` takes the directory's own, and draws one for a new directory.
    pub cluster: Option<ClusterId>,
    /// Whether a new directory begins `cluster`. One that draws its cluster always does.
    pub founds: bool,
    /// Where nodes of `cluster` are, which a new directory remembers.
    pub ask: Vec<String>,
    /// Whether it is opened to be recovered: then a recovery that was cut short is no reason to refuse it.
    pub recovers: bool,
}

impl DirectoryOptions {
    /// A node's directory, and the cluster that it belongs to or is to join.
    pub fn new(node: NodeId, cluster: Option<ClusterId>) -> Self {
        Self { node, cluster, founds: false, ask: Vec::new(), recovers: false }
    }
}

/// An open data directory. It stays locked against other processes until this is dropped.
pub struct DataDirectory {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    identity: Identity,
    shutdown: Shutdown,
    epoch: ProcessEpoch,
    is_new: bool,
    ask: Vec<String>,
    recovery: Option<RecoveryRecord>,
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

    /// Whether the directory that is the root of `disk` is one; otherwise it can be made one. Changes nothing.
    ///
    /// # Errors
    /// When it is neither: it is foreign, damaged or of a newer version.
    pub fn exists(disk: &dyn Disk, root: &Path) -> Result<bool, DirectoryError> {
        Ok(birth::survey(disk, root)? == Survey::Ours && Identity::read(disk, root)?.is_some())
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
            let identity = anew::finish(&*disk, identity).map_err(failed)?;
            birth::check_skeleton(&*disk, root)?;
            // The name may have been seen before it was durable, when a birth was cut short after its rename.
            disk.sync_dir(Path::new("")).map_err(failed)?;
            identity
        };
        let recovery = RecoveryRecord::read(&*disk).map_err(failed)?;
        if !options.recovers && recovery.as_ref().is_some_and(|recovery| !recovery.is_finished) {
            return Err(DirectoryError::RecoveryCutShort { path: root.to_path_buf() });
        }
        let ask = birth::whom_to_ask(&*disk).map_err(failed)?;
        let boot::Begun { shutdown, epoch } = boot::begin(&*disk, is_new, clock.now()).map_err(failed)?;
        Ok(Self {
            disk,
            root: root.to_path_buf(),
            identity,
            shutdown,
            epoch,
            is_new,
            ask,
            recovery,
            _lock: lock,
        })
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

    /// Where nodes of its cluster were when the directory was born by command.
    pub fn whom_to_ask(&self) -> &[String] {
        &self.ask
    }

    /// How the node went on alone from a cluster that lost its majority, if it did.
    pub fn recovery(&self) -> Option<&RecoveryRecord> {
        self.recovery.as_ref()
    }

    /// Records that the node's groups are being made its own, under the cluster id `fresh`, or under that of a recovery that was
    /// cut short. Until [`DirectoryError::RecoveryCutShort`] is lifted by [`DataDirectory::finish_recovery`], no node starts here.
    /// Durable on return.
    pub fn begin_recovery(&mut self, fresh: ClusterId, at: TimestampMs) -> io::Result<RecoveryRecord> {
        let record = RecoveryRecord::begin(self.recovery.as_ref(), self.identity.cluster, fresh, at);
        record.write(&*self.disk)?;
        self.recovery = Some(record.clone());
        Ok(record)
    }

    /// Gives the directory to the cluster of the recovery that was begun, all else being durable.
    pub fn finish_recovery(&mut self) -> io::Result<()> {
        let Some(record) = &mut self.recovery else { return Ok(()) };
        let identity = Identity { cluster: record.cluster, ..self.identity };
        identity.write(&*self.disk)?;
        self.identity = identity;
        let finished = RecoveryRecord { is_finished: true, ..record.clone() };
        finished.write(&*self.disk)?;
        *record = finished;
        Ok(())
    }

    /// The files that could not be read under a mapping, relative to the root, sorted.
    pub fn unreadable_files(&self) -> io::Result<Vec<PathBuf>> {
        let names = self.disk.list(Path::new(layout::QUARANTINE))?;
        let markers = names.iter().filter(|name| !anew::is_aside(name));
        Ok(markers.map(|marker| sigbus::marked_path(marker)).collect())
    }

    /// Sets everything aside that the directory has, and gives it a new incarnation: for data that cannot be proven whole, of a node
    /// whose cluster has it elsewhere. Nobody may use what is stored any more. Returns where the data went, relative to the root.
    /// Durable on return, and finished by the next start when this process does not get so far.
    pub fn begin_anew(&mut self, clock: &dyn Clock, random: &dyn Random) -> io::Result<PathBuf> {
        let (identity, aside) = anew::begin(&*self.disk, self.identity, clock, random)?;
        self.identity = identity;
        for file in self.unreadable_files()? {
            self.clear_unreadable(&file)?;
        }
        Ok(aside)
    }

    /// Removes a file's marker, once the file has been dealt with; durable on return.
    pub fn clear_unreadable(&self, path: &Path) -> io::Result<()> {
        clear_unreadable(&*self.disk, path)
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

/// See [`DataDirectory::clear_unreadable`].
pub(crate) fn clear_unreadable(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let directory = Path::new(layout::QUARANTINE);
    disk.remove_file(&directory.join(sigbus::marker_name(path)))?;
    disk.sync_dir(directory)
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
