//! A walk over the batches of one segment that believes nothing: every header must start
//! where the batch before it ends, in the file and in offsets, fit the data, and carry the
//! term that the run table has for it (R5; the checksum leaves out all of these fields).
//!
//! A walk reads headers only; [`BatchWalker::check_body`] reads a batch whole.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use highwater_records::{BatchHeader, RecordsError, field};
use highwater_types::{FilePosition, LeaderEpoch, Offset};

use super::error::{Damage, SegmentError};
use super::run_table::Run;
use super::source::Source;
use crate::disk::is_device_failure;

/// Bytes of a body that are read at once when its checksum is computed.
const BODY_CHUNK_BYTES: usize = 64 << 10;

/// A place in a segment where a batch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Floor {
    /// The batch's base offset.
    pub(crate) offset: Offset,
    /// Its position in the file.
    pub(crate) position: u64,
    /// How many batches of the segment come before it.
    pub(crate) ordinal: u32,
}

impl Floor {
    /// The start of a segment.
    pub(crate) fn start(base: Offset) -> Self {
        Self { offset: base, position: 0, ordinal: 0 }
    }
}

/// A batch that the walk has passed; its frame is checked, its body is not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WalkedBatch {
    /// Where it starts.
    pub(crate) at: Floor,
    /// Its header.
    pub(crate) header: BatchHeader,
}

impl WalkedBatch {
    /// The position after its last byte.
    pub(crate) fn end(&self) -> u64 {
        self.at.position + self.header.size_in_bytes as u64
    }
}

/// A forward walk over the batches of a segment.
pub(crate) struct BatchWalker<S> {
    source: S,
    file: PathBuf,
    /// Where the data ends, in bytes.
    size: u64,
    /// Where the data ends, in offsets, when that is known.
    end_offset: Option<Offset>,
    /// The segment's runs; empty when there is no run table to check against.
    runs: Vec<Run>,
    at: Floor,
    last_epoch: Option<LeaderEpoch>,
}

impl<S: Source> BatchWalker<S> {
    /// Walks from `at` to `size`; `runs` are the segment's, or none.
    pub(crate) fn new(
        source: S,
        file: PathBuf,
        size: u64,
        end_offset: Option<Offset>,
        runs: Vec<Run>,
        at: Floor,
    ) -> Self {
        Self { source, file, size, end_offset, runs, at, last_epoch: None }
    }

    /// Where the next batch starts.
    pub(crate) fn at(&self) -> Floor {
        self.at
    }

    /// The next batch; `None` at the end of the data.
    pub(crate) fn next(&mut self) -> Result<Option<WalkedBatch>, SegmentError> {
        let batch = self.peek()?;
        if let Some(batch) = &batch {
            self.last_epoch = Some(batch.header.partition_leader_epoch);
            self.at = Floor {
                offset: batch.header.next_offset(),
                position: batch.end(),
                ordinal: self.at.ordinal + 1,
            };
        }
        Ok(batch)
    }

    /// The next batch without passing it.
    pub(crate) fn peek(&mut self) -> Result<Option<WalkedBatch>, SegmentError> {
        let remaining = self.size.saturating_sub(self.at.position);
        if remaining == 0 {
            return match self.end_offset {
                Some(expected) if expected != self.at.offset => {
                    Err(self.damaged(Damage::EndOffset { expected, found: self.at.offset }))
                }
                _ => Ok(None),
            };
        }
        if remaining < BatchHeader::LEN as u64 {
            let available = usize::try_from(remaining).unwrap_or(BatchHeader::LEN);
            let cut = RecordsError::HeaderTruncated { available, needed: BatchHeader::LEN };
            return Err(self.damaged(cut.into()));
        }
        let header = match self.source.bytes(self.at.position, BatchHeader::LEN) {
            Ok(bytes) => BatchHeader::parse(bytes),
            Err(source) => return Err(self.unreadable(self.at.position, source)),
        };
        let header = header.map_err(|error| self.damaged(error.into()))?;
        self.check_frame(&header, remaining)?;
        Ok(Some(WalkedBatch { at: self.at, header }))
    }

