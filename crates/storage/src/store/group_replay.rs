//! One group as the checkpoint and the frames of the journal after it leave it, and its opening.
//!
//! A state that a leader sent is read only here, once: the newest one. Until it was read the group stands as the checkpoint
//! has it, and when it cannot be read it stays so, quarantined.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use highwater_types::{GroupId, Incarnation, Offset, RaftIndex, mutant};

use super::open::OpenError;
use crate::directory::clear_unreadable;
use crate::disk::Disk;
use crate::entry::{Entry, LogId, Payload, Vote};
use crate::group::{
    Boundaries, Boundary, BoundaryRecord, Durability, GroupOptions, GroupSection, GroupSnapshot, Opened,
    ReplicaIdentity, StateFile, Stored, Tail, TailEntry, offset_after, sweep,
};
use crate::journal::frame::{Change, Install, Renewal};
use crate::layout;
use crate::segment::{Damage, MapBudget, SegmentError, SegmentManifest, SegmentOptions, SegmentedLog};

/// A group as the frames so far leave it.
pub(super) struct GroupReplay {
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
    pub(super) replay_from_lsn: u64,
    /// What is wrong with the log itself, now or when an earlier recovery read it.
    pub(super) broken: Option<String>,
    /// Entries above [`GroupReplay::reached`], each with the offset after it when it is a batch.
    entries: BTreeMap<RaftIndex, (Stored, Option<Offset>)>,
    boundaries: Vec<BoundaryRecord>,
    /// The newest state from a leader that the journal adds; all else here is as the checkpoint has it until its file was read.
    install: Option<Install>,
    identity: ReplicaIdentity,
}

