//! Opening a log as a checkpoint's manifest states it. Costs O(segments): no batch is read.
//!
//! Everything that the manifest lists must be there. Everything else that looks like a segment is
//! newer (the journal has its records) or was detached before the checkpoint, and is removed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_types::{FilePosition, Offset};

use super::damaged::mark;
use super::error::{Damage, SegmentError};
use super::extent::Extent;
use super::manifest::SegmentManifest;
use super::map_budget::MapBudget;
use super::repair::is_repair_file;
use super::run_table::RunTable;
use super::segment_file::{Durable, LOG, Segment, file_name, parse_file_name, remove_file};
use super::segmented_log::{Published, PublishedSegment, SegmentOptions, SegmentedLog};
use crate::disk::{Disk, DiskFile};

/// A segment's open file and what the manifest states of it.
type OpenFile = (Arc<dyn DiskFile>, Extent);

impl SegmentedLog {
    /// Opens the log in `dir` as `manifest` states it: bytes behind the durable ones are cut from the
    /// last segment, and segments that the manifest does not list are removed.
    ///
    /// Fails with [`SegmentError::Corrupt`], and nothing changed, when a listed file is missing or too
    /// short, or when the manifest contradicts itself.
    ///
    /// # Panics
    /// When the options allow segments whose positions do not fit 32 bits.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: SegmentOptions,
        maps: Arc<MapBudget>,
        manifest: &SegmentManifest,
    ) -> Result<Self, SegmentError> {
        let (extents, runs) = check_manifest(&dir, manifest)?;
        let names = list(&*disk, &dir)?;
        for (file, extent) in check_files(&*disk, &dir, &names, &extents)? {
            cut(&dir, &*file, &extent)?;
        }
        remove_unlisted(&*disk, &dir, &names, &extents)?;
        Ok(Self::opened(disk, dir, options, maps, manifest, (extents, runs)))
    }

    /// Opens the log as [`open`](Self::open) does, but a listed file that is missing or too short only marks its segment as
    /// [damaged](Self::damaged): the others are as whole as before. Such a segment takes no more batches.
    ///
    /// Fails with [`SegmentError::Corrupt`], and nothing changed, when the manifest contradicts itself.
    ///
    /// # Panics
    /// When the options allow segments whose positions do not fit 32 bits.
    pub fn open_marking(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: SegmentOptions,
        maps: Arc<MapBudget>,
        manifest: &SegmentManifest,
    ) -> Result<Self, SegmentError> {
        let (mut extents, runs) = check_manifest(&dir, manifest)?;
        let names = list(&*disk, &dir)?;
        let mut found = Vec::new();
        for (place, extent) in extents.iter_mut().enumerate() {
            match check_file(&*disk, &dir, &names, extent) {
                Ok(None) => {}
                Ok(Some((file, extent))) => cut(&dir, &*file, &extent)?,
                Err(SegmentError::Corrupt { position, damage, .. }) => {
                    extent.sealed = true;
                    found.push((place, position, damage));
                }
                Err(error) => return Err(error),
            }
        }
        remove_unlisted(&*disk, &dir, &names, &extents)?;
        let log = Self::opened(disk, dir, options, maps, manifest, (extents, runs));
        for (place, position, damage) in found {
            mark(&log.published.read().segments[place], position, &damage);
        }
        Ok(log)
    }

    /// Opens the log as [`open`](Self::open) does but leaves every file as it is: for a node whose journal is
    /// damaged, where bytes beyond the manifest may be the only copy there is. Whatever would write
    /// fails with [`SegmentError::ReadOnly`].
    ///
    /// Fails as [`open`](Self::open) does.
    pub fn open_read_only(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: SegmentOptions,
        maps: Arc<MapBudget>,
        manifest: &SegmentManifest,
    ) -> Result<Self, SegmentError> {
        let (extents, runs) = check_manifest(&dir, manifest)?;
        let names = list(&*disk, &dir)?;
        check_files(&*disk, &dir, &names, &extents)?;
        let log = Self::opened(disk, dir, options, maps, manifest, (extents, runs));
        log.writer.lock().read_only = true;
        Ok(log)
    }

    /// A log that holds nothing and goes on at `start`, beside files that are left as they are.
    pub(crate) fn beside(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: SegmentOptions,
        maps: Arc<MapBudget>,
        start: Offset,
        is_read_only: bool,
    ) -> Self {
        let log = Self::with(disk, dir, options, maps, Published::new(RunTable::new(start)));
        {
            let mut writer = log.writer.lock();
            writer.dir_exists = true;
            writer.read_only = is_read_only;
        }
        log
    }

    fn opened(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: SegmentOptions,
        maps: Arc<MapBudget>,
        manifest: &SegmentManifest,
        (extents, runs): (Vec<Extent>, RunTable),
    ) -> Self {
        let mut published = Published::new(runs);
        let index_entries = manifest.segments.iter().map(|record| record.index_entries);
        published.segments = extents
            .into_iter()
            .zip(index_entries)
            .map(|(extent, index_entries)| PublishedSegment {
                segment: Segment::new(
                    Arc::clone(&disk),
                    dir.clone(),
                    extent.base,
                    options.index_interval_bytes,
                    Arc::clone(&maps),
                    Durable { size: extent.size, index_entries },
                ),
                extent,
            })
            .collect();
        Self::with(disk, dir, options, maps, published)
    }
}

