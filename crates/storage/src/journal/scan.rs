//! Reading the journal back: every group from a position on, and a verdict on how it ends.
//!
//! The scan trusts nothing but checksums and the LSN order. Where the next group is not
//! readable it asks one question (R1): does any valid header written later state that
//! this group was durable? If so the damage is corruption; if not it is a torn tail, which was never promised.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use highwater_types::FilePosition;

use super::file::{self, FileKind};
use super::frame::{
    FILE_HEADER_LEN, FIRST_GROUP_POSITION, FRAME_HEADER_LEN, FileHeader, FrameHeader, GROUP_ALIGNMENT,
    GROUP_MAGIC, GroupHeader, Origin,
};
use super::position::Position;
use crate::disk::Disk;

/// One frame, read back.
pub struct FrameAt {
    /// The group that holds it.
    pub group: Position,
    /// Where its payload starts in the file.
    pub payload_at: FilePosition,
    /// Its header.
    pub header: FrameHeader,
    /// Its payload: a slice of the whole file's bytes, so not to be kept for long.
    pub payload: Bytes,
}

/// Where the readable part of the journal ends.
#[derive(Debug)]
pub struct ScanEnd {
    /// The LSN of the first group that is not there.
    pub next_lsn: u64,
    /// The newest LSN that a header states durable.
    pub durable_lsn: u64,
    /// How it ends.
    pub ending: Ending,
    /// Generation, newest LSN and capacity of each file that was read.
    pub files: Vec<(u64, u64, u64)>,
    /// The highest generation among all files, 0 when there are none.
    pub last_generation: u64,
}

/// How the journal ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Empty space.
    Clean,
    /// A group that was being written when the process or the power went; nothing was promised of it.
    Torn(Position),
    /// Damage below what was durable.
    Corrupt(Corruption),
}

/// Damage to a group that is known to have been durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("journal file {} is damaged at {at}: {reason}", path.display())]
pub struct Corruption {
    /// The file.
    pub path: PathBuf,
    /// The first group that is not there.
    pub at: Position,
    /// How that is known.
    pub reason: String,
}

/// Why a scan could not be made at all.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The disk failed.
    #[error("reading the journal failed: {0}")]
    Io(#[from] io::Error),
    /// A frame with a right checksum makes no sense: written by another version, or a bug.
    #[error("journal file {}, LSN {lsn}: a frame with a valid checksum cannot be understood; was it written by another version?", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The group.
        lsn: u64,
    },
    /// A file is gone that the checkpoint names, or the file before it.
    #[error("journal file {} is missing; it is needed from LSN {lsn} on", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The first LSN needed.
        lsn: u64,
    },
}

/// Where to start and what is known of the journal.
#[derive(Debug, Clone, Copy)]
pub struct ScanStart {
    /// The journal's id.
    pub journal_id: u64,
    /// The first group to read.
    pub from: Position,
    /// The newest LSN that the checkpoint knows durable.
    pub durable_lsn: u64,
}

/// Reads every group from `start` on and hands each frame to `visit`, in order.
///
/// # Errors
/// When the disk fails or a frame cannot be understood. Damage is not an error but part of the result.
pub fn scan(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    start: &ScanStart,
    visit: &mut dyn FnMut(FrameAt) -> Result<(), ScanError>,
) -> Result<ScanEnd, ScanError> {
    let mut scanner = Scanner {
        disk,
        directory,
        journal_id: start.journal_id,
        generations: generations(&**disk, directory)?,
        durable_lsn: start.durable_lsn,
        stated_by: "the checkpoint".to_owned(),
        files: Vec::new(),
        at: start.from,
    };
    scanner.run(visit)
}

/// Generation and length of every live file.
pub fn live_files(disk: &dyn Disk, directory: &Path) -> io::Result<Vec<(u64, u64)>> {
    Ok(generations(disk, directory)?.into_iter().collect())
}

/// The generations of all live files, with their lengths.
fn generations(disk: &dyn Disk, directory: &Path) -> io::Result<BTreeMap<u64, u64>> {
    let mut found = BTreeMap::new();
    for name in disk.list(directory)? {
        if let FileKind::Live(generation) = file::classify(&name) {
            found.insert(generation, disk.open(&directory.join(name))?.len()?);
        }
    }
    Ok(found)
}

struct Scanner<'a> {
    disk: &'a Arc<dyn Disk>,
    directory: &'a Path,
    journal_id: u64,
    generations: BTreeMap<u64, u64>,
    durable_lsn: u64,
    stated_by: String,
    files: Vec<(u64, u64, u64)>,
    at: Position,
}

