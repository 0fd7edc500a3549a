//! What the checkpoint and the journal after it say about every group.
//!
//! Recovery only reads (but for cutting an active segment to its durable size, which the journal
//! then fills again). It never reads stored data: its cost is the journal's length.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use highwater_types::{GroupId, Offset, RaftIndex};

use super::open::OpenError;
use crate::checkpoint::Checkpoint;
use crate::disk::Disk;
use crate::entry::{Entry, LogId, Payload, Vote};
use crate::group::{GroupOptions, GroupSection, Opened, Stored, Tail, TailEntry, offset_after};
use crate::journal::frame::Change;
use crate::journal::scan::{self, Ending, FrameAt, ScanStart};
use crate::layout;
use crate::segment::{MapBudget, SegmentManifest, SegmentedLog};

/// Everything that recovery found.
pub(super) struct Recovered {
    pub(super) groups: Vec<Opened>,
    pub(super) removed: Vec<GroupId>,
    pub(super) corruption: Option<String>,
    pub(super) next_lsn: u64,
    pub(super) durable_lsn: u64,
    pub(super) last_generation: u64,
    /// Generation and capacity of the journal's files.
    pub(super) files: Vec<(u64, u64)>,
}

/// Reads the journal from where the checkpoint says and opens every group.
pub(super) fn recover(
    disk: &Arc<dyn Disk>,
    base: &Checkpoint,
    journal_directory: &Path,
    maps: &Arc<MapBudget>,
    unreadable: &[PathBuf],
) -> Result<Recovered, OpenError> {
    let mut replay = Replay::new(base)?;
    let mut recovered = Recovered {
        groups: Vec::new(),
        removed: Vec::new(),
        corruption: None,
        next_lsn: base.durable_lsn + 1,
        durable_lsn: base.durable_lsn,
        last_generation: 0,
        files: scan::live_files(&**disk, journal_directory).map_err(OpenError::io("listing the journal"))?,
    };
    recovered.last_generation = recovered.files.iter().map(|(generation, ..)| *generation).max().unwrap_or(0);
    if let Some(from) = base.replay_from {
        let start = ScanStart { journal_id: base.journal_id, from: from.into(), durable_lsn: base.durable_lsn };
        let end = scan::scan(disk, journal_directory, &start, &mut |frame| {
            replay.frame(frame);
            Ok(())
        })?;
        recovered.next_lsn = end.next_lsn;
        recovered.durable_lsn = end.durable_lsn;
        match end.ending {
            Ending::Clean => {}
            Ending::Torn(at) => {
                tracing::info!(%at, "the journal ends in a group that was never finished; it is cut")
            }
            Ending::Corrupt(corruption) => recovered.corruption = Some(corruption.to_string()),
        }
    }
    if recovered.corruption.is_some() {
        // What the journal adds cannot be trusted to be whole: the groups stand as the checkpoint has them.
        replay = Replay::new(base)?;
    }
    recovered.removed = replay.removed.iter().copied().collect();
    let read_only = recovered.corruption.is_some();
    for (id, group) in replay.groups {
        let directory = layout::group_directory(id);
        let unreadable = unreadable.iter().find(|file| file.starts_with(&directory));
        recovered.groups.push(group.open(id, disk, maps, read_only, unreadable)?);
    }
    Ok(recovered)
}

struct Replay {
    groups: BTreeMap<GroupId, GroupReplay>,
    removed: BTreeSet<GroupId>,
}

/// A group as the frames so far leave it.
struct GroupReplay {
    options: GroupOptions,
    vote: Option<Vote>,
    committed: Option<LogId>,
    applied: Option<LogId>,
    purged: Option<LogId>,
    membership: Option<Entry>,
    kept: BTreeMap<RaftIndex, Entry>,
    segments: Option<SegmentManifest>,
    log_start: Offset,
    state: Bytes,
    replay_from_lsn: u64,
    /// What is wrong with the log itself, now or when an earlier recovery read it.
    broken: Option<String>,
    /// Entries above `applied`, each with the offset after it when it is a batch.
    entries: BTreeMap<RaftIndex, (Stored, Option<Offset>)>,
}

