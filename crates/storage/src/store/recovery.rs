//! What the checkpoint and the journal after it say about every group.
//!
//! Recovery only reads (but for cutting an active segment to its durable size, which the journal
//! then fills again). It never reads stored data: its cost is the journal's length.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use highwater_types::{GroupId, mutant};

use super::group_replay::GroupReplay;
use super::open::{OpenError, StoreOptions};
use crate::checkpoint::Checkpoint;
use crate::disk::Disk;
use crate::group::{GroupOptions, Opened, Stored};
use crate::journal::frame::Change;
use crate::journal::scan::{self, Ending, FrameAt, ScanStart};
use crate::layout;
use crate::segment::MapBudget;

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
    options: &StoreOptions,
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
            Ending::Corrupt(_) if mutant!(TruncateMidLog) => {}
            Ending::Corrupt(corruption) => recovered.corruption = Some(corruption.to_string()),
        }
    }
    if recovered.corruption.is_some() {
        // What the journal adds cannot be trusted to be whole: the groups stand as the checkpoint has them.
        replay = Replay::new(base)?;
    }
    recovered.removed = replay.removed.iter().copied().collect();
    let read_only = recovered.corruption.is_some();
    for (id, mut group) in replay.groups {
        if options.power_lost {
            group.doubt();
        }
        let directory = layout::group_directory(id);
        let unreadable: Vec<_> =
            options.unreadable.iter().filter(|file| file.starts_with(&directory)).collect();
        recovered.groups.push(group.open(id, disk, maps, read_only, &unreadable)?);
    }
    Ok(recovered)
}

struct Replay {
    groups: BTreeMap<GroupId, GroupReplay>,
    removed: BTreeSet<GroupId>,
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
