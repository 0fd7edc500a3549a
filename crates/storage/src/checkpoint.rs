//! The checkpoint: everything of a node's groups that is not in segments or in the
//! journal after it. Recovery reads it and replays the journal from the position that it names.
//!
//! ```text
//!  0       8         12     16            24
//!  ├─magic─┼─version─┼─crc──┼─body_len────┼─ body (protobuf `Checkpoint`) ─┤
//! ```
//!
//! It is written whole, twice (`a`, then `b`), each by a temporary file, a sync, a rename and
//! a sync of the directory. One damaged copy is survived; of two whole copies the newer counts.
//! The journal before the position is recycled only after both are durable, so either one will do.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};
use highwater_types::FilePosition;
use prost::Message;

use crate::disk::Disk;
use crate::group::GroupSection;
use crate::journal::Position;

const MAGIC: [u8; 8] = *b"HWCHECKP";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 24;
const COPIES: [&str; 2] = ["a", "b"];
const UNFINISHED: &str = "unfinished";

/// A checkpoint's content.
#[derive(Clone, PartialEq, Message)]
pub struct Checkpoint {
    /// Grows by one with each checkpoint.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// The journal's id, drawn when the directory was born.
    #[prost(fixed64, tag = "2")]
    pub journal_id: u64,
    /// Where the replay starts; absent before the journal's first file counts.
    #[prost(message, optional, tag = "3")]
    pub replay_from: Option<PositionMessage>,
    /// The newest LSN known durable.
    #[prost(uint64, tag = "4")]
    pub durable_lsn: u64,
    /// Every group there is.
    #[prost(message, repeated, tag = "5")]
    pub groups: Vec<GroupSection>,
    /// Groups that are gone but whose directories may still be there, encoded ids.
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub removed: Vec<Vec<u8>>,
}

/// A [`Position`], persisted.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct PositionMessage {
    /// See [`Position::lsn`].
    #[prost(uint64, tag = "1")]
    pub lsn: u64,
    /// See [`Position::generation`].
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    /// See [`Position::at`].
    #[prost(uint64, tag = "3")]
    pub at: u64,
}

impl From<Position> for PositionMessage {
    fn from(position: Position) -> Self {
        Self { lsn: position.lsn, generation: position.generation, at: position.at.0 }
    }
}

impl From<PositionMessage> for Position {
    fn from(message: PositionMessage) -> Self {
        Self { lsn: message.lsn, generation: message.generation, at: FilePosition(message.at) }
    }
}

/// Why there is no checkpoint to start from.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk failed.
    #[error("the checkpoint cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// Both copies are damaged.
    #[error(
        "both copies of the checkpoint are damaged ({first}; {second}): restore the data directory from a backup"
    )]
    Damaged {
        /// What is wrong with copy `a`.
        first: String,
        /// What is wrong with copy `b`.
        second: String,
    },
    /// Written by a newer version.
    #[error(
        "the checkpoint has format version {found}, this program knows up to {VERSION}: start the newer version again"
    )]
    Newer {
        /// The version it has.
        found: u32,
    },
}

/// What reading one copy gave.
enum Copy {
    Absent,
    Whole(Checkpoint),
    Damaged(String),
    Newer(u32),
}

/// Reads the newer of the whole copies; `None` when there is neither, which only a directory
/// that was never used has.
///
/// A single damaged copy is logged and passed over; the next checkpoint replaces it.
pub fn read(disk: &dyn Disk, directory: &Path) -> Result<Option<Checkpoint>, CheckpointError> {
    let first = read_copy(disk, &directory.join(COPIES[0]))?;
    let second = read_copy(disk, &directory.join(COPIES[1]))?;
    for (name, copy) in COPIES.iter().zip([&first, &second]) {
        match copy {
            Copy::Damaged(reason) => {
                tracing::warn!(copy = name, reason, "a copy of the checkpoint is damaged");
            }
            Copy::Newer(found) => return Err(CheckpointError::Newer { found: *found }),
            Copy::Absent | Copy::Whole(_) => {}
        }
    }
    match (first, second) {
        (Copy::Whole(a), Copy::Whole(b)) => Ok(Some(if b.sequence > a.sequence { b } else { a })),
        (Copy::Whole(whole), _) | (_, Copy::Whole(whole)) => Ok(Some(whole)),
        (Copy::Absent, Copy::Absent) => Ok(None),
        (first, second) => Err(CheckpointError::Damaged { first: first.describe(), second: second.describe() }),
    }
}

/// What is wrong with each copy of the checkpoint, for an inspection; empty when both are whole.
pub fn findings(disk: &dyn Disk, directory: &Path) -> Result<Vec<(PathBuf, String)>, CheckpointError> {
    let mut found = Vec::new();
    for name in COPIES {
        let path = directory.join(name);
        match read_copy(disk, &path)? {
            Copy::Whole(_) => {}
            other => found.push((path, other.describe())),
        }
    }
    Ok(found)
}

impl Copy {
    fn describe(&self) -> String {
        match self {
            Self::Absent => "it is missing".to_owned(),
            Self::Whole(_) => "it is whole".to_owned(),
            Self::Damaged(reason) => reason.clone(),
            Self::Newer(version) => format!("it has the newer format version {version}"),
        }
    }
}

fn read_copy(disk: &dyn Disk, path: &Path) -> io::Result<Copy> {
    if !disk.exists(path)? {
        return Ok(Copy::Absent);
    }
    let file = disk.open(path)?;
    let length = usize::try_from(file.len()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(decode(&bytes))
}

fn decode(bytes: &[u8]) -> Copy {
    let damaged = |reason: &str| Copy::Damaged(reason.to_owned());
    let Some(mut header) = bytes.get(..HEADER_LEN) else {
        return damaged("it is shorter than its header");
    };
    if header[..8] != MAGIC {
        return damaged("it does not start as a checkpoint does");
    }
    header.advance(8);
    let version = header.get_u32_le();
    let crc = header.get_u32_le();
    let body_len = header.get_u64_le();
    let body = &bytes[HEADER_LEN..];
    if crc != checksum(version, body) {
        return damaged("its checksum is wrong");
    }
    if version > VERSION {
        return Copy::Newer(version);
    }
    if body_len != body.len() as u64 {
        return damaged("its length is wrong");
    }
    match Checkpoint::decode(body) {
        Ok(checkpoint) => Copy::Whole(checkpoint),
        Err(error) => Copy::Damaged(format!("its content cannot be read: {error}")),
    }
}

/// Covers version, length and body.
fn checksum(version: u32, body: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&version.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &(body.len() as u64).to_le_bytes()), body)
}

/// Writes both copies; durable on return.
///
/// # Errors
/// When the disk fails. A copy that was whole before is whole still; after a failed sync the caller must end the process.
pub fn write(disk: &dyn Disk, directory: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    let body = checkpoint.encode_to_vec();
    let mut header = Vec::with_capacity(HEADER_LEN);
    header.put_slice(&MAGIC);
    header.put_u32_le(VERSION);
    header.put_u32_le(checksum(VERSION, &body));
    header.put_u64_le(body.len() as u64);
    for name in COPIES {
        let unfinished = directory.join(UNFINISHED);
        if disk.exists(&unfinished)? {
            disk.remove_file(&unfinished)?;
        }
        let file = disk.create(&unfinished)?;
        file.write_all_at(&mut [IoSlice::new(&header), IoSlice::new(&body)], 0)?;
        file.sync_data()?;
        disk.rename(&unfinished, &directory.join(name))?;
        disk.sync_dir(directory)?;
    }
    Ok(())
}
