//! Disk space of the active segment: reserved before consensus sees an entry, so that the
//! append of a committed batch never finds the disk full (R3).
//!
//! Files are allocated beyond their length, from 64 KiB by doubling up to `segment.bytes`, and
//! what a seal leaves over is given back. A roll first allocates the next file for everything
//! that is reserved; when that fails, it waits, and the segment grows beyond `segment.bytes`
//! into the space that is reserved already.

use std::io;
use std::sync::Arc;

use highwater_types::limits::{DISK_RESERVE_BYTES, SEGMENT_FIRST_ALLOCATION_BYTES};

use super::error::SegmentError;
use super::extent::Extent;
use super::open::list;
use super::segment_file::{Durable, LOG, Segment, parse_file_name};
use super::segmented_log::{Published, PublishedSegment, SegmentedLog, Writer};

/// The first allocation of a file, and the shortest mapping.
pub(crate) const FIRST_BYTES: u64 = SEGMENT_FIRST_ALLOCATION_BYTES;

/// How much of the disk an allocation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// All but [`DISK_RESERVE_BYTES`]: for what can still be refused.
    AboveReserve,
    /// All of it: for what is committed and must be applied.
    All,
}

impl SegmentedLog {
    /// Makes sure that `bytes` more can be appended, whatever happens to the disk's free space
    /// until then. Each append uses up as much of the reservation as it writes; what is not going to be
    /// appended is given back by [`release`](Self::release). The first reservation creates the first file.
    ///
    /// Fails with [`SegmentError::NoSpace`], and nothing reserved, when the disk has no room above
    /// [`DISK_RESERVE_BYTES`].
    pub fn reserve(&self, bytes: u64) -> Result<(), SegmentError> {
        let mut writer = self.writer()?;
        let reserved = writer.reserved + bytes;
        match self.active() {
            Some(active) => self.grow(&mut writer, &active, reserved, Room::AboveReserve)?,
            None => {
                self.start_segment(&mut writer, reserved, Room::AboveReserve)?;
            }
        }
        writer.reserved = reserved;
        Ok(())
    }

    /// Gives back a reservation that no append will use.
    pub fn release(&self, bytes: u64) {
        let mut writer = self.writer.lock();
        writer.reserved = writer.reserved.saturating_sub(bytes);
    }

    /// Bytes reserved and not appended yet.
    #[must_use]
    pub fn reserved_bytes(&self) -> u64 {
        self.writer.lock().reserved
    }

    pub(crate) fn active(&self) -> Option<PublishedSegment> {
        self.published.read().active().cloned()
    }

    /// Makes sure that the active segment's file has room for `bytes` behind its data.
    pub(crate) fn grow(
        &self,
        writer: &mut Writer,
        active: &PublishedSegment,
        bytes: u64,
        room: Room,
    ) -> Result<(), SegmentError> {
        let needed = active.extent.size + bytes;
        if needed <= writer.allocated {
            return Ok(());
        }
        let doubled = writer
            .allocated
            .saturating_mul(2)
            .clamp(FIRST_BYTES, writer.options.segment_bytes.max(FIRST_BYTES));
        writer.allocated =
            self.allocate(&active.segment, writer.allocated, needed, needed.max(doubled), room)?;
        Ok(())
    }

    /// Creates the file of the next segment with room for `bytes` and publishes it as the active
    /// one; the segment that was active, if any, is sealed in the same step.
    pub(crate) fn start_segment(
        &self,
        writer: &mut Writer,
        bytes: u64,
        room: Room,
    ) -> Result<PublishedSegment, SegmentError> {
        // Before a file is created in vain.
        self.check_free(bytes.max(FIRST_BYTES), room)?;
        self.make_directory(writer)?;
        let base = self.next_offset();
        let interval = writer.options.index_interval_bytes;
        let segment = Segment::new(
            Arc::clone(&self.disk),
            self.dir.clone(),
            base,
            interval,
            Arc::clone(&self.budget),
            Durable::default(),
        );
        segment.create_file()?;
        self.durability.name_created();
        let allocated = match self.allocate(&segment, 0, bytes, bytes.max(FIRST_BYTES), room) {
            Ok(allocated) => allocated,
            Err(error) => {
                segment.release();
                segment.remove_files()?;
                return Err(error);
            }
        };
        let next = PublishedSegment { segment, extent: Extent::empty(base) };
        let sealed = {
            let mut published = self.published.write();
            let sealed = seal_last(&mut published);
            published.segments.push(next.clone());
            sealed
        };
        if let Some(sealed) = sealed {
            give_back(&sealed, writer.allocated);
        }
        writer.allocated = allocated;
        writer.indexed_at = Some(0);
        Ok(next)
    }

