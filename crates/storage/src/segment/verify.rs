//! Checking a partition's files offline: every frame, every checksum, every index entry.
//!
//! Reads by pread and as a stream: a bad sector is a finding, not a signal (R7), and no file is ever
//! in memory whole. Changes nothing.

mod batches;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_types::{FilePosition, Offset, TimestampMs};

use super::error::{Damage, SegmentError};
use super::extent::Extent;
use super::index_entry::{IndexChain, IndexEntry, OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES};
use super::manifest::SegmentManifest;
use super::open::{check_manifest, list};
use super::run_table::Run;
use super::segment_file::{INDEX, LOG, TIME_INDEX, file_name, parse_file_name};
use super::source::{FileSource, Source};
use super::walker::{BatchWalker, Floor, WalkedBatch};
use crate::disk::Disk;

pub use batches::{SegmentBatch, SegmentBatches};

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file or directory.
    pub file: PathBuf,
    /// The position in the file.
    pub position: FilePosition,
    /// What is wrong.
    pub damage: Damage,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at position {}: {}", self.file.display(), self.position, self.damage)
    }
}

impl From<SegmentError> for Finding {
    /// What is no corruption in itself becomes "unreadable", with the reason.
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Corrupt { file, position, damage } => Self { file, position, damage },
            SegmentError::Io { file, source, .. } => {
                let damage = Damage::Unreadable { reason: source.to_string() };
                Self { file, position: FilePosition::ZERO, damage }
            }
            other => {
                let damage = Damage::Unreadable { reason: other.to_string() };
                Self { file: PathBuf::new(), position: FilePosition::ZERO, damage }
            }
        }
    }
}

/// Checks everything that `manifest` states of the partition in `dir`, and what is behind it in no
/// manifest not at all: that is the journal's to restore. Without a manifest, checks every segment
/// there is up to its file's length, and that the segments follow each other.
///
/// An empty answer means that nothing is wrong.
#[must_use]
pub fn verify_partition(disk: &Arc<dyn Disk>, dir: &Path, manifest: Option<&SegmentManifest>) -> Vec<Finding> {
    let mut check = Check { disk, dir, findings: Vec::new() };
    let names = match list(&**disk, dir) {
        Ok(names) => names,
        Err(error) => return vec![error.into()],
    };
    match manifest.map(|manifest| check_manifest(dir, manifest)) {
        Some(Ok((extents, runs))) => {
            let records = manifest.map_or(&[][..], |manifest| &manifest.segments);
            for (extent, record) in extents.iter().zip(records) {
                let own = runs.runs_in(extent.base);
                check.segment(extent.base, Some((extent, record.index_entries)), own);
            }
        }
        Some(Err(error)) => {
            check.findings.push(error.into());
            check.all_segments(&names);
        }
        None => check.all_segments(&names),
    }
    check.findings
}

/// A check in progress.
struct Check<'a> {
    disk: &'a Arc<dyn Disk>,
    dir: &'a Path,
    findings: Vec<Finding>,
}

