//! Replacing a damaged segment's file by a whole one, made of the batches that are whole here and of the same batches of
//! other replicas for those that are not.
//!
//! Committed batches are the same bytes on every replica, at the same offsets, and so at the same positions from a batch that
//! both have on. Where segments begin and end may differ between replicas, so batches are asked for by their Raft index.
//!
//! ```text
//! a fresh file beside the damaged one ─▶ whole batches copied, the others supplied ─▶ walked from end to end ─▶ synced
//!   ─▶ renamed over the damaged one, the directory synced ─▶ published in its place
//! ```
//!
//! Invariants
//! - the damaged file stays until the fresh one is whole and durable;
//! - nothing is published that was not read back and checked: checksums, offsets, and the run table's terms and positions;
//! - a crash leaves the damaged file or the whole one, and at most a leftover that the next open removes;
//! - readers' slices of the damaged file stay valid.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use highwater_types::limits::DISK_RESERVE_BYTES;
use highwater_types::{Offset, RaftIndex, Term};

use super::error::{Damage, SegmentError};
use super::log_slices::IndexedBatch;
use super::segment_file::{Durable, LOG, Segment, file_name, remove_file};
use super::segmented_log::SegmentedLog;
use super::source::FileSource;
use super::space::is_full;
use super::view::SegmentView;
use super::walker::{BatchWalker, Floor};
use crate::disk::DiskFile;

/// The end of the name of a file that is to replace a damaged one.
const REPAIR: &str = "repair";

/// Whether a file is what a repair left that was cut short.
pub(super) fn is_repair_file(name: &str) -> bool {
    name.split_once('.').is_some_and(|(_, extension)| extension == REPAIR)
}

/// A repair of one segment that is under way. Dropping it leaves the damaged segment as it is.
pub struct SegmentRepair {
    log: Arc<SegmentedLog>,
    view: SegmentView,
    fresh: Arc<dyn DiskFile>,
    fresh_path: PathBuf,
    /// The damaged file; `None` when it is gone.
    damaged: Option<Arc<dyn DiskFile>>,
    /// Where the next batch goes.
    at: Floor,
    supplied: u64,
    is_adopted: bool,
}

/// What a repair needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairStep {
    /// So many bytes were copied; there is more to copy.
    Copied(u64),
    /// The batch with this Raft index is damaged here; it, and batches behind it, have to be [supplied](SegmentRepair::supply).
    Wanted {
        /// Its Raft index.
        from: RaftIndex,
        /// The Raft index after the segment's last batch.
        below: RaftIndex,
    },
    /// Every batch is there: the file can be [adopted](SegmentedLog::adopt).
    Whole,
}

/// What became of a repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// The segment is whole again.
    Whole {
        /// Bytes of the segment.
        bytes: u64,
        /// Bytes of it that came from other replicas.
        supplied: u64,
    },
    /// Retention has taken the segment meanwhile: there is nothing to repair.
    Gone,
}