impl Scanner<'_> {
    fn run(&mut self, visit: &mut dyn FnMut(FrameAt) -> Result<(), ScanError>) -> Result<ScanEnd, ScanError> {
        let last_generation = self.generations.keys().next_back().copied().unwrap_or(0);
        if !self.generations.contains_key(&self.at.generation) {
            return Err(ScanError::Missing { path: self.path(self.at.generation), lsn: self.at.lsn });
        }
        loop {
            let bytes = self.read_file(self.at.generation)?;
            if let Some(corruption) = self.check_length(&bytes, self.at.generation) {
                return Ok(self.end(Ending::Corrupt(corruption), last_generation));
            }
            self.read_groups(&bytes, visit)?;
            self.files.push((self.at.generation, self.at.lsn.saturating_sub(1), bytes.len() as u64));
            if !self.enter_next_file()? {
                let ending = self.judge(&bytes)?;
                return Ok(self.end(ending, last_generation));
            }
        }
    }

    fn end(&mut self, ending: Ending, last_generation: u64) -> ScanEnd {
        ScanEnd {
            next_lsn: self.at.lsn,
            durable_lsn: self.durable_lsn.min(self.at.lsn.saturating_sub(1)),
            ending,
            files: std::mem::take(&mut self.files),
            last_generation,
        }
    }

    /// A file has its whole length before it is used, so a shorter one was cut, and no statement of what
    /// was durable need be left in it.
    fn check_length(&self, bytes: &Bytes, generation: u64) -> Option<Corruption> {
        let length = bytes.len() as u64;
        let reason = match self.header(bytes, generation) {
            Some(header) if header.capacity != length => {
                format!("the file has {length} bytes, its header says {}", header.capacity)
            }
            None if length < FIRST_GROUP_POSITION => format!("the file has only {length} bytes"),
            _ => return None,
        };
        Some(Corruption { path: self.path(generation), at: self.at, reason })
    }

    /// Reads groups from the current position until one is not the one expected.
    fn read_groups(
        &mut self,
        bytes: &Bytes,
        visit: &mut dyn FnMut(FrameAt) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        while let Some((header, body)) = group_at(bytes, self.at, self.journal_id) {
            self.note_durable(header.durable_lsn, || format!("the group header of LSN {}", header.lsn));
            visit_frames(&body, self.at, visit).map_err(|()| ScanError::Malformed {
                path: self.path(self.at.generation),
                lsn: self.at.lsn,
            })??;
            self.at.lsn += 1;
            self.at.at = FilePosition(header.end(self.at.at.0));
            if header.last_in_file {
                let next = self.at.generation + 1;
                if !self.generations.contains_key(&next) {
                    return Err(ScanError::Missing { path: self.path(next), lsn: self.at.lsn });
                }
                break;
            }
        }
        Ok(())
    }

    /// Goes on in the next file when it continues this one.
    fn enter_next_file(&mut self) -> Result<bool, ScanError> {
        let generation = self.at.generation + 1;
        if !self.generations.contains_key(&generation) {
            return Ok(false);
        }
        let next = Position { generation, at: FilePosition(FIRST_GROUP_POSITION), lsn: self.at.lsn };
        let bytes = self.read_file(generation)?;
        let enters = match self.header(&bytes, generation) {
            Some(header) => header.origin == Origin::Continued && header.first_lsn == self.at.lsn,
            // A damaged file header is harmless when the group that must come next is there.
            None => group_at(&bytes, next, self.journal_id).is_some(),
        };
        if enters {
            self.at = next;
        }
        Ok(enters)
    }

    /// Tells a torn tail from corruption by what later headers state.
    fn judge(&mut self, bytes: &Bytes) -> Result<Ending, ScanError> {
        let here = self.at;
        let mut later = self.note_headers(bytes, here.generation, here.at.0)?;
        let following: Vec<u64> =
            self.generations.range(here.generation + 1..).map(|(generation, _)| *generation).collect();
        for generation in following {
            let bytes = self.read_file(generation)?;
            if let Some(corruption) = self.check_length(&bytes, generation) {
                return Ok(Ending::Corrupt(corruption));
            }
            if let Some(header) = self.header(&bytes, generation) {
                if header.origin == Origin::Recovery {
                    // A recovery that no checkpoint names promised nothing, nor did what it wrote.
                    break;
                }
                let path = self.path(generation);
                self.note_durable(header.durable_lsn, || format!("the header of {}", path.display()));
            }
            later |= self.note_headers(&bytes, generation, FIRST_GROUP_POSITION)?;
        }
        if self.durable_lsn >= here.lsn {
            let reason = format!("{} says that this group was durable", self.stated_by);
            return Ok(Ending::Corrupt(Corruption { path: self.path(here.generation), at: here, reason }));
        }
        let remains = bytes.get(usize::try_from(here.at.0).unwrap_or(usize::MAX)..).unwrap_or_default();
        let begun = remains.starts_with(&GROUP_MAGIC)
            && GroupHeader::decode(remains, self.journal_id)
                .is_none_or(|header| header.generation == here.generation);
        Ok(if later || begun { Ending::Torn(here) } else { Ending::Clean })
    }

    /// Notes what every valid group header from `from` on states; whether there was any.
    fn note_headers(&mut self, bytes: &Bytes, generation: u64, from: u64) -> Result<bool, ScanError> {
        let mut found = false;
        let mut position = usize::try_from(from).unwrap_or(usize::MAX);
        while let Some(rest) = bytes.get(position..).filter(|rest| rest.len() >= GROUP_MAGIC.len()) {
            if rest.starts_with(&GROUP_MAGIC)
                && let Some(header) = GroupHeader::decode(rest, self.journal_id)
                && header.generation == generation
            {
                found = true;
                self.note_durable(header.durable_lsn, || format!("the group header of LSN {}", header.lsn));
            }
            position += GROUP_ALIGNMENT as usize;
        }
        Ok(found)
    }

    fn note_durable(&mut self, lsn: u64, stated_by: impl FnOnce() -> String) {
        if lsn > self.durable_lsn {
            self.durable_lsn = lsn;
            self.stated_by = stated_by();
        }
    }

    /// The header of the file of `generation`; a recycled file may still have the one of its last use.
    fn header(&self, bytes: &Bytes, generation: u64) -> Option<FileHeader> {
        let header: &[u8; FILE_HEADER_LEN] = bytes.get(..FILE_HEADER_LEN)?.try_into().ok()?;
        FileHeader::decode(header)
            .filter(|header| header.journal_id == self.journal_id && header.generation == generation)
    }

    fn read_file(&self, generation: u64) -> Result<Bytes, ScanError> {
        let length = self.generations.get(&generation).copied().unwrap_or(0);
        let mut bytes =
            vec![0; usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge).map_err(io::Error::from)?];
        self.disk.open(&self.path(generation))?.read_exact_at(&mut bytes, 0)?;
        Ok(bytes.into())
    }

    fn path(&self, generation: u64) -> PathBuf {
        file::live_path(self.directory, generation)
    }
}