impl Replay {
    fn new(base: &Checkpoint) -> Result<Self, OpenError> {
        let mut groups = BTreeMap::new();
        for section in &base.groups {
            groups.insert(decode_id(&section.group)?, GroupReplay::new(section)?);
        }
        let removed = base.removed.iter().map(|id| decode_id(id)).collect::<Result<_, _>>()?;
        Ok(Self { groups, removed })
    }

    fn frame(&mut self, frame: FrameAt) {
        let id = frame.header.group;
        let lsn = frame.group.lsn;
        if self.groups.get(&id).is_some_and(|group| lsn < group.replay_from_lsn) {
            return;
        }
        let stored = Stored {
            header: frame.header,
            generation: frame.group.generation,
            payload_at: frame.payload_at,
            payload_crc: crc32c::crc32c(&frame.payload),
        };
        let Some(change) = frame.header.change(frame.payload) else {
            if let Some(group) = self.groups.get_mut(&id) {
                // It may have been a vote, so the group must not vote (R4).
                group
                    .broken
                    .get_or_insert_with(|| format!("a frame at LSN {lsn} of the journal cannot be understood"));
            }
            return;
        };
        match change {
            Change::Create(options) => self.create(id, &options),
            Change::Remove => {
                self.groups.remove(&id);
                self.removed.insert(id);
            }
            // Frames of a group that was removed later, from before the checkpoint's position, have no group to go to.
            change => {
                if let Some(group) = self.groups.get_mut(&id) {
                    group.change(change, stored);
                }
            }
        }
    }

    fn create(&mut self, id: GroupId, options: &[u8]) {
        if self.groups.contains_key(&id) {
            return;
        }
        // A group that was removed may come back empty, once its data was deleted.
        self.removed.remove(&id);
        match GroupOptions::decode(options) {
            Ok(options) => {
                self.groups.insert(id, GroupReplay::empty(options));
            }
            Err(error) => {
                tracing::error!(group = %id, %error, "the options of a new group cannot be read")
            }
        }
    }
}

fn decode_id(bytes: &[u8]) -> Result<GroupId, OpenError> {
    let id =
        bytes.try_into().map_err(|_| OpenError::Section(format!("a group id of {} bytes", bytes.len())))?;
    Ok(GroupId::from_bytes(id))
}

impl GroupReplay {
    fn empty(options: GroupOptions) -> Self {
        Self {
            options,
            vote: None,
            committed: None,
            applied: None,
            purged: None,
            membership: None,
            kept: BTreeMap::new(),
            segments: options.segments.map(|_| SegmentManifest::empty(Offset::ZERO)),
            log_start: Offset::ZERO,
            state: Bytes::new(),
            replay_from_lsn: 0,
            broken: None,
            entries: BTreeMap::new(),
        }
    }

    fn new(section: &GroupSection) -> Result<Self, OpenError> {
        let invalid = |what: &str| OpenError::Section(what.to_owned());
        let mut kept = BTreeMap::new();
        for message in &section.kept {
            let entry = message.clone().entry().ok_or_else(|| invalid("a kept entry of unknown kind"))?;
            kept.insert(entry.id.index, entry);
        }
        let membership = match &section.membership {
            Some(message) => {
                Some(message.clone().entry().ok_or_else(|| invalid("a membership of unknown kind"))?)
            }
            None => None,
        };
        Ok(Self {
            options: GroupOptions::decode(&section.options).map_err(|error| invalid(&error.to_string()))?,
            vote: section.vote.map(Into::into),
            committed: section.committed.map(Into::into),
            applied: section.applied.map(Into::into),
            purged: section.purged.map(Into::into),
            membership,
            kept,
            segments: section.segments.clone(),
            log_start: Offset(section.log_start),
            state: section.state.clone(),
            replay_from_lsn: section.replay_from_lsn,
            broken: section.broken.clone(),
            entries: BTreeMap::new(),
        })
    }

