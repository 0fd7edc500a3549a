//! One partition as its leader sees it: what may be appended, what may be read, and from
//! when on the log starts.
//!
//! It never touches a file and never knows who calls it. `log_start ≤ high_watermark`; only
//! offsets in between are ever read; only committed entries move either of them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use highwater_consensus::Group;
use highwater_records::Batch;
use highwater_storage::Watermarks;
use highwater_types::limits::PARTITION_IN_FLIGHT_BYTES_MAX;
use highwater_types::{Clock, NodeId, Offset, PartitionId, Term, TopicConfig};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::admission;
use crate::append::{AppendQueue, Appended, Appender, PendingAppend, Request, Work};
use crate::applier::AppliedState;
use crate::command::PartitionCommand;
use crate::error::PartitionError;
use crate::new_record::NewRecord;
use crate::replica::{GroupStatus, Replica, Write};

/// How long a request waits at most for a leader that does not serve yet, or not at the moment. What its producer sent behind it waits as
/// long, and another node may lead by then.
const SERVING_WAIT_MAX: Duration = Duration::from_secs(1);

/// A handle on a partition; cloning is cheap.
pub struct Partition<R: Replica = Group> {
    pub(crate) inner: Arc<Inner<R>>,
}

/// What the handles and the appender share.
pub(crate) struct Inner<R> {
    pub(crate) id: PartitionId,
    pub(crate) replica: R,
    /// Closed once the group has stopped; its last value then means nothing.
    status_changes: watch::Receiver<GroupStatus>,
    config: watch::Receiver<Arc<TopicConfig>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) applied: Arc<AppliedState>,
    pub(crate) queue: AppendQueue,
    /// Bytes that may still be put in flight.
    in_flight_bytes: Arc<Semaphore>,
}

/// A partition's state, for people and for placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Which partition.
    pub id: PartitionId,
    /// The log's bounds.
    pub watermarks: Watermarks,
    /// Bytes of all segments.
    pub size_bytes: u64,
    /// The leader, when it is known.
    pub leader: Option<NodeId>,
    /// The term this node is in: the leader epoch.
    pub term: Term,
    /// Whether this node leads.
    pub is_leader: bool,
    /// Whether it leads and knows the high watermark.
    pub is_serving: bool,
    /// Why the data is kept out of service, when it is.
    pub quarantined: Option<String>,
    /// Offsets that cannot all be read here, because their segments are damaged: each from the first to below the second, in order.
    pub damaged: Vec<(Offset, Offset)>,
}