/// The manifest's extents and runs, when they fit each other.
pub(crate) fn check_manifest(
    dir: &Path,
    manifest: &SegmentManifest,
) -> Result<(Vec<Extent>, RunTable), SegmentError> {
    let contradiction = |what| SegmentError::Corrupt {
        file: dir.to_path_buf(),
        position: FilePosition::ZERO,
        damage: Damage::Manifest(what),
    };
    let next_offset = Offset(manifest.next_offset);
    if next_offset < Offset::ZERO {
        return Err(contradiction("the log ends at a negative offset"));
    }
    let runs =
        RunTable::from_records(&manifest.runs, next_offset, manifest.last_entry()).map_err(contradiction)?;
    let extents: Vec<Extent> = manifest.segments.iter().map(|record| record.to_extent()).collect();
    let mut at = manifest.start_offset();
    let mut runs_seen = 0;
    for (number, extent) in extents.iter().enumerate() {
        let last = number + 1 == extents.len();
        if !extent.is_consistent() || extent.base != at {
            return Err(contradiction("segments do not follow each other"));
        }
        if !last && (!extent.sealed || extent.size == 0) {
            return Err(contradiction("a segment before the last is not sealed or is empty"));
        }
        at = extent.next;
        let own = runs.runs_in(extent.base);
        runs_seen += own.len();
        let starts = own.first().map(|run| (run.first_offset, run.position.0, run.ordinal));
        if starts != (extent.size > 0).then_some((extent.base, 0, 0)) {
            return Err(contradiction("a segment and its first run do not start together"));
        }
        if own.last().is_some_and(|run| run.first_offset >= extent.next || run.position.0 >= extent.size) {
            return Err(contradiction("a run lies beyond its segment"));
        }
    }
    if at != next_offset {
        return Err(contradiction("the last segment does not reach the end of the log"));
    }
    if runs_seen != runs.runs().len() {
        return Err(contradiction("a run has no segment"));
    }
    Ok((extents, runs))
}

/// Cuts what is behind a segment's durable end: the journal has it.
fn cut(dir: &Path, file: &dyn DiskFile, extent: &Extent) -> Result<(), SegmentError> {
    let path = dir.join(file_name(extent.base, LOG));
    file.set_len(extent.size).map_err(|source| SegmentError::io("cut", path, source))
}

/// The names in the partition's directory; none when it does not exist.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> Result<BTreeSet<String>, SegmentError> {
    match disk.list(dir) {
        Ok(names) => Ok(names.into_iter().collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(source) => Err(SegmentError::io("list", dir, source)),
    }
}

/// Checks every segment's file; returns those that are longer than listed.
fn check_files(
    disk: &dyn Disk,
    dir: &Path,
    names: &BTreeSet<String>,
    extents: &[Extent],
) -> Result<Vec<OpenFile>, SegmentError> {
    let mut excess = Vec::new();
    for extent in extents {
        excess.extend(check_file(disk, dir, names, extent)?);
    }
    Ok(excess)
}

/// Checks that a segment's file is there and whole; returns it when it is too long.
fn check_file(
    disk: &dyn Disk,
    dir: &Path,
    names: &BTreeSet<String>,
    extent: &Extent,
) -> Result<Option<OpenFile>, SegmentError> {
    let name = file_name(extent.base, LOG);
    let path = dir.join(&name);
    let corrupt = |position, damage| SegmentError::Corrupt {
        file: path.clone(),
        position: FilePosition(position),
        damage,
    };
    if !names.contains(&name) {
        return Err(corrupt(0, Damage::Missing));
    }
    let file = disk.open(&path).map_err(|source| SegmentError::io("open", &path, source))?;
    let actual = file.len().map_err(|source| SegmentError::io("measure", &path, source))?;
    if actual < extent.size {
        return Err(corrupt(actual, Damage::TooShort { expected: extent.size, actual }));
    }
    if actual > extent.size && extent.sealed {
        tracing::warn!(file = %path.display(), actual, expected = extent.size, "a sealed segment was too long and is cut");
    }
    Ok((actual > extent.size).then_some((file, *extent)))
}

/// Removes the segments' files that the manifest does not list.
fn remove_unlisted(
    disk: &dyn Disk,
    dir: &Path,
    names: &BTreeSet<String>,
    extents: &[Extent],
) -> Result<(), SegmentError> {
    let listed: BTreeSet<Offset> = extents.iter().map(|extent| extent.base).collect();
    for name in names {
        let is_left_over = is_repair_file(name);
        if is_left_over || parse_file_name(name).is_some_and(|(base, _)| !listed.contains(&base)) {
            remove_file(disk, &dir.join(name))?;
        }
    }
    Ok(())
}
