//! The parts of a subscription that other nodes lead: one stream to each of them. None waits for another: a leader that hangs holds up
//! its own partitions alone.
//!
//! A leader has credit for about one push, whatever the client has given, and gets back what was passed on. So what this node
//! holds of each leader is bounded, and only what the client has credit for is taken.

use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use highwater_broker::{BrokerError, LeaderHint};
use highwater_proto::v1;
use highwater_proto::v1::subscribe_request::Message as Said;
use highwater_proto::v1::subscribe_response::Message as Heard;
use highwater_types::PartitionIndex;
use tokio::sync::mpsc;
use tokio::time::timeout_at;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::grpc::forward::{CallSlot, Caller, Effect, Forwarding, answered, failed, lost, with_grace};
use crate::grpc::status::detail;

/// How long a leader may take to say where its partitions start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Credits that wait to be sent to a leader. It gets credit in halves of what it has at most.
const CREDITS_WAITING_MAX: usize = 4;

/// What is asked of one leader.
pub(super) struct Wanted {
    pub(super) leader: LeaderHint,
    pub(super) start: v1::SubscribeStart,
}

/// The streams to all of them.
#[derive(Default)]
pub(super) struct Upstreams {
    /// Streams whose leaders have not said yet where all of their partitions start.
    beginning: FuturesUnordered<BeginFuture>,
    open: Vec<Upstream>,
    /// Where in `open` to look first, so that every leader gets its turn.
    turn: usize,
    /// Starts and ends of partitions that were not told yet.
    news: VecDeque<v1::SubscribeResponse>,
}

/// A stream that has begun, if it did, and what is to be said first: where each partition starts, or why it takes no part.
type Begun = (Option<Upstream>, Vec<v1::SubscribeResponse>);

type BeginFuture = Pin<Box<dyn Future<Output = Begun> + Send>>;

struct Upstream {
    leader: LeaderHint,
    topic: String,
    /// Partitions whose part has not ended.
    partitions: BTreeSet<u32>,
    requests: mpsc::Sender<v1::SubscribeRequest>,
    pushes: Streaming<v1::SubscribeResponse>,
    credit_bytes: u64,
    /// Passed on, and not given back as credit yet.
    owed_bytes: u64,
    _slot: CallSlot,
}

impl Upstreams {
    /// Begins all of them, as they are asked for what is next.
    pub(super) fn begin(forwarding: &Forwarding, wanted: Vec<Wanted>, push_bytes_max: usize) -> Self {
        let credit_bytes = u64::try_from(push_bytes_max).unwrap_or(u64::MAX);
        let begin = |wanted| -> BeginFuture { Box::pin(begin(forwarding.clone(), wanted, credit_bytes)) };
        Self { beginning: wanted.into_iter().map(begin).collect(), ..Self::default() }
    }

    /// Whether there is, or will be, something to be said without records.
    pub(super) fn has_news(&self) -> bool {
        !self.beginning.is_empty() || !self.news.is_empty()
    }

    /// Whether every partition has ended, and was told.
    pub(super) fn is_done(&self) -> bool {
        self.open.is_empty() && !self.has_news()
    }

    /// Where a partition starts, or that it has ended; no records. Never, when there is nothing to be said. Cancel-safe.
    pub(super) async fn next_news(&mut self) -> v1::SubscribeResponse {
        poll_fn(|context| self.poll_news(context)).await
    }

