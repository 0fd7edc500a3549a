//! What the application's side of a consumer and its tasks share: who the member is, how far it is, and what is still to be told.
//!
//! ```text
//! application ─ next, seek, commit ─▶ Shared ◀─ what it is to own ─ Keeper ◀─ heartbeats ─▶ the coordinator
//!                                       │ ▲
//!                     what is to be told▼ │given up
//!                                     Rebalancing ─▶ the listener
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use highwater_groups::membership::Change;
use highwater_types::{PartitionId, TopicId};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::group::agenda::Agenda;
use crate::group::progress::Progress;
use crate::group::{CommitMode, GroupCalls, GroupConsumerConfig, TopicPartition};
use crate::reader::{ReadSet, ReadingId};
use crate::topic::PartitionKey;

/// How far a consumer is with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It is a member, or wants to be.
    Running,
    /// It is to leave, for good or until its instance comes back.
    Closing { for_a_while: bool },
    /// It gave everything up.
    Drained { for_a_while: bool },
    /// It has left.
    Left,
}

/// Who a member is when it commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) member_id: String,
    pub(crate) epoch: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Inner {
    /// None while it is no member.
    pub(crate) identity: Option<Identity>,
    /// Until when the coordinator has to know that what was revoked is given up.
    pub(crate) release_by: Option<Instant>,
    /// The topics that the member was ever told to read and still owns something of.
    pub(crate) names: BTreeMap<TopicId, Arc<str>>,
    pub(crate) progress: Progress,
    pub(crate) agenda: Agenda,
    /// What the last commit before the end came to.
    pub(crate) last_commit: Result<(), ClientError>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) calls: GroupCalls,
    pub(crate) config: GroupConsumerConfig,
    pub(crate) set: Arc<ReadSet>,
    inner: Mutex<Inner>,
    /// Wakes the tasks: there is something new in `inner`.
    pub(crate) changed: Notify,
    /// Wakes who commits in the background: now.
    pub(crate) commit_now: Notify,
    pub(crate) phase: watch::Sender<Phase>,
    /// Held by who commits, so that commits take effect in the order in which they are made.
    pub(crate) committing: tokio::sync::Mutex<()>,
}

impl Shared {
    pub(crate) fn new(cluster: Arc<Cluster>, config: GroupConsumerConfig) -> Self {
        let progress = Progress::new(matches!(config.commit, CommitMode::OnNext { .. }));
        let inner = Inner {
            identity: None,
            release_by: None,
            names: BTreeMap::new(),
            progress,
            agenda: Agenda::default(),
            last_commit: Ok(()),
        };
        Self {
            calls: GroupCalls::new(Arc::clone(&cluster)),
            cluster,
            config,
            set: Arc::default(),
            inner: Mutex::new(inner),
            changed: Notify::new(),
            commit_now: Notify::new(),
            phase: watch::Sender::new(Phase::Running),
            committing: tokio::sync::Mutex::new(()),
        }
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// The member is to own something else: nothing of what it is to give up or lost is handed out from here on.
    pub(crate) fn apply(&self, change: &Change) {
        if change.is_empty() {
            return;
        }
        let mut inner = self.inner();
        for partition in change.revoked.iter() {
            self.unread(inner.progress.stop(partition));
        }
        for partition in change.lost.iter() {
            self.unread(inner.progress.remove(partition));
        }
        inner.agenda.change(change);
        drop(inner);
        self.changed.notify_waiters();
    }

    /// Reads a partition that is owned and not read, from where it is.
    pub(crate) fn read(&self, inner: &mut Inner, partition: PartitionId) {
        if let Some((key, start)) = inner.progress.start(partition) {
            inner.progress.read(partition, self.set.add(key, start));
        }
    }

    /// Ends a reading, if there is one.
    pub(crate) fn unread(&self, reading: Option<ReadingId>) {
        if let Some(reading) = reading {
            self.set.remove(reading);
        }
    }

    /// Begins to end, unless it is about to.
    pub(crate) fn close(&self, for_a_while: bool) {
        let is_first = self.phase.send_if_modified(|phase| {
            let is_running = *phase == Phase::Running;
            if is_running {
                *phase = Phase::Closing { for_a_while };
            }
            is_running
        });
        if is_first {
            let mut inner = self.inner();
            let owned: Vec<_> = inner.progress.partitions().keys().copied().collect();
            for partition in owned {
                self.unread(inner.progress.stop(partition));
            }
        }
        self.changed.notify_waiters();
    }
}

impl Inner {
    /// The partition, by the names of its topic.
    pub(crate) fn key(&self, partition: PartitionId) -> PartitionKey {
        let topic = self.names.get(&partition.topic).cloned().unwrap_or_else(|| Arc::from(""));
        PartitionKey { topic, topic_id: partition.topic.to_string().into(), partition: partition.index }
    }

    /// Partitions by name, for the application.
    pub(crate) fn named(&self, partitions: &BTreeSet<PartitionId>) -> Vec<TopicPartition> {
        let name = |partition: &PartitionId| {
            let key = self.key(*partition);
            TopicPartition::new(key.topic, key.partition)
        };
        partitions.iter().map(name).collect()
    }
}
