//! Looking at a data directory offline: what is there, and everything that is wrong with it.
//!
//! Reads every checksum of the journal, the checkpoint, the segments, the indexes and the kept states. Changes nothing and takes
//! no lock: the result is meaningful only when no process has the directory open.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use highwater_types::GroupId;

use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::directory::Identity;
use crate::disk::Disk;
use crate::entry::{Entry, Payload};
use crate::group::{GroupSection, StateFile};
use crate::journal::Position;
use crate::journal::frame::{Change, FrameHeader};
use crate::journal::scan::{self, Ending, ScanError, ScanStart};
use crate::layout;
use crate::segment::{SegmentManifest, verify_partition};

/// What a data directory holds.
#[derive(Debug)]
pub struct Inspection {
    /// Whose it is.
    pub identity: Option<Identity>,
    /// The newest whole checkpoint.
    pub checkpoint: Option<CheckpointSummary>,
    /// The journal from where the checkpoint says on.
    pub journal: Option<JournalSummary>,
    /// Every group of the checkpoint, in order of their ids.
    pub groups: Vec<GroupSummary>,
    /// Everything that is wrong, one sentence each, with the file and the position. Empty when all is whole.
    pub findings: Vec<String>,
}

/// A checkpoint.
#[derive(Debug, Clone)]
pub struct CheckpointSummary {
    /// Its number.
    pub sequence: u64,
    /// Where the journal's replay starts.
    pub replay_from: Option<Position>,
    /// The newest LSN that it knows durable.
    pub durable_lsn: u64,
}

/// The part of the journal that a start would replay.
#[derive(Debug, Clone)]
pub struct JournalSummary {
    /// Groups with a right checksum.
    pub groups: u64,
    /// Frames in them.
    pub frames: u64,
    /// Bytes of payload in them.
    pub payload_bytes: u64,
    /// How it ends.
    pub ending: Ending,
    /// The files that were read, with their sizes in bytes.
    pub files: Vec<(PathBuf, u64)>,
}

/// A group, as of the checkpoint.
#[derive(Debug, Clone)]
pub struct GroupSummary {
    /// The group.
    pub id: GroupId,
    /// Its directory.
    pub directory: PathBuf,
    /// The first readable offset.
    pub log_start: i64,
    /// The offset after the last record that the checkpoint's segments hold.
    pub next_offset: i64,
    /// Its segments: path, first offset, offset after the last, bytes.
    pub segments: Vec<SegmentSummary>,
    /// Entries that the journal adds.
    pub journal_entries: u64,
    /// The commands among them, for who knows what they mean.
    pub journal_commands: Vec<Bytes>,
    /// The state above the log, as its owner encoded it.
    pub state: Bytes,
}

/// A segment.
#[derive(Debug, Clone)]
pub struct SegmentSummary {
    /// The `.log` file.
    pub path: PathBuf,
    /// The first offset.
    pub base_offset: i64,
    /// The offset after the last record.
    pub next_offset: i64,
    /// Bytes that the checkpoint vouches for.
    pub bytes: u64,
    /// Whether it takes no more batches.
    pub sealed: bool,
}

/// Why a directory could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The disk failed.
    #[error("reading the data directory failed: {0}")]
    Io(#[from] io::Error),
    /// It is not a data directory.
    #[error("{} is not a Highwater data directory: it has no identity", .0.display())]
    NotADataDirectory(PathBuf),
}

/// Looks at the data directory that is the root of `disk`. `root` is only for messages.
///
/// # Errors
/// When there is nothing to look at. Damage is not an error but a finding.
pub fn inspect(disk: &Arc<dyn Disk>, root: &Path) -> Result<Inspection, InspectError> {
    let mut inspection = Inspection {
        identity: None,
        checkpoint: None,
        journal: None,
        groups: Vec::new(),
        findings: Vec::new(),
    };
    match Identity::read(&**disk, root) {
        Ok(Some(identity)) => inspection.identity = Some(identity),
        Ok(None) => return Err(InspectError::NotADataDirectory(root.to_path_buf())),
        Err(error) => inspection.findings.push(error.to_string()),
    }
    for marker in disk.list(Path::new(layout::QUARANTINE)).unwrap_or_default() {
        let file = crate::disk::sigbus::marked_path(&marker);
        inspection.findings.push(format!("{} could not be read under a mapping", file.display()));
    }
    let Some(base) = inspection.read_checkpoint(disk)? else { return Ok(inspection) };
    inspection.groups = base.groups.iter().filter_map(summarize).collect();
    inspection.read_journal(disk, &base)?;
    for section in &base.groups {
        let id = group_id(section).filter(|id| inspection.groups.iter().any(|group| group.id == *id));
        if let (Some(id), Some(manifest)) = (id, &section.segments) {
            let found = verify_partition(disk, &layout::group_directory(id), Some(manifest));
            inspection.findings.extend(found.into_iter().map(|finding| finding.to_string()));
        }
        if let Some(id) = id {
            let listed = section.boundaries.iter().map(StateFile::from);
            inspection.check_states(disk, id, listed);
        }
    }
    Ok(inspection)
}

impl Inspection {
    fn read_checkpoint(&mut self, disk: &Arc<dyn Disk>) -> Result<Option<Checkpoint>, InspectError> {
        let directory = Path::new(layout::CHECKPOINT);
        match checkpoint::findings(&**disk, directory) {
            Ok(found) => {
                let described = found.into_iter().map(|(path, what)| format!("{}: {what}", path.display()));
                self.findings.extend(described);
            }
            Err(CheckpointError::Io(error)) => return Err(error.into()),
            Err(other) => self.findings.push(other.to_string()),
        }
        let base = match checkpoint::read(&**disk, directory) {
            Ok(Some(base)) => base,
            Ok(None) => {
                self.findings.push("there is no checkpoint".to_owned());
                return Ok(None);
            }
            Err(CheckpointError::Io(error)) => return Err(error.into()),
            Err(other) => {
                self.findings.push(other.to_string());
                return Ok(None);
            }
        };
        self.checkpoint = Some(CheckpointSummary {
            sequence: base.sequence,
            replay_from: base.replay_from.map(Into::into),
            durable_lsn: base.durable_lsn,
        });
        Ok(Some(base))
    }

