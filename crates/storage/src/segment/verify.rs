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
        write!(
            f,
            "{} at position {}: {}",
            self.file.display(),
            self.position,
            self.damage
        )
    }
}

impl From<SegmentError> for Finding {
    /// What is no corruption in itself becomes "unreadable", with the reason.
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Corrupt {
                file,
                position,
                damage,
            } => Self {
                file,
                position,
                damage,
            },
            SegmentError::Io { file, source, .. } => {
                let damage = Damage::Unreadable {
                    reason: source.to_string(),
                };
                Self {
                    file,
                    position: FilePosition::ZERO,
                    damage,
                }
            }
            other => {
                let damage = Damage::Unreadable {
                    reason: other.to_string(),
                };
                Self {
                    file: PathBuf::new(),
                    position: FilePosition::ZERO,
                    damage,
                }
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
pub fn verify_partition(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    manifest: Option<&SegmentManifest>,
) -> Vec<Finding> {
    let mut check = Check {
        disk,
        dir,
        findings: Vec::new(),
    };
    let names = match list(&**disk, dir) {
        Ok(names) => names,
        Err(error) => return vec![error.into()],
    };
    match manifest.map(|manifest| check_manifest(dir, manifest)) {
        Some(Ok((extents, runs))) => {
            for extent in &extents {
                check.listed_segment(extent, runs.runs_in(extent.base));
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
        let bases: Vec<Offset> = bases
            .filter(|(_, extension)| *extension == LOG)
            .map(|(base, _)| base)
            .collect();
        let mut due: Option<Offset> = None;
        for base in bases {
            if let Some(expected) = due.filter(|due| *due != base) {
                let damage = Damage::EndOffset {
                    expected: base,
                    found: expected,
                };
                self.found(base, LOG, 0, damage);
            }
            due = self.segment(base, None, None, &[]);
        }
    }

    /// A segment that the manifest lists.
    fn listed_segment(&mut self, extent: &Extent, runs: &[Run]) {
        self.segment(extent.base, Some(extent), Some(extent.next), runs);
    }

    /// One segment and its indexes. Returns the offset that it reaches, when it is whole.
    fn segment(
        &mut self,
        base: Offset,
        extent: Option<&Extent>,
        end: Option<Offset>,
        runs: &[Run],
    ) -> Option<Offset> {
        let path = self.dir.join(file_name(base, LOG));
        let opened = self
            .disk
            .open(&path)
            .and_then(|file| Ok((file.len()?, file)));
        let (length, file) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.found(base, LOG, 0, Damage::Missing);
                return None;
            }
            Err(source) => {
                self.findings
                    .push(SegmentError::io("open", path, source).into());
                return None;
            }
        };
        if let Some(extent) = extent {
            self.length(extent, length);
        }
        let size = extent.map_or(length, |extent| extent.size.min(length));
        let mut index = IndexCheck::new(self.index_entries(base, extent));
        let source = FileSource::new(file, size);
        let mut walker =
            BatchWalker::new(source, path, size, end, runs.to_vec(), Floor::start(base));
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
                Err(error @ SegmentError::Corrupt { .. }) => self.findings.push(error.into()),
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
            self.found(
                extent.base,
                LOG,
                actual,
                Damage::TooShort { expected, actual },
            );
        } else if extent.sealed && actual > expected {
            self.found(
                extent.base,
                LOG,
                expected,
                Damage::TooLong { expected, actual },
            );
        }
    }

    /// The entries of both index files that lie within the extent. Missing files are no finding:
    /// indexes are written some time after their data.
    fn index_entries(&mut self, base: Offset, extent: Option<&Extent>) -> Vec<IndexEntry> {
        let (Some(mut offset), Some(mut time)) = (
            self.index_source(base, INDEX),
            self.index_source(base, TIME_INDEX),
        ) else {
            return Vec::new();
        };
        let mut chain = IndexChain::new(base);
        let mut entries = Vec::new();
        let size = extent.map_or(u64::MAX, |extent| extent.size);
        for number in 0.. {
            let (at, time_at) = (
                number * OFFSET_ENTRY_BYTES as u64,
                number * TIME_ENTRY_BYTES as u64,
            );
            // One file ends before the other, or in the middle of an entry, when a crash came between.
            let (Ok(offset), Ok(time)) = (
                offset.bytes(at, OFFSET_ENTRY_BYTES),
                time.bytes(time_at, TIME_ENTRY_BYTES),
            ) else {
                break;
            };
            let (Some(offset), Some(time)) = (offset.first_chunk(), time.first_chunk()) else {
                break;
            };
            match chain.decode(offset, time) {
                Ok(entry) if u64::from(entry.position) < size => entries.push(entry),
                Ok(_) => break,
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
        match self
            .disk
            .open(&path)
            .and_then(|file| Ok((file.len()?, file)))
        {
            Ok((length, file)) => Some(FileSource::new(file, length)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => {
                self.findings
                    .push(SegmentError::io("open", path, source).into());
                None
            }
        }
    }

    fn found(&mut self, base: Offset, extension: &str, position: u64, damage: Damage) {
        let file = self.dir.join(file_name(base, extension));
        self.findings.push(Finding {
            file,
            position: FilePosition(position),
            damage,
        });
    }
}

/// Index entries against the batches that a walk passes.
struct IndexCheck {
    entries: std::vec::IntoIter<IndexEntry>,
    due: Option<IndexEntry>,
    newest: TimestampMs,
    passed: u64,
    /// Where in the index file the first entry stands that contradicts the batches.
    contradiction: Option<u64>,
}

impl IndexCheck {
    fn new(entries: Vec<IndexEntry>) -> Self {
        let mut entries = entries.into_iter();
        let due = entries.next();
        Self {
            entries,
            due,
            newest: TimestampMs::NONE,
            passed: 0,
            contradiction: None,
        }
    }

    fn pass(&mut self, batch: &WalkedBatch) {
        if let Some(entry) = self
            .due
            .filter(|entry| u64::from(entry.position) <= batch.at.position)
        {
            let base = Offset(batch.at.offset.0 - i64::from(entry.relative_offset));
            let right = entry.floor(base) == batch.at && entry.newest_before == self.newest;
            if !right {
                self.contradiction
                    .get_or_insert(self.passed * OFFSET_ENTRY_BYTES as u64);
            }
            self.passed += 1;
            self.due = self.entries.next();
        }
        self.newest = self.newest.max(batch.header.max_timestamp);
    }
}
