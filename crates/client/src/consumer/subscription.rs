//! The task behind a consumer: keeps one Subscribe stream open, passes on what it pushes, gives credit back as it is
//! consumed, and after a break resumes every partition at its next offset.
//!
//! Invariant: a partition's next offset moves only when the push before it was handed over, so that
//! nothing is lost or repeated whenever the stream breaks.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_proto::v1::{
    ErrorDetail, RecordFormat, SubscribeCredit, SubscribePartition, SubscribePush, SubscribeRequest,
    SubscribeStart, subscribe_request, subscribe_response,
};
use highwater_types::{ErrorCode, Offset, PartitionIndex};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use crate::backoff::Backoff;
use crate::config::ClientConfig;
use crate::connections::{Connections, Server, no_answer};
use crate::consumer::config::{ConsumerConfig, OutOfRange, StartPosition};
use crate::error::ClientError;
use crate::topic::TopicMetadata;

/// Messages to the node that wait to be written.
const REQUESTS_MAX: usize = 16;
/// Credit goes back when this part of it was consumed.
const CREDIT_PARTS: u64 = 4;

/// What the consumer gets.
pub(crate) type Pushed = Result<SubscribePush, ClientError>;

/// See the module.
pub(crate) struct Subscription {
    connections: Arc<Connections>,
    client: ClientConfig,
    config: ConsumerConfig,
    topic: TopicMetadata,
    /// Where each partition that is still read goes on.
    positions: BTreeMap<PartitionIndex, StartPosition>,
    out: mpsc::Sender<Pushed>,
    /// Bytes that the consumer has taken, since its start.
    consumed: watch::Receiver<u64>,
    /// Bytes that were pushed, since the consumer's start.
    received: u64,
    backoff: Backoff,
    failing_since: Option<Instant>,
}

/// Why a stream is over.
enum End {
    /// The consumer is gone, or told about an error that ends everything.
    Finished,
    /// To be tried again.
    Broken(ClientError),
}

impl Subscription {
    pub(crate) fn new(
        connections: Arc<Connections>,
        client: ClientConfig,
        config: ConsumerConfig,
        topic: TopicMetadata,
        partitions: &[PartitionIndex],
        out: mpsc::Sender<Pushed>,
        consumed: watch::Receiver<u64>,
    ) -> Self {
        let positions = partitions.iter().map(|partition| (*partition, config.start)).collect();
        let backoff = client.backoff();
        Self {
            connections,
            client,
            config,
            topic,
            positions,
            out,
            consumed,
            received: 0,
            backoff,
            failing_since: None,
        }
    }

    /// Runs until every partition has ended or the consumer is gone.
    pub(crate) async fn run(mut self) {
        while !self.positions.is_empty() {
            let error = match self.run_stream().await {
                End::Finished => return,
                End::Broken(error) => error,
            };
            let now = Instant::now();
            let failing_since = *self.failing_since.get_or_insert(now);
            let gives_up = self.config.retry_for.is_some_and(|retry_for| now - failing_since >= retry_for);
            if gives_up || !error.is_retriable() {
                // When nobody listens any more there is nobody to tell.
                let _ = self.out.send(Err(error)).await;
                return;
            }
            tracing::debug!(%error, "subscription interrupted; will resume");
            tokio::time::sleep(self.backoff.next_wait()).await;
        }
    }

    /// Opens a stream and serves it until it ends.
    async fn run_stream(&mut self) -> End {
        let server = self.connections.current();
        let (requests, outgoing) = mpsc::channel(REQUESTS_MAX);
        let mut returned = *self.consumed.borrow_and_update();
        let start = subscribe_request::Message::Start(self.start_message(returned));
        if requests.try_send(SubscribeRequest { message: Some(start) }).is_err() {
            return End::Finished;
        }
        let timeout = self.client.request_timeout;
        let mut client = server.log();
        let opened = match tokio::time::timeout(timeout, client.subscribe(ReceiverStream::new(outgoing))).await
        {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(ClientError::from_status(&status, &server.address)),
            Err(_) => Err(no_answer(&server, timeout)),
        };
        let mut incoming = match opened {
            Ok(incoming) => incoming,
            Err(error) => {
                self.connections.move_on_from(&server);
                return End::Broken(error);
            }
        };
        loop {
            tokio::select! {
                message = incoming.message() => {
                    if let Some(end) = self.on_message(message, &server).await {
                        return end;
                    }
                }
                changed = self.consumed.changed() => {
                    if changed.is_err() {
                        return End::Finished;
                    }
                    let consumed = *self.consumed.borrow_and_update();
                    let bytes = consumed - returned;
                    let credit = subscribe_request::Message::Credit(SubscribeCredit { bytes });
                    // What finds no room now goes with the next.
                    if bytes >= self.config.credit_bytes / CREDIT_PARTS
                        && requests.try_send(SubscribeRequest { message: Some(credit) }).is_ok()
                    {
                        returned = consumed;
                    }
                }
            }
        }
    }

