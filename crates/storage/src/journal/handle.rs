//! The journal as the rest of the engine sees it: a queue in front of the writer,
//! a count of the room that is left, and the thread (or, on a simulated disk, the task)
//! that writes.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use highwater_types::{GroupId, limits};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::file::{self, Files};
use super::frame::{FIRST_GROUP_POSITION, Frame};
use super::position::{Position, Progress};
use super::writer::{JournalError, Writer, WriterStart, split_by_sync};
use crate::disk::Disk;

/// Sizes of the journal.
#[derive(Debug, Clone, Copy)]
pub struct JournalOptions {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of the first file of an empty node, small so that it starts at once.
    pub first_file_bytes: u64,
    /// Live bytes after which a checkpoint is due.
    pub checkpoint_bytes: u64,
    /// Live bytes at which appends wait for the checkpoint.
    pub bytes_max: u64,
    /// Room that only votes, log starts and deletes may use (R3).
    pub reserve_bytes: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            file_bytes: limits::JOURNAL_FILE_BYTES,
            first_file_bytes: limits::JOURNAL_FIRST_FILE_BYTES,
            checkpoint_bytes: limits::JOURNAL_CHECKPOINT_BYTES,
            bytes_max: limits::JOURNAL_BYTES_MAX,
            reserve_bytes: limits::JOURNAL_RESERVE_BYTES,
        }
    }
}

impl JournalOptions {
    /// Most bytes that one commit takes from the queue, but for a single larger submission. Where a file ends, so much may
    /// stay empty: a group is never split.
    pub(crate) fn group_bytes_max(&self) -> u64 {
        (limits::JOURNAL_GROUP_BYTES_MAX as u64).min(self.file_bytes / 4)
    }

    /// Most bytes at the end of a file that stay empty because the next group does not fit: the largest group, or the
    /// largest batch, which is a group of its own.
    fn waste_max(&self) -> u64 {
        self.file_bytes / 4 + FIRST_GROUP_POSITION
    }
}

/// What runs when a submission is durable or has failed.
pub type Completion = Box<dyn FnOnce(Result<Position, JournalError>) + Send>;

/// Changes of one Raft group that become durable together.
pub struct Submission {
    /// The Raft group.
    pub group: GroupId,
    /// Its changes, in order.
    pub frames: Vec<Frame>,
    /// Whether to complete when durable, or already when in the page cache.
    pub sync: bool,
    /// Called once, on the journal's thread: it must not block.
    pub done: Completion,
}

impl Submission {
    fn len(&self) -> usize {
        self.frames.iter().map(Frame::len).sum()
    }
}

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

#[derive(Default)]
struct Queue {
    submissions: VecDeque<Submission>,
    closing: bool,
    failed: Option<JournalError>,
}

#[derive(Default)]
struct Room {
    in_file: u64,
    /// Of the file that is being written.
    file_bytes: u64,
    spare: u64,
    reserved: u64,
    live: u64,
    full: bool,
    preparing: bool,
    closing: bool,
}

struct Shared {
    options: JournalOptions,
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    files: Arc<Mutex<Files>>,
    queue: Mutex<Queue>,
    queue_filled: Condvar,
    queue_filled_async: Notify,
    room: Mutex<Room>,
    room_changed: Notify,
    prepare: Condvar,
    checkpoint_due: Notify,
    progress: Mutex<Progress>,
    /// Frames that were written when a checkpoint was last asked for because of their number.
    frames_at_checkpoint: AtomicU64,
    on_failure: Box<dyn Fn(&JournalError) + Send + Sync>,
}

/// A node's journal. Cheap to share; see the module for what it promises.
pub struct Journal {
    shared: Arc<Shared>,
    runner: Mutex<Option<Runner>>,
}

enum Runner {
    Threads(Vec<std::thread::JoinHandle<()>>),
    Task(tokio::task::JoinHandle<()>),
}

/// A writer over a fresh file, before the journal runs: recovery writes the tail through it.
pub struct Prepared {
    writer: Writer,
    files: Arc<Mutex<Files>>,
    options: JournalOptions,
}

/// Where a fresh file continues, found by the scan.
#[derive(Debug, Clone, Copy)]
pub struct Continuation {
    /// The journal's id.
    pub journal_id: u64,
    /// The fresh file's generation, above all on the disk.
    pub generation: u64,
    /// The first LSN to write.
    pub next_lsn: u64,
    /// The newest LSN known durable.
    pub durable_lsn: u64,
}

