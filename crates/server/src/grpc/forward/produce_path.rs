//! The forwarded part of a client's produce stream: one stream to each leader, which keeps the order of what it is given.
//!
//! Invariants
//! - what was handed to the transport and not answered is answered with `TIMEOUT`; what was not handed over yet when the stream
//!   to the leader broke is answered with `UNAVAILABLE`, and is not sent later;
//! - a broken path is never mended: the next request begins another one, and nothing of the old one is sent on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use highwater_broker::{Broker, BrokerError, BytesPermit, LeaderHint};
use highwater_proto::v1;
use highwater_proto::v1::log_service_client::LogServiceClient;
use highwater_types::{ErrorCode, limits};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::{Caller, Effect, Forwarding, Origin, lost};
use crate::grpc::status::{detail, hint};

/// How a produce ended, as the client is told.
pub(crate) type Outcome = Result<v1::ProduceResponse, v1::ErrorDetail>;

/// The paths of one client's stream.
pub(crate) struct ProducePaths {
    forwarding: Forwarding,
    origin: Origin,
    open: BTreeMap<String, ProducePath>,
}

impl ProducePaths {
    /// None is open yet.
    pub(crate) fn new(forwarding: Forwarding, origin: Origin) -> Self {
        Self { forwarding, origin, open: BTreeMap::new() }
    }

    /// Where requests for a partition go, if not to this node.
    pub(crate) fn target(&self, broker: &Broker, topic: &str, partition: u32) -> Option<LeaderHint> {
        Forwarding::target(broker, self.origin, topic, partition)
    }

    /// Sends a request behind all earlier ones to this leader; the future is its outcome. The permit is kept until the request
    /// was handed to the transport.
    pub(crate) fn send(
        &mut self,
        leader: &LeaderHint,
        request: v1::ProduceRequest,
        deadline: Instant,
        permit: Option<Arc<BytesPermit>>,
    ) -> impl Future<Output = Outcome> + Send + use<> {
        let (outcome, answer) = oneshot::channel();
        let queued = Queued { request, deadline, outcome, _permit: permit };
        let path = self.path(leader).map(|path| path.send(queued));
        let leader = leader.clone();
        async move {
            let shared = path.map_err(detail)?;
            match timeout_at(deadline + Duration::from_millis(limits::FORWARD_GRACE_MS), answer).await {
                Ok(Ok(outcome)) => {
                    outcome.map(|produced| v1::ProduceResponse { leader: Some(hint(leader)), ..produced })
                }
                Ok(Err(_)) => Err(detail(shared.unsent(&leader))),
                Err(_) => {
                    let LeaderHint { node, address } = leader;
                    let message = format!("node {node} at {address}, which leads it, did not answer in time");
                    Err(detail(lost(Effect::Change, message)))
                }
            }
        }
    }

    fn path(&mut self, leader: &LeaderHint) -> Result<&ProducePath, BrokerError> {
        self.open.retain(|_, path| !path.shared.ended.is_cancelled());
        if !self.open.contains_key(&leader.address) {
            let path = ProducePath::begin(&self.forwarding, leader)?;
            self.open.insert(leader.address.clone(), path);
        }
        self.open.get(&leader.address).ok_or_else(super::incomplete)
    }
}

/// One stream to a leader.
struct ProducePath {
    queue: mpsc::Sender<Queued>,
    shared: Arc<Shared>,
    _driver: AbortOnDropHandle<()>,
}

/// A request that waits to be handed to the transport.
struct Queued {
    request: v1::ProduceRequest,
    deadline: Instant,
    outcome: oneshot::Sender<Outcome>,
    _permit: Option<Arc<BytesPermit>>,
}

/// What the two directions of a path share.
#[derive(Default)]
struct Shared {
    /// Handed to the transport and not answered, in order; none once the path has ended.
    sent: Mutex<Sent>,
    ended: CancellationToken,
}

#[derive(Default)]
struct Sent {
    next_id: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Outcome>>,
    /// Why the path has ended.
    end: Option<String>,
}