    /// Creates the directory before the first file, and makes sure that no other log's segments are there.
    fn make_directory(&self, writer: &mut Writer) -> Result<(), SegmentError> {
        if writer.dir_exists {
            return Ok(());
        }
        self.disk
            .create_dir_all(&self.dir)
            .map_err(|source| SegmentError::creating("create directory", &self.dir, source))?;
        let is_new = {
            let published = self.published.read();
            published.segments.is_empty() && published.detached.is_empty()
        };
        let names = list(&*self.disk, &self.dir)?;
        if is_new && names.iter().any(|name| parse_file_name(name).is_some()) {
            let directory = self.dir.clone();
            return Err(SegmentError::NotEmpty { directory });
        }
        writer.dir_exists = true;
        Ok(())
    }

    /// Seals the active segment without starting another one, which the next append does.
    pub(crate) fn seal(&self, writer: &mut Writer) {
        let sealed = seal_last(&mut self.published.write());
        if let Some(sealed) = sealed {
            give_back(&sealed, writer.allocated);
        }
        writer.allocated = 0;
        writer.indexed_at = None;
    }

    /// Allocates `wanted` bytes of a file in all, or `needed` when there is no room for more.
    /// Returns how many it has now.
    fn allocate(
        &self,
        segment: &Arc<Segment>,
        allocated: u64,
        needed: u64,
        wanted: u64,
        room: Room,
    ) -> Result<u64, SegmentError> {
        let file = segment.file()?;
        let mut refusal = None;
        for length in [wanted, needed] {
            let more = length.saturating_sub(allocated);
            match self.check_free(more, room) {
                Err(SegmentError::NoSpace { needed, free, reserve }) => {
                    refusal = Some(SegmentError::NoSpace { needed, free, reserve });
                    continue;
                }
                result => result?,
            }
            match file.allocate(length) {
                Ok(()) => return Ok(length),
                Err(error) if is_full(&error) => refusal = Some(self.no_space(more, room)),
                Err(source) => {
                    return Err(SegmentError::io("allocate space for", segment.path(LOG), source));
                }
            }
        }
        Err(refusal.unwrap_or_else(|| self.no_space(needed, room)))
    }

    fn check_free(&self, bytes: u64, room: Room) -> Result<(), SegmentError> {
        let free = self.disk.free_bytes();
        let free = free.map_err(|source| SegmentError::io("measure the free space of", &self.dir, source))?;
        let reserve = room.reserve();
        if free < bytes.saturating_add(reserve) {
            return Err(SegmentError::NoSpace { needed: bytes, free, reserve });
        }
        Ok(())
    }

    /// The error for `needed` bytes that do not fit.
    pub(crate) fn no_space(&self, needed: u64, room: Room) -> SegmentError {
        let free = self.disk.free_bytes().unwrap_or_default();
        SegmentError::NoSpace { needed, free, reserve: room.reserve() }
    }
}

impl Room {
    fn reserve(self) -> u64 {
        match self {
            Self::AboveReserve => DISK_RESERVE_BYTES,
            Self::All => 0,
        }
    }
}

/// Whether the disk, or this user's share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Seals the last segment; returns it when it was active.
fn seal_last(published: &mut Published) -> Option<PublishedSegment> {
    let last = published.segments.last_mut().filter(|last| !last.extent.sealed)?;
    last.extent.sealed = true;
    Some(last.clone())
}

/// Frees what is allocated behind the data of a sealed segment. Failing to is a loss of
/// space until the file is deleted, nothing more.
fn give_back(sealed: &PublishedSegment, allocated: u64) {
    let size = sealed.extent.size;
    if allocated <= size {
        return;
    }
    let cut = sealed.segment.file().and_then(|file| {
        file.set_len(size)
            .map_err(|source| SegmentError::io("free space behind", sealed.segment.path(LOG), source))
    });
    if let Err(error) = cut {
        tracing::warn!(%error, "a sealed segment keeps space that it does not use");
    }
}
