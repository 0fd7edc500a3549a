//! Reads partitions of any topics while they come and go, each from its own start, through breaks and moves. What consumers are
//! made of; it knows nothing of what they are for.
//!
//! ```text
//! Reader ◀── pushes ── Subscription ◀── PushStream ◀── a leader
//!    │                     ▲
//!    └── ReadSet ──────────┘  what is to be read, what was taken
//! ```

mod credit;
mod decoding;
mod push_stream;
mod read_set;
mod reading;
mod subscription;

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use highwater_proto::v1::SubscribePush;
use highwater_types::Offset;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::consumer::OutOfRange;
use crate::error::ClientError;

use decoding::Current;
use subscription::Subscription;

pub(crate) use decoding::ReadBatch;
pub(crate) use read_set::{ReadSet, ReadingId};

/// Pushes that wait for the user; the credit bounds their bytes.
const PUSHES_MAX: usize = 64;

/// What all partitions of a reader have in common.
#[derive(Debug, Clone)]
pub(crate) struct ReaderConfig {
    /// What to do when records that were to be read are gone.
    pub(crate) out_of_range: OutOfRange,
    /// Bytes that may be sent ahead of what was taken, over all partitions; at least 1.
    pub(crate) credit_bytes: u64,
    /// Most bytes that come in one piece; 0 leaves it to the node.
    pub(crate) push_bytes_max: u32,
    /// How long to try again while nothing comes for errors; `None` is for ever.
    pub(crate) retry_for: Option<Duration>,
}

/// What a subscription hands over.
#[derive(Debug)]
pub(crate) enum ReadEvent {
    /// A push for a reading that was at `from`, when that was known.
    Push { id: ReadingId, from: Option<Offset>, push: SubscribePush },
    /// These are read no more.
    Ended(ReadEnd),
}

/// The end of some readings by an error.
#[derive(Debug)]
pub(crate) struct ReadEnd {
    pub(crate) ids: Vec<ReadingId>,
    pub(crate) error: ClientError,
}

/// The side of the user. Dropping it ends everything.
#[derive(Debug)]
pub(crate) struct Reader {
    set: Arc<ReadSet>,
    events: mpsc::Receiver<ReadEvent>,
    current: Option<Current>,
    task: JoinHandle<()>,
}

impl Reader {
    /// A reader of what is in the set, now and later. Must be called within a Tokio runtime.
    pub(crate) fn start(cluster: Arc<Cluster>, config: ReaderConfig, set: Arc<ReadSet>) -> Self {
        let (out, events) = mpsc::channel(PUSHES_MAX);
        let subscription = Subscription::new(cluster, config, out, Arc::clone(&set));
        Self { set, events, current: None, task: tokio::spawn(subscription.run()) }
    }

    /// The next batch of any live reading, or the end of some. Never of a reading that was removed before the call. It is pending
    /// while nothing comes, and never ends by itself.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<ReadBatch, ReadEnd>>> {
        loop {
            if let Some(outcome) = self.next_of_current() {
                return Poll::Ready(Some(outcome));
            }
            match ready!(self.events.poll_recv(context)) {
                Some(ReadEvent::Push { id, from, push }) => self.current = Some(Current::new(id, from, push)),
                Some(ReadEvent::Ended(end)) => {
                    let ReadEnd { mut ids, error } = end;
                    ids.retain(|id| self.end(*id));
                    if !ids.is_empty() {
                        return Poll::Ready(Some(Err(ReadEnd { ids, error })));
                    }
                }
                None => return Poll::Ready(None),
            }
        }
    }

    /// The next batch of the current push. `None` when there is none left.
    fn next_of_current(&mut self) -> Option<Result<ReadBatch, ReadEnd>> {
        let mut current = self.current.take()?;
        if !self.set.is_live(current.id) {
            self.set.took(current.id, current.charged_bytes);
            return None;
        }
        let (id, batch) = (current.id, current.next_batch());
        if current.is_over() || batch.is_err() {
            self.set.took(id, current.charged_bytes);
        } else {
            self.current = Some(current);
        }
        Some(batch.map_err(|error| {
            // What is behind damage cannot be trusted.
            self.set.remove(id);
            ReadEnd { ids: vec![id], error }
        }))
    }

    /// Ends a reading. Returns whether it was live.
    fn end(&self, id: ReadingId) -> bool {
        let was_live = self.set.is_live(id);
        self.set.remove(id);
        was_live
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}
