//! One open file of the machine's disk.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::Root;
use super::mapping::RealMapping;
use crate::disk::error::failed;
use crate::disk::{DiskFile, Mapping};

/// Most buffers that one vectored write takes (the kernel's `UIO_MAXIOV`).
const VECTOR_PARTS_MAX: usize = 1024;

/// One open file; keeps its path for messages.
#[derive(Debug)]
pub(super) struct RealFile {
    file: File,
    path: PathBuf,
    root: Arc<Root>,
}

impl RealFile {
    pub(super) fn new(file: File, path: PathBuf, root: Arc<Root>) -> Self {
        Self { file, path, root }
    }

    /// Adds the operation and this file's path to an error.
    fn failed(&self, operation: &'static str, error: impl Into<io::Error>) -> io::Error {
        failed(operation, &self.path, error)
    }
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        let metadata = self.file.metadata().map_err(|error| self.failed("measure", error))?;
        Ok(metadata.len())
    }

    fn read_exact_at(&self, out: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_exact_at(out, position).map_err(|error| self.failed("read", error))
    }

    fn write_all_at(&self, mut parts: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
        // Skips empty parts in front, which would look like a write that makes no progress.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            let batch = &parts[..parts.len().min(VECTOR_PARTS_MAX)];
            let batch_is_empty = batch.iter().all(|part| part.is_empty());
            let written = rustix::io::retry_on_intr(|| rustix::io::pwritev(&self.file, batch, position))
                .map_err(|error| self.failed("write", error))?;
            if written == 0 && !batch_is_empty {
                return Err(self.failed("write", io::ErrorKind::WriteZero));
            }
            if batch_is_empty {
                let count = batch.len();
                parts = &mut parts[count..];
            }
            IoSlice::advance_slices(&mut parts, written);
            position += written as u64;
        }
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        let reserve = || rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, length);
        match rustix::io::retry_on_intr(reserve) {
            // A file system that cannot reserve reports a full disk at the write instead.
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(self.failed("allocate space for", error)),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length).map_err(|error| self.failed("set the length of", error))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().map_err(|error| self.failed("sync", error))
    }

    fn map(&self, length: u64) -> io::Result<Arc<dyn Mapping>> {
        let mapping = RealMapping::new(&self.file, length, &self.path, &self.root)
            .map_err(|error| self.failed("map", error))?;
        Ok(Arc::new(mapping))
    }
}