impl Prepared {
    /// Begins a fresh file in `directory`, whose spare files are taken into stock.
    pub fn begin(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        options: JournalOptions,
        start: &Continuation,
        live: &[(u64, u64)],
    ) -> io::Result<Self> {
        let mut files = Files::default();
        for name in disk.list(&directory)? {
            let path = directory.join(&name);
            match file::classify(&name) {
                file::FileKind::Spare(number) => {
                    files.reserve_spare_number(number);
                    files.add_spare(file::Spare { capacity: disk.open(&path)?.len()?, path });
                }
                file::FileKind::Unfinished => disk.remove_file(&path)?,
                file::FileKind::Live(_) | file::FileKind::Foreign => {}
            }
        }
        for (generation, capacity) in live {
            files.add_live(*generation, *capacity);
        }
        let files = Arc::new(Mutex::new(files));
        let start = WriterStart {
            journal_id: start.journal_id,
            generation: start.generation,
            next_lsn: start.next_lsn,
            durable_lsn: start.durable_lsn,
            first_file_bytes: options.first_file_bytes,
        };
        let writer = Writer::begin(disk, directory, files.clone(), options.file_bytes, &start)?;
        Ok(Self { writer, files, options })
    }

    /// Writes one group of changes; durable after [`Prepared::sync`].
    pub fn write(&mut self, group: GroupId, frames: Vec<Frame>) -> Result<Position, JournalError> {
        self.writer.write(&[Submission { group, frames, sync: true, done: Box::new(|_| ()) }])
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.writer.sync()
    }

    /// How far the writer is.
    pub fn progress(&self) -> Progress {
        self.writer.progress()
    }

    /// Runs the journal, once a checkpoint names the fresh file. `on_failure` is called once, when a write or a sync fails.
    ///
    /// On a simulated disk this must be called within a tokio runtime.
    pub fn run(self, on_failure: Box<dyn Fn(&JournalError) + Send + Sync>) -> io::Result<Journal> {
        let shared = Arc::new(Shared {
            options: self.options,
            disk: self.writer.disk.clone(),
            directory: self.writer.directory.clone(),
            files: self.files,
            queue: Mutex::default(),
            queue_filled: Condvar::new(),
            queue_filled_async: Notify::new(),
            room: Mutex::default(),
            room_changed: Notify::new(),
            prepare: Condvar::new(),
            checkpoint_due: Notify::new(),
            progress: Mutex::new(self.writer.progress()),
            frames_at_checkpoint: AtomicU64::new(0),
            on_failure,
        });
        shared.publish(&self.writer);
        let runner = if shared.disk.is_simulated() {
            Runner::Task(tokio::spawn(run_task(shared.clone(), self.writer)))
        } else {
            let writing = shared.clone();
            let preparing = shared.clone();
            Runner::Threads(vec![
                std::thread::Builder::new()
                    .name("journal".into())
                    .spawn(move || run_thread(&writing, self.writer))?,
                std::thread::Builder::new()
                    .name("journal-files".into())
                    .spawn(move || prepare_files(&preparing))?,
            ])
        };
        Ok(Journal { shared, runner: Mutex::new(Some(runner)) })
    }
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

