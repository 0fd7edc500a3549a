//! A journal before it runs: recovery writes the tail into a fresh file through it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use highwater_types::GroupId;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::file::{self, Files};
use super::frame::Frame;
use super::handle::Journal;
use super::options::JournalOptions;
use super::position::{Position, Progress};
use super::runner::Runner;
use super::shared::Shared;
use super::submission::Submission;
use super::writer::{JournalError, Writer, WriterStart};
use crate::disk::Disk;

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
            bytes_at_checkpoint: AtomicU64::new(0),
            on_failure,
        });
        shared.publish(&self.writer);
        let runner = Runner::start(&shared, self.writer)?;
        Ok(Journal { shared, runner: Mutex::new(Some(runner)) })
    }
}
