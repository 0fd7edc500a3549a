//! Which segments of a log are known to be damaged: marked when a read, a scrub, an open or an earlier process found
//! something, until a [repair](super::repair) replaces their files or retention takes them.
//!
//! The mark is in memory. What is not found again by a later process is as it was before anybody looked.

use std::io;
use std::path::{Path, PathBuf};

use highwater_types::{FilePosition, Offset, RaftIndex};

use super::error::{Damage, SegmentError};
use super::segment_file::{LOG, parse_file_name};
use super::segmented_log::{PublishedSegment, SegmentedLog};
use super::view::SegmentView;

/// A segment with bytes that are not what was written, or that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedSegment {
    /// Its first offset.
    pub base: Offset,
    /// The offset after its last record.
    pub next: Offset,
    /// Its first batch's Raft index.
    pub first_index: Option<RaftIndex>,
    /// Bytes of its batches.
    pub size_bytes: u64,
    /// The damaged file.
    pub file: PathBuf,
    /// Where the damage was found first.
    pub position: FilePosition,
    /// What was found first.
    pub damage: Damage,
}

impl SegmentedLog {
    /// The segments that are known to be damaged, in order.
    #[must_use]
    pub fn damaged(&self) -> Vec<DamagedSegment> {
        let published = self.published.read();
        let found = published.segments.iter().filter_map(|segment| {
            let found = segment.segment.damage().found()?;
            Some(DamagedSegment {
                base: segment.extent.base,
                next: segment.extent.next,
                first_index: published.runs.runs_in(segment.extent.base).first().map(|run| run.first_index),
                size_bytes: segment.extent.size,
                file: segment.segment.path(LOG),
                position: found.position,
                damage: found.damage,
            })
        });
        found.collect()
    }

    /// Whether any segment is known to be damaged.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.published.read().segments.iter().any(|segment| segment.segment.damage().is_set())
    }

    /// Marks the segment whose log file this is; an earlier process could not read it. Says whether there is such a segment.
    pub(crate) fn mark_file(&self, file: &Path, damage: &Damage) -> bool {
        let name = file.file_name().map(|name| name.to_string_lossy());
        let Some((base, LOG)) = name.as_deref().and_then(parse_file_name) else { return false };
        let published = self.published.read();
        let Some(found) = published.segments.iter().find(|segment| segment.extent.base == base) else {
            return false;
        };
        mark(found, FilePosition::ZERO, damage);
        true
    }

    /// Does something with a view; damage that it meets is marked.
    pub(super) fn noting<T>(
        &self,
        view: &SegmentView,
        look: impl FnOnce(&SegmentView) -> Result<T, SegmentError>,
    ) -> Result<T, SegmentError> {
        look(view).map_err(|error| self.note(view, error))
    }

    /// Marks a view's segment when `error` says that it is damaged, and says it as damage.
    pub(super) fn note(&self, view: &SegmentView, error: SegmentError) -> SegmentError {
        // What retention takes away looks like damage to who reads it meanwhile.
        if self.has_left(view) {
            return error;
        }
        let log_file = view.segment.path(LOG);
        let (position, damage) = match &error {
            SegmentError::Corrupt { file, position, damage } if *file == log_file => {
                (*position, damage.clone())
            }
            SegmentError::Io { file, source, .. }
                if *file == log_file && source.kind() == io::ErrorKind::NotFound =>
            {
                (FilePosition::ZERO, Damage::Missing)
            }
            _ => return error,
        };
        if view.segment.damage().set(position, &damage) {
            report(&log_file, position, &damage);
        }
        SegmentError::Corrupt { file: log_file, position, damage }
    }
}

/// Marks a segment as damaged.
pub(super) fn mark(segment: &PublishedSegment, position: FilePosition, damage: &Damage) {
    if segment.segment.damage().set(position, damage) {
        report(&segment.segment.path(LOG), position, damage);
    }
}

fn report(file: &Path, position: FilePosition, damage: &Damage) {
    tracing::error!(file = %file.display(), %position, %damage, "a segment is damaged; what is damaged of it is not given out");
}
