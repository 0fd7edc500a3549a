//! The index of a segment between its files and memory: loaded when it is first used, completed or rebuilt
//! from the batches when it lacks entries or lies, written when the segment is synced.
//!
//! Nothing here can make a read wrong: an index that cannot be used is made again (R6).

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use highwater_types::TimestampMs;

use super::{INDEX, LOG, Segment, TIME_INDEX};
use crate::disk::DiskFile;
use crate::segment::error::SegmentError;
use crate::segment::extent::Extent;
use crate::segment::index_entry::{OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES};
use crate::segment::run_table::Run;
use crate::segment::source::FileSource;
use crate::segment::space::is_full;
use crate::segment::sparse_index::SparseIndex;
use crate::segment::walker::{BatchWalker, Floor};

impl Segment {
    /// Looks something up in the index, which is loaded or rebuilt first when need be.
    pub(crate) fn with_index<T>(
        self: &Arc<Self>,
        extent: &Extent,
        runs: &[Run],
        look: impl FnOnce(&mut SparseIndex) -> T,
    ) -> Result<T, SegmentError> {
        let mut index = self.index.lock();
        if index.is_none() {
            *index = Some(self.load_index(extent, runs)?);
        }
        let index = index.get_or_insert_with(|| SparseIndex::empty(self.base));
        let found = look(index);
        self.index_entries.store(index.len(), Ordering::Release);
        Ok(found)
    }

    /// How many entries the index has; after the next sync, at least so many are durable.
    pub(crate) fn index_entries(&self) -> u32 {
        self.index_entries.load(Ordering::Acquire)
    }

    /// Replaces the index by one made from the batches. Costs O(data), so only for an index that lied.
    pub(crate) fn rebuild_index(self: &Arc<Self>, extent: &Extent, runs: &[Run]) -> Result<(), SegmentError> {
        tracing::warn!(file = %self.path(INDEX).display(), "an index contradicts its segment and is rebuilt");
        self.make_index(extent, runs)
    }

    /// Makes the index from the batches, whatever its files say; the next sync replaces them. Costs O(data).
    pub(crate) fn make_index(self: &Arc<Self>, extent: &Extent, runs: &[Run]) -> Result<(), SegmentError> {
        let mut index = self.index.lock();
        let mut rebuilt = SparseIndex::replacing(self.base);
        self.scan_into(&mut rebuilt, extent, runs)?;
        self.index_entries.store(rebuilt.len(), Ordering::Release);
        *index = Some(rebuilt);
        Ok(())
    }

    /// The index as the files and the batches behind its last entry give it.
    fn load_index(self: &Arc<Self>, extent: &Extent, runs: &[Run]) -> Result<SparseIndex, SegmentError> {
        // One entry for each batch is the most there can be, whatever the files' lengths claim.
        let entries_max = extent.size / highwater_records::BatchHeader::LEN as u64 + 1;
        let offset = self.read_index_file(INDEX, entries_max * OFFSET_ENTRY_BYTES as u64)?;
        let time = self.read_index_file(TIME_INDEX, entries_max * TIME_ENTRY_BYTES as u64)?;
        let mut index = SparseIndex::from_files(extent, runs, &offset, &time);
        let missing = match self.scan_into(&mut index, extent, runs) {
            Ok(added) => added,
            Err(SegmentError::Corrupt { .. }) if index.last().0 != Floor::start(self.base) => {
                // Either the last entry lies or a batch is damaged: only a scan from the start can tell.
                index = SparseIndex::replacing(self.base);
                self.scan_into(&mut index, extent, runs)?
            }
            Err(error) => return Err(error),
        };
        if missing > 0 {
            let file = self.path(INDEX);
            tracing::warn!(file = %file.display(), entries = missing, "an index lacked entries and was completed");
        }
        Ok(index)
    }

    /// Adds the entries behind the last one; returns how many. Every batch on the way is checked whole.
    fn scan_into(
        self: &Arc<Self>,
        index: &mut SparseIndex,
        extent: &Extent,
        runs: &[Run],
    ) -> Result<usize, SegmentError> {
        let (at, mut newest) = index.last();
        let source = FileSource::new(self.file()?, extent.size);
        let mut walker =
            BatchWalker::new(source, self.path(LOG), extent.size, Some(extent.next), runs.to_vec(), at);
        let (mut indexed_at, mut added) = (at.position, 0);
        while let Some(batch) = walker.next()? {
            walker.check_body(&batch)?;
            if batch.at.position - indexed_at >= self.index_interval_bytes {
                index.push(batch.at, newest);
                indexed_at = batch.at.position;
                added += 1;
            }
            newest = newest.max(batch.header.max_timestamp).max(TimestampMs::NONE);
        }
        Ok(added)
    }

    /// The bytes of an index file, at most `bytes_max`; none when there is no file.
    fn read_index_file(&self, extension: &str, bytes_max: u64) -> Result<Vec<u8>, SegmentError> {
        let path = self.path(extension);
        let read = || -> io::Result<Vec<u8>> {
            let file = self.disk.open(&path)?;
            let length = file.len()?.min(bytes_max);
            let mut bytes = vec![0; usize::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(bytes)
        };
        match read() {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
                Ok(Vec::new())
            }
            // An index that cannot be read is as good as none.
            Err(source) => {
                tracing::warn!(file = %path.display(), %source, "an index cannot be read and will be rebuilt");
                Ok(Vec::new())
            }
            Ok(bytes) => Ok(bytes),
        }
    }

    /// Writes the entries that the files lack. Returns the files to sync and whether any is new.
    #[expect(clippy::type_complexity, reason = "two files with their paths, used once")]
    pub(super) fn write_index(&self) -> Result<(Vec<(PathBuf, Arc<dyn DiskFile>)>, bool), SegmentError> {
        let mut guard = self.index.lock();
        let Some(index) = guard.as_mut().filter(|index| !index.is_persisted()) else {
            return Ok((Vec::new(), false));
        };
        let pending = index.pending();
        let mut created = false;
        let mut files = Vec::new();
        for (extension, bytes, entry) in
            [(INDEX, &pending.offset, OFFSET_ENTRY_BYTES), (TIME_INDEX, &pending.time, TIME_ENTRY_BYTES)]
        {
            let path = self.path(extension);
            let after = (pending.after * entry) as u64;
            let write = || {
                let (file, new) = match self.disk.open(&path) {
                    Ok(file) => (file, false),
                    Err(error) if error.kind() == io::ErrorKind::NotFound && bytes.is_empty() => {
                        return Ok(None);
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => (self.disk.create(&path)?, true),
                    Err(error) => return Err(error),
                };
                if pending.cut {
                    file.set_len(after)?;
                }
                file.write_all_at(&mut [IoSlice::new(bytes)], after)?;
                Ok(Some((file, new)))
            };
            let written = write().map_err(|source| match is_full(&source) {
                // Nothing is lost: what is not persisted is written again by the next sync.
                true => {
                    let free = self.disk.free_bytes().unwrap_or_default();
                    SegmentError::NoSpace { needed: bytes.len() as u64, free, reserve: 0 }
                }
                false => SegmentError::io("write", &path, source),
            });
            if let Some((file, new)) = written? {
                created |= new;
                files.push((path, file));
            }
        }
        index.mark_persisted(&pending);
        Ok((files, created))
    }
}
