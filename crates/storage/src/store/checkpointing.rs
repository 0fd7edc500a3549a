//! Taking a checkpoint while the node works.
//!
//! 1. note how far the journal is; capture every group (a lock each, no IO);
//! 2. wait until the journal is durable up to there: nothing applied is checkpointed past it (R12);
//! 3. sync the segments that changed;
//! 4. write the checkpoint, both copies;
//! 5. recycle the journal's files before the position, delete segments that the checkpoint no longer lists.

use std::path::Path;
use std::sync::Arc;

use highwater_types::{GroupId, mutant};
use tokio::sync::oneshot;

use super::{Store, StoreError};
use crate::checkpoint::{self, Checkpoint};
use crate::disk::blocking;
use crate::group::{Captured, GroupLog, SyncWork};
use crate::journal::{Journal, JournalError, Position, Progress, Submission};
use crate::layout;

/// Files that an uncommitted tail may hold back before it is written again.
const FILES_HELD_BACK_MAX: u64 = 2;

/// What one checkpoint knows of those before.
#[derive(Default)]
pub(super) struct Checkpoints {
    /// The number of the last one.
    pub(super) sequence: u64,
    /// How much the journal must have written before tails are written again: as much as they take, twice. A tail that waits for its
    /// majority for hours would be written over and over otherwise.
    carry_at: u64,
}

impl Checkpoints {
    pub(super) fn new(sequence: u64) -> Self {
        Self { sequence, carry_at: 0 }
    }

    /// Writes the tails that hold back old files of the journal again, when that is worth it.
    fn carry_forward(&mut self, journal: &Journal, groups: &[Arc<GroupLog>]) {
        let (written, is_too_long) = journal.written();
        if written < self.carry_at && !is_too_long {
            return;
        }
        let generation = journal.progress().next.generation.saturating_sub(FILES_HELD_BACK_MAX);
        let bytes: u64 = groups.iter().map(|log| log.carry_forward(generation)).sum();
        if bytes > 0 {
            self.carry_at = written + 2 * bytes;
        }
    }
}

impl Store {
    /// Takes a checkpoint; durable on return. One at a time; a second call waits for the first.
    ///
    /// Cancel-safe: one whose work on the disk has begun is finished nevertheless, and before the next begins.
    ///
    /// # Errors
    /// A full disk passes ([`StoreError::is_no_space`]): the journal keeps what the checkpoint would have.
    /// After any other error the node must end (R2).
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        let journal = self.running_journal()?;
        let mut checkpoints = Arc::clone(&self.checkpoints).lock_owned().await;
        let progress = journal.progress();
        let groups: Vec<Arc<GroupLog>> = self.groups.read().values().cloned().collect();
        let captured: Vec<Captured> = groups.iter().map(|log| log.capture(&progress)).collect();
        let marks: Vec<_> = captured
            .iter()
            .map(|group| (group.section.applied.map(Into::into), group.work.mark(), group.states.clone()))
            .collect();
        let removed: Vec<GroupId> = self.removed.lock().iter().copied().collect();
        let durable_lsn = durable(journal).await?;

        let (mut checkpoint, work, replay_from) = assemble(captured, &removed, &progress);
        checkpoint.sequence = checkpoints.sequence + 1;
        checkpoint.journal_id = self.journal_id;
        checkpoint.durable_lsn = durable_lsn;
        let services = self.services.clone();
        let taken = blocking(&*self.services.disk, move || {
            for work in work.into_iter().filter(|_| !mutant!(SegmentsUnsynced)) {
                work.sync(&*services.disk).map_err(Arc::new)?;
            }
            checkpoint::write(&*services.disk, Path::new(layout::CHECKPOINT), &checkpoint)
                .map_err(StoreError::io("writing the checkpoint"))?;
            checkpoints.sequence = checkpoint.sequence;

            let Some(journal) = services.journal.get() else {
                return Ok(());
            };
            for (log, (applied, mark, states)) in groups.iter().zip(marks) {
                log.checkpointed(applied, &states).map_err(Arc::new)?;
                if let (Some(segments), Some(mark)) = (log.segments(), mark) {
                    segments.delete_detached(mark).map_err(Arc::new)?;
                }
            }
            checkpoints.carry_forward(journal, &groups);
            let unused = if mutant!(RecycledEarly) { progress.next } else { replay_from };
            journal.recycle_before(unused).map_err(StoreError::io("recycling the journal"))?;
            tracing::debug!(sequence = checkpoints.sequence, replay_from = %replay_from, "checkpoint");
            Ok(())
        });
        taken.await
    }
}

/// Waits until all that was submitted before is durable; the newest LSN that is.
async fn durable(journal: &Journal) -> Result<u64, JournalError> {
    let (sender, receiver) = oneshot::channel();
    let sync = !mutant!(AppliedPastDurable);
    let done = Box::new(move |result| drop(sender.send(result)));
    journal.submit(Submission { group: GroupId::Metadata, frames: Vec::new(), sync, done });
    let written = receiver.await.unwrap_or(Err(JournalError::Closed))?;
    Ok(if sync { journal.progress().durable_lsn } else { written.lsn.saturating_sub(1) })
}

/// The checkpoint of what was captured, what to sync before it counts, and where its replay starts.
pub(super) fn assemble(
    captured: Vec<Captured>,
    removed: &[GroupId],
    progress: &Progress,
) -> (Checkpoint, Vec<SyncWork>, Position) {
    let mut replay_from = progress.next;
    let mut sections = Vec::with_capacity(captured.len());
    let mut work = Vec::new();
    for group in captured {
        if group.replay_from.lsn < replay_from.lsn {
            replay_from = group.replay_from;
        }
        sections.push(group.section);
        work.push(group.work);
    }
    let checkpoint = Checkpoint {
        replay_from: Some(replay_from.into()),
        groups: sections,
        removed: removed.iter().map(|id| id.to_bytes().to_vec()).collect(),
        ..Checkpoint::default()
    };
    (checkpoint, work, replay_from)
}