    /// Checks the checksum over the whole of a batch that the walk has passed.
    pub(crate) fn check_body(&mut self, batch: &WalkedBatch) -> Result<(), SegmentError> {
        let mut position = batch.at.position + field::ATTRIBUTES as u64;
        let end = batch.end();
        let mut computed = 0;
        while position < end {
            let length =
                usize::try_from(end - position).map_or(BODY_CHUNK_BYTES, |left| left.min(BODY_CHUNK_BYTES));
            match self.source.bytes(position, length) {
                Ok(bytes) => computed = crc32c::crc32c_append(computed, bytes),
                Err(source) => return Err(self.unreadable(batch.at.position, source)),
            }
            position += length as u64;
        }
        if computed == batch.header.crc {
            return Ok(());
        }
        let mismatch = RecordsError::ChecksumMismatch { stated: batch.header.crc, computed };
        Err(self.damaged_at(batch.at.position, mismatch.into()))
    }

    /// The bytes of a batch that the walk has passed, read anew.
    pub(crate) fn copy(&mut self, batch: &WalkedBatch) -> Result<Bytes, SegmentError> {
        match self.source.bytes(batch.at.position, batch.header.size_in_bytes) {
            Ok(bytes) => Ok(Bytes::copy_from_slice(bytes)),
            Err(source) => Err(self.unreadable(batch.at.position, source)),
        }
    }

    /// The error for bytes that could not be read. A sector that cannot be, or a file that ends before its data, is damage
    /// of this file; all else is the disk's.
    fn unreadable(&self, position: u64, source: io::Error) -> SegmentError {
        if is_device_failure(&source) || source.kind() == io::ErrorKind::UnexpectedEof {
            return self.damaged_at(position, Damage::Unreadable { reason: source.to_string() });
        }
        SegmentError::io("read", &self.file, source)
    }

    /// The error for damage at a position of this file.
    pub(crate) fn damaged_at(&self, position: u64, damage: Damage) -> SegmentError {
        SegmentError::Corrupt { file: self.file.clone(), position: FilePosition(position), damage }
    }

    fn damaged(&self, damage: Damage) -> SegmentError {
        self.damaged_at(self.at.position, damage)
    }

    /// What the checksum does not cover: place, length, offset and epoch.
    fn check_frame(&self, header: &BatchHeader, remaining: u64) -> Result<(), SegmentError> {
        if header.size_in_bytes as u64 > remaining {
            return Err(self.damaged(Damage::Length { stated: header.size_in_bytes, remaining }));
        }
        if header.base_offset != self.at.offset {
            let damage = Damage::BaseOffset { expected: self.at.offset, found: header.base_offset };
            return Err(self.damaged(damage));
        }
        let found = header.next_offset();
        if let Some(limit) = self.end_offset.filter(|limit| found > *limit) {
            return Err(self.damaged(Damage::NextOffset { limit, found }));
        }
        if self.runs.is_empty() { self.check_epoch_grows(header) } else { self.check_run(header) }
    }

    /// Without a run table, epochs at least never go back.
    fn check_epoch_grows(&self, header: &BatchHeader) -> Result<(), SegmentError> {
        let found = header.partition_leader_epoch;
        match self.last_epoch.filter(|last| found < *last) {
            Some(expected) => Err(self.damaged(Damage::Epoch { expected, found })),
            None => Ok(()),
        }
    }

    /// The batch against the run that covers its offset.
    fn check_run(&self, header: &BatchHeader) -> Result<(), SegmentError> {
        let after = self.runs.partition_point(|run| run.first_offset <= header.base_offset);
        let Some(run) = self.runs[..after].last() else {
            return Err(self.damaged(Damage::Manifest("no run covers the batch")));
        };
        if header.partition_leader_epoch != run.epoch() {
            let found = header.partition_leader_epoch;
            return Err(self.damaged(Damage::Epoch { expected: run.epoch(), found }));
        }
        if run.first_offset == header.base_offset && run.position.0 != self.at.position {
            return Err(self.damaged(Damage::Position { expected: run.position }));
        }
        match self.runs.get(after).map(|next| next.first_offset) {
            Some(limit) if header.next_offset() > limit => {
                Err(self.damaged(Damage::NextOffset { limit, found: header.next_offset() }))
            }
            _ => Ok(()),
        }
    }
}