    fn start_message(&self, consumed: u64) -> SubscribeStart {
        let partition = |(partition, position): (&PartitionIndex, &StartPosition)| SubscribePartition {
            partition: partition.0,
            position: Some(position.to_proto()),
        };
        SubscribeStart {
            topic: self.topic.name.to_string(),
            topic_id: self.topic.id.to_string(),
            partitions: self.positions.iter().map(partition).collect(),
            position: None,
            // What was pushed over an earlier stream and is not consumed yet counts as taken.
            credit_bytes: self.config.credit_bytes.saturating_sub(self.received - consumed),
            max_push_bytes: self.config.push_bytes_max,
            format: RecordFormat::Batches.into(),
        }
    }

    async fn on_message(
        &mut self,
        message: Result<Option<highwater_proto::v1::SubscribeResponse>, tonic::Status>,
        server: &Server,
    ) -> Option<End> {
        let message = match message {
            Ok(Some(response)) => response.message,
            Ok(None) => {
                let reason = "the server ended the stream".to_owned();
                return Some(
                    self.lost(server, ClientError::Connection { server: server.address.clone(), reason }),
                );
            }
            Err(status) => return Some(self.lost(server, ClientError::from_status(&status, &server.address))),
        };
        match message {
            Some(subscribe_response::Message::Push(push)) => self.on_push(push, server).await,
            Some(subscribe_response::Message::Error(detail)) => self.on_error(detail).await,
            None => Some(protocol(server, "a message with neither push nor error")),
        }
    }

    fn lost(&self, server: &Server, error: ClientError) -> End {
        self.connections.move_on_from(server);
        End::Broken(error)
    }

    async fn on_push(&mut self, push: SubscribePush, server: &Server) -> Option<End> {
        let partition = PartitionIndex(push.partition);
        let next = push.data.as_ref().map(|data| Offset(data.next_offset));
        let (Some(next), Some(position)) = (next, self.positions.get(&partition).copied()) else {
            return Some(protocol(server, "a push without data, or of a partition that was not asked for"));
        };
        if matches!(position, StartPosition::Offset(current) if next < current) {
            return Some(protocol(server, "a push that goes back"));
        }
        self.backoff.reset();
        self.failing_since = None;
        let charged = push.charged_bytes;
        if self.out.send(Ok(push)).await.is_err() {
            return Some(End::Finished);
        }
        self.received += charged;
        self.positions.insert(partition, StartPosition::Offset(next));
        None
    }

    async fn on_error(&mut self, detail: ErrorDetail) -> Option<End> {
        let partition = detail.partition.map(PartitionIndex);
        let fallback = match self.config.out_of_range {
            OutOfRange::Fail => None,
            OutOfRange::Earliest => Some(StartPosition::Earliest),
            OutOfRange::Latest => Some(StartPosition::Latest),
        };
        let is_out_of_range = detail.error_code() == Some(ErrorCode::OffsetOutOfRange);
        let error = ClientError::from(detail);
        let Some(partition) = partition else { return Some(End::Broken(error)) };
        if let Some(fallback) = fallback.filter(|_| is_out_of_range) {
            tracing::warn!(%error, "records that were to be read are gone; going on as configured");
            self.positions.insert(partition, fallback);
            return Some(End::Broken(ClientError::Connection {
                server: self.connections.current().address,
                reason: error.to_string(),
            }));
        }
        if error.is_retriable() {
            return Some(End::Broken(error));
        }
        self.positions.remove(&partition);
        if self.out.send(Err(error)).await.is_err() || self.positions.is_empty() {
            return Some(End::Finished);
        }
        None
    }
}

fn protocol(server: &Server, what: &'static str) -> End {
    End::Broken(ClientError::Protocol { server: server.address.clone(), what })
}
