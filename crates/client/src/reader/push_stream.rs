//! One Subscribe stream to one node, for some partitions: a task that opens it and passes its messages on, and the credit
//! that the node has. It decides nothing; when either side ends, it is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_proto::v1::{
    SubscribeCredit, SubscribeRequest, SubscribeStart, subscribe_request, subscribe_response,
};
use highwater_types::PartitionIndex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use crate::connections::{Server, no_answer};
use crate::error::ClientError;
use crate::reader::read_set::ReadingId;

/// Messages to the node that wait to be written.
const REQUESTS_MAX: usize = 16;
/// The longest time between two looks for the leader while a stream is silent.
const SILENT_LOOK_MAX: Duration = Duration::from_secs(10);

/// Tells a stream from the others of its consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId(pub(crate) u64);

/// What comes out of a stream.
pub(crate) type StreamEvent = (StreamId, Result<subscribe_response::Message, ClientError>);

/// See the module.
#[derive(Debug)]
pub(crate) struct PushStream {
    pub(crate) address: Arc<str>,
    pub(crate) topic_id: Arc<str>,
    /// What it was opened for, whether or not it still is read here.
    pub(crate) asked: BTreeMap<PartitionIndex, ReadingId>,
    /// What the node may still send. It goes below 0 by a push.
    pub(crate) credit: i64,
    pub(crate) silence: Silence,
    requests: mpsc::Sender<SubscribeRequest>,
    task: JoinHandle<()>,
}

/// Since when nothing came. A node that hangs says nothing, as one that has nothing to say: so a silent stream makes the client look
/// whether another node leads, after the stall timeout and then less and less often.
#[derive(Debug)]
pub(crate) struct Silence {
    stall: Duration,
    wait: Duration,
    look_at: Instant,
}

impl Silence {
    pub(crate) fn new(stall: Duration, now: Instant) -> Self {
        Self { stall, wait: stall, look_at: now + stall }
    }

    /// Something came.
    pub(crate) fn broken(&mut self, now: Instant) {
        *self = Self::new(self.stall, now);
    }

    /// Whether it is time for a look; if so, the next is due later.
    pub(crate) fn is_look_due(&mut self, now: Instant) -> bool {
        let is_due = self.look_at <= now;
        if is_due {
            self.look_at = now + self.wait;
            self.wait = (self.wait * 2).min(SILENT_LOOK_MAX.max(self.stall));
        }
        is_due
    }

    /// When the next look is due.
    pub(crate) fn look_at(&self) -> Instant {
        self.look_at
    }
}

impl PushStream {
    /// Starts to open a stream to this server, which may take so long.
    pub(crate) fn start(
        id: StreamId,
        server: Server,
        start: SubscribeStart,
        asked: BTreeMap<PartitionIndex, ReadingId>,
        timeout: Duration,
        silence: Silence,
        events: mpsc::Sender<StreamEvent>,
    ) -> Self {
        let address = Arc::clone(&server.address);
        let topic_id = start.topic_id.as_str().into();
        let credit = i64::try_from(start.credit_bytes).unwrap_or(i64::MAX);
        let (requests, outgoing) = mpsc::channel(REQUESTS_MAX);
        let first = SubscribeRequest { message: Some(subscribe_request::Message::Start(start)) };
        requests.try_send(first).expect("a new queue has room");
        let task = tokio::spawn(run(id, server, ReceiverStream::new(outgoing), timeout, events));
        Self { address, topic_id, asked, credit, silence, requests, task }
    }

    /// Gives the node more credit, unless so much waits to be written that it has to go with the next.
    pub(crate) fn grant(&mut self, bytes: u64) {
        let message = subscribe_request::Message::Credit(SubscribeCredit { bytes });
        if self.requests.try_send(SubscribeRequest { message: Some(message) }).is_ok() {
            self.credit = self.credit.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// The node sent so much.
    pub(crate) fn charge(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl Drop for PushStream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    id: StreamId,
    server: Server,
    outgoing: ReceiverStream<SubscribeRequest>,
    timeout: Duration,
    events: mpsc::Sender<StreamEvent>,
) {
    let address = &server.address;
    let mut client = server.log();
    let opened = match tokio::time::timeout(timeout, client.subscribe(outgoing)).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(ClientError::from_status(&status, address)),
        Err(_) => Err(no_answer(address, timeout)),
    };
    let mut incoming = match opened {
        Ok(incoming) => incoming,
        Err(error) => {
            // A subscription that is gone needs no news.
            let _ = events.send((id, Err(error))).await;
            return;
        }
    };
    loop {
        let event = match incoming.message().await {
            Ok(Some(response)) => response.message.ok_or_else(|| ClientError::Protocol {
                server: address.to_string(),
                what: "a message with neither push nor error",
            }),
            Ok(None) => {
                let reason = "the server ended the stream".to_owned();
                Err(ClientError::Connection { server: address.to_string(), reason })
            }
            Err(status) => Err(ClientError::from_status(&status, address)),
        };
        let is_last = event.is_err();
        if events.send((id, event)).await.is_err() || is_last {
            return;
        }
    }
}
