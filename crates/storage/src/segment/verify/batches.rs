//! The batches of one segment file, one by one, for people to look at.

use std::path::Path;
use std::sync::Arc;

use highwater_records::Compression;
use highwater_types::{FilePosition, LeaderEpoch, Offset, ProducerId, TimestampMs};

use super::Finding;
use crate::disk::Disk;
use crate::segment::error::{Damage, SegmentError};
use crate::segment::segment_file::{LOG, parse_file_name};
use crate::segment::source::FileSource;
use crate::segment::walker::{BatchWalker, Floor, WalkedBatch};

/// One batch of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentBatch {
    /// Where it starts in the file.
    pub position: FilePosition,
    /// Its bytes, header included.
    pub size_in_bytes: usize,
    /// The offset of its first record.
    pub base_offset: Offset,
    /// How many records it has.
    pub record_count: i32,
    /// The epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// The producer that sent it, or none.
    pub producer_id: ProducerId,
    /// The largest timestamp of its records.
    pub max_timestamp: TimestampMs,
    /// How its records are compressed.
    pub compression: Compression,
    /// Whether its checksum matches its bytes.
    pub checksum_is_right: bool,
}

/// Iterates over the batches of a segment file by pread. A wrong checksum is a property of the batch;
/// damage that hides where the next batch starts is the last item.
pub struct SegmentBatches {
    walker: Option<BatchWalker<FileSource>>,
}

impl SegmentBatches {
    /// The batches of the `.log` file at `path`, up to `size` or else to the file's end.
    pub fn open(disk: &Arc<dyn Disk>, path: &Path, size: Option<FilePosition>) -> Result<Self, SegmentError> {
        let name = path.file_name().map(|name| name.to_string_lossy());
        let base = name.as_deref().and_then(parse_file_name).filter(|(_, extension)| *extension == LOG);
        let Some((base, _)) = base else {
            return Err(SegmentError::Corrupt {
                file: path.to_path_buf(),
                position: FilePosition::ZERO,
                damage: Damage::Name,
            });
        };
        let file = disk.open(path).map_err(|source| SegmentError::io("open", path, source))?;
        let length = file.len().map_err(|source| SegmentError::io("measure", path, source))?;
        let size = size.map_or(length, |size| size.0.min(length));
        let source = FileSource::new(file, size);
        let walker = BatchWalker::new(source, path.to_path_buf(), size, None, Vec::new(), Floor::start(base));
        Ok(Self { walker: Some(walker) })
    }

    fn advance(&mut self) -> Result<Option<SegmentBatch>, SegmentError> {
        let Some(walker) = &mut self.walker else {
            return Ok(None);
        };
        let Some(batch) = walker.next()? else {
            return Ok(None);
        };
        let checksum_is_right = match walker.check_body(&batch) {
            Ok(()) => true,
            Err(SegmentError::Corrupt { .. }) => false,
            Err(error) => return Err(error),
        };
        Ok(Some(describe(&batch, checksum_is_right)))
    }
}

impl Iterator for SegmentBatches {
    type Item = Result<SegmentBatch, Finding>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(batch) => batch.map(Ok),
            Err(error) => {
                self.walker = None;
                Some(Err(error.into()))
            }
        }
    }
}

fn describe(batch: &WalkedBatch, checksum_is_right: bool) -> SegmentBatch {
    let header = &batch.header;
    SegmentBatch {
        position: FilePosition(batch.at.position),
        size_in_bytes: header.size_in_bytes,
        base_offset: header.base_offset,
        record_count: header.record_count,
        leader_epoch: header.partition_leader_epoch,
        producer_id: header.producer_id,
        max_timestamp: header.max_timestamp,
        compression: header.compression(),
        checksum_is_right,
    }
}