/// The group at a position, when it is the one expected there and whole.
fn group_at(bytes: &Bytes, at: Position, journal_id: u64) -> Option<(GroupHeader, Bytes)> {
    let start = usize::try_from(at.at.0).ok()?;
    let header = GroupHeader::decode(bytes.get(start..)?, journal_id)?;
    if header.generation != at.generation || header.lsn != at.lsn {
        return None;
    }
    let body_start = start + super::frame::GROUP_HEADER_LEN;
    let body_end = body_start.checked_add(usize::try_from(header.body_len).ok()?)?;
    if body_end > bytes.len() || crc32c::crc32c(&bytes[body_start..body_end]) != header.body_crc {
        return None;
    }
    Some((header, bytes.slice(body_start..body_end)))
}

/// Splits a group's body into frames. The outer error is a frame that does not fit.
fn visit_frames(
    body: &Bytes,
    group: Position,
    visit: &mut dyn FnMut(FrameAt) -> Result<(), ScanError>,
) -> Result<Result<(), ScanError>, ()> {
    let mut position = 0;
    while position < body.len() {
        let header = FrameHeader::decode(&body[position..]).ok_or(())?;
        let payload_start = position + FRAME_HEADER_LEN;
        let payload_end = payload_start + header.payload_len as usize;
        if payload_end > body.len() {
            return Err(());
        }
        let payload_at = FilePosition(group.at.0 + (super::frame::GROUP_HEADER_LEN + payload_start) as u64);
        let frame = FrameAt { group, payload_at, header, payload: body.slice(payload_start..payload_end) };
        if let Err(error) = visit(frame) {
            return Ok(Err(error));
        }
        position = payload_end;
    }
    Ok(Ok(()))
}
