//! The loops behind the journal: a thread that writes and one that prepares files, or, on a simulated
//! disk, one task that does both.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::shared::Shared;
use super::writer::{JournalError, Writer};

/// What runs the journal until it is closed.
pub(super) enum Runner {
    Threads(Vec<JoinHandle<()>>),
    Task(tokio::task::JoinHandle<()>),
}

impl Runner {
    pub(super) fn start(shared: &Arc<Shared>, writer: Writer) -> io::Result<Self> {
        if shared.disk.is_simulated() {
            return Ok(Self::Task(tokio::spawn(run_task(Arc::clone(shared), writer))));
        }
        let (writing, preparing) = (Arc::clone(shared), Arc::clone(shared));
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        Ok(Self::Threads(vec![
            named("journal").spawn(move || run_thread(&writing, writer))?,
            named("journal-files").spawn(move || prepare_files(&preparing))?,
        ]))
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
        match shared.disk.sync_delay() {
            Some(delay) => tokio::time::sleep(delay).await,
            None => tokio::task::yield_now().await,
        }
        if !shared.sync(&mut writer, waiting, written) {
            return;
        }
        if shared.room.lock().preparing {
            shared.prepare_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::mpsc;

    use highwater_types::GroupId;

    use super::*;
    use crate::disk::{Disk, RealDisk};
    use crate::journal::{Continuation, JournalOptions, Prepared, Submission};

    #[test]
    fn a_writer_that_panics_is_reported_and_later_submissions_fail() {
        let directory = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(directory.path().to_path_buf()));
        disk.create_dir_all(&PathBuf::from("journal")).unwrap();
        let options =
            JournalOptions { first_file_bytes: 64 << 10, file_bytes: 64 << 10, ..JournalOptions::default() };
        let start = Continuation { journal_id: 1, generation: 1, next_lsn: 1, durable_lsn: 0 };
        let prepared = Prepared::begin(disk, "journal".into(), options, &start, &[]).unwrap();
        let (report, reported) = mpsc::channel();
        let journal = prepared.run(Box::new(move |error| report.send(error.clone()).unwrap())).unwrap();
        let submit = |done: crate::journal::Completion| {
            journal.submit(Submission { group: GroupId::Metadata, frames: Vec::new(), sync: true, done });
        };
        submit(Box::new(|_| panic!("a bug in a completion")));
        assert!(matches!(reported.recv().unwrap(), JournalError::Panicked));
        let (answer, answered) = mpsc::channel();
        submit(Box::new(move |result| answer.send(result.is_err()).unwrap()));
        assert!(answered.recv().unwrap());
    }
}