    fn change(&mut self, change: Change, stored: Stored) {
        match change {
            Change::Append(entry) => {
                if self.applied.is_some_and(|applied| entry.id.index <= applied.index) {
                    return;
                }
                self.entries.split_off(&entry.id.index);
                let offset = match &entry.payload {
                    Payload::Batch(_) => Some(offset_after(&entry.payload, Offset::ZERO)),
                    Payload::Blank | Payload::Membership(_) | Payload::Control(_) => None,
                };
                self.entries.insert(entry.id.index, (stored, offset));
            }
            Change::Vote(vote) => {
                if self.vote.is_none_or(|older| vote.supersedes(&older)) {
                    self.vote = Some(vote);
                }
            }
            Change::Committed(id) => self.committed = self.committed.max(Some(id)),
            Change::Truncate(after) => {
                let first_gone = after.map_or(RaftIndex::ZERO, RaftIndex::next);
                self.entries.split_off(&first_gone);
            }
            // Nothing above the checkpoint's applied entry may be purged before it is applied again.
            Change::Purge(id) => self.purged = self.purged.max(Some(id).min(self.applied)),
            Change::Create(_) | Change::Remove => unreachable!("handled by the replay"),
        }
    }

    /// Puts the tail together, opens the segments, and quarantines what does not fit.
    fn open(
        mut self,
        id: GroupId,
        disk: &Arc<dyn Disk>,
        maps: &Arc<MapBudget>,
        read_only: bool,
        unreadable: Option<&PathBuf>,
    ) -> Result<Opened, OpenError> {
        let mut quarantine = unreadable.map(|file| {
            let reason = format!("{} could not be read: a bad sector?", file.display());
            tracing::error!(group = %id, reason, "the partition is quarantined");
            reason
        });
        let start = self.segments.as_ref().map_or(Offset::ZERO, |manifest| Offset(manifest.next_offset));
        let tail = self.take_tail(start);
        if let Some(reason) = &self.broken {
            tracing::error!(group = %id, reason, "the group's log is damaged; it is quarantined");
            quarantine.get_or_insert_with(|| reason.clone());
        }
        let segments = match (&self.segments, self.options.segments) {
            (Some(manifest), Some(options)) => {
                let directory = layout::group_directory(id);
                let opened = match read_only || quarantine.is_some() {
                    true => {
                        SegmentedLog::open_read_only(disk.clone(), directory, options, maps.clone(), manifest)
                    }
                    false => SegmentedLog::open(disk.clone(), directory, options, maps.clone(), manifest),
                };
                match opened {
                    Ok(segments) => Some(Arc::new(segments)),
                    Err(error) if error.is_damage() => {
                        tracing::error!(group = %id, %error, "the partition's segments are damaged; it is quarantined");
                        quarantine = Some(error.to_string());
                        None
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            _ => None,
        };
        if let Some(purged) = self.purged {
            self.kept.retain(|index, _| *index > purged.index);
            if let (Some(segments), false) = (&segments, read_only || quarantine.is_some()) {
                crate::group::detach(segments, purged)?;
            }
        }
        Ok(Opened {
            id,
            options: self.options,
            segments,
            manifest: self.segments,
            broken: self.broken,
            vote: self.vote,
            committed: self.committed,
            purged: self.purged,
            applied: self.applied,
            membership: self.membership,
            kept: self.kept,
            tail,
            log_start: self.log_start,
            state: self.state,
            quarantine,
        })
    }

    /// The tail must follow the applied entry without a gap, in indexes, terms and offsets.
    fn take_tail(&mut self, start: Offset) -> Tail {
        let first = self.applied.map_or(RaftIndex::ZERO, |applied| applied.index.next());
        let mut tail = Tail::new(first, start);
        let mut previous = self.applied;
        for (index, (stored, next_offset)) in std::mem::take(&mut self.entries) {
            let entry = stored.id();
            let expected = previous.map_or(RaftIndex::ZERO, |id| id.index.next());
            let follows = index == expected
                && previous.is_none_or(|previous| previous.term <= entry.term)
                && next_offset.is_none_or(|offset| offset > tail.next_offset());
            if !follows {
                let reason = format!("the journal holds entry {entry} where index {expected} must follow");
                self.broken.get_or_insert(reason);
                break;
            }
            let offset = next_offset.unwrap_or(tail.next_offset());
            tail.push(TailEntry::Stored(stored), offset, None);
            previous = Some(entry);
        }
        tail
    }
}
