//! Runs a handler: takes records in while there is room, begins those that may be, commits how far they are done, and gives partitions up
//! when they go to others.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use highwater_types::Backoff;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use crate::error::ClientError;
use crate::group::{
    GroupConsumer, OffsetCommit, OffsetCommitter, RebalanceListener, Revocation, TopicPartition,
};
use crate::handler::lanes::{Job, Lanes, Ticket};
use crate::handler::{AfterFailure, GroupHandlerConfig, RecordHandler};

/// Partitions that go.
#[derive(Debug)]
pub(crate) struct Drain {
    partitions: Vec<TopicPartition>,
    /// Where to say how far they are done once nothing of them is being handled; none when they are lost.
    done: Option<oneshot::Sender<Vec<OffsetCommit>>>,
}

/// Tells the dispatch of partitions that go.
#[derive(Debug)]
pub(crate) struct Draining {
    drains: mpsc::Sender<Drain>,
}

impl Draining {
    pub(crate) fn new(drains: mpsc::Sender<Drain>) -> Self {
        Self { drains }
    }
}

impl RebalanceListener for Draining {
    async fn on_revoked(&mut self, revocation: Revocation<'_>) {
        let (done, offsets) = oneshot::channel();
        let drain = Drain { partitions: revocation.partitions.to_vec(), done: Some(done) };
        // A dispatch that has ended has committed what there was.
        if self.drains.send(drain).await.is_ok()
            && let Ok(offsets) = offsets.await
            && let Err(error) = revocation.committer.commit(&offsets).await
        {
            tracing::warn!(%error, "what was handled could not be committed; it is handled again");
        }
    }

    async fn on_lost(&mut self, partitions: &[TopicPartition]) {
        // A dispatch that has ended holds nothing.
        let _ = self.drains.send(Drain { partitions: partitions.to_vec(), done: None }).await;
    }
}

/// How a record ended.
enum Ended {
    /// Handled, or skipped.
    Done,
    /// Left to whoever has the partition next.
    GivenUp,
    /// It failed, and that is the end.
    Failed(String),
}

type Handling = Pin<Box<dyn Future<Output = (Ticket, Ended)> + Send>>;
type Committing = Pin<Box<dyn Future<Output = (Vec<OffsetCommit>, Result<(), ClientError>)> + Send>>;

/// See the module.
pub(crate) struct Dispatch<H> {
    config: GroupHandlerConfig,
    handler: Arc<H>,
    committer: OffsetCommitter,
    drains: mpsc::Receiver<Drain>,
    lanes: Lanes,
    running: FuturesUnordered<Handling>,
    /// What is revoked and still being handled.
    leaving: Vec<Drain>,
    committing: Option<Committing>,
    outcome: Result<(), ClientError>,
}

impl<H: RecordHandler> Dispatch<H> {
    pub(crate) fn new(
        config: GroupHandlerConfig,
        handler: H,
        consumer: &GroupConsumer,
        drains: mpsc::Receiver<Drain>,
    ) -> Self {
        Self {
            config,
            handler: Arc::new(handler),
            committer: consumer.committer(),
            drains,
            lanes: Lanes::default(),
            running: FuturesUnordered::new(),
            leaving: Vec::new(),
            committing: None,
            outcome: Ok(()),
        }
    }

    /// Runs until it is told to stop or fails, and what it began is finished.
    pub(crate) async fn run(
        mut self,
        mut consumer: GroupConsumer,
        mut stop: oneshot::Receiver<()>,
    ) -> Result<(), ClientError> {
        let mut commits = tokio::time::interval(self.config.commit_interval);
        commits.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_ending = false;
        while !is_ending || !self.running.is_empty() {
            self.begin();
            tokio::select! {
                Some((ticket, ended)) = self.running.next(), if !self.running.is_empty() => {
                    is_ending |= self.on_ended(&ticket, ended);
                }
                Some(drain) = self.drains.recv() => self.on_drain(drain),
                batch = consumer.next_batch(), if !is_ending && self.lanes.waiting() < self.config.waiting_max => {
                    match batch {
                        Ok(batch) => self.lanes.take(batch),
                        Err(error) => {
                            self.outcome = Err(error);
                            is_ending = true;
                        }
                    }
                    // What is handled and what is not is known here.
                    consumer.settle();
                }
                (offsets, outcome) = progress(&mut self.committing), if self.committing.is_some() => {
                    self.on_committed(&offsets, outcome);
                }
                _ = commits.tick(), if self.committing.is_none() => self.commit(),
                _ = &mut stop, if !is_ending => is_ending = true,
            }
            if is_ending {
                self.lanes.drain(None);
            }
        }
        self.end(consumer).await
    }