impl Check<'_> {
    /// Every segment in the directory, without a manifest.
    fn all_segments(&mut self, names: &BTreeSet<String>) {
        let bases = names.iter().filter_map(|name| parse_file_name(name));
        let bases: Vec<Offset> =
            bases.filter(|(_, extension)| *extension == LOG).map(|(base, _)| base).collect();
        let mut due: Option<Offset> = None;
        for base in bases {
            if let Some(expected) = due.filter(|due| *due != base) {
                let damage = Damage::EndOffset { expected: base, found: expected };
                self.found(base, LOG, 0, damage);
            }
            due = self.segment(base, None, &[]);
        }
    }

    /// One segment and its indexes. Returns the offset that it reaches, when it is whole.
    fn segment(&mut self, base: Offset, stated: Option<(&Extent, u32)>, runs: &[Run]) -> Option<Offset> {
        let extent = stated.map(|(extent, _)| extent);
        let end = extent.map(|extent| extent.next);
        let path = self.dir.join(file_name(base, LOG));
        let opened = self.disk.open(&path).and_then(|file| Ok((file.len()?, file)));
        let (length, file) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.found(base, LOG, 0, Damage::Missing);
                return None;
            }
            Err(source) => {
                self.findings.push(SegmentError::io("open", path, source).into());
                return None;
            }
        };
        if let Some(extent) = extent {
            self.length(extent, length);
        }
        let size = extent.map_or(length, |extent| extent.size.min(length));
        let mut index = IndexCheck::new(base, self.index_entries(base, stated.map(|(_, entries)| entries)));
        let source = FileSource::new(file, size);
        let mut walker = BatchWalker::new(source, path, size, end, runs.to_vec(), Floor::start(base));
        let outcome = self.walk(&mut walker, &mut index);
        if let Some(position) = index.contradiction {
            self.found(base, INDEX, position, Damage::Index);
        }
        match outcome {
            Ok(()) => Some(walker.at().offset),
            Err(error) => {
                // A file that is too short ends in the middle, which was said already.
                let known = extent.is_some_and(|extent| length < extent.size);
                if !known {
                    self.findings.push(error.into());
                }
                None
            }
        }
    }

    /// All batches of a segment; damage to a frame ends the walk, damage to a body does not.
    fn walk<S: Source>(
        &mut self,
        walker: &mut BatchWalker<S>,
        index: &mut IndexCheck,
    ) -> Result<(), SegmentError> {
        while let Some(batch) = walker.next()? {
            match walker.check_body(&batch) {
                Err(error @ SegmentError::Corrupt { .. }) => {
                    self.findings.push(error.into());
                    // Its timestamps may be wrong, so they say nothing against the index.
                    index.newest = None;
                }
                result => result?,
            }
            index.pass(&batch);
        }
        Ok(())
    }

    /// The length of the file against the manifest. What is behind the durable end of the active
    /// segment is the journal's; a sealed one ends where it was sealed.
    fn length(&mut self, extent: &Extent, actual: u64) {
        let expected = extent.size;
        if actual < expected {
            self.found(extent.base, LOG, actual, Damage::TooShort { expected, actual });
        } else if extent.sealed && actual > expected {
            self.found(extent.base, LOG, expected, Damage::TooLong { expected, actual });
        }
    }

    /// The entries of both index files: as many as the manifest states are durable, or without one all
    /// that are whole. What is behind the durable ones may be torn, and is no finding.
    fn index_entries(&mut self, base: Offset, stated: Option<u32>) -> Vec<IndexEntry> {
        let offset = self.index_source(base, INDEX);
        let time = self.index_source(base, TIME_INDEX);
        let mut chain = IndexChain::new(base);
        let mut entries = Vec::new();
        let (Some(mut offset), Some(mut time)) = (offset, time) else {
            if stated.is_some_and(|stated| stated > 0) {
                self.found(base, INDEX, 0, Damage::Index);
            }
            return entries;
        };
        for number in 0..u64::from(stated.unwrap_or(u32::MAX)) {
            let at = number * OFFSET_ENTRY_BYTES as u64;
            let time_at = number * TIME_ENTRY_BYTES as u64;
            let entry = match (
                offset.bytes(at, OFFSET_ENTRY_BYTES).ok().and_then(<[u8]>::first_chunk),
                time.bytes(time_at, TIME_ENTRY_BYTES).ok().and_then(<[u8]>::first_chunk),
            ) {
                (Some(offset), Some(time)) => chain.decode(offset, time),
                // Without a manifest, the first end of a file is the end.
                _ if stated.is_none() => break,
                (None, _) => Err(INDEX),
                (_, None) => Err(TIME_INDEX),
            };
            match entry {
                Ok(entry) => entries.push(entry),
                Err(extension) => {
                    self.found(base, extension, at, Damage::Index);
                    break;
                }
            }
        }
        entries
    }

    fn index_source(&mut self, base: Offset, extension: &str) -> Option<FileSource> {
        let path = self.dir.join(file_name(base, extension));
        match self.disk.open(&path).and_then(|file| Ok((file.len()?, file))) {
            Ok((length, file)) => Some(FileSource::new(file, length)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => {
                self.findings.push(SegmentError::io("open", path, source).into());
                None
            }
        }
    }

    fn found(&mut self, base: Offset, extension: &str, position: u64, damage: Damage) {
        let file = self.dir.join(file_name(base, extension));
        self.findings.push(Finding { file, position: FilePosition(position), damage });
    }
}

/// Index entries against the batches that a walk passes.
struct IndexCheck {
    base: Offset,
    entries: std::vec::IntoIter<IndexEntry>,
    due: Option<IndexEntry>,
    /// The largest timestamp passed; unknown behind a damaged batch.
    newest: Option<TimestampMs>,
    passed: u64,
    /// Where in the index file the first entry stands that contradicts the batches.
    contradiction: Option<u64>,
}

impl IndexCheck {
    fn new(base: Offset, entries: Vec<IndexEntry>) -> Self {
        let mut entries = entries.into_iter();
        let due = entries.next();
        Self { base, entries, due, newest: Some(TimestampMs::NONE), passed: 0, contradiction: None }
    }

    fn pass(&mut self, batch: &WalkedBatch) {
        if let Some(entry) = self.due.filter(|entry| u64::from(entry.position) <= batch.at.position) {
            let right = entry.floor(self.base) == batch.at
                && self.newest.is_none_or(|newest| entry.newest_before == newest);
            if !right {
                self.contradiction.get_or_insert(self.passed * OFFSET_ENTRY_BYTES as u64);
            }
            self.passed += 1;
            self.due = self.entries.next();
        }
        let newest = &mut self.newest;
        *newest = newest.map(|newest| newest.max(batch.header.max_timestamp));
    }
}
