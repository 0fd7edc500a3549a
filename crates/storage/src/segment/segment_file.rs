//! One segment: its files, and what of them is held open, mapped and indexed in memory.
//!
//! It does not know how far it is written: that is its published [`Extent`](super::extent::Extent), which the caller
//! brings along. Everything it holds can be dropped and opened again (see
//! [`MapBudget`]), but not while bytes are not synced.
//!
//! Lock order: `index`, then `resident`.

mod index;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use highwater_types::Offset;
use parking_lot::Mutex;

use super::damage_mark::DamageMark;
use super::error::SegmentError;
use super::map_budget::{Evictable, MapBudget};
use super::sparse_index::SparseIndex;
use crate::disk::{Disk, DiskFile, Mapping};

/// The three files of a segment, by the ends of their names.
pub(crate) const LOG: &str = "log";
pub(crate) const INDEX: &str = "index";
pub(crate) const TIME_INDEX: &str = "timeindex";

/// The name of one of a segment's files.
pub(crate) fn file_name(base: Offset, extension: &str) -> String {
    format!("{:020}.{extension}", base.0)
}

/// The base offset and the extension in a file's name, when it is one of a segment's files.
pub(crate) fn parse_file_name(name: &str) -> Option<(Offset, &str)> {
    let (digits, extension) = name.split_once('.')?;
    let known = [LOG, INDEX, TIME_INDEX].contains(&extension);
    let numeric = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    (known && numeric).then(|| digits.parse().ok().map(|base| (Offset(base), extension)))?
}

/// What a segment starts with on the disk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Durable {
    /// Bytes of the log file.
    pub(crate) size: u64,
    /// Entries of each index file.
    pub(crate) index_entries: u32,
}

/// One segment's files and what of them is in memory.
pub(crate) struct Segment {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    base: Offset,
    index_interval_bytes: u64,
    budget: Arc<MapBudget>,
    index: Mutex<Option<SparseIndex>>,
    resident: Mutex<Resident>,
    last_used: AtomicU64,
    /// Entries of the index, also while it is not in memory.
    index_entries: AtomicU32,
    /// Counts starts and ends of writes to the log file.
    changes: AtomicU64,
    /// The changes up to which everything is durable. Counting ends too keeps a sync that runs during a
    /// write from counting for it.
    synced_changes: AtomicU64,
    damage: DamageMark,
}

#[derive(Default)]
struct Resident {
    file: Option<Arc<dyn DiskFile>>,
    mapping: Option<Arc<dyn Mapping>>,
    /// Every mapping made of this file; those still alive are held by readers' slices.
    made: Vec<Weak<dyn Mapping>>,
}

