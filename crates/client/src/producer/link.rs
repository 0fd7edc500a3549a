//! One ProduceStream to one node: a bounded queue towards it, and a task that opens it and passes its answers on. It
//! orders nothing and retries nothing; when either side ends, it is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_proto::v1::{ProduceStreamRequest, ProduceStreamResponse};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use crate::connections::{Server, no_answer};
use crate::error::ClientError;
use crate::producer::partition_queue::CorrelationId;
use crate::topic::PartitionKey;

/// Most batches on their way over one link; also the bound of both queues.
pub(crate) const LINK_BATCHES_MAX: usize = 1024;

/// Tells a link from those that led to the same node before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkId(pub(crate) u64);

/// What comes out of a link.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// It takes requests now.
    Opened,
    /// An answer.
    Answer(ProduceStreamResponse),
    /// It is over. The last event.
    Lost(ClientError),
}

/// An event, and whose it is.
pub(crate) type FromLink = (LinkId, Arc<str>, LinkEvent);

/// A batch without an answer.
#[derive(Debug)]
struct InFlight {
    partition: PartitionKey,
    sent: Instant,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) is_open: bool,
    requests: mpsc::Sender<ProduceStreamRequest>,
    /// Also those that nobody waits for any more: they take their place in the queues until they are answered.
    in_flight: HashMap<CorrelationId, InFlight>,
    task: JoinHandle<()>,
}

impl Link {
    /// Starts to open a link to this server, which may take so long.
    pub(crate) fn start(id: LinkId, server: Server, timeout: Duration, events: mpsc::Sender<FromLink>) -> Self {
        let (requests, outgoing) = mpsc::channel(LINK_BATCHES_MAX);
        let task = tokio::spawn(run(id, server, ReceiverStream::new(outgoing), timeout, events));
        Self { id, is_open: false, requests, in_flight: HashMap::new(), task }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.is_open && self.in_flight.len() < LINK_BATCHES_MAX
    }

    /// Sends a request, for which there must be room. Returns whether the link still takes requests.
    pub(crate) fn send(
        &mut self,
        partition: &PartitionKey,
        request: ProduceStreamRequest,
        now: Instant,
    ) -> bool {
        let correlation = CorrelationId(request.correlation_id);
        self.in_flight.insert(correlation, InFlight { partition: partition.clone(), sent: now });
        self.requests.try_send(request).is_ok()
    }

    /// Whose batch an answer is about, which is no longer in flight.
    pub(crate) fn answered(&mut self, correlation: CorrelationId) -> Option<PartitionKey> {
        self.in_flight.remove(&correlation).map(|in_flight| in_flight.partition)
    }

    /// When its oldest batch was sent.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.in_flight.values().map(|in_flight| in_flight.sent).min()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    id: LinkId,
    server: Server,
    outgoing: ReceiverStream<ProduceStreamRequest>,
    timeout: Duration,
    events: mpsc::Sender<FromLink>,
) {
    let address = Arc::clone(&server.address);
    let mut client = server.log();
    let opened = match tokio::time::timeout(timeout, client.produce_stream(outgoing)).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(ClientError::from_status(&status, &address)),
        Err(_) => Err(no_answer(&address, timeout)),
    };
    let mut incoming = match opened {
        Ok(incoming) => incoming,
        Err(error) => {
            // A sender that is gone needs no news.
            let _ = events.send((id, address, LinkEvent::Lost(error))).await;
            return;
        }
    };
    let mut event = LinkEvent::Opened;
    loop {
        let is_last = matches!(event, LinkEvent::Lost(_));
        if events.send((id, Arc::clone(&address), event)).await.is_err() || is_last {
            return;
        }
        event = match incoming.message().await {
            Ok(Some(response)) => LinkEvent::Answer(response),
            Ok(None) => LinkEvent::Lost(ended(&address)),
            Err(status) => LinkEvent::Lost(ClientError::from_status(&status, &address)),
        };
    }
}

/// The error of a stream that the other side ended.
pub(crate) fn ended(server: &str) -> ClientError {
    ClientError::Connection { server: server.to_owned(), reason: "the server ended the stream".to_owned() }
}
