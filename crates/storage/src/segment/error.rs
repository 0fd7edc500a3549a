//! What can go wrong with a partition's segments, with the file, the position and
//! the numbers that an operator needs. Nothing here is logged: the caller that
//! handles an error logs it.

use std::io;
use std::path::PathBuf;

use highwater_records::RecordsError;
use highwater_types::{FilePosition, LeaderEpoch, Offset, RaftIndex, Term};

/// A failed operation on a partition's segments.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The disk refused.
    #[error("cannot {operation} {}: {source}", file.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The file or directory.
        file: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// The disk has no room for it; nothing was written.
    #[error("no space for {needed} bytes: {free} bytes are free and {reserve} are kept in reserve")]
    NoSpace {
        /// Bytes asked for.
        needed: u64,
        /// Bytes free on the disk.
        free: u64,
        /// Bytes that are kept for votes, retention and deletes.
        reserve: u64,
    },
    /// Stored bytes are not what was written.
    #[error("{} is damaged at position {position}: {damage}", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where the damage was found.
        position: FilePosition,
        /// What is wrong.
        damage: Damage,
    },
    /// The offset is outside `start ..= next`.
    #[error("offset {offset} is outside the log, which holds {start} up to, not including, {next}")]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// The first offset held.
        start: Offset,
        /// The first offset not written yet.
        next: Offset,
    },
    /// A batch does not follow the one before it. Nothing was written.
    #[error(
        "batch {base_offset} (index {index}, term {term}) does not follow offset {next_offset} \
         (last index {last_index:?}, last term {last_term:?})"
    )]
    NotContiguous {
        /// The batch's base offset.
        base_offset: Offset,
        /// The batch's Raft index.
        index: RaftIndex,
        /// The batch's term.
        term: Term,
        /// The offset that was expected.
        next_offset: Offset,
        /// The index of the last batch, which a next one must exceed.
        last_index: Option<RaftIndex>,
        /// The term of the last batch, which a next one must reach.
        last_term: Option<Term>,
    },
    /// A new log was to be made where segments lie; data is never replaced by mistake.
    #[error("{} holds segments already", directory.display())]
    NotEmpty {
        /// The partition's directory.
        directory: PathBuf,
    },
    /// The log was opened for reading only.
    #[error("the log in {} is open for reading only", directory.display())]
    ReadOnly {
        /// The partition's directory.
        directory: PathBuf,
    },
    /// An earlier sync failed, so nothing is known about what is durable.
    #[error("an earlier sync of {} failed; its durability is unknown", directory.display())]
    Poisoned {
        /// The partition's directory.
        directory: PathBuf,
    },
}

impl SegmentError {
    /// Whether stored bytes are wrong, which keeps one partition out of service; other errors are the node's.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }

    /// Wraps an error of making a name, for which a full disk may have no room either. Nothing was written then.
    pub(crate) fn creating(operation: &'static str, file: impl Into<PathBuf>, source: io::Error) -> Self {
        if crate::disk::is_no_space(&source) {
            return Self::NoSpace { needed: 0, free: 0, reserve: 0 };
        }
        Self::io(operation, file, source)
    }

    /// Wraps an error of the disk.
    pub(crate) fn io(operation: &'static str, file: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { operation, file: file.into(), source }
    }
}

/// What is wrong with stored bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The file does not exist.
    #[error("the file is missing")]
    Missing,
    /// The file ends before the data that was made durable.
    #[error("the file has {actual} bytes of {expected}")]
    TooShort {
        /// Bytes that were made durable.
        expected: u64,
        /// Bytes there are.
        actual: u64,
    },
    /// The file is longer than a sealed file may be.
    #[error("the file has {actual} bytes, {expected} were sealed")]
    TooLong {
        /// Bytes that were sealed.
        expected: u64,
        /// Bytes there are.
        actual: u64,
    },
    /// A batch is not one: its frame, its fields, its checksum or its records are wrong.
    #[error(transparent)]
    Batch(#[from] RecordsError),
    /// The batch is longer than the data that is left.
    #[error("the batch states {stated} bytes where {remaining} remain")]
    Length {
        /// Bytes of the batch, as its header states.
        stated: usize,
        /// Bytes up to the end of the data, from the batch's start.
        remaining: u64,
    },
    /// The batch does not start where the one before it ends.
    #[error("the batch states base offset {found} where {expected} is due")]
    BaseOffset {
        /// The offset that is due.
        expected: Offset,
        /// The header's offset.
        found: Offset,
    },
    /// The batch ends beyond what its place allows.
    #[error("the batch states next offset {found} where at most {limit} is possible")]
    NextOffset {
        /// The largest possible.
        limit: Offset,
        /// What the header says.
        found: Offset,
    },
    /// The epoch is not the term that the run table has for the offset.
    #[error("the batch states leader epoch {found}, the run table {expected}")]
    Epoch {
        /// The run table's term.
        expected: LeaderEpoch,
        /// The header's epoch.
        found: LeaderEpoch,
    },
    /// The run table places this batch elsewhere in the file.
    #[error("the run table places the batch at {expected}")]
    Position {
        /// The run table's position.
        expected: FilePosition,
    },
    /// The data ends before the offset it should reach.
    #[error("the data ends at offset {found}, not {expected}")]
    EndOffset {
        /// The offset due.
        expected: Offset,
        /// The offset reached.
        found: Offset,
    },
    /// The manifest contradicts itself.
    #[error("the manifest contradicts itself: {0}")]
    Manifest(&'static str),
    /// The file's name is not a segment's.
    #[error("the file's name is not that of a segment's log")]
    Name,
    /// The disk cannot read it.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// What the disk said.
        reason: String,
    },
    /// An index entry's checksum is wrong or it contradicts the data. Indexes are
    /// hints: reads stay right, and the index is rebuilt when it is next used.
    #[error("the index is not usable from here on; it will be rebuilt")]
    Index,
}
