//! The journal as the rest of the engine sees it: submit, reserve room, learn how far it is, close.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::file;
use super::options::JournalOptions;
use super::position::{Position, Progress};
use super::runner::Runner;
use super::shared::Shared;
use super::submission::Submission;
use super::writer::JournalError;

/// Whether the journal has room for what a producer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// The bytes are reserved.
    Reserved,
    /// Not now: a file is being prepared or a checkpoint is under way. [`Journal::room_changed`] tells when to ask again.
    Busy,
    /// The disk is full.
    Full,
}

/// A node's journal. Cheap to share; see the module for what it promises.
pub struct Journal {
    pub(super) shared: Arc<Shared>,
    pub(super) runner: Mutex<Option<Runner>>,
}

impl Journal {
    /// Queues changes. `done` runs when they are durable (or written, when not `sync`), in the order of a
    /// Raft group's submissions; at once with an error when the journal has failed or is closed.
    pub fn submit(&self, submission: Submission) {
        let refused = {
            let mut queue = self.shared.queue.lock();
            match (&queue.failed, queue.closing) {
                (None, false) => {
                    queue.submissions.push_back(submission);
                    None
                }
                (Some(failed), _) => Some((submission, failed.clone())),
                (None, true) => Some((submission, JournalError::Closed)),
            }
        };
        match refused {
            None => {
                self.shared.queue_filled.notify_one();
                self.shared.queue_filled_async.notify_one();
            }
            Some((submission, error)) => (submission.done)(Err(error)),
        }
    }

    /// Sets room for `bytes` aside; give it back with [`Journal::release`] once they were written or dropped.
    pub fn reserve(&self, bytes: u64) -> Capacity {
        let options = &self.shared.options;
        let mut room = self.shared.room.lock();
        if room.live >= options.bytes_max {
            drop(room);
            // One may have failed for want of space since the last was asked for.
            self.shared.checkpoint_due.notify_one();
            return Capacity::Busy;
        }
        let over_files = room.in_file.saturating_sub(options.waste_max()) + room.spare;
        if room.reserved + bytes + options.reserve_bytes <= room.in_file.max(over_files) {
            room.reserved += bytes;
            return Capacity::Reserved;
        }
        room.preparing = true;
        let full = room.full;
        drop(room);
        self.shared.prepare.notify_one();
        self.shared.queue_filled_async.notify_one();
        if full { Capacity::Full } else { Capacity::Busy }
    }

    /// Gives back what [`Journal::reserve`] set aside.
    pub fn release(&self, bytes: u64) {
        let mut room = self.shared.room.lock();
        debug_assert!(room.reserved >= bytes, "released {bytes} bytes of {} reserved", room.reserved);
        room.reserved = room.reserved.saturating_sub(bytes);
        drop(room);
        self.shared.room_changed.notify_waiters();
    }

    /// Completes when room may have been made since the returned future was created. Cancel-safe.
    pub fn room_changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.shared.room_changed.notified()
    }

    /// Completes when a checkpoint is due. Cancel-safe.
    pub async fn checkpoint_due(&self) {
        self.shared.checkpoint_due.notified().await;
    }

    /// Asks for a checkpoint when the disk is full: segments that left the log are deleted only after one.
    pub fn space_detached(&self) {
        if self.shared.room.lock().full {
            self.shared.checkpoint_due.notify_one();
        }
    }

    /// How far the writer is: whatever is not completed, or submitted from now on, is written at or after its `next`.
    pub fn progress(&self) -> Progress {
        *self.shared.progress.lock()
    }

    /// Bytes that it wrote since it was opened, and whether it is so long that appends wait.
    pub(crate) fn written(&self) -> (u64, bool) {
        let room = self.shared.room.lock();
        (room.written, room.live >= self.shared.options.bytes_max)
    }

    /// The sizes it was opened with.
    pub fn options(&self) -> &JournalOptions {
        &self.shared.options
    }

    /// Recycles the files before the one that `replay_from` names, after a durable checkpoint that starts there. That
    /// file stays even when the group at `replay_from` turned out to begin the next one.
    pub fn recycle_before(&self, replay_from: Position) -> io::Result<()> {
        let shared = &self.shared;
        let spare_bytes_max = shared.options.checkpoint_bytes + shared.options.file_bytes;
        let keep = |capacity, spare_bytes| {
            capacity >= shared.options.file_bytes && spare_bytes + capacity <= spare_bytes_max
        };
        file::recycle_before(&*shared.disk, &shared.directory, &shared.files, replay_from.generation, keep)?;
        shared.count_files();
        shared.room_changed.notify_waiters();
        Ok(())
    }

    /// Writes what is queued, then stops; later submissions fail with [`JournalError::Closed`].
    pub async fn close(&self) {
        self.begin_close();
        let runner = self.runner.lock().take();
        match runner {
            Some(Runner::Threads(threads)) => {
                let joined =
                    tokio::task::spawn_blocking(move || threads.into_iter().for_each(|t| drop(t.join())));
                drop(joined.await);
            }
            Some(Runner::Task(task)) => drop(task.await),
            None => {}
        }
    }

    fn begin_close(&self) {
        self.shared.queue.lock().closing = true;
        self.shared.room.lock().closing = true;
        self.shared.queue_filled.notify_all();
        self.shared.queue_filled_async.notify_one();
        self.shared.prepare.notify_all();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.begin_close();
    }
}
