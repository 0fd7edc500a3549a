//! Commits: what was processed, in the background and at the end, and what the application says.
//!
//! One commit is on its way at a time, so that they take effect in order. A member commits as who it was when the commit
//! began: one that lost its partitions meanwhile is refused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use highwater_proto::v1::CommitOffsetsRequest;
use highwater_types::PartitionId;
use tokio::time::Instant;

use crate::connections::Server;
use crate::error::ClientError;
use crate::group::progress::Due;
use crate::group::shared::{Identity, Phase, Shared};
use crate::group::{CommitMode, OffsetCommit, outcomes};

/// Commits offsets for a [`crate::GroupConsumer`], from anywhere. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OffsetCommitter {
    shared: Arc<Shared>,
}

impl OffsetCommitter {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Commits these offsets. On return they are durable on a majority. It is tried again while the group's coordinator is being replaced,
    /// for as long as the client's `request_timeout`.
    ///
    /// Not cancel-safe: when it is dropped, they may or may not be committed.
    ///
    /// # Errors
    /// The first that was refused; the others may be committed. [`ClientError::NotAssigned`] and `STALE_MEMBER` say that the
    /// partition is somebody else's, whose records are processed again; after a retriable error the outcome is unknown, and the commit
    /// can be repeated.
    pub async fn commit(&self, offsets: &[OffsetCommit]) -> Result<(), ClientError> {
        let deadline = Instant::now() + self.shared.cluster.config.request_timeout;
        let shared = &self.shared;
        let _turn = shared.committing.lock().await;
        let (identity, due) = {
            let inner = shared.inner();
            let due = |commit: &OffsetCommit| {
                let partition = inner.progress.find(&commit.partition).ok_or_else(|| not_assigned(commit))?;
                let topic_id = partition.topic.to_string().into();
                Ok(Due { partition, topic_id, commit: commit.clone() })
            };
            let due: Vec<Due> = offsets.iter().map(due).collect::<Result<_, ClientError>>()?;
            let identity = inner.identity.clone();
            match (identity, offsets.first()) {
                (Some(identity), Some(_)) => (identity, due),
                (None, Some(first)) => return Err(not_assigned(first)),
                (_, None) => return Ok(()),
            }
        };
        shared.send_commit(identity, due, deadline).await
    }
}

fn not_assigned(commit: &OffsetCommit) -> ClientError {
    ClientError::NotAssigned {
        topic: commit.partition.topic.to_string(),
        partition: commit.partition.partition.0,
    }
}

impl Shared {
    /// Commits what is processed of these partitions, or of all.
    pub(crate) async fn commit_processed(
        &self,
        only: Option<&BTreeSet<PartitionId>>,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let _turn = self.committing.lock().await;
        let (identity, due) = {
            let mut inner = self.inner();
            (inner.identity.clone(), inner.progress.due(only))
        };
        match (identity, due.first()) {
            (_, None) => Ok(()),
            (None, Some(first)) => Err(not_assigned(&first.commit)),
            (Some(identity), Some(_)) => self.send_commit(identity, due, deadline).await,
        }
    }

    async fn send_commit(
        &self,
        identity: Identity,
        due: Vec<Due>,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let request = CommitOffsetsRequest {
            group: self.config.group.clone(),
            member_id: identity.member_id,
            member_epoch: identity.epoch,
            offsets: due.iter().map(|due| due.commit.to_proto(&due.topic_id)).collect(),
        };
        let call = |server: Server| {
            let request = request.clone();
            async move { server.groups().commit_offsets(request).await }
        };
        let results = outcomes(self.calls.until(deadline, call).await?.results);
        if results.len() != due.len() {
            return Err(self.cluster.protocol("not one result for each offset"));
        }
        let mut inner = self.inner();
        for (due, result) in due.iter().zip(&results) {
            if result.is_ok() {
                inner.progress.committed(due.partition, due.commit.offset);
            }
        }
        results.into_iter().collect()
    }

    /// Commits in the background, until the consumer is to end.
    pub(crate) async fn commit_in_background(self: Arc<Self>) {
        let mut phase = self.phase.subscribe();
        let interval = match self.config.commit {
            CommitMode::OnNext { interval } => Some(interval),
            CommitMode::ByHand => None,
        };
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval.unwrap_or(Duration::MAX)), if interval.is_some() => {}
                () = self.commit_now.notified() => {}
                // The sender is in `self`, so there always is a change.
                _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
            }
            let deadline = Instant::now() + self.cluster.config.request_timeout;
            tokio::select! {
                outcome = self.commit_processed(None, deadline) => if let Err(error) = outcome {
                    tracing::warn!(group = self.config.group, %error, "offsets could not be committed; what is processed is committed with the next ones");
                },
                _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
            }
        }
    }
}
