//! How large the journal gets.

use highwater_types::limits;

use super::frame::FIRST_GROUP_POSITION;

/// Sizes of the journal.
#[derive(Debug, Clone, Copy)]
pub struct JournalOptions {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of the first file of an empty node, small so that it starts at once.
    pub first_file_bytes: u64,
    /// Live bytes after which a checkpoint is due.
    pub checkpoint_bytes: u64,
    /// Live bytes at which appends wait for the checkpoint.
    pub bytes_max: u64,
    /// Room that only votes, log starts and deletes may use (R3).
    pub reserve_bytes: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            file_bytes: limits::JOURNAL_FILE_BYTES,
            first_file_bytes: limits::JOURNAL_FIRST_FILE_BYTES,
            checkpoint_bytes: limits::JOURNAL_CHECKPOINT_BYTES,
            bytes_max: limits::JOURNAL_BYTES_MAX,
            reserve_bytes: limits::JOURNAL_RESERVE_BYTES,
        }
    }
}

impl JournalOptions {
    /// Most bytes that one commit takes from the queue, but for a single larger submission. Where a file ends, so much may
    /// stay empty: a group is never split.
    pub(crate) fn group_bytes_max(&self) -> u64 {
        (limits::JOURNAL_GROUP_BYTES_MAX as u64).min(self.file_bytes / 4)
    }

    /// Most bytes at the end of a file that stay empty because the next group does not fit: the largest group, or the
    /// largest batch, which is a group of its own.
    pub(super) fn waste_max(&self) -> u64 {
        self.file_bytes / 4 + FIRST_GROUP_POSITION
    }
}