impl<R: Replica> Partition<R> {
    /// A partition over its replica. `applied` is what
    /// [`PartitionApplier::new`](crate::PartitionApplier::new) gave together with the applier that
    /// the group was started with. Changes of `config` count from the next batch on.
    pub fn new(
        id: PartitionId,
        replica: R,
        applied: Arc<AppliedState>,
        config: watch::Receiver<Arc<TopicConfig>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                id,
                status_changes: replica.watch(),
                replica,
                config,
                clock,
                applied,
                queue: AppendQueue::default(),
                in_flight_bytes: Arc::new(Semaphore::new(PARTITION_IN_FLIGHT_BYTES_MAX)),
            }),
        }
    }

    /// Which partition this is.
    pub fn id(&self) -> PartitionId {
        self.inner.id
    }

    /// The topic's configuration as it is now.
    pub fn config(&self) -> Arc<TopicConfig> {
        self.inner.config()
    }

    /// Appends a batch and waits until it is applied: durable on a majority as the topic's
    /// `durability` says, and readable. Cancel-safe in that order and limits hold: a batch whose
    /// future is dropped may be written or not.
    ///
    /// # Errors
    /// Why it was not written. After [`PartitionError::DeadlinePassed`] and
    /// [`PartitionError::OutcomeUnknown`] it may be written, or come to be.
    pub async fn append(&self, batch: Batch, deadline: Instant) -> Result<Appended, PartitionError> {
        self.enqueue(batch, deadline).await?.outcome().await
    }

    /// Checks a batch and gives it its place in the partition's order. A caller that
    /// pipelines awaits this for one batch before the next, and the outcomes apart. Waits while
    /// the partition's in-flight bytes are used up. Cancel-safe: what is not queued is not written.
    ///
    /// # Errors
    /// Why it was not queued; nothing is written then.
    pub async fn enqueue(&self, batch: Batch, deadline: Instant) -> Result<PendingAppend, PartitionError> {
        admission::check_batch(&batch, &self.config(), self.inner.clock.now())?;
        self.submit(Work::Batch(batch), deadline).await
    }

    /// [`Partition::append`] for records of a client without a producer id: they are built
    /// into a batch, together with those of others that wait. The offset is the first record's;
    /// the others follow it without a gap.
    ///
    /// # Errors
    /// As for [`Partition::append`].
    pub async fn append_records(
        &self,
        records: Vec<NewRecord>,
        deadline: Instant,
    ) -> Result<Appended, PartitionError> {
        let pending = self.enqueue_records(records, deadline).await?;
        pending.outcome().await
    }

    /// [`Partition::enqueue`] for records.
    ///
    /// # Errors
    /// As for [`Partition::enqueue`].
    pub async fn enqueue_records(
        &self,
        records: Vec<NewRecord>,
        deadline: Instant,
    ) -> Result<PendingAppend, PartitionError> {
        admission::check_records(&records, &self.config(), self.inner.clock.now())?;
        self.submit(Work::Records(records), deadline).await
    }

    /// Queues admitted work when the partition serves and has room.
    async fn submit(&self, work: Work, deadline: Instant) -> Result<PendingAppend, PartitionError> {
        self.wait_until_serving(deadline).await?;
        let bytes = work.bytes();
        // Records count by an upper bound, which for a request of the largest size may be above
        // all there is.
        let share = bytes.min(PARTITION_IN_FLIGHT_BYTES_MAX);
        let share = u32::try_from(share).expect("the partition's in-flight bytes fit 32 bits");
        let acquire = Arc::clone(&self.inner.in_flight_bytes).acquire_many_owned(share);
        let permit = match timeout_at(deadline, acquire).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(PartitionError::Stopped),
            Err(_) => return Err(PartitionError::Busy { bytes }),
        };
        let (reply, outcome) = oneshot::channel();
        let starts = self.inner.queue.push(Request { work, bytes, deadline, reply, permit });
        if starts {
            tokio::spawn(Appender::new(Arc::clone(&self.inner)).run());
        }
        Ok(PendingAppend { reply: outcome, deadline })
    }

    /// A leader that is too new to know all that was committed before it will know soon; so will one that others do not stand by at
    /// the moment know whether they still do.
    async fn wait_until_serving(&self, deadline: Instant) -> Result<(), PartitionError> {
        let mut until = None;
        loop {
            let passing = match self.inner.serving_status() {
                Err(passing @ (PartitionError::NotServing | PartitionError::CutOff)) => passing,
                known => return known.map(drop),
            };
            let until = *until.get_or_insert_with(|| deadline.min(Instant::now() + SERVING_WAIT_MAX));
            if timeout_at(until, self.inner.replica.until_settled()).await.is_err() {
                return Err(passing);
            }
        }
    }

    /// Watermarks, size and who leads.
    pub fn describe(&self) -> PartitionDescription {
        let status = self.inner.replica.status();
        PartitionDescription {
            id: self.inner.id,
            watermarks: self.inner.replica.watermarks(),
            size_bytes: self.inner.replica.size_bytes(),
            leader: status.leader,
            term: status.term,
            is_leader: status.is_leader,
            is_serving: status.is_serving,
            quarantined: status.quarantined,
            damaged: self.inner.replica.damaged(),
        }
    }
}

impl<R: Replica> Inner<R> {
    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// The group's status, if this node leads it and knows all that is committed.
    pub(crate) fn serving_status(&self) -> Result<GroupStatus, PartitionError> {
        if self.status_changes.has_changed().is_err() {
            return Err(PartitionError::Stopped);
        }
        let status = self.replica.status();
        if let Some(reason) = status.quarantined {
            return Err(PartitionError::Quarantined { reason });
        }
        if !status.is_leader {
            let leader = status.leader;
            return Err(PartitionError::NotLeader { leader });
        }
        if !status.is_serving {
            // What is watched leaves out whether the others stand by this leader.
            let knows_the_end = self.status_changes.borrow().is_serving;
            return Err(if knows_the_end { PartitionError::CutOff } else { PartitionError::NotServing });
        }
        Ok(status)
    }

    /// Proposes a command and waits until it is applied.
    pub(crate) async fn propose(&self, command: PartitionCommand) -> Result<(), PartitionError> {
        let writes = vec![Write::Control(command.encode())];
        for handle in self.replica.propose_many(None, writes).await {
            handle.await?;
        }
        Ok(())
    }
}

impl<R: Replica> Clone for Partition<R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<R: Replica> fmt::Debug for Partition<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("id", &self.inner.id).finish_non_exhaustive()
    }
}
