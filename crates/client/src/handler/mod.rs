//! A function that handles the records of a group's topics, for who thinks in events: many at a time, in order for each key, with
//! retries.

mod config;
mod dispatch;
mod lanes;

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::group::{CommitMode, GroupConsumer, GroupConsumerConfig, GroupRecord};

use dispatch::{Dispatch, Draining};

pub use config::GroupHandlerConfig;

/// Revocations and losses that wait for the handler; the listener tells of one at a time.
const DRAINS_MAX: usize = 1;

/// What to do about a record that failed at every attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// Leave it out: it counts as done.
    Skip,
    /// End: it is not committed, and whoever owns the partition next handles it again.
    Stop,
}

/// Handles records. A function from [`GroupRecord`] to a future of `Result<(), E>` is one, which stops at a record that fails.
pub trait RecordHandler: Send + Sync + 'static {
    /// Why a record could not be handled.
    type Error: Display + Send + 'static;

    /// Handles a record. It may come more than once: after a failure, and after a crash or a hand-over before it was committed. The
    /// records of one key of a partition come one at a time and in order; those without a key in any order, several at a time.
    fn handle(&self, record: GroupRecord) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// A record failed as often as it may. What to do about it, once this returns.
    fn on_failure(
        &self,
        record: &GroupRecord,
        error: Self::Error,
    ) -> impl Future<Output = AfterFailure> + Send {
        let _ = (record, error);
        std::future::ready(AfterFailure::Stop)
    }
}

impl<F, Handling, E> RecordHandler for F
where
    F: Fn(GroupRecord) -> Handling + Send + Sync + 'static,
    Handling: Future<Output = Result<(), E>> + Send,
    E: Display + Send + 'static,
{
    type Error = E;

    fn handle(&self, record: GroupRecord) -> impl Future<Output = Result<(), E>> + Send {
        self(record)
    }
}

/// A member of a consumer group whose records are handled by a [`RecordHandler`].
///
/// Each record is handled at least once. What is committed of a partition is everything before its first record that is not
/// handled, so a crash repeats what was handled behind that one. When a partition goes to another member, what is
/// being handled of it is finished and committed first, within the rebalance timeout, and nothing of it is begun or tried again;
/// when it is lost, what is being handled goes on, and another member may handle the same at that time.
///
/// Dropping it begins what [`GroupHandler::stop`] does, without waiting for it.
#[derive(Debug)]
pub struct GroupHandler {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), ClientError>>,
}

impl GroupHandler {
    pub(crate) fn start(
        cluster: Arc<Cluster>,
        config: GroupHandlerConfig,
        handler: impl RecordHandler,
    ) -> Result<Self, ClientError> {
        config.check()?;
        let (drains, drained) = mpsc::channel(DRAINS_MAX);
        let consumer_config = GroupConsumerConfig { commit: CommitMode::ByHand, ..config.consumer.clone() };
        let consumer = GroupConsumer::start(cluster, consumer_config, Draining::new(drains))?;
        let (stop, stopped) = oneshot::channel();
        let dispatch = Dispatch::new(config, handler, &consumer, drained);
        let task = tokio::spawn(dispatch.run(consumer, stopped));
        Ok(Self { stop: Some(stop), task })
    }

    /// Waits until it ends, which it does by itself only when it fails. Cancel-safe.
    ///
    /// # Errors
    /// [`ClientError::HandlerFailed`] when a record failed that is not to be skipped; what ended the consumer; or what was handled and
    /// could not be committed in the end.
    pub async fn wait(&mut self) -> Result<(), ClientError> {
        (&mut self.task).await.unwrap_or(Err(ClientError::Closed))
    }

    /// Ends in order: begins nothing more, finishes what is being handled, commits it, and leaves the group, so that others go on at once.
    /// It takes as long as the records that are being handled. When it is dropped, it goes on in the background.
    ///
    /// # Errors
    /// As [`GroupHandler::wait`].
    pub async fn stop(mut self) -> Result<(), ClientError> {
        drop(self.stop.take());
        self.wait().await
    }
}
