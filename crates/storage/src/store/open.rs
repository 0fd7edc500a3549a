//! Opening a store: recovery, then a fresh journal file, then a checkpoint that names
//! it, and only then service.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_types::{FilePosition, GroupId, Offset, Random};
use parking_lot::{Mutex, RwLock};

use super::checkpointing::{Checkpoints, assemble};
use super::recovery::{Recovered, recover};
use super::{OnFailure, Store, delete_group_data};
use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::disk::Disk;
use crate::group::{GroupLog, Opened, Services, Stored, Tail, TailEntry};
use crate::journal::frame::{Change, FRAME_HEADER_LEN, Frame, GROUP_HEADER_LEN};
use crate::journal::scan::ScanError;
use crate::journal::{Continuation, Journal, JournalError, JournalOptions, Prepared};
use crate::layout;
use crate::segment::{MapBudget, SegmentError};

/// How much of the tail is written as one group when a recovery rewrites it.
const REWRITE_GROUP_BYTES: usize = 4 << 20;

/// How a store works.
#[derive(Clone)]
pub struct StoreOptions {
    /// The journal's sizes.
    pub journal: JournalOptions,
    /// Most segments that are mapped at one time.
    pub mapped_segments_max: usize,
    /// Files that could not be read under a mapping before ([`crate::directory::DataDirectory::unreadable_files`]): their partitions
    /// come up quarantined (R7).
    pub unreadable: Vec<PathBuf>,
    /// Whether the power may have gone since the store was last open: replicas whose batches are not synced are in doubt then (R20).
    pub power_lost: bool,
    /// Called once when the journal fails.
    pub on_failure: OnFailure,
}

/// Why a store cannot be opened. Nothing was changed that a later attempt needs.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk failed.
    #[error("{doing} failed: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the disk said.
        source: std::io::Error,
    },
    /// No checkpoint to start from.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// There is a journal, or there are topics, but no checkpoint.
    #[error("the data directory has a journal or topics but no checkpoint: {CHECKPOINT_HINT}")]
    CheckpointMissing,
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] ScanError),
    /// The fresh journal file cannot be written.
    #[error(transparent)]
    Rewrite(#[from] JournalError),
    /// A segment's disk failed (damage is no error: it quarantines its partition).
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A group's part of the checkpoint makes no sense.
    #[error("the checkpoint's part for a group cannot be understood: {0}")]
    Section(String),
}

const CHECKPOINT_HINT: &str = "was a file removed? Restore the directory `checkpoint` from where it went, or the whole directory from a backup";

impl OpenError {
    pub(super) fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

impl Store {
    /// Opens the store below the disk's root, or brings a new one to life in an empty directory.
    ///
    /// Blocks for the recovery: at most the journal is read, whatever the size of the data. On a simulated disk it must
    /// be called within a tokio runtime. A damaged journal gives a store for reading only ([`Store::quarantine`]).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        disk: Arc<dyn Disk>,
        options: &StoreOptions,
        random: &dyn Random,
    ) -> Result<Arc<Self>, OpenError> {
        let journal_directory = PathBuf::from(layout::JOURNAL);
        for directory in [layout::JOURNAL, layout::CHECKPOINT, layout::TOPICS] {
            disk.create_dir_all(Path::new(directory)).map_err(OpenError::io("creating the data directory"))?;
        }
        let base = match checkpoint::read(&*disk, Path::new(layout::CHECKPOINT))? {
            Some(checkpoint) => checkpoint,
            None => be_born(&*disk, &journal_directory, random)?,
        };
        let maps = MapBudget::new(options.mapped_segments_max);
        let recovered = recover(&disk, &base, &journal_directory, &maps, options)?;
        if let Some(corruption) = recovered.corruption.clone() {
            tracing::error!(%corruption, "the journal is damaged: the node is quarantined and serves only what the checkpoint proves whole");
            return Ok(Self::quarantined(disk, base.journal_id, maps, recovered, corruption));
        }
        Self::start(disk, options, maps, &base, recovered)
    }

    fn quarantined(
        disk: Arc<dyn Disk>,
        journal_id: u64,
        maps: Arc<MapBudget>,
        recovered: Recovered,
        reason: String,
    ) -> Arc<Self> {
        let services =
            Services { disk, journal_directory: PathBuf::from(layout::JOURNAL), journal: Arc::default() };
        let groups = recovered.groups.into_iter().map(|mut opened| {
            opened.quarantine.get_or_insert_with(|| reason.clone());
            (opened.id, GroupLog::open(opened, services.clone()))
        });
        let groups = groups.collect();
        Arc::new(Self {
            services,
            journal_id,
            quarantine: Some(reason),
            maps,
            groups: RwLock::new(groups),
            removed: Mutex::default(),
            checkpoints: Arc::default(),
        })
    }