impl Segment {
    /// A segment of which so much is durable. Touches no file.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        base: Offset,
        index_interval_bytes: u64,
        budget: Arc<MapBudget>,
        durable: Durable,
    ) -> Arc<Self> {
        // A segment without bytes has no index files that could be worth a look.
        let index = (durable.size == 0).then(|| SparseIndex::replacing(base));
        Arc::new(Self {
            disk,
            dir,
            base,
            index_interval_bytes: index_interval_bytes.max(1),
            budget,
            index: Mutex::new(index),
            resident: Mutex::new(Resident::default()),
            last_used: AtomicU64::new(0),
            index_entries: AtomicU32::new(durable.index_entries),
            changes: AtomicU64::new(0),
            synced_changes: AtomicU64::new(0),
            damage: DamageMark::default(),
        })
    }

    /// What is known to be damaged of it.
    pub(crate) fn damage(&self) -> &DamageMark {
        &self.damage
    }

    /// Bytes between index entries.
    pub(crate) fn index_interval_bytes(&self) -> u64 {
        self.index_interval_bytes
    }

    /// The path of one of the files.
    pub(crate) fn path(&self, extension: &str) -> PathBuf {
        self.dir.join(file_name(self.base, extension))
    }

    /// Creates the log file, which no segment of the log has; a leftover of that name is removed.
    pub(crate) fn create_file(self: &Arc<Self>) -> Result<Arc<dyn DiskFile>, SegmentError> {
        let path = self.path(LOG);
        let file = match self.disk.create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.remove_files()?;
                self.disk.create(&path)
            }
            result => result,
        };
        let file = file.map_err(|source| SegmentError::creating("create", &path, source))?;
        self.resident.lock().file = Some(Arc::clone(&file));
        self.admit();
        Ok(file)
    }

    /// The open log file.
    pub(crate) fn file(self: &Arc<Self>) -> Result<Arc<dyn DiskFile>, SegmentError> {
        self.touch();
        let mut resident = self.resident.lock();
        if let Some(file) = &resident.file {
            return Ok(Arc::clone(file));
        }
        let file = self.open_file(&mut resident)?;
        drop(resident);
        self.admit();
        Ok(file)
    }

    /// The log file, opened once more: it holds no place among the open segments.
    pub(crate) fn open_apart(&self) -> Result<Arc<dyn DiskFile>, SegmentError> {
        let path = self.path(LOG);
        self.disk.open(&path).map_err(|source| SegmentError::io("open", path, source))
    }

    /// A mapping that covers the first `size` bytes, which are written; `sealed` when they are all.
    pub(crate) fn mapping(self: &Arc<Self>, size: u64, sealed: bool) -> Result<Arc<dyn Mapping>, SegmentError> {
        self.touch();
        let mut resident = self.resident.lock();
        if let Some(mapping) = resident.mapping.as_ref().filter(|mapping| mapping.len() >= size) {
            return Ok(Arc::clone(mapping));
        }
        let opened = resident.file.is_none();
        let file = match &resident.file {
            Some(file) => Arc::clone(file),
            None => self.open_file(&mut resident)?,
        };
        let length = if sealed { size } else { size.next_power_of_two().max(super::space::FIRST_BYTES) };
        let mapping = file.map(length).map_err(|source| SegmentError::io("map", self.path(LOG), source))?;
        resident.made.retain(|made| made.strong_count() > 0);
        resident.made.push(Arc::downgrade(&mapping));
        resident.mapping = Some(Arc::clone(&mapping));
        drop(resident);
        if opened {
            self.admit();
        }
        Ok(mapping)
    }

    /// Writes `parts` at `position`, behind everything published.
    pub(crate) fn write(
        self: &Arc<Self>,
        parts: &mut [IoSlice<'_>],
        position: u64,
    ) -> Result<(), SegmentError> {
        // Before it too, so that the descriptor that sees the write is kept until it was synced.
        self.changes.fetch_add(1, Ordering::AcqRel);
        let result = self.file()?.write_all_at(parts, position);
        self.changes.fetch_add(1, Ordering::AcqRel);
        result.map_err(|source| SegmentError::io("write", self.path(LOG), source))
    }

    /// Whether a sync may have anything to do. Never waits: an index in use counts as changed.
    pub(crate) fn is_dirty(&self) -> bool {
        let index_is_clean = || match self.index.try_lock() {
            Some(index) => index.as_ref().is_none_or(SparseIndex::is_persisted),
            None => false,
        };
        !self.log_is_synced() || !index_is_clean()
    }

    /// Makes everything written so far durable, with its index. Returns whether files were created.
    pub(crate) fn sync(self: &Arc<Self>) -> Result<bool, SegmentError> {
        let changes = self.changes.load(Ordering::Acquire);
        if self.synced_changes.load(Ordering::Acquire) < changes {
            self.file()?.sync_data().map_err(|source| SegmentError::io("sync", self.path(LOG), source))?;
            self.synced_changes.fetch_max(changes, Ordering::AcqRel);
        }
        let (files, created) = self.write_index()?;
        for (path, file) in files {
            file.sync_data().map_err(|source| SegmentError::io("sync", path, source))?;
        }
        Ok(created)
    }

    /// Drops what is held in memory; readers' slices keep their mappings.
    pub(crate) fn release(&self) {
        *self.index.lock() = None;
        let mut resident = self.resident.lock();
        resident.file = None;
        resident.mapping = None;
    }

    /// Whether a reader's slice keeps the segment's pages and, once deleted, its disk space.
    pub(crate) fn is_pinned(&self) -> bool {
        self.resident.lock().made.iter().any(|made| made.strong_count() > 0)
    }

    /// Removes the files; those that are gone are no error.
    pub(crate) fn remove_files(&self) -> Result<(), SegmentError> {
        for extension in [LOG, INDEX, TIME_INDEX] {
            remove_file(&*self.disk, &self.path(extension))?;
        }
        Ok(())
    }

    fn open_file(&self, resident: &mut Resident) -> Result<Arc<dyn DiskFile>, SegmentError> {
        let path = self.path(LOG);
        let file = self.disk.open(&path).map_err(|source| SegmentError::io("open", path, source))?;
        resident.file = Some(Arc::clone(&file));
        Ok(file)
    }

    fn log_is_synced(&self) -> bool {
        let synced = self.synced_changes.load(Ordering::Acquire);
        synced >= self.changes.load(Ordering::Acquire)
    }

    fn touch(&self) {
        self.last_used.store(self.budget.tick(), Ordering::Relaxed);
    }

    fn admit(self: &Arc<Self>) {
        let member: Weak<Self> = Arc::downgrade(self);
        self.budget.admit(member);
    }
}

impl Evictable for Segment {
    fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }

    fn is_resident(&self) -> bool {
        // A locked one is in use.
        self.resident.try_lock().is_none_or(|resident| resident.file.is_some())
    }

    fn evict(&self) -> bool {
        let Some(mut index) = self.index.try_lock() else {
            return false;
        };
        let Some(mut resident) = self.resident.try_lock() else {
            return false;
        };
        let clean = self.log_is_synced() && index.as_ref().is_none_or(SparseIndex::is_persisted);
        if clean {
            *index = None;
            resident.file = None;
            resident.mapping = None;
        }
        clean
    }
}

/// Removes a file; one that is gone is no error.
pub(crate) fn remove_file(disk: &dyn Disk, path: &Path) -> Result<(), SegmentError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SegmentError::io("remove", path, error)),
        _ => Ok(()),
    }
}
