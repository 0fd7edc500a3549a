//! Reading what nobody reads, to find damage while there are others who have the same bytes.
//!
//! A scrub reads by pread, through a descriptor of its own, and never through a mapping: a sector that cannot be read is an
//! error here. It holds one window of a file in memory, and takes no lock while it reads.

use std::sync::Arc;

use highwater_types::Offset;

use super::error::SegmentError;
use super::segment_file::LOG;
use super::segmented_log::SegmentedLog;
use super::source::FileSource;
use super::view::SegmentView;
use super::walker::{BatchWalker, Floor};

/// A check of one segment that is under way: each batch against its checksum, the batch before it, and the run table.
pub struct SegmentScrub {
    log: Arc<SegmentedLog>,
    view: SegmentView,
    /// Opened by the first step.
    walker: Option<BatchWalker<FileSource>>,
}

/// What a step of a scrub did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubStep {
    /// Bytes that were read.
    pub bytes: u64,
    /// Whether there is more to read.
    pub is_done: bool,
    /// Whether damage was found; the segment is marked then, and there is no more to read.
    pub is_damaged: bool,
}

impl SegmentedLog {
    /// A check of what is written of the first segment at or above `from`, and is not known to be damaged. `None` when there is
    /// no such segment.
    pub fn scrub(self: &Arc<Self>, from: Offset) -> Option<SegmentScrub> {
        let published = self.published.read();
        let is_due = |segment: &&super::segmented_log::PublishedSegment| {
            segment.extent.base >= from && segment.extent.size > 0 && !segment.segment.damage().is_set()
        };
        let view = published.view(published.segments.iter().find(is_due)?);
        Some(SegmentScrub { log: Arc::clone(self), view, walker: None })
    }
}

impl SegmentScrub {
    /// Where the segment starts.
    pub fn base(&self) -> Offset {
        self.view.extent.base
    }

    /// Where the next segment starts.
    pub fn next(&self) -> Offset {
        self.view.extent.next
    }

    /// Checks batches of about `bytes_max` bytes; at least one. Blocks on the disk.
    ///
    /// # Errors
    /// When the disk fails in another way than by damage. A segment that retention has taken is no error, and done.
    pub fn step(&mut self, bytes_max: u64) -> Result<ScrubStep, SegmentError> {
        let before = self.walker.as_ref().map_or(0, |walker| walker.at().position);
        let walked = self.walk(before.saturating_add(bytes_max));
        let after = self.walker.as_ref().map_or(0, |walker| walker.at().position);
        let bytes = after.saturating_sub(before);
        match walked {
            Ok(is_done) => Ok(ScrubStep { bytes, is_done, is_damaged: false }),
            Err(_) if self.log.has_left(&self.view) => {
                Ok(ScrubStep { bytes, is_done: true, is_damaged: false })
            }
            Err(error) => match self.log.note(&self.view, error) {
                error if error.is_damage() => Ok(ScrubStep { bytes, is_done: true, is_damaged: true }),
                error => Err(error),
            },
        }
    }

    fn walk(&mut self, until: u64) -> Result<bool, SegmentError> {
        let walker = match &mut self.walker {
            Some(walker) => walker,
            none => none.insert(open(&self.view)?),
        };
        while walker.at().position < until {
            let Some(batch) = walker.next()? else { return Ok(true) };
            walker.check_body(&batch)?;
        }
        Ok(walker.at().position >= self.view.extent.size)
    }
}

fn open(view: &SegmentView) -> Result<BatchWalker<FileSource>, SegmentError> {
    let path = view.segment.path(LOG);
    let file = view.segment.open_apart()?;
    let extent = &view.extent;
    let source = FileSource::new(file, extent.size);
    let at = Floor::start(extent.base);
    Ok(BatchWalker::new(source, path, extent.size, Some(extent.next), view.runs.clone(), at))
}
