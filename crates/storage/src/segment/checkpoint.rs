//! Capturing what is in the log, and making it durable in the background.
//!
//! The order that keeps the promise: capture (the manifest and what is dirty, in one step), sync,
//! then the caller makes the manifest durable, then files that it no longer lists are deleted.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::error::SegmentError;
use super::manifest::{SegmentManifest, SegmentRecord};
use super::map_budget::MapBudget;
use super::segment_file::Segment;
use super::segmented_log::SegmentedLog;
use crate::disk::Disk;

/// Names one capture of one log; see [`SegmentedLog::delete_detached`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckpointMark(pub(crate) u64);

/// A captured state, and the syncs that make it durable.
pub struct CheckpointWork {
    /// What is durable once [`sync`](Self::sync) has returned.
    pub manifest: SegmentManifest,
    mark: CheckpointMark,
    dirty: Vec<Arc<Segment>>,
    names: u64,
    durability: Arc<Durability>,
    budget: Arc<MapBudget>,
}

impl SegmentedLog {
    /// Captures the log as it is now. Costs no IO; appends go on while the work is synced.
    #[must_use]
    pub fn checkpoint(&self) -> CheckpointWork {
        let _writer = self.writer.lock();
        let mut published = self.published.write();
        published.checkpoints += 1;
        let last = published.runs.last_entry();
        let manifest = SegmentManifest {
            next_offset: published.runs.next_offset().0,
            segments: published
                .segments
                .iter()
                .map(|segment| SegmentRecord::from_extent(&segment.extent, segment.segment.index_entries()))
                .collect(),
            runs: published.runs.to_records(),
            last_index: last.map(|(index, _)| index.0),
            last_term: last.map(|(_, term)| term.0),
        };
        let segments = published.segments.iter().map(|published| &published.segment);
        CheckpointWork {
            manifest,
            mark: CheckpointMark(published.checkpoints),
            dirty: segments.filter(|segment| segment.is_dirty()).map(Arc::clone).collect(),
            names: self.durability.names_created(),
            durability: Arc::clone(&self.durability),
            budget: Arc::clone(&self.budget),
        }
    }
}

impl CheckpointWork {
    /// Names this capture, for [`SegmentedLog::delete_detached`].
    #[must_use]
    pub fn mark(&self) -> CheckpointMark {
        self.mark
    }

    /// Whether [`sync`](Self::sync) has nothing to do.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.dirty.is_empty() && !self.durability.names_are_dirty(self.names)
    }

    /// Makes everything that the manifest states durable: each dirty file is synced once, then the
    /// directory when it has new names. Blocks on the disk.
    ///
    /// [`SegmentError::NoSpace`] passes: an index found no room, no sync has failed, and a later one makes up for it.
    ///
    /// Any other error is fatal to the node (R2): the page cache may show what the disk does not have. Every later
    /// sync of this log fails with [`SegmentError::Poisoned`].
    pub fn sync(&self) -> Result<(), SegmentError> {
        self.durability.check()?;
        let result = self.sync_files();
        if result.as_ref().is_err_and(|error| !matches!(error, SegmentError::NoSpace { .. })) {
            self.durability.poisoned.store(true, Ordering::Release);
        }
        result
    }

    fn sync_files(&self) -> Result<(), SegmentError> {
        for segment in &self.dirty {
            let synced = segment.sync();
            // A sync that found no room may have created one file of two.
            if !matches!(synced, Ok(false)) {
                self.durability.name_created();
            }
            synced?;
        }
        self.durability.sync_names()?;
        // What was too dirty to be closed is clean now.
        self.budget.enforce();
        Ok(())
    }
}

/// What is durable of the directory, and whether a sync has failed.
pub(crate) struct Durability {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    poisoned: AtomicBool,
    names_created: AtomicU64,
    names_synced: AtomicU64,
}

impl Durability {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self {
            disk,
            dir,
            poisoned: AtomicBool::new(false),
            names_created: AtomicU64::new(0),
            names_synced: AtomicU64::new(0),
        }
    }

    /// Notes that a file was created in the directory.
    pub(crate) fn name_created(&self) {
        self.names_created.fetch_add(1, Ordering::AcqRel);
    }

    fn names_created(&self) -> u64 {
        self.names_created.load(Ordering::Acquire)
    }

    fn names_are_dirty(&self, created: u64) -> bool {
        self.names_synced.load(Ordering::Acquire) < created
    }

    fn check(&self) -> Result<(), SegmentError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(SegmentError::Poisoned { directory: self.dir.clone() });
        }
        Ok(())
    }

    fn sync_names(&self) -> Result<(), SegmentError> {
        let created = self.names_created();
        if !self.names_are_dirty(created) {
            return Ok(());
        }
        self.disk
            .sync_dir(&self.dir)
            .map_err(|source| SegmentError::io("sync directory", &self.dir, source))?;
        self.names_synced.fetch_max(created, Ordering::AcqRel);
        Ok(())
    }
}
