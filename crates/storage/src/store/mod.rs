//! A node's store: the journal, the logs of all groups, and the checkpoints that
//! tie them together.

mod checkpointing;
mod group_replay;
mod open;
mod recovery;
mod repairing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use highwater_types::{GroupId, Incarnation, Offset, RaftIndex};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

pub use open::{OpenError, StoreOptions};

use self::checkpointing::Checkpoints;
use crate::disk::{Disk, blocking};
use crate::group::{Boundaries, GroupLog, GroupOptions, Opened, ReplicaIdentity, Services, Tail};
use crate::journal::frame::{Change, Frame, Renewal};
use crate::journal::{Completion, Journal, JournalError, Submission};
use crate::layout;
use crate::segment::{MapBudget, SegmentError, SegmentedLog};

/// Why the store failed. All but `Quarantined` mean that the node cannot go on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The journal failed or is closed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A segment failed.
    #[error(transparent)]
    Segment(#[from] Arc<SegmentError>),
    /// The disk failed.
    #[error("{doing} failed: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the disk said.
        source: Arc<std::io::Error>,
    },
    /// The journal is damaged: the store is open for reading only.
    #[error("the node is quarantined: {0}")]
    Quarantined(String),
}

impl StoreError {
    fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing, source: Arc::new(source) }
    }

    /// Whether the cause is a full disk, which passes.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Io { source, .. } => crate::disk::is_no_space(source),
            Self::Segment(error) => matches!(**error, SegmentError::NoSpace { .. }),
            Self::Journal(_) | Self::Quarantined(_) => false,
        }
    }
}

/// What is called once when the journal fails: the host must end the process (R2).
pub type OnFailure = Arc<dyn Fn(&JournalError) + Send + Sync>;

/// A node's store. One process at a time has it open; the data directory's lock sees to that.
pub struct Store {
    services: Services,
    journal_id: u64,
    quarantine: Option<String>,
    maps: Arc<MapBudget>,
    groups: RwLock<BTreeMap<GroupId, Arc<GroupLog>>>,
    removed: Mutex<BTreeSet<GroupId>>,
    /// It is locked while files that a checkpoint lists are written or deleted; the work on the disk
    /// itself holds the lock, for it goes on when whoever waits for it is gone.
    checkpoints: Arc<tokio::sync::Mutex<Checkpoints>>,
}

impl Store {
    /// The log of a group that exists.
    pub fn group(&self, id: GroupId) -> Option<Arc<GroupLog>> {
        self.groups.read().get(&id).cloned()
    }

    /// The groups that exist.
    pub fn groups(&self) -> Vec<GroupId> {
        self.groups.read().keys().copied().collect()
    }

    /// Why the whole store is kept out of service, when its journal is damaged.
    pub fn quarantine(&self) -> Option<&str> {
        self.quarantine.as_deref()
    }