impl SegmentedLog {
    /// Begins to repair the damaged segment that starts at `base`. `None` when there is none, or when a full disk keeps the
    /// segment from being sealed, which comes first. Blocks on the disk.
    ///
    /// # Errors
    /// [`SegmentError::NoSpace`] when there is no room for a second file; it passes. Any other error is the disk's.
    pub fn repair(self: &Arc<Self>, base: Offset) -> Result<Option<SegmentRepair>, SegmentError> {
        let is_active = self.active().is_some_and(|active| active.extent.base == base);
        if is_active && !self.seal_active()? {
            return Ok(None);
        }
        let view = {
            let published = self.published.read();
            let found = published.segments.iter().find(|segment| segment.extent.base == base);
            let Some(found) = found.filter(|found| found.segment.damage().is_set() && found.extent.sealed)
            else {
                return Ok(None);
            };
            published.view(found)
        };
        self.check_room(view.extent.size)?;
        let fresh_path = self.dir.join(file_name(base, REPAIR));
        remove_file(&*self.disk, &fresh_path)?;
        self.disk
            .create_dir_all(&self.dir)
            .map_err(|source| SegmentError::creating("create directory", &self.dir, source))?;
        let fresh = self.disk.create(&fresh_path);
        let fresh = fresh.map_err(|source| SegmentError::creating("create", &fresh_path, source))?;
        let damaged = match self.disk.open(&view.segment.path(LOG)) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(SegmentError::io("open", view.segment.path(LOG), source)),
        };
        let at = Floor::start(base);
        let log = Arc::clone(self);
        Ok(Some(SegmentRepair { log, view, fresh, fresh_path, damaged, at, supplied: 0, is_adopted: false }))
    }

    fn check_room(&self, bytes: u64) -> Result<(), SegmentError> {
        let free = self.disk.free_bytes();
        let free = free.map_err(|source| SegmentError::io("measure the free space of", &self.dir, source))?;
        let reserve = DISK_RESERVE_BYTES;
        if free < bytes.saturating_add(reserve) {
            return Err(SegmentError::NoSpace { needed: bytes, free, reserve });
        }
        Ok(())
    }

    /// Puts the whole file in the place of the damaged one. No checkpoint may be under way meanwhile. Durable on return.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// When the fresh file is not whole after all, or the disk fails. The damaged file is in use still, unless the very last step
    /// failed, the sync of the directory's names: after that the node must end (R2).
    ///
    /// # Panics
    /// When the repair is not [whole](RepairStep::Whole), or another log's.
    pub fn adopt(&self, mut repair: SegmentRepair) -> Result<Adopted, SegmentError> {
        assert!(std::ptr::eq(self, &raw const *repair.log), "a repair belongs to its log");
        let extent = repair.view.extent;
        assert_eq!(repair.at.position, extent.size, "a repair is whole before it is adopted");
        repair.fresh.sync_data().map_err(|source| SegmentError::io("sync", &repair.fresh_path, source))?;
        repair.check()?;
        let segment = Segment::new(
            Arc::clone(&self.disk),
            self.dir.clone(),
            extent.base,
            repair.view.segment.index_interval_bytes(),
            Arc::clone(&self.budget),
            Durable { size: extent.size, index_entries: 0 },
        );
        {
            let _writer = self.writer()?;
            if self.has_left(&repair.view) {
                return Ok(Adopted::Gone);
            }
            let path = segment.path(LOG);
            let renamed = self.disk.rename(&repair.fresh_path, &path);
            renamed.map_err(|source| SegmentError::io("rename", &path, source))?;
            repair.is_adopted = true;
            let mut published = self.published.write();
            let place = published.segments.iter_mut().find(|published| published.extent.base == extent.base);
            let place = place.expect("the writer's lock keeps the segments");
            place.segment.release();
            place.segment = Arc::clone(&segment);
        }
        let synced = self.disk.sync_dir(&self.dir);
        synced.map_err(|source| SegmentError::io("sync directory", &self.dir, source))?;
        // The old index may have been made from damaged batches, or be missing like them.
        segment.make_index(&extent, &repair.view.runs)?;
        Ok(Adopted::Whole { bytes: extent.size, supplied: repair.supplied })
    }
}

impl SegmentRepair {
    /// Copies the batches that are whole here, about `bytes_max` bytes, until there is one that is not. Blocks on the disk.
    ///
    /// # Errors
    /// When the disk fails in another way than by damage.
    pub fn copy(&mut self, bytes_max: u64) -> Result<RepairStep, SegmentError> {
        let size = self.view.extent.size;
        if self.at.position >= size {
            return Ok(RepairStep::Whole);
        }
        let started_at = self.at.position;
        if let Some(file) = self.damaged.clone() {
            let mut walker = self.walker(file, self.at);
            while self.at.position < size && self.at.position - started_at < bytes_max {
                let whole = walker.next().and_then(|batch| match batch {
                    Some(batch) => {
                        walker.check_body(&batch)?;
                        walker.copy(&batch).map(Some)
                    }
                    None => Ok(None),
                });
                match whole {
                    Ok(Some(bytes)) => {
                        self.write(&[&bytes])?;
                        self.at = walker.at();
                    }
                    Ok(None) => break,
                    Err(error) if error.is_damage() => break,
                    Err(error) => return Err(error),
                }
            }
        }
        let copied = self.at.position - started_at;
        if copied > 0 {
            return Ok(RepairStep::Copied(copied));
        }
        let ((from, _), below) = (self.wanted()?, self.below()?);
        Ok(RepairStep::Wanted { from, below })
    }

