//! The two index files of a segment, as bytes.
//!
//! `.index`, one entry for every `index.interval.bytes` of batches:
//! ```text
//! byte  0               4          8          12         16
//!       +---------------+----------+----------+----------+
//!       |relative offset|position  |ordinal   |CRC32C    |
//!       +---------------+----------+----------+----------+
//! ```
//! `.timeindex`, one entry for each of those:
//! ```text
//! byte  0                          8               12         16
//!       +--------------------------+---------------+----------+
//!       |largest timestamp before  |relative offset|CRC32C    |
//!       +--------------------------+---------------+----------+
//! ```
//! All integers are little-endian. An entry describes one batch: its base offset less the
//! segment's, its position in the `.log` file, the number of batches before it, and the
//! largest timestamp of all batches of the segment before it. Each checksum continues the one
//! of the entry before, the first that of the segment's base offset (8 bytes): so a valid
//! entry proves the whole file up to it, and that the file belongs to this segment.

use highwater_types::{Offset, TimestampMs};

use super::segment_file::{INDEX, TIME_INDEX};
use super::walker::Floor;

/// Bytes of an entry in a `.index` file.
pub(crate) const OFFSET_ENTRY_BYTES: usize = 16;
/// Bytes of an entry in a `.timeindex` file.
pub(crate) const TIME_ENTRY_BYTES: usize = 16;

const _: () = assert!(OFFSET_ENTRY_BYTES == 3 * size_of::<u32>() + size_of::<u32>());
const _: () = assert!(TIME_ENTRY_BYTES == size_of::<i64>() + size_of::<u32>() + size_of::<u32>());

/// What both files say about one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// Base offset less the segment's.
    pub(crate) relative_offset: u32,
    /// Position in the `.log` file.
    pub(crate) position: u32,
    /// Batches of the segment before this one.
    pub(crate) ordinal: u32,
    /// Largest timestamp of the segment before this batch.
    pub(crate) newest_before: TimestampMs,
}

impl IndexEntry {
    /// The place of the batch.
    pub(crate) fn floor(&self, base: Offset) -> Floor {
        Floor {
            offset: base.plus(i64::from(self.relative_offset)),
            position: u64::from(self.position),
            ordinal: self.ordinal,
        }
    }
}

/// The running checksums of both files, up to some entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexChain {
    offset_crc: u32,
    time_crc: u32,
}

impl IndexChain {
    /// The chain before the first entry.
    pub(crate) fn new(base: Offset) -> Self {
        let seed = crc32c::crc32c(&base.0.to_le_bytes());
        Self { offset_crc: seed, time_crc: seed }
    }

    /// The next entry as it stands in the two files.
    pub(crate) fn encode(&mut self, entry: &IndexEntry) -> ([u8; OFFSET_ENTRY_BYTES], [u8; TIME_ENTRY_BYTES]) {
        let mut offset = [0; OFFSET_ENTRY_BYTES];
        offset[..4].copy_from_slice(&entry.relative_offset.to_le_bytes());
        offset[4..8].copy_from_slice(&entry.position.to_le_bytes());
        offset[8..12].copy_from_slice(&entry.ordinal.to_le_bytes());
        self.offset_crc = crc32c::crc32c_append(self.offset_crc, &offset[..12]);
        offset[12..].copy_from_slice(&self.offset_crc.to_le_bytes());
        let mut time = [0; TIME_ENTRY_BYTES];
        time[..8].copy_from_slice(&entry.newest_before.0.to_le_bytes());
        time[8..12].copy_from_slice(&entry.relative_offset.to_le_bytes());
        self.time_crc = crc32c::crc32c_append(self.time_crc, &time[..12]);
        time[12..].copy_from_slice(&self.time_crc.to_le_bytes());
        (offset, time)
    }

    /// The next entry of the two files; when it is not valid, the chain stays as it was and the
    /// error is the extension of the file that is wrong.
    pub(crate) fn decode(
        &mut self,
        offset: &[u8; OFFSET_ENTRY_BYTES],
        time: &[u8; TIME_ENTRY_BYTES],
    ) -> Result<IndexEntry, &'static str> {
        let entry = IndexEntry {
            relative_offset: u32_at(offset, 0),
            position: u32_at(offset, 4),
            ordinal: u32_at(offset, 8),
            newest_before: TimestampMs(i64::from_le_bytes(std::array::from_fn(|byte| time[byte]))),
        };
        let mut next = *self;
        let (offset_due, time_due) = next.encode(&entry);
        if offset_due != *offset {
            return Err(INDEX);
        }
        if time_due != *time {
            return Err(TIME_INDEX);
        }
        *self = next;
        Ok(entry)
    }
}

fn u32_at(bytes: &[u8; 16], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}