impl GroupReplay {
    pub(super) fn empty(options: GroupOptions) -> Self {
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
            boundaries: Vec::new(),
            install: None,
            identity: ReplicaIdentity::default(),
        }
    }

    pub(super) fn new(section: &GroupSection) -> Result<Self, OpenError> {
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
            log_start: Offset(if mutant!(LogStartForgotten) { 0 } else { section.log_start }),
            state: section.state.clone(),
            replay_from_lsn: section.replay_from_lsn,
            broken: section.broken.clone(),
            entries: BTreeMap::new(),
            boundaries: section.boundaries.clone(),
            install: None,
            identity: ReplicaIdentity {
                incarnation: section.incarnation.map(Incarnation),
                is_doubtful: section.is_doubtful,
            },
        })
    }

    /// The entry that the first of `entries` has to follow.
    fn reached(&self) -> Option<LogId> {
        self.install.map(|install| install.last).max(self.applied)
    }

    pub(super) fn change(&mut self, change: Change, stored: Stored) {
        match change {
            Change::Append(entry) => {
                if self.reached().is_some_and(|reached| entry.id.index <= reached.index) {
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
                if self.vote.is_none_or(|older| vote.supersedes(&older) && !mutant!(OlderVote)) {
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
            Change::Install(install) => self.install(install),
            Change::Renewal(renewal) => self.renew(renewal),
            Change::Options(options) => match GroupOptions::decode(&options) {
                Ok(options) => self.options = GroupOptions { segments: self.options.segments, ..options },
                Err(error) => {
                    self.broken.get_or_insert_with(|| format!("its options cannot be read: {error}"));
                }
            },
            Change::Create(_) | Change::Remove => unreachable!("handled by the replay"),
        }
    }

    fn renew(&mut self, renewal: Renewal) {
        if renewal.is_empty {
            // What lies in the directory is none of the new log: its opening sweeps it away.
            *self = Self { replay_from_lsn: self.replay_from_lsn, ..Self::empty(self.options) };
        }
        self.identity = ReplicaIdentity::renewed(renewal.incarnation);
    }

    /// The power went: what was acknowledged without a sync may be gone. A replica that never voted acknowledged nothing.
    pub(super) fn doubt(&mut self) {
        if self.options.durability == Durability::Memory && self.vote.is_some() {
            self.identity.is_doubtful = true;
        }
    }

    /// As the log itself did: entries after the last that the state takes in stay when they follow it.
    fn install(&mut self, install: Install) {
        if Some(install.last) <= self.reached() {
            return;
        }
        let after = self.entries.split_off(&install.last.index.next());
        let is_followed =
            self.entries.get(&install.last.index).is_some_and(|(stored, _)| stored.id() == install.last);
        self.entries = if is_followed { after } else { BTreeMap::new() };
        self.install = Some(install);
    }

    /// Reads the state of the newest install, and lets it take the place of what the checkpoint has. Without its state the
    /// group stands as the checkpoint has it, damaged: what it promised since is not to be had.
    fn land(&mut self, disk: &dyn Disk, directory: &Path) -> Option<Landed> {
        let install = self.install.take()?;
        let Install { last, next_offset, .. } = install;
        let file = StateFile::from(install);
        let end = self.segments.as_ref().map_or(Offset::ZERO, |manifest| Offset(manifest.next_offset));
        let snapshot = match file.read(disk, directory) {
            Ok((_, snapshot)) if snapshot.next_offset == next_offset && next_offset >= end => snapshot,
            read => {
                let reason = read
                    .err()
                    .unwrap_or_else(|| format!("it does not end at {next_offset}, at or after {end}"));
                self.broken
                    .get_or_insert_with(|| format!("the state that entry {last} continues is lost: {reason}"));
                self.entries.clear();
                return None;
            }
        };
        let GroupSnapshot { membership, log_start, state, .. } = snapshot;
        let left = self.segments.take();
        self.log_start = match left {
            Some(_) => next_offset,
            None => self.log_start.max(log_start),
        };
        self.segments = left.as_ref().map(|_| SegmentManifest::empty(next_offset));
        (self.applied, self.purged) = (Some(last), Some(last));
        self.committed = self.committed.max(Some(last));
        (self.membership, self.state) = (membership, state);
        self.kept.clear();
        Some(Landed { file, next_offset, left })
    }

    /// The boundaries from the purged entry on; the files of those before go with the next checkpoint.
    fn take_boundaries(&self, landed: Option<&Landed>) -> Boundaries {
        let all = self.boundaries.iter().map(Boundary::from);
        let (gone, list): (Vec<Boundary>, Vec<Boundary>) =
            all.partition(|boundary| landed.is_some() || Some(boundary.last()) < self.purged);
        let dropped = gone.into_iter().map(|boundary| boundary.last().index).collect();
        let mut boundaries = Boundaries::stored(list, dropped);
        if let Some(landed) = landed {
            let boundary = landed.left.as_ref().map(|_| Boundary::durable(landed.file, landed.next_offset));
            boundaries.replace(landed.file, boundary);
        }
        boundaries
    }

    /// Puts the tail together, opens the segments, and quarantines what does not fit.
    pub(super) fn open(
        mut self,
        id: GroupId,
        disk: &Arc<dyn Disk>,
        maps: &Arc<MapBudget>,
        read_only: bool,
        unreadable: &[&PathBuf],
    ) -> Result<Opened, OpenError> {
        let mut quarantine = None;
        let directory = layout::group_directory(id);
        let landed = self.land(&**disk, &directory);
        let start = self.segments.as_ref().map_or(Offset::ZERO, |manifest| Offset(manifest.next_offset));
        let tail = self.take_tail(start);
        if let Some(reason) = &self.broken {
            tracing::error!(group = %id, reason, "the group's log is damaged; it is quarantined");
            quarantine = Some(reason.clone());
        }
        let boundaries = self.take_boundaries(landed.as_ref());
        let is_kept = read_only || quarantine.is_some();
        if !is_kept {
            self.sweep_states(&**disk, &directory, landed.as_ref())?;
        }
        let opener = self.options.segments.map(|options| Opener { disk, directory, options, maps });
        let segments = match self.open_segments(opener, landed.as_ref(), is_kept) {
            Ok(segments) => segments.map(Arc::new),
            Err(error) if error.is_damage() => {
                tracing::error!(group = %id, %error, "the partition's segments are damaged; it is quarantined");
                quarantine = Some(error.to_string());
                None
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(segments) = &segments {
            mark_unreadable(&**disk, segments, unreadable, is_kept)
                .map_err(OpenError::io("clearing a marker"))?;
        }
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
            boundaries,
            tail,
            log_start: self.log_start,
            state: self.state,
            quarantine,
            identity: self.identity,
        })
    }

    /// Opens what the checkpoint lists, or what a jump left of it; a group without batches has none.
    fn open_segments(
        &self,
        opener: Option<Opener<'_>>,
        landed: Option<&Landed>,
        is_kept: bool,
    ) -> Result<Option<SegmentedLog>, SegmentError> {
        let (Some(opener), Some(manifest)) = (opener, &self.segments) else { return Ok(None) };
        let opened = match (landed, is_kept) {
            (Some(landed), _) => opener.open_after_jump(landed, is_kept),
            (None, true) => opener.open_read_only(manifest),
            (None, false) => opener.open(manifest),
        };
        opened.map(Some)
    }

    /// Removes the state files that neither the checkpoint nor the journal names: a crash left them over.
    fn sweep_states(
        &self,
        disk: &dyn Disk,
        directory: &Path,
        landed: Option<&Landed>,
    ) -> Result<(), OpenError> {
        let listed = self.boundaries.iter().map(|boundary| RaftIndex(boundary.last.index));
        let keep = listed.chain(landed.map(|landed| landed.file.last.index)).collect();
        sweep(disk, directory, &keep).map_err(OpenError::io("removing leftover states"))
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

/// Marks the segments that an earlier process could not read. A marker without a segment is of one that is gone, or whose batches
/// come from the journal again.
fn mark_unreadable(
    disk: &dyn Disk,
    segments: &SegmentedLog,
    unreadable: &[&PathBuf],
    is_kept: bool,
) -> std::io::Result<()> {
    for file in unreadable {
        let reason = "an earlier process met a sector that cannot be read".to_owned();
        if !segments.mark_file(file, &Damage::Unreadable { reason }) && !is_kept {
            clear_unreadable(disk, file)?;
        }
    }
    Ok(())
}

/// A state from a leader, read again.
struct Landed {
    file: StateFile,
    next_offset: Offset,
    /// The segments that it left behind, as the checkpoint has them; `None` for a group without batches.
    left: Option<SegmentManifest>,
}

/// Where a group's segments are, and how they are opened.
struct Opener<'a> {
    disk: &'a Arc<dyn Disk>,
    directory: PathBuf,
    options: SegmentOptions,
    maps: &'a Arc<MapBudget>,
}

impl Opener<'_> {
    fn open(&self, manifest: &SegmentManifest) -> Result<SegmentedLog, SegmentError> {
        let (disk, directory, maps) = (self.disk.clone(), self.directory.clone(), self.maps.clone());
        SegmentedLog::open_marking(disk, directory, self.options, maps, manifest)
    }

    fn open_read_only(&self, manifest: &SegmentManifest) -> Result<SegmentedLog, SegmentError> {
        let (disk, directory, maps) = (self.disk.clone(), self.directory.clone(), self.maps.clone());
        SegmentedLog::open_read_only(disk, directory, self.options, maps, manifest)
    }

    /// The log after a jump. The segments that it left behind stay until a checkpoint that does not list them is durable: so far
    /// the frame of the jump may lie in the page cache only (R2). Damage to them is nobody's loss.
    fn open_after_jump(&self, landed: &Landed, is_read_only: bool) -> Result<SegmentedLog, SegmentError> {
        match landed.left.as_ref().filter(|_| !is_read_only).map(|left| self.open(left)) {
            Some(Ok(log)) => {
                log.reset(landed.next_offset)?;
                return Ok(log);
            }
            Some(Err(error)) if error.is_damage() => {
                tracing::warn!(%error, "segments that a jump left behind are damaged; nobody needs them");
            }
            Some(Err(error)) => return Err(error),
            None => {}
        }
        let (disk, directory, maps) = (self.disk.clone(), self.directory.clone(), self.maps.clone());
        Ok(SegmentedLog::beside(disk, directory, self.options, maps, landed.next_offset, is_read_only))
    }
}
