//! What a shard needs of its Raft group: the seam at which scenario tests put a group that delays, refuses and loses its
//! leadership on command. [`Group`] is the one real implementation.

use std::future::Future;

use bytes::Bytes;
use highwater_consensus::{ConsensusError, Group, GroupStatus, Proposal};
use highwater_types::Term;
use tokio::sync::watch;

use crate::error::CoordinatorError;

/// One shard's replica on this node.
pub trait Replica: Send + Sync + 'static {
    /// Puts an entry into the log in that term or not at all. On return it is applied here, and durable on a majority. Dropping
    /// the future leaves open whether it will be.
    ///
    /// # Errors
    /// [`CoordinatorError::NotLeader`] or [`CoordinatorError::OutcomeUnknown`].
    fn propose(&self, term: Term, entry: Bytes) -> impl Future<Output = Result<(), CoordinatorError>> + Send;

    /// How the group stands now.
    fn status(&self) -> GroupStatus;

    /// Changes of the status, but for a leader that stops serving, or serves again, because others do not stand by it or do.
    fn watch(&self) -> watch::Receiver<GroupStatus>;

    /// Waits while this node leads and does not serve, whatever the reason. Returns also when the group stops. Cancel-safe.
    fn until_settled(&self) -> impl Future<Output = ()> + Send;
}

impl Replica for Group {
    async fn propose(&self, term: Term, entry: Bytes) -> Result<(), CoordinatorError> {
        let proposed = self.propose_many(Some(term), vec![Proposal::Control(entry)]).await.pop();
        match proposed {
            Some(handle) => handle.await.map(drop).map_err(|error| failed(&error)),
            None => Err(CoordinatorError::OutcomeUnknown { reason: "it is being stopped".to_owned() }),
        }
    }

    fn status(&self) -> GroupStatus {
        Group::status(self)
    }

    fn watch(&self) -> watch::Receiver<GroupStatus> {
        Group::watch(self)
    }

    async fn until_settled(&self) {
        Group::until_settled(self).await;
    }
}

fn failed(error: &ConsensusError) -> CoordinatorError {
    match error {
        ConsensusError::NotLeader { leader } => CoordinatorError::NotLeader { leader: *leader },
        ConsensusError::NoLeader { .. } | ConsensusError::Overtaking | ConsensusError::Unknown { .. } => {
            CoordinatorError::NotLeader { leader: None }
        }
        error => CoordinatorError::OutcomeUnknown { reason: error.to_string() },
    }
}