    /// Rewrites the tail into a fresh file, commits that by a checkpoint, and runs the journal.
    fn start(
        disk: Arc<dyn Disk>,
        options: &StoreOptions,
        maps: Arc<MapBudget>,
        base: &Checkpoint,
        mut recovered: Recovered,
    ) -> Result<Arc<Self>, OpenError> {
        let journal_directory = PathBuf::from(layout::JOURNAL);
        let continuation = Continuation {
            journal_id: base.journal_id,
            generation: recovered.last_generation + 1,
            next_lsn: recovered.next_lsn,
            durable_lsn: recovered.durable_lsn,
        };
        let mut prepared = Prepared::begin(
            disk.clone(),
            journal_directory.clone(),
            options.journal,
            &continuation,
            &recovered.files,
        )
        .map_err(OpenError::io("beginning a journal file"))?;
        for opened in &mut recovered.groups {
            rewrite_tail(&disk, &journal_directory, &mut prepared, opened)?;
        }
        prepared.sync()?;
        let progress = prepared.progress();

        let services = Services { disk: disk.clone(), journal_directory, journal: Arc::default() };
        let logs: Vec<Arc<GroupLog>> =
            recovered.groups.into_iter().map(|opened| GroupLog::open(opened, services.clone())).collect();
        let captured = logs.iter().map(|log| log.capture(&progress)).collect();
        let (mut checkpoint, work, replay_from) = assemble(captured, &recovered.removed, &progress);
        checkpoint.sequence = base.sequence + 1;
        checkpoint.journal_id = base.journal_id;
        checkpoint.durable_lsn = progress.durable_lsn;
        for work in work {
            work.sync(&*disk)?;
        }
        checkpoint::write(&*disk, Path::new(layout::CHECKPOINT), &checkpoint)
            .map_err(OpenError::io("writing the checkpoint"))?;

        for id in &recovered.removed {
            delete_group_data(&*disk, *id).map_err(OpenError::io("deleting a removed partition's data"))?;
        }
        let on_failure = options.on_failure.clone();
        let journal: Journal = prepared
            .run(Box::new(move |error| on_failure(error)))
            .map_err(OpenError::io("starting the journal"))?;
        let journal = services.journal.get_or_init(|| journal);
        journal.recycle_before(replay_from).map_err(OpenError::io("recycling the journal"))?;
        Ok(Arc::new(Self {
            services,
            journal_id: base.journal_id,
            quarantine: None,
            maps,
            groups: RwLock::new(logs.into_iter().map(|log| (log.id(), log)).collect()),
            removed: Mutex::default(),
            checkpoints: Arc::new(tokio::sync::Mutex::new(Checkpoints::new(checkpoint.sequence))),
        }))
    }
}

/// The first checkpoint of an empty directory: a journal's id, no journal yet. Durable on return.
fn be_born(disk: &dyn Disk, journal_directory: &Path, random: &dyn Random) -> Result<Checkpoint, OpenError> {
    for used in [journal_directory, Path::new(layout::TOPICS)] {
        if !disk.list(used).map_err(OpenError::io("listing the data directory"))?.is_empty() {
            return Err(OpenError::CheckpointMissing);
        }
    }
    let checkpoint = Checkpoint { journal_id: random.next_u64(), ..Checkpoint::default() };
    checkpoint::write(disk, Path::new(layout::CHECKPOINT), &checkpoint)
        .map_err(OpenError::io("writing the first checkpoint"))?;
    Ok(checkpoint)
}

/// Writes a group's tail into the fresh journal file: what a failed sync left in the page cache looks
/// clean but need not be on the disk (R2). The tail then points into the fresh file.
fn rewrite_tail(
    disk: &Arc<dyn Disk>,
    journal_directory: &Path,
    prepared: &mut Prepared,
    opened: &mut Opened,
) -> Result<(), OpenError> {
    let mut rewritten = opened.tail.emptied();
    let mut chunk = Vec::new();
    let mut chunk_bytes = 0;
    while let Some((stored, next_offset)) = opened.tail.pop_stored() {
        let entry = stored.read(disk, journal_directory).map_err(|reason| {
            OpenError::Section(format!("entry {} of group {}: {reason}", stored.id().index, opened.id))
        })?;
        let frame = Frame::new(opened.id, &Change::Append(entry));
        chunk_bytes += frame.len();
        chunk.push((frame, stored, next_offset));
        if chunk_bytes >= REWRITE_GROUP_BYTES {
            write_chunk(opened.id, prepared, std::mem::take(&mut chunk), &mut rewritten)?;
            chunk_bytes = 0;
        }
    }
    write_chunk(opened.id, prepared, chunk, &mut rewritten)?;
    opened.tail = rewritten;
    Ok(())
}

fn write_chunk(
    id: GroupId,
    prepared: &mut Prepared,
    chunk: Vec<(Frame, Stored, Offset)>,
    rewritten: &mut Tail,
) -> Result<(), OpenError> {
    if chunk.is_empty() {
        return Ok(());
    }
    let (frames, entries): (Vec<Frame>, Vec<_>) =
        chunk.into_iter().map(|(frame, stored, next_offset)| (frame, (stored, next_offset))).unzip();
    let lengths: Vec<u64> = frames.iter().map(|frame| frame.len() as u64).collect();
    let group = prepared.write(id, frames)?;
    let mut frame_at = group.at.0 + GROUP_HEADER_LEN as u64;
    for ((stored, next_offset), length) in entries.into_iter().zip(lengths) {
        let payload_at = FilePosition(frame_at + FRAME_HEADER_LEN as u64);
        let moved = Stored { generation: group.generation, payload_at, ..stored };
        rewritten.push(TailEntry::Stored(moved), next_offset, Some(group));
        frame_at += length;
    }
    Ok(())
}
