//! The journal's files: their names, the spare ones that wait pre-zeroed, and which
//! of them still hold groups that a checkpoint needs.
//!
//! A file's name carries its generation, so that a damaged header cannot hide it. Spare
//! files are written full of zeros (or recycled) and synced before they are used: a commit then
//! changes no metadata, which halves its latency.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{FIRST_GROUP_POSITION, GROUP_HEADER_LEN};
use crate::disk::{Disk, DiskFile};

/// How the name of a live file ends.
const LIVE_SUFFIX: &str = ".journal";
/// How the name of a spare file ends.
const SPARE_SUFFIX: &str = ".spare";
/// How the name of a file ends that is being filled with zeros.
const UNFINISHED_SUFFIX: &str = ".unfinished";
/// Zeros are written in pieces of this size.
const ZEROS_LEN: usize = 1 << 20;

/// What a name in the journal's directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Holds groups of this generation.
    Live(u64),
    /// Waits to be used; the number only makes its name unique.
    Spare(u64),
    /// Left behind by a crash while it was filled with zeros.
    Unfinished,
    /// Not a journal's file.
    Foreign,
}

/// Reads a name in the journal's directory.
pub fn classify(name: &str) -> FileKind {
    if name.ends_with(UNFINISHED_SUFFIX) {
        return FileKind::Unfinished;
    }
    let number = |suffix| name.strip_suffix(suffix).and_then(|hex: &str| u64::from_str_radix(hex, 16).ok());
    match (number(LIVE_SUFFIX), number(SPARE_SUFFIX)) {
        (Some(generation), _) => FileKind::Live(generation),
        (_, Some(spare)) => FileKind::Spare(spare),
        _ => FileKind::Foreign,
    }
}

/// The path of the live file of a generation.
pub fn live_path(directory: &Path, generation: u64) -> PathBuf {
    directory.join(format!("{generation:016x}{LIVE_SUFFIX}"))
}

fn spare_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}{SPARE_SUFFIX}"))
}

/// A file that waits to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spare {
    pub(super) path: PathBuf,
    pub(super) capacity: u64,
}

/// Which files there are. Pure bookkeeping: the caller does the IO.
#[derive(Debug, Default)]
pub(super) struct Files {
    spares: VecDeque<Spare>,
    /// Capacities of the files that hold groups, by generation.
    live: BTreeMap<u64, u64>,
    next_spare: u64,
}

impl Files {
    pub(super) fn add_spare(&mut self, spare: Spare) {
        self.spares.push_back(spare);
    }

    /// Notes that a file is in use.
    pub(super) fn add_live(&mut self, generation: u64, capacity: u64) {
        self.live.insert(generation, capacity);
    }

    /// The first spare file with room for `needed` bytes.
    pub(super) fn take_spare(&mut self, needed: u64) -> Option<Spare> {
        let fitting = self.spares.iter().position(|spare| spare.capacity >= needed)?;
        self.spares.remove(fitting)
    }

    pub(super) fn spare_bytes(&self) -> u64 {
        self.spares.iter().map(|spare| spare.capacity).sum()
    }

    /// Bytes of groups that surely fit the spare files that can be used, when the end of each file, up to `wasted` bytes, may
    /// stay empty because the next group does not fit there.
    pub(super) fn spare_room(&self, file_bytes: u64, wasted: u64) -> u64 {
        let unusable = FIRST_GROUP_POSITION + GROUP_HEADER_LEN as u64 + wasted;
        let usable = self.spares.iter().filter(|spare| spare.capacity >= file_bytes);
        usable.map(|spare| spare.capacity.saturating_sub(unusable)).sum()
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.live.values().sum()
    }

    /// Takes out the generations before `first`, with their capacities.
    fn take_before(&mut self, first: u64) -> BTreeMap<u64, u64> {
        let kept = self.live.split_off(&first);
        std::mem::replace(&mut self.live, kept)
    }

    fn draw_spare_path(&mut self, directory: &Path) -> PathBuf {
        self.next_spare += 1;
        spare_path(directory, self.next_spare)
    }

    /// Keeps names of new spares apart from those found on the disk.
    pub(super) fn reserve_spare_number(&mut self, number: u64) {
        self.next_spare = self.next_spare.max(number);
    }
}

/// Recycles the files before generation `first`, which no checkpoint needs: as spares, or deletes them when there are enough.
pub(super) fn recycle_before(
    disk: &dyn Disk,
    directory: &Path,
    files: &parking_lot::Mutex<Files>,
    first: u64,
    keep: impl Fn(u64, u64) -> bool,
) -> io::Result<()> {
    let done = files.lock().take_before(first);
    for (generation, capacity) in done {
        let path = live_path(directory, generation);
        let spare_bytes = files.lock().spare_bytes();
        if keep(capacity, spare_bytes) {
            let spare = files.lock().draw_spare_path(directory);
            disk.rename(&path, &spare)?;
            files.lock().add_spare(Spare { path: spare, capacity });
        } else {
            disk.remove_file(&path)?;
        }
    }
    Ok(())
}

/// Writes a new spare file of `capacity` zeros, durable with its name on return.
///
/// # Errors
/// When the disk has no room; what was begun is removed.
pub(super) fn prepare_spare(
    disk: &dyn Disk,
    directory: &Path,
    files: &parking_lot::Mutex<Files>,
    capacity: u64,
) -> io::Result<()> {
    let path = files.lock().draw_spare_path(directory);
    let unfinished = path.with_extension(&UNFINISHED_SUFFIX[1..]);
    let made = fill_with_zeros(disk, &unfinished, capacity)
        .and_then(|()| disk.rename(&unfinished, &path))
        .and_then(|()| disk.sync_dir(directory));
    if let Err(error) = made {
        // Best effort: the next start removes what is left.
        let _ = disk.remove_file(&unfinished);
        return Err(error);
    }
    files.lock().add_spare(Spare { path, capacity });
    Ok(())
}

fn fill_with_zeros(disk: &dyn Disk, path: &Path, capacity: u64) -> io::Result<()> {
    let file: Arc<dyn DiskFile> = disk.create(path)?;
    file.allocate(capacity)?;
    let zeros = vec![0; ZEROS_LEN];
    let mut position = 0;
    while position < capacity {
        let piece = usize::try_from(capacity - position).map_or(ZEROS_LEN, |rest| rest.min(ZEROS_LEN));
        file.write_all_at(&mut [IoSlice::new(&zeros[..piece])], position)?;
        position += piece as u64;
    }
    file.sync_data()
}