    /// Completes when all that was submitted before is durable.
    pub fn barrier(&self, group: GroupId, done: Completion) {
        self.submit(Submission { group, frames: Vec::new(), sync: true, done });
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

impl Shared {
    /// Takes up to one group's worth from the queue.
    fn drain(&self, queue: &mut Queue) -> Vec<Submission> {
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
    fn publish(&self, writer: &Writer) {
        *self.progress.lock() = writer.progress();
        self.publish_room(writer);
    }

    fn publish_room(&self, writer: &Writer) {
        {
            let mut room = self.room.lock();
            room.in_file = writer.room_in_file();
            room.file_bytes = writer.capacity();
        }
        if writer.frames_written() >= self.frames_at_checkpoint.load(Relaxed) + limits::JOURNAL_CHECKPOINT_FRAMES {
            self.frames_at_checkpoint.store(writer.frames_written(), Relaxed);
            self.checkpoint_due.notify_one();
        }
        self.count_files();
    }

    fn spare_room(&self, files: &Files) -> u64 {
        files.spare_room(self.options.file_bytes, self.options.waste_max())
    }

    /// Counts the room in spare and live files anew; asks for a spare file or a checkpoint when one is due.
    fn count_files(&self) {
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
        if live >= self.options.checkpoint_bytes {
            self.checkpoint_due.notify_one();
        }
    }

    /// Writes, completes what need not be durable, and hands back what waits for the sync.
    fn write(&self, writer: &mut Writer, taken: Vec<Submission>) -> Option<(Vec<Submission>, Position)> {
        let has_frames = taken.iter().any(|s| !s.frames.is_empty());
        let written = if has_frames { writer.write(&taken) } else { Ok(writer.progress().next) };
        match written {
            Ok(written) => {
                self.publish_room(writer);
                let (at_once, after_sync) = split_by_sync(taken);
                at_once.into_iter().for_each(|s| (s.done)(Ok(written)));
                Some((after_sync, written))
            }
            Err(error) => {
                self.fail(taken, &error);
                None
            }
        }
    }

    fn sync(&self, writer: &mut Writer, waiting: Vec<Submission>, written: Position) -> bool {
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
    fn fail(&self, waiting: Vec<Submission>, error: &JournalError) {
        let queued = {
            let mut queue = self.queue.lock();
            queue.failed = Some(error.clone());
            std::mem::take(&mut queue.submissions)
        };
        (self.on_failure)(error);
        waiting.into_iter().chain(queued).for_each(|s| (s.done)(Err(error.clone())));
    }

    /// Prepares a spare file, unless that would take what checkpoints and deletes need to make room (R3).
    fn prepare_above_reserve(&self) -> io::Result<()> {
        let file_bytes = self.options.file_bytes;
        if self.disk.free_bytes()? < file_bytes + limits::DISK_RESERVE_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file::prepare_spare(&*self.disk, &self.directory, &self.files, file_bytes)
    }

    /// Prepares one spare file; on a full disk says so and waits to be asked again.
    fn prepare_one(&self) {
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

/// Ends the node when the journal's writer panics: nobody else would ever complete what waits.
struct FailOnPanic<'a>(&'a Shared);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Vec::new(), &JournalError::Panicked);
        }
    }
}

fn run_thread(shared: &Shared, mut writer: Writer) {
    let _guard = FailOnPanic(shared);
    loop {
        let taken = {
            let mut queue = shared.queue.lock();
            while queue.submissions.is_empty() && !queue.closing {
                let marked = parking_lot::MutexGuard::unlocked(&mut queue, || writer.mark());
                if let Err(error) = marked {
                    drop(queue);
                    shared.fail(Vec::new(), &error);
                    return;
                }
                shared.publish(&writer);
                if queue.submissions.is_empty() && !queue.closing {
                    shared.queue_filled.wait(&mut queue);
                }
            }
            shared.drain(&mut queue)
        };
        if taken.is_empty() {
            return;
        }
        let Some((waiting, written)) = shared.write(&mut writer, taken) else {
            return;
        };
        if !shared.sync(&mut writer, waiting, written) {
            return;
        }
    }
}

fn prepare_files(shared: &Shared) {
    loop {
        {
            let mut room = shared.room.lock();
            while !room.preparing && !room.closing {
                shared.prepare.wait(&mut room);
            }
            if room.closing {
                return;
            }
        }
        shared.prepare_one();
    }
}

/// The same loop as a task, for a simulated disk, whose calls do not block.
async fn run_task(shared: Arc<Shared>, mut writer: Writer) {
    loop {
        let (taken, closing) = {
            let mut queue = shared.queue.lock();
            (shared.drain(&mut queue), queue.closing)
        };
        if taken.is_empty() {
            if closing {
                return;
            }
            if let Err(error) = writer.mark() {
                shared.fail(Vec::new(), &error);
                return;
            }
            shared.publish(&writer);
            if shared.room.lock().preparing {
                shared.prepare_one();
            }
            shared.queue_filled_async.notified().await;
            continue;
        }
        let Some((waiting, written)) = shared.write(&mut writer, taken) else {
            return;
        };
        // Others may submit while the disk syncs.
        tokio::task::yield_now().await;
        if !shared.sync(&mut writer, waiting, written) {
            return;
        }
        if shared.room.lock().preparing {
            shared.prepare_one();
        }
    }
}