    /// The disk below.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.services.disk
    }

    /// Creates the log of a group, or returns it when it exists. Its existence is durable no later than its first vote.
    ///
    /// # Errors
    /// When the segments cannot be set up, or the store is quarantined.
    pub fn create_group(&self, id: GroupId, options: GroupOptions) -> Result<Arc<GroupLog>, StoreError> {
        Ok(self.create(id, options, None, Box::new(|_| ()))?.0)
    }

    /// Creates the log of a group that may have had another one here before, or returns it when it exists: the replica is
    /// `incarnation` to its group, so that nothing which that other one promised is taken for its word. Durable on return. Cancelled,
    /// the log may exist, and who it is is durable no later than its first vote.
    ///
    /// # Errors
    /// As [`Store::create_group`], or when the journal fails.
    pub async fn create_another(
        &self,
        id: GroupId,
        options: GroupOptions,
        incarnation: Incarnation,
    ) -> Result<Arc<GroupLog>, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |result| drop(sender.send(result)));
        let (log, is_new) = self.create(id, options, Some(incarnation), done)?;
        if is_new {
            receiver.await.unwrap_or(Err(JournalError::Closed))?;
        }
        Ok(log)
    }

    /// The log of a group, and whether it was created by this: only then `done` is called.
    fn create(
        &self,
        id: GroupId,
        options: GroupOptions,
        incarnation: Option<Incarnation>,
        done: Completion,
    ) -> Result<(Arc<GroupLog>, bool), StoreError> {
        let journal = self.running_journal()?;
        let mut groups = self.groups.write();
        if let Some(log) = groups.get(&id) {
            return Ok((log.clone(), false));
        }
        if self.removed.lock().contains(&id) {
            let busy = std::io::ErrorKind::ResourceBusy.into();
            return Err(StoreError::io("creating a group whose removal is not over")(busy));
        }
        let identity = incarnation.map_or_else(ReplicaIdentity::default, ReplicaIdentity::renewed);
        let log = self.empty_log(id, options, identity);
        let renewal = incarnation.map(|incarnation| Renewal { incarnation, is_empty: false });
        let changes = std::iter::once(Change::Create(options.encode())).chain(renewal.map(Change::Renewal));
        let frames = changes.map(|change| Frame::new(id, &change)).collect();
        journal.submit(Submission { group: id, frames, sync: incarnation.is_some(), done });
        groups.insert(id, log.clone());
        Ok((log, true))
    }

    /// The log of a group of which nothing is there.
    fn empty_log(&self, id: GroupId, options: GroupOptions, identity: ReplicaIdentity) -> Arc<GroupLog> {
        let segments = match options.segments {
            Some(segment_options) => {
                let directory = layout::group_directory(id);
                let created = SegmentedLog::create(
                    self.services.disk.clone(),
                    directory,
                    segment_options,
                    self.maps.clone(),
                    Offset::ZERO,
                );
                Some(Arc::new(created))
            }
            None => None,
        };
        let opened = Opened {
            id,
            options,
            segments,
            manifest: None,
            broken: None,
            vote: None,
            committed: None,
            purged: None,
            applied: None,
            membership: None,
            kept: BTreeMap::new(),
            boundaries: Boundaries::default(),
            tail: Tail::new(RaftIndex::ZERO, Offset::ZERO),
            log_start: Offset::ZERO,
            state: bytes::Bytes::new(),
            quarantine: None,
            identity,
        };
        GroupLog::open(opened, self.services.clone())
    }

    /// Gives up all that this node's replica of a group has, damaged or not, and who it was: its log is empty from here on, and it is
    /// `incarnation` to its group. Durable on return, and done as a whole or not at all. The files that the group had are removed by
    /// the next start; who wants to keep them moves them away before. Nobody may use the group's old log any more.
    ///
    /// # Errors
    /// When there is no such group, or the journal or the disk fails. Calling again is safe.
    pub async fn renew_group(
        &self,
        id: GroupId,
        options: GroupOptions,
        incarnation: Incarnation,
    ) -> Result<Arc<GroupLog>, StoreError> {
        let journal = self.running_journal()?;
        // A checkpoint under way has the old log's files to sync.
        let no_checkpoint = Arc::clone(&self.checkpoints).lock_owned().await;
        let disk = self.services.disk.clone();
        let (sender, receiver) = oneshot::channel();
        {
            let groups = self.groups.read();
            if !groups.contains_key(&id) {
                let missing = std::io::ErrorKind::NotFound.into();
                return Err(StoreError::io("renewing a replica that is not here")(missing));
            }
            let renewal = Renewal { incarnation, is_empty: true };
            journal.submit(Submission {
                group: id,
                frames: vec![
                    Frame::new(id, &Change::Renewal(renewal)),
                    Frame::new(id, &Change::Options(options.encode())),
                ],
                sync: true,
                done: Box::new(move |result| drop(sender.send(result))),
            });
        }
        receiver.await.unwrap_or(Err(JournalError::Closed))?;
        let cleared = blocking(&*self.services.disk, move || {
            let _no_checkpoint = no_checkpoint;
            delete_group_data(&*disk, id)
        });
        cleared.await.map_err(StoreError::io("deleting what a renewed replica had"))?;
        let log = self.empty_log(id, options, ReplicaIdentity::renewed(incarnation));
        self.groups.write().insert(id, log.clone());
        Ok(log)
    }

    /// Removes a group and deletes its data, durably. Only when a committed tombstone or a committed move says so (R10).
    /// Nobody may use the group's log any more; slices that readers hold stay valid.
    ///
    /// # Errors
    /// When the journal or the disk fails. Removing again, also after a restart, is safe.
    pub async fn remove_group(&self, id: GroupId) -> Result<(), StoreError> {
        let journal = self.running_journal()?;
        let (sender, receiver) = oneshot::channel();
        {
            let mut groups = self.groups.write();
            if groups.remove(&id).is_none() && !self.removed.lock().contains(&id) {
                return Ok(());
            }
            self.removed.lock().insert(id);
            journal.submit(Submission {
                group: id,
                frames: vec![Frame::new(id, &Change::Remove)],
                sync: true,
                done: Box::new(move |result| drop(sender.send(result))),
            });
        }
        receiver.await.unwrap_or(Err(JournalError::Closed))?;
        // A checkpoint that captured the group still has its files to sync.
        let no_checkpoint = Arc::clone(&self.checkpoints).lock_owned().await;
        let disk = self.services.disk.clone();
        let deleted = blocking(&*self.services.disk, move || {
            let _no_checkpoint = no_checkpoint;
            delete_group_data(&*disk, id)
        });
        deleted.await.map_err(StoreError::io("deleting a partition's data"))?;
        self.removed.lock().remove(&id);
        Ok(())
    }

    /// Completes when the journal has grown so far that a checkpoint is due.
    pub async fn checkpoint_due(&self) {
        match self.services.journal.get() {
            Some(journal) => journal.checkpoint_due().await,
            None => std::future::pending().await,
        }
    }

    /// Stops: a last checkpoint, then the journal is closed. Later appends fail.
    ///
    /// # Errors
    /// When the checkpoint fails; the next start replays the journal then.
    pub async fn close(&self) -> Result<(), StoreError> {
        let Some(journal) = self.services.journal.get() else {
            return Ok(());
        };
        let checkpoint = self.checkpoint().await;
        journal.close().await;
        checkpoint
    }

    fn running_journal(&self) -> Result<&Journal, StoreError> {
        self.services
            .journal
            .get()
            .ok_or_else(|| StoreError::Quarantined(self.quarantine.clone().unwrap_or_default()))
    }
}

/// Deletes a partition's directory, and its topic's when that was the last.
fn delete_group_data(disk: &dyn Disk, id: GroupId) -> std::io::Result<()> {
    let directory = layout::group_directory(id);
    let Some(topic) = directory.parent().map(Path::to_path_buf) else {
        return Ok(());
    };
    if disk.exists(&directory)? {
        disk.remove_dir_all(&directory)?;
        disk.sync_dir(&topic)?;
    }
    let is_a_topics = topic != Path::new(layout::TOPICS);
    if is_a_topics && disk.exists(&topic)? && disk.list(&topic)?.is_empty() {
        disk.remove_dir_all(&topic)?;
        disk.sync_dir(Path::new(layout::TOPICS))?;
    }
    Ok(())
}
