//! What the journal's callers, its writer and its file preparer share: the queue, the count of
//! the room that is left, and how far the writer is.
//!
//! Invariant: [`Shared::progress`] passes a group only after every submission in it was completed.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use highwater_types::{limits, mutant};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::file::{self, Files};
use super::options::JournalOptions;
use super::position::{Position, Progress};
use super::submission::Submission;
use super::writer::{JournalError, Writer, split_by_sync};
use crate::disk::Disk;

#[derive(Default)]
pub(super) struct Queue {
    pub(super) submissions: VecDeque<Submission>,
    pub(super) closing: bool,
    pub(super) failed: Option<JournalError>,
}

#[derive(Default)]
pub(super) struct Room {
    pub(super) in_file: u64,
    /// Of the file that is being written.
    pub(super) file_bytes: u64,
    pub(super) spare: u64,
    pub(super) reserved: u64,
    pub(super) live: u64,
    /// Bytes of all groups that were written.
    pub(super) written: u64,
    pub(super) full: bool,
    pub(super) preparing: bool,
    pub(super) closing: bool,
}

pub(super) struct Shared {
    pub(super) options: JournalOptions,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: PathBuf,
    pub(super) files: Arc<Mutex<Files>>,
    pub(super) queue: Mutex<Queue>,
    pub(super) queue_filled: Condvar,
    pub(super) queue_filled_async: Notify,
    pub(super) room: Mutex<Room>,
    pub(super) room_changed: Notify,
    pub(super) prepare: Condvar,
    pub(super) checkpoint_due: Notify,
    pub(super) progress: Mutex<Progress>,
    /// Frames that were written when a checkpoint was last asked for because of their number.
    pub(super) frames_at_checkpoint: AtomicU64,
    /// Bytes that were written when a checkpoint was last asked for because of what is live.
    pub(super) bytes_at_checkpoint: AtomicU64,
    pub(super) on_failure: Box<dyn Fn(&JournalError) + Send + Sync>,
}

impl Shared {
    /// Takes up to one group's worth from the queue.
    pub(super) fn drain(&self, queue: &mut Queue) -> Vec<Submission> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(next) = queue.submissions.front() {
            bytes += next.len();
            if !taken.is_empty() && bytes as u64 > self.options.group_bytes_max() {
                break;
            }
            taken.extend(queue.submissions.pop_front());
        }
        taken
    }

    /// Makes the writer's progress visible, once every submission that it wrote is completed: until then
    /// [`Progress::next`] must not pass what the submitters do not know to be written.
    pub(super) fn publish(&self, writer: &Writer) {
        *self.progress.lock() = writer.progress();
        self.publish_room(writer);
    }

    pub(super) fn publish_room(&self, writer: &Writer) {
        {
            let mut room = self.room.lock();
            room.in_file = writer.room_in_file();
            room.file_bytes = writer.capacity();
            room.written = writer.bytes_written();
        }
        if writer.frames_written()
            >= self.frames_at_checkpoint.load(Relaxed) + limits::JOURNAL_CHECKPOINT_FRAMES
        {
            self.frames_at_checkpoint.store(writer.frames_written(), Relaxed);
            self.checkpoint_due.notify_one();
        }
        let live = self.count_files();
        // What a group has not committed stays live however often one is taken: only what is new is worth another.
        if live >= self.options.checkpoint_bytes
            && writer.bytes_written() >= self.bytes_at_checkpoint.load(Relaxed) + self.options.file_bytes / 4
        {
            self.bytes_at_checkpoint.store(writer.bytes_written(), Relaxed);
            self.checkpoint_due.notify_one();
        }
    }

    pub(super) fn spare_room(&self, files: &Files) -> u64 {
        files.spare_room(self.options.file_bytes, self.options.waste_max())
    }

    /// Counts the room in spare and live files anew, and asks for a spare file when one is due. Returns the bytes of the live files.
    pub(super) fn count_files(&self) -> u64 {
        let (spare, live) = {
            let files = self.files.lock();
            (self.spare_room(&files), files.live_bytes())
        };
        let mut room = self.room.lock();
        room.spare = spare;
        room.live = live;
        // Early enough that the next file is ready when this one is full.
        let scarce = spare == 0 && room.in_file < room.file_bytes / 2;
        let starts_to_prepare = scarce && !room.preparing;
        room.preparing |= scarce;
        drop(room);
        if starts_to_prepare {
            self.prepare.notify_one();
        }
        live
    }

    /// Writes, completes what need not be durable, and hands back what waits for the sync.
    pub(super) fn write(
        &self,
        writer: &mut Writer,
        taken: Vec<Submission>,
    ) -> Option<(Vec<Submission>, Position)> {
        let has_frames = taken.iter().any(|s| !s.frames.is_empty());
        let written = if has_frames { writer.write(&taken) } else { Ok(writer.progress().next) };
        match written {
            Ok(written) => {
                self.publish_room(writer);
                let (mut at_once, mut after_sync) = split_by_sync(taken);
                if mutant!(AckBeforeFsync) {
                    at_once.append(&mut after_sync);
                }
                if mutant!(FlushReordered) {
                    at_once.extend(after_sync.pop());
                }
                at_once.into_iter().for_each(|s| (s.done)(Ok(written)));
                Some((after_sync, written))
            }
            Err(error) => {
                self.fail(taken, &error);
                None
            }
        }
    }

    pub(super) fn sync(&self, writer: &mut Writer, waiting: Vec<Submission>, written: Position) -> bool {
        if waiting.is_empty() {
            self.publish(writer);
            return true;
        }
        match writer.sync() {
            Ok(()) => {
                self.progress.lock().durable_lsn = writer.progress().durable_lsn;
                waiting.into_iter().for_each(|s| (s.done)(Ok(written)));
                self.publish(writer);
                true
            }
            Err(error) => {
                self.fail(waiting, &error);
                false
            }
        }
    }

    /// Poisons the journal: fails these waiters, those in the queue and all to come.
    pub(super) fn fail(&self, waiting: Vec<Submission>, error: &JournalError) {
        let queued = {
            let mut queue = self.queue.lock();
            queue.failed = Some(error.clone());
            std::mem::take(&mut queue.submissions)
        };
        (self.on_failure)(error);
        waiting.into_iter().chain(queued).for_each(|s| (s.done)(Err(error.clone())));
    }

    /// Prepares a spare file, unless that would take what checkpoints and deletes need to make room (R3).
    pub(super) fn prepare_above_reserve(&self) -> io::Result<()> {
        let file_bytes = self.options.file_bytes;
        if self.disk.free_bytes()? < file_bytes + limits::DISK_RESERVE_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file::prepare_spare(&*self.disk, &self.directory, &self.files, file_bytes)
    }

    /// Prepares one spare file; on a full disk says so and waits to be asked again.
    pub(super) fn prepare_one(&self) {
        let prepared = self.prepare_above_reserve();
        let mut room = self.room.lock();
        room.preparing = false;
        match prepared {
            Ok(()) => {
                room.full = false;
                room.spare = self.spare_room(&self.files.lock());
            }
            Err(error) => {
                if !room.full {
                    // What a checkpoint recycles or deletes may be all the space that there is.
                    self.checkpoint_due.notify_one();
                    tracing::warn!(%error, "no room for another journal file: producing is refused until there is");
                }
                room.full = true;
            }
        }
        drop(room);
        self.room_changed.notify_waiters();
    }
}