    /// The next message of any leader, as it is for the client. Never, when there is none. Cancel-safe.
    pub(super) async fn next(&mut self) -> v1::SubscribeResponse {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_news(&mut self, context: &mut Context<'_>) -> Poll<v1::SubscribeResponse> {
        loop {
            if let Some(message) = self.news.pop_front() {
                return Poll::Ready(message);
            }
            let Poll::Ready(Some((upstream, said))) = self.beginning.poll_next_unpin(context) else {
                return Poll::Pending;
            };
            self.news.extend(said);
            self.open.extend(upstream.filter(|upstream| !upstream.partitions.is_empty()));
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<v1::SubscribeResponse> {
        loop {
            if let Poll::Ready(message) = self.poll_news(context) {
                return Poll::Ready(message);
            }
            let count = self.open.len();
            let ready = (0..count).map(|step| (self.turn + step) % count).find_map(|place| {
                match self.open[place].pushes.poll_next_unpin(context) {
                    Poll::Ready(message) => Some((place, message)),
                    Poll::Pending => None,
                }
            });
            let Some((place, message)) = ready else { return Poll::Pending };
            self.turn = place + 1;
            if let Some(Ok(message)) = message {
                let upstream = &mut self.open[place];
                upstream.take_in(&message);
                if upstream.partitions.is_empty() {
                    self.open.remove(place);
                }
                return Poll::Ready(message);
            }
            let gone = self.open.remove(place);
            let error = gone.end_error(message.and_then(Result::err));
            self.news.extend(gone.partitions.iter().map(|&partition| end_of(&gone.topic, partition, &error)));
        }
    }
}

impl Upstream {
    /// Sees a partition's end, and gives credit back.
    fn take_in(&mut self, message: &v1::SubscribeResponse) {
        match &message.message {
            Some(Heard::Error(error)) => match error.partition {
                Some(partition) => drop(self.partitions.remove(&partition)),
                None => self.partitions.clear(),
            },
            Some(Heard::Push(push)) => {
                self.owed_bytes += push.charged_bytes;
                if self.owed_bytes > self.credit_bytes / 2 {
                    let bytes = std::mem::take(&mut self.owed_bytes);
                    let credit = v1::SubscribeCredit { bytes };
                    // There is room; a stream that has ended says so itself.
                    let _ =
                        self.requests.try_send(v1::SubscribeRequest { message: Some(Said::Credit(credit)) });
                }
            }
            None => {}
        }
    }

    fn end_error(&self, status: Option<Status>) -> BrokerError {
        match status {
            Some(status) => failed(&self.leader, Effect::None, &status),
            None => {
                let LeaderHint { node, address } = &self.leader;
                lost(Effect::None, format!("node {node} at {address}, which led it, ended the subscription"))
            }
        }
    }
}

/// Opens the stream to a leader and reads where its partitions start.
async fn begin(forwarding: Forwarding, wanted: Wanted, credit_bytes: u64) -> Begun {
    let Wanted { leader, start } = wanted;
    let partitions: BTreeSet<u32> = start.partitions.iter().map(|wanted| wanted.partition).collect();
    let topic = start.topic.clone();
    let start = v1::SubscribeStart { credit_bytes, ..start };
    let mut said = Vec::with_capacity(partitions.len());
    let begun = open(&forwarding, &leader, start).await;
    let (requests, pushes, slot) = match begun {
        Ok(open) => open,
        Err(error) => {
            said.extend(partitions.iter().map(|&partition| end_of(&topic, partition, &error)));
            return (None, said);
        }
    };
    let count = partitions.len();
    let mut upstream =
        Upstream { leader, topic, partitions, requests, pushes, credit_bytes, owed_bytes: 0, _slot: slot };
    let deadline = with_grace(START_TIMEOUT);
    for _ in 0..count {
        let error = match timeout_at(deadline, upstream.pushes.message()).await {
            Ok(Ok(Some(start))) => {
                upstream.take_in(&start);
                said.push(start);
                continue;
            }
            Ok(Ok(None)) => upstream.end_error(None),
            Ok(Err(status)) => upstream.end_error(Some(status)),
            Err(_) => upstream.end_error(Some(Status::unavailable("it did not answer in time"))),
        };
        said.extend(upstream.partitions.iter().map(|&partition| end_of(&upstream.topic, partition, &error)));
        return (None, said);
    }
    (Some(upstream), said)
}

type Opened = (mpsc::Sender<v1::SubscribeRequest>, Streaming<v1::SubscribeResponse>, CallSlot);

async fn open(
    forwarding: &Forwarding,
    leader: &LeaderHint,
    start: v1::SubscribeStart,
) -> Result<Opened, BrokerError> {
    let Caller { mut client, slot } = forwarding.records(leader)?;
    let (requests, receiver) = mpsc::channel(CREDITS_WAITING_MAX);
    // The queue is empty.
    let _ = requests.try_send(v1::SubscribeRequest { message: Some(Said::Start(start)) });
    let call = client.subscribe(forwarding.request(ReceiverStream::new(receiver)));
    let pushes = answered(leader, Effect::None, with_grace(START_TIMEOUT), call).await?;
    Ok((requests, pushes, slot))
}

/// What ends a partition's part.
fn end_of(topic: &str, partition: u32, error: &BrokerError) -> v1::SubscribeResponse {
    let error = error.clone().with_topic(topic).with_partition(PartitionIndex(partition));
    v1::SubscribeResponse { message: Some(Heard::Error(detail(error))) }
}