    /// Takes batches of another replica, from the one that is wanted on, for as long as those here are damaged. Returns how many
    /// bytes were taken; 0 when the first is not the one that is wanted, or is not whole itself. Blocks on the disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn supply(&mut self, batches: &[IndexedBatch]) -> Result<u64, SegmentError> {
        let started_at = self.at.position;
        for supplied in batches {
            let size = supplied.batch.size_in_bytes() as u64;
            let fits = self.at.position + size <= self.view.extent.size
                && supplied.batch.base_offset() == self.at.offset
                && supplied.batch.next_offset() <= self.view.extent.next;
            let (index, term) = self.wanted()?;
            let is_wanted = supplied.index == index && supplied.batch.partition_leader_epoch() == term.into();
            if !fits || !is_wanted || supplied.batch.verify().is_err() {
                break;
            }
            let (head, body) = supplied.batch.parts();
            self.write(&[head, body])?;
            self.at = Floor {
                offset: supplied.batch.next_offset(),
                position: self.at.position + size,
                ordinal: self.at.ordinal + 1,
            };
            self.supplied += size;
            if self.at.position >= self.view.extent.size || self.is_whole_here() {
                break;
            }
        }
        Ok(self.at.position - started_at)
    }

    /// The file that is being repaired.
    pub fn file(&self) -> PathBuf {
        self.view.segment.path(LOG)
    }

    /// Which segment it is, by its first offset.
    pub fn base(&self) -> Offset {
        self.view.extent.base
    }

    /// Whether the next batch is whole here.
    fn is_whole_here(&self) -> bool {
        let Some(file) = self.damaged.clone() else { return false };
        let mut walker = self.walker(file, self.at);
        matches!(walker.next(), Ok(Some(batch)) if walker.check_body(&batch).is_ok())
    }

    fn walker(&self, file: Arc<dyn DiskFile>, at: Floor) -> BatchWalker<FileSource> {
        let extent = &self.view.extent;
        let source = FileSource::new(file, extent.size);
        let path = self.view.segment.path(LOG);
        BatchWalker::new(source, path, extent.size, Some(extent.next), self.view.runs.clone(), at)
    }

    /// The Raft index of the next batch, and its term.
    fn wanted(&self) -> Result<(RaftIndex, Term), SegmentError> {
        let ordinal = self.at.ordinal;
        let runs = &self.view.runs;
        let after = runs.partition_point(|run| run.ordinal <= ordinal);
        let run = runs[..after].last().filter(|run| ordinal - run.ordinal < run.batches);
        let index = run.map(|run| (RaftIndex(run.first_index.0 + u64::from(ordinal - run.ordinal)), run.term));
        index.ok_or_else(|| self.unlike_the_run_table())
    }

    fn below(&self) -> Result<RaftIndex, SegmentError> {
        let last = self.view.runs.last().map(|run| run.last_index().next());
        last.ok_or_else(|| self.unlike_the_run_table())
    }

    fn unlike_the_run_table(&self) -> SegmentError {
        self.view.damaged_at(self.at.position, Damage::Manifest("the run table has no entry for a batch"))
    }

    fn write(&self, parts: &[&[u8]]) -> Result<(), SegmentError> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let written = self.fresh.write_all_at(&mut slices, self.at.position);
        written.map_err(|source| match is_full(&source) {
            true => {
                let free = self.log.disk.free_bytes().unwrap_or_default();
                SegmentError::NoSpace { needed: self.view.extent.size, free, reserve: DISK_RESERVE_BYTES }
            }
            false => SegmentError::io("write", &self.fresh_path, source),
        })
    }

    /// Reads the fresh file from end to end.
    fn check(&self) -> Result<(), SegmentError> {
        let mut walker = self.walker(Arc::clone(&self.fresh), Floor::start(self.view.extent.base));
        while let Some(batch) = walker.next()? {
            walker.check_body(&batch)?;
        }
        Ok(())
    }
}

impl Drop for SegmentRepair {
    fn drop(&mut self) {
        if self.is_adopted {
            return;
        }
        if let Err(error) = remove_file(&*self.log.disk, &self.fresh_path) {
            tracing::debug!(%error, "what a repair left that was cut short goes with the next start");
        }
    }
}
