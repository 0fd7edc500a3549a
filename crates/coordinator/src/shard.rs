//! One shard of the cluster's groups on this node: what the rest of the node asks.

use std::sync::Arc;

use highwater_groups::{
    CommitRequest, Coordinator, Decision, GroupName, GroupsConfig, GroupsError, GroupsState, HeartbeatRequest,
    JoinRequest, LeaveRequest, MemberAnswer, MemberId, Now, TopicCatalog, Wake,
};
use highwater_types::{Clock, Offset, PartitionId};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::applier::AppliedGroups;
use crate::error::CoordinatorError;
use crate::leading::Leading;
use crate::queue::{Deciding, Job, QUEUE_MAX, job};
use crate::replica::Replica;
use crate::topics::Topics;
use crate::wakes::{Wakes, Woken};

/// What a shard runs on.
pub struct ShardParts<R> {
    /// Its replica here.
    pub replica: Arc<R>,
    /// What that replica applies.
    pub applied: AppliedGroups,
    /// The cluster's topics.
    pub topics: Arc<dyn Topics>,
    /// The wall clock, for what is kept.
    pub clock: Arc<dyn Clock>,
    /// What the operator decided.
    pub config: GroupsConfig,
    /// Ends it.
    pub stopping: CancellationToken,
}

/// One shard of the cluster's groups on this node. While the node leads it, it decides; otherwise it says who does. Clones share it.
pub struct Shard<R> {
    replica: Arc<R>,
    jobs: mpsc::Sender<Job>,
    wakes: Arc<Wakes>,
}

impl<R> Clone for Shard<R> {
    fn clone(&self) -> Self {
        Self { replica: Arc::clone(&self.replica), jobs: self.jobs.clone(), wakes: Arc::clone(&self.wakes) }
    }
}

impl<R: Replica> Shard<R> {
    /// Starts the task that decides while this node leads. It ends when it is told to, and when the group stops.
    pub fn start(parts: ShardParts<R>) -> Self {
        let (sender, jobs) = mpsc::channel(QUEUE_MAX);
        let wakes = Arc::<Wakes>::default();
        let shard = Self { replica: Arc::clone(&parts.replica), jobs: sender, wakes: Arc::clone(&wakes) };
        let stopping = parts.stopping.clone();
        let leading = Leading::new(parts, jobs, wakes);
        tokio::spawn(async move { stopping.run_until_cancelled(leading.run()).await });
        shard
    }

    /// A member joins, or asks again where it is.
    ///
    /// As all that follow: what is answered is durable on a majority. Dropping the future leaves open whether it takes effect; to ask
    /// again is safe.
    ///
    /// # Errors
    /// See [`CoordinatorError`].
    pub async fn join(&self, request: JoinRequest) -> Result<MemberAnswer, CoordinatorError> {
        self.ask(move |coordinator, now, topics| coordinator.join(now, topics, &request)).await
    }

    /// A member is alive.
    ///
    /// # Errors
    /// See [`CoordinatorError`].
    pub async fn heartbeat(&self, request: HeartbeatRequest) -> Result<MemberAnswer, CoordinatorError> {
        self.ask(move |coordinator, now, topics| coordinator.heartbeat(now, topics, &request)).await
    }

    /// A member goes.
    ///
    /// # Errors
    /// See [`CoordinatorError`].
    pub async fn leave(&self, request: LeaveRequest) -> Result<(), CoordinatorError> {
        self.ask(move |coordinator, now, topics| coordinator.leave(now, topics, &request)).await
    }

    /// Offsets are to be remembered. One result for each, in order.
    ///
    /// # Errors
    /// See [`CoordinatorError`]; none was remembered then, or that is not known.
    pub async fn commit(
        &self,
        request: CommitRequest,
    ) -> Result<Vec<Result<(), GroupsError>>, CoordinatorError> {
        self.ask(move |coordinator, now, topics| coordinator.commit(now, topics, &request)).await
    }

    /// Offsets are to be others. Only while the group has no members. One result for each, in order.
    ///
    /// # Errors
    /// See [`CoordinatorError`].
    pub async fn reset_offsets(
        &self,
        group: GroupName,
        offsets: Vec<(PartitionId, Offset)>,
    ) -> Result<Vec<Result<(), GroupsError>>, CoordinatorError> {
        self.ask(move |coordinator, now, topics| coordinator.reset_offsets(now, topics, &group, &offsets)).await
    }

    /// Offsets are to be forgotten. One result for each, in order.
    ///
    /// # Errors
    /// See [`CoordinatorError`].
    pub async fn delete_offsets(
        &self,
        group: GroupName,
        partitions: Vec<PartitionId>,
    ) -> Result<Vec<Result<(), GroupsError>>, CoordinatorError> {
        self.ask(move |coordinator, now, topics| coordinator.delete_offsets(now, topics, &group, &partitions))
            .await
    }

    /// A group is to be gone, with its offsets. Only while it has no members.
    ///
    /// # Errors
    /// See [`CoordinatorError`].
    pub async fn delete_group(&self, group: GroupName) -> Result<(), CoordinatorError> {
        self.ask(move |coordinator, now, topics| coordinator.delete_group(now, topics, &group)).await
    }

    /// Looks at the groups as they durably are. What was answered before this was called is in it.
    ///
    /// # Errors
    /// See [`CoordinatorError`]; a look changes nothing.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&GroupsState) -> Result<T, GroupsError> + Send + 'static,
    ) -> Result<T, CoordinatorError> {
        self.ask(move |coordinator, _, _| Decision {
            records: Vec::new(),
            answer: look(coordinator.state()),
            wakes: Vec::new(),
        })
        .await
    }

    /// Waits from here on for the member to have something to hear.
    pub fn wait_for(&self, group: GroupName, member: MemberId) -> Woken {
        self.wakes.wait_for(Wake { group, member })
    }

    async fn ask<T: Send + 'static>(
        &self,
        decide: impl FnOnce(&mut Coordinator, Now, &dyn TopicCatalog) -> Decision<T> + Send + 'static,
    ) -> Result<T, CoordinatorError> {
        let status = self.replica.status();
        if !status.is_leader {
            return Err(CoordinatorError::NotLeader { leader: status.leader });
        }
        let (answers, answer) = oneshot::channel();
        let decide = move |deciding: Deciding<'_>| decide(deciding.coordinator, deciding.now, deciding.topics);
        self.jobs.try_send(job(decide, answers)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CoordinatorError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => CoordinatorError::NotLeader { leader: None },
        })?;
        let stopped = || CoordinatorError::OutcomeUnknown { reason: "the node is being stopped".to_owned() };
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }
}