    async fn end(mut self, consumer: GroupConsumer) -> Result<(), ClientError> {
        // Who waits for a hand-over is told by this.
        drop(std::mem::take(&mut self.leaving));
        drop(self.drains);
        // It would keep the next one waiting. What it was to commit is among what is due.
        drop(self.committing);
        let due = self.lanes.due(None);
        let committed = self.committer.commit(&due).await;
        let closed = consumer.close().await;
        self.outcome.and(committed).and(closed)
    }

    fn begin(&mut self) {
        while self.running.len() < self.config.concurrency
            && let Some(job) = self.lanes.begin()
        {
            let ticket = job.ticket();
            // In a task of its own: who handles a record may compute as well as wait.
            let handling = tokio::spawn(handle(Arc::clone(&self.handler), job, self.config.clone()));
            self.running.push(Box::pin(async move {
                let ended = handling.await.unwrap_or_else(|error| Ended::Failed(error.to_string()));
                (ticket, ended)
            }));
        }
    }

    /// Returns whether it is the end.
    fn on_ended(&mut self, ticket: &Ticket, ended: Ended) -> bool {
        self.lanes.end(ticket, matches!(ended, Ended::Done));
        let is_failure = matches!(ended, Ended::Failed(_));
        if let Ended::Failed(reason) = ended {
            let failure = ticket.failed(reason);
            tracing::error!(error = %failure, "a record cannot be handled; the handler ends");
            self.outcome = std::mem::replace(&mut self.outcome, Ok(())).and(Err(failure));
        }
        self.hand_over();
        is_failure
    }

    fn on_drain(&mut self, drain: Drain) {
        self.lanes.drain(Some(&drain.partitions));
        if drain.done.is_some() {
            self.leaving.push(drain);
            self.hand_over();
        } else {
            self.lanes.forget(&drain.partitions);
            self.leaving.retain(|leaving| !drain.partitions.iter().any(|of| leaving.partitions.contains(of)));
        }
    }

    /// Says of partitions that go and of which nothing is handled any more how far they are done.
    fn hand_over(&mut self) {
        for drain in std::mem::take(&mut self.leaving) {
            match drain.done {
                // The listener gave up waiting: the time to hand over is over.
                Some(done) if done.is_closed() => self.lanes.forget(&drain.partitions),
                Some(done) if !self.lanes.is_busy(&drain.partitions) => {
                    // Nobody waits for it when the time to hand over is over.
                    let _ = done.send(self.lanes.due(Some(&drain.partitions)));
                    self.lanes.forget(&drain.partitions);
                }
                done => self.leaving.push(Drain { done, ..drain }),
            }
        }
    }

    fn commit(&mut self) {
        let due = self.lanes.due(None);
        if !due.is_empty() {
            let committer = self.committer.clone();
            self.committing = Some(Box::pin(async move {
                let outcome = committer.commit(&due).await;
                (due, outcome)
            }));
        }
    }

    fn on_committed(&mut self, offsets: &[OffsetCommit], outcome: Result<(), ClientError>) {
        self.committing = None;
        match outcome {
            Ok(()) => self.lanes.committed(offsets),
            Err(error) => {
                tracing::warn!(%error, "what was handled could not be committed; the next commit makes up for it")
            }
        }
    }
}

/// Waits for the commit that is under way. Cancel-safe.
async fn progress(committing: &mut Option<Committing>) -> (Vec<OffsetCommit>, Result<(), ClientError>) {
    match committing {
        Some(committing) => committing.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Handles a record until that works, or it failed as often as it may, or is not to be tried any more.
async fn handle<H: RecordHandler>(handler: Arc<H>, job: Job, config: GroupHandlerConfig) -> Ended {
    let Job { record, mut ends, .. } = job;
    let random = Arc::new(highwater_types::SystemRandom);
    let mut backoff = Backoff::new(config.backoff_min, config.backoff_max, random);
    for attempt in 1.. {
        let error = match handler.handle(record.clone()).await {
            Ok(()) => return Ended::Done,
            Err(error) => error,
        };
        if attempt >= config.attempts_max {
            let reason = error.to_string();
            return match handler.on_failure(&record, error).await {
                AfterFailure::Skip => Ended::Done,
                AfterFailure::Stop => Ended::Failed(reason),
            };
        }
        tracing::debug!(%error, attempt, "a record could not be handled and is tried again");
        let retry_at = Instant::now() + backoff.next_wait();
        tokio::select! {
            () = tokio::time::sleep_until(retry_at) => {}
            // An end of the sender is an end as well.
            _ = ends.wait_for(|ends| *ends) => return Ended::GivenUp,
        }
    }
    Ended::GivenUp
}