    /// Reads the states that a group's log may start with.
    fn check_states(&mut self, disk: &Arc<dyn Disk>, id: GroupId, files: impl Iterator<Item = StateFile>) {
        let directory = layout::group_directory(id);
        self.findings.extend(files.filter_map(|file| file.read(&**disk, &directory).err()));
    }

    fn read_journal(&mut self, disk: &Arc<dyn Disk>, base: &Checkpoint) -> Result<(), InspectError> {
        let Some(from) = base.replay_from else { return Ok(()) };
        let directory = Path::new(layout::JOURNAL);
        let start = ScanStart { journal_id: base.journal_id, from: from.into(), durable_lsn: base.durable_lsn };
        let mut summary =
            JournalSummary { groups: 0, frames: 0, payload_bytes: 0, ending: Ending::Clean, files: Vec::new() };
        let mut last_lsn = None;
        let replayed_from: BTreeMap<GroupId, u64> = base
            .groups
            .iter()
            .filter_map(|section| Some((group_id(section)?, section.replay_from_lsn)))
            .collect();
        let mut installs: BTreeMap<GroupId, StateFile> = BTreeMap::new();
        let groups = &mut self.groups;
        let findings = &mut self.findings;
        let scanned = scan::scan(disk, directory, &start, &mut |frame| {
            if last_lsn.replace(frame.group.lsn) != Some(frame.group.lsn) {
                summary.groups += 1;
            }
            summary.frames += 1;
            summary.payload_bytes += u64::from(frame.header.payload_len);
            let id = frame.header.group;
            match check_payload(&frame.header, frame.payload) {
                // The checkpoint has taken it in.
                Ok(_) if replayed_from.get(&id).is_some_and(|from| frame.group.lsn < *from) => {}
                Ok(Change::Append(entry)) => note_entry(groups, id, entry.payload),
                // Its files may be gone already.
                Ok(Change::Remove) => {
                    installs.remove(&id);
                    groups.retain(|group| group.id != id);
                }
                // Only the newest is read by a start.
                Ok(Change::Install(install)) => drop(installs.insert(id, StateFile::from(install))),
                Ok(_) => {}
                Err(problem) => findings.push(format!("journal {}, group {id}: {problem}", frame.group)),
            }
            Ok(())
        });
        for (id, file) in installs {
            self.check_states(disk, id, std::iter::once(file));
        }
        match scanned {
            Ok(end) => {
                if let Ending::Corrupt(corruption) = &end.ending {
                    self.findings.push(corruption.to_string());
                }
                summary.ending = end.ending;
                summary.files = end
                    .files
                    .into_iter()
                    .map(|(generation, _, bytes)| {
                        (crate::journal::file::live_path(directory, generation), bytes)
                    })
                    .collect();
                self.journal = Some(summary);
            }
            Err(ScanError::Io(error)) => return Err(error.into()),
            Err(other) => self.findings.push(other.to_string()),
        }
        Ok(())
    }
}

/// Checks what a frame's payload says of itself: a batch has a checksum of its own.
fn check_payload(header: &FrameHeader, payload: Bytes) -> Result<Change, String> {
    let change = header.change(payload).ok_or("the frame cannot be understood")?;
    if let Change::Append(Entry { payload: Payload::Batch(batch), .. }) = &change {
        batch.verify().map_err(|error| error.to_string())?;
    }
    Ok(change)
}

/// Counts an entry to its group, which the checkpoint need not know yet.
fn note_entry(groups: &mut Vec<GroupSummary>, id: GroupId, payload: Payload) {
    let place = match groups.iter().position(|group| group.id == id) {
        Some(place) => place,
        None => {
            groups.push(GroupSummary::empty(id));
            groups.len() - 1
        }
    };
    groups[place].journal_entries += 1;
    if let Payload::Control(command) = payload {
        groups[place].journal_commands.push(Bytes::copy_from_slice(&command));
    }
}

fn group_id(section: &GroupSection) -> Option<GroupId> {
    section.group.as_slice().try_into().ok().map(GroupId::from_bytes)
}

fn summarize(section: &GroupSection) -> Option<GroupSummary> {
    let id = group_id(section)?;
    let manifest =
        section.segments.clone().unwrap_or_else(|| SegmentManifest::empty(highwater_types::Offset::ZERO));
    let mut summary = GroupSummary::empty(id);
    let segments = manifest.segments.iter().map(|record| SegmentSummary {
        path: summary.directory.join(format!("{:020}.log", record.base_offset)),
        base_offset: record.base_offset,
        next_offset: record.next_offset,
        bytes: record.size,
        sealed: record.sealed,
    });
    summary.segments = segments.collect();
    summary.log_start = section.log_start;
    summary.next_offset = manifest.next_offset;
    summary.state = section.state.clone();
    Some(summary)
}

impl GroupSummary {
    fn empty(id: GroupId) -> Self {
        Self {
            id,
            directory: layout::group_directory(id),
            log_start: 0,
            next_offset: 0,
            segments: Vec::new(),
            journal_entries: 0,
            journal_commands: Vec::new(),
            state: Bytes::new(),
        }
    }
}
