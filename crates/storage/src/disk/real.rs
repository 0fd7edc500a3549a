//! The disk of the machine: files below a root directory.
//!
//! It adds nothing to what the operating system promises, only what POSIX leaves to the
//! caller: short writes are continued, interrupted calls repeated, and the names of new
//! directories made durable. A failed sync is passed on and never repeated here.

mod file;
mod mapping;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{Mode, OFlags};

use super::error::failed;
use super::path::{components, parent};
use super::{Disk, DiskFile, sigbus};
use file::RealFile;

/// The files below one root directory of the machine. A clone is the same disk.
#[derive(Debug, Clone)]
pub struct RealDisk {
    root: Arc<Root>,
}

/// What the disk, its files and its mappings share.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// Where a segment that cannot be read is marked; set by [`RealDisk::mark_unreadable_segments`].
    quarantine: OnceLock<OwnedFd>,
}

impl RealDisk {
    /// The disk below `root`. Touches nothing; the root need not exist yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root: Arc::new(Root { path: root, quarantine: OnceLock::new() }) }
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.root.path
    }

    /// From now on, a page that cannot be read under a mapping (SIGBUS) ends the process with
    /// [`DISK_FAILED`](highwater_types::exit_code::DISK_FAILED), after one line on standard error that
    /// names the file and the position, and an empty marker file in `directory` under
    /// [`sigbus::marker_name`]. Creates the directory. Mappings made before are named but not marked.
    pub fn mark_unreadable_segments(&self, directory: &Path) -> io::Result<()> {
        self.create_dir_all(directory)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(self.resolve("open", directory)?, flags, Mode::empty())
            .map_err(|error| failed("open", directory, error))?;
        // A second call keeps the first directory: mappings may already refer to its descriptor.
        let _ = self.root.quarantine.set(descriptor);
        sigbus::install()
    }

    /// The path as the operating system knows it.
    fn resolve(&self, operation: &'static str, path: &Path) -> io::Result<PathBuf> {
        components(path).map_err(|error| failed(operation, path, error))?;
        // `join` of an empty path would add a slash, which turns up in messages.
        Ok(if path.as_os_str().is_empty() { self.root.path.clone() } else { self.root.path.join(path) })
    }

    /// Opens with `options`.
    fn open_with(
        &self,
        operation: &'static str,
        path: &Path,
        options: &mut OpenOptions,
    ) -> io::Result<Arc<dyn DiskFile>> {
        let full = self.resolve(operation, path)?;
        let file = options.open(full).map_err(|error| failed(operation, path, error))?;
        Ok(Arc::new(RealFile::new(file, path.to_path_buf(), Arc::clone(&self.root))))
    }

    /// Creates the root and its missing parents, all durable.
    fn create_root(&self) -> io::Result<()> {
        let mut missing: Vec<&Path> = Vec::new();
        let mut at = self.root.path.as_path();
        while !at.as_os_str().is_empty() && !at.is_dir() {
            missing.push(at);
            at = at.parent().unwrap_or(Path::new(""));
        }
        for directory in missing.iter().rev() {
            make_directory(directory).map_err(|error| failed("create directory", directory, error))?;
            let above = directory_above(directory);
            sync_directory(above).map_err(|error| failed("sync directory", above, error))?;
        }
        Ok(())
    }

    /// Makes the root's own name durable, which an earlier process may have created and not synced.
    fn sync_root_name(&self) -> io::Result<()> {
        let above = directory_above(&self.root.path);
        match sync_directory(above) {
            // Who may not look into the directory above did not create the root there either.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            result => result.map_err(|error| failed("sync directory", above, error)),
        }
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open_with("create", path, OpenOptions::new().read(true).write(true).create_new(true))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let unwritable = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
        };
        match self.open_with("open", path, OpenOptions::new().read(true).write(true)) {
            // An inspection of a read-only directory can still read; a write to the file fails.
            Err(error) if unwritable(&error) => self.open_with("open", path, OpenOptions::new().read(true)),
            result => result,
        }
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let full = self.resolve("look up", path)?;
        full.try_exists().map_err(|error| failed("look up", path, error))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (source, target) = (self.resolve("rename", from)?, self.resolve("rename to", to)?);
        fs::rename(source, target).map_err(|error| failed("rename", from, error))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let full = self.resolve("remove", path)?;
        fs::remove_file(full).map_err(|error| failed("remove", path, error))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let names = components(path).map_err(|error| failed("create directory", path, error))?;
        self.create_root()?;
        if names.is_empty() {
            return self.sync_root_name();
        }
        let mut made = PathBuf::new();
        for name in names {
            made.push(name);
            make_directory(&self.resolve("create directory", &made)?)
                .map_err(|error| failed("create directory", &made, error))?;
            // Also when it existed: an earlier process may have died between the two steps.
            self.sync_dir(parent(&made))?;
        }
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let full = self.resolve("remove directory", path)?;
        fs::remove_dir_all(full).map_err(|error| failed("remove directory", path, error))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let full = self.resolve("list", path)?;
        let mut names = fs::read_dir(full)
            .and_then(|entries| {
                entries
                    .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                    .collect::<io::Result<Vec<_>>>()
            })
            .map_err(|error| failed("list", path, error))?;
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let full = self.resolve("sync directory", path)?;
        sync_directory(&full).map_err(|error| failed("sync directory", path, error))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let usage = rustix::fs::statvfs(&self.root.path)
            .map_err(|error| failed("measure the free space of", &self.root.path, error))?;
        Ok(usage.f_bavail.saturating_mul(usage.f_frsize))
    }

    fn total_bytes(&self) -> io::Result<u64> {
        let usage = rustix::fs::statvfs(&self.root.path)
            .map_err(|error| failed("measure the size of", &self.root.path, error))?;
        Ok(usage.f_blocks.saturating_mul(usage.f_frsize))
    }

    fn boot_id(&self) -> io::Result<String> {
        let path = Path::new("/proc/sys/kernel/random/boot_id");
        let id = fs::read_to_string(path).map_err(|error| failed("read", path, error))?;
        Ok(id.trim().to_owned())
    }

    fn is_simulated(&self) -> bool {
        false
    }
}

/// The directory that holds `path`, which may be a single name.
fn directory_above(path: &Path) -> &Path {
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    }
}

/// Makes one directory unless it is there.
fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result,
    }
}

/// Makes the names in a directory durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