impl ProducePath {
    fn begin(forwarding: &Forwarding, leader: &LeaderHint) -> Result<Self, BrokerError> {
        let caller = forwarding.log(leader)?;
        let (queue, queued) = mpsc::channel(limits::PRODUCE_STREAM_REQUESTS_MAX);
        let shared = Arc::<Shared>::default();
        let requests = forwarding.request(outgoing(Arc::clone(&shared), queued));
        let driver = tokio::spawn(drive(caller, requests, Arc::clone(&shared), leader.clone()));
        Ok(Self { queue, shared, _driver: AbortOnDropHandle::new(driver) })
    }

    /// A request that finds no room, or an ended path, is dropped, which says that it was not sent.
    fn send(&self, queued: Queued) -> Arc<Shared> {
        drop(self.queue.try_send(queued));
        Arc::clone(&self.shared)
    }
}

impl Shared {
    /// Takes a request over into what was sent.
    fn hand_over(&self, queued: Queued) -> Option<v1::ProduceStreamRequest> {
        let left = queued.deadline.checked_duration_since(Instant::now())?;
        let mut sent = self.sent.lock();
        if sent.end.is_some() {
            return None;
        }
        let correlation_id = sent.next_id;
        sent.next_id += 1;
        sent.waiting.insert(correlation_id, queued.outcome);
        let timeout_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
        let request = v1::ProduceRequest { timeout_ms, ..queued.request };
        Some(v1::ProduceStreamRequest { correlation_id, request: Some(request) })
    }

    fn answer(&self, answer: v1::ProduceStreamResponse) {
        use v1::produce_stream_response::Result as Answer;
        let Some(waiting) = self.sent.lock().waiting.remove(&answer.correlation_id) else { return };
        let outcome = match answer.result {
            Some(Answer::Ack(produced)) => Ok(produced),
            Some(Answer::Error(error)) => Err(error),
            None => Err(detail(lost(Effect::Change, "the leader's answer is empty".to_owned()))),
        };
        // Nobody waits for it any more when its deadline has passed.
        let _ = waiting.send(outcome);
    }

    /// Ends the path: what was sent stays unknown, and nothing more is.
    fn end(&self, leader: &LeaderHint, why: &str) {
        let waiting = {
            let mut sent = self.sent.lock();
            sent.end = Some(why.to_owned());
            std::mem::take(&mut sent.waiting)
        };
        self.ended.cancel();
        let LeaderHint { node, address } = leader;
        for unknown in waiting.into_values() {
            let message = format!("the answer of node {node} at {address}, which leads it, was lost: {why}");
            let _ = unknown.send(Err(detail(lost(Effect::Change, message))));
        }
    }

    /// The error for a request that did not get as far as the transport.
    fn unsent(&self, leader: &LeaderHint) -> BrokerError {
        let why = self.sent.lock().end.clone().unwrap_or_else(|| "it takes no more at this time".to_owned());
        let LeaderHint { node, address } = leader;
        let message = format!(
            "the request was not sent to node {node} at {address}, which leads its partition: {why}; nothing was written"
        );
        BrokerError::new(ErrorCode::Unavailable, message)
    }
}

/// What is in the queue, as it is handed to the transport.
fn outgoing(
    shared: Arc<Shared>,
    queued: mpsc::Receiver<Queued>,
) -> impl Stream<Item = v1::ProduceStreamRequest> + Send + 'static {
    let ended = shared.ended.clone().cancelled_owned();
    ReceiverStream::new(queued)
        .filter_map(move |queued| std::future::ready(shared.hand_over(queued)))
        .take_until(ended)
}

/// Reads the leader's answers until the stream ends, whatever ends it.
async fn drive(
    caller: Caller<LogServiceClient<Channel>>,
    requests: Request<impl Stream<Item = v1::ProduceStreamRequest> + Send + 'static>,
    shared: Arc<Shared>,
    leader: LeaderHint,
) {
    let Caller { mut client, slot: _slot } = caller;
    let read = async {
        let mut answers = client.produce_stream(requests).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            shared.answer(answer);
        }
        Ok::<(), Status>(())
    };
    match read.await {
        Ok(()) => shared.end(&leader, "it ended the stream"),
        Err(status) => shared.end(&leader, status.message()),
    }
}
