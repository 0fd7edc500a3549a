//! The pipelined produce: one task for each stream.
//!
//! What a client sends for one partition goes through that partition's lane, which keeps
//! the order of appends and of answers. Lanes do not wait for each other. The task takes the
//! next request off the stream only while there is room: in the stream's own limits, in the
//! lane's, and in the node's budget; else HTTP/2's flow control holds the client back.
//!
//! A lane that is full and does not move would hold back the whole stream. It may do so for
//! [`limits::PRODUCE_LANE_STALL_MS`] once; then its requests are refused with `THROTTLED` until
//! it moves again.
//!
//! What another node leads goes to it in the same order, see [`ProducePaths`]; its limits and its place among the answers are
//! those of what is appended here.
//!
//! Everything that belongs to a stream is owned by its task: when the client is gone the
//! task ends, and its futures, requests and bytes are dropped with it.

mod lane;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt as _};
use highwater_broker::{Broker, BrokerError, BytesPermit};
use highwater_proto::v1;
use highwater_types::{ErrorCode, limits};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use self::lane::{Answer, Event, Job, Lanes};
use super::forward::ProducePaths;
use super::{convert, status};
use crate::connection::ConnectionInfo;

/// Answers that may wait for HTTP/2 to take them; each is a few dozen bytes.
pub(crate) const ANSWERS_WAITING_MAX: usize = 64;

/// What the stream's task answers with.
pub(crate) type Response = Result<v1::ProduceStreamResponse, Status>;

type AdmissionFuture = Pin<Box<dyn Future<Output = Result<BytesPermit, BrokerError>> + Send>>;
type EventFuture = Pin<Box<dyn Future<Output = Event> + Send>>;

/// One produce stream.
pub(crate) struct ProduceStream<S> {
    broker: Arc<Broker>,
    requests: S,
    responses: mpsc::Sender<Response>,
    connection: Option<ConnectionInfo>,
    stopping: CancellationToken,
    lanes: Lanes,
    paths: ProducePaths,
    events: FuturesUnordered<EventFuture>,
    intake: Intake,
}

/// What the task does with the client's next request.
enum Intake {
    /// Takes it when there is room.
    Open,
    /// Waits for the node's budget.
    Admitting(Job, AdmissionFuture),
    /// Waits for its lane to have room, until then.
    LaneFull(Job, Instant),
    /// There is none: the client has half-closed, or the node stops.
    Ended(Option<Status>),
}

impl<S> ProduceStream<S>
where
    S: Stream<Item = Result<v1::ProduceStreamRequest, Status>> + Send + Unpin,
{
    pub(crate) fn new(
        broker: Arc<Broker>,
        paths: ProducePaths,
        requests: S,
        responses: mpsc::Sender<Response>,
        connection: Option<ConnectionInfo>,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            broker,
            requests,
            responses,
            connection,
            stopping,
            lanes: Lanes::default(),
            paths,
            events: FuturesUnordered::new(),
            intake: Intake::Open,
        }
    }

    /// Serves the stream until the client is done or gone.
    pub(crate) async fn run(mut self) {
        while !self.is_done() {
            if self.step().await.is_err() {
                return;
            }
        }
        if let Intake::Ended(Some(end)) = self.intake {
            // The client may be gone by now; there is nobody else to tell.
            let _ = self.responses.send(Err(end)).await;
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.intake, Intake::Ended(_)) && self.lanes.is_empty()
    }

    /// Waits for the next thing that happens and deals with it.
    async fn step(&mut self) -> Result<(), ClientGone> {
        let has_room = self.lanes.has_room();
        let stall_ends = match &self.intake {
            Intake::LaneFull(_, stall_ends) => Some(*stall_ends),
            _ => None,
        };
        tokio::select! {
            biased;
            () = self.responses.closed() => return Err(ClientGone),
            Some(event) = self.events.next() => return self.on_event(event).await,
            admitted = admission(&mut self.intake) => return self.on_admitted(admitted).await,
            () = sleep_until(stall_ends) => return self.on_stalled().await,
            () = self.stopping.cancelled(), if !matches!(self.intake, Intake::Ended(_)) => {
                let detail = v1::ErrorDetail::new(ErrorCode::Unavailable, "the node is shutting down");
                self.intake = Intake::Ended(Some(detail.into_status()));
            }
            request = self.requests.next(), if has_room && matches!(self.intake, Intake::Open) => {
                match request {
                    Some(Ok(request)) => return self.on_request(request).await,
                    Some(Err(broken)) => self.intake = Intake::Ended(Some(broken)),
                    None => self.intake = Intake::Ended(None),
                }
            }
        }
        Ok(())
    }

    /// A request came in: its size must fit the node's budget first.
    async fn on_request(&mut self, request: v1::ProduceStreamRequest) -> Result<(), ClientGone> {
        let correlation_id = request.correlation_id;
        let Some(request) = request.request else {
            let error = BrokerError::invalid_request("the field 'request' is not set");
            return self.answer(Answer { correlation_id, result: Err(status::detail(error)) }).await;
        };
        let key = (request.topic.clone(), request.partition);
        let (bytes, deadline) =
            (convert::produce_size(&request), convert::produce_deadline(request.timeout_ms));
        let job = Job::new(key, correlation_id, bytes, deadline, request);
        let deadline = job.deadline();
        let (broker, bytes) = (Arc::clone(&self.broker), job.bytes());
        match broker.try_admit(bytes) {
            Some(permit) => self.on_budgeted(job.with_permit(permit)).await,
            None => {
                let admission = Box::pin(async move { broker.admit(bytes, deadline).await });
                self.intake = Intake::Admitting(job, admission);
                Ok(())
            }
        }
    }

    /// The node's budget has room for the request at hand, or had none until its deadline.
    async fn on_admitted(&mut self, admitted: Result<BytesPermit, BrokerError>) -> Result<(), ClientGone> {
        let Intake::Admitting(job, _) = std::mem::replace(&mut self.intake, Intake::Open) else {
            return Ok(());
        };
        match admitted {
            Ok(permit) => self.on_budgeted(job.with_permit(permit)).await,
            Err(error) => self.enqueue(job.failed(error)).await,
        }
    }

    /// The request at hand may enter its lane as soon as that has room.
    async fn on_budgeted(&mut self, job: Job) -> Result<(), ClientGone> {
        if self.lanes.lane_has_room(&job) {
            return self.enqueue(job).await;
        }
        if self.lanes.is_stalled(&job) {
            return self.enqueue(throttled(job)).await;
        }
        let stall = Duration::from_millis(limits::PRODUCE_LANE_STALL_MS);
        self.intake = Intake::LaneFull(job, Instant::now() + stall);
        Ok(())
    }

    /// The lane of the request at hand did not move for too long.
    async fn on_stalled(&mut self) -> Result<(), ClientGone> {
        let Intake::LaneFull(job, _) = std::mem::replace(&mut self.intake, Intake::Open) else {
            return Ok(());
        };
        self.lanes.mark_stalled(&job);
        self.enqueue(throttled(job)).await
    }

    /// Puts a request into its lane.
    async fn enqueue(&mut self, job: Job) -> Result<(), ClientGone> {
        let key = job.key().clone();
        self.lanes.push(job);
        self.advance(&key).await
    }

    /// A request was appended in its place, or answered.
    async fn on_event(&mut self, event: Event) -> Result<(), ClientGone> {
        let key = event.key().clone();
        self.lanes.record(event, &mut self.events);
        self.advance(&key).await?;
        if let Intake::LaneFull(job, _) = &self.intake
            && self.lanes.lane_has_room(job)
            && let Intake::LaneFull(job, _) = std::mem::replace(&mut self.intake, Intake::Open)
        {
            return self.enqueue(job).await;
        }
        Ok(())
    }

    /// Starts what can start in a lane and gives out its answers that are due.
    async fn advance(&mut self, key: &lane::Key) -> Result<(), ClientGone> {
        loop {
            self.lanes.start_next(key, &self.broker, &mut self.paths, &mut self.events);
            let Some(answer) = self.lanes.next_answer(key) else {
                return Ok(());
            };
            self.answer(answer).await?;
        }
    }

    /// Sends an answer. A client that takes none for too long is cut off.
    async fn answer(&mut self, answer: Answer) -> Result<(), ClientGone> {
        use v1::produce_stream_response::Result as Outcome;
        let result = match answer.result {
            Ok(produced) => Outcome::Ack(produced),
            Err(error) => Outcome::Error(error),
        };
        let response =
            v1::ProduceStreamResponse { correlation_id: answer.correlation_id, result: Some(result) };
        let deadline = Duration::from_millis(limits::SEND_DEADLINE_MS);
        match timeout(deadline, self.responses.send(Ok(response))).await {
            Ok(sent) => sent.map_err(|_| ClientGone),
            Err(_) => {
                if let Some(connection) = &self.connection {
                    let peer = connection.peer;
                    tracing::warn!(?peer, ?deadline, "a producer took no answers in time, cutting it off");
                    connection.cut_off();
                }
                Err(ClientGone)
            }
        }
    }
}

/// The client has closed the stream or the connection, or was cut off.
struct ClientGone;

/// The outcome of the admission that is waited for; never, when none is.
async fn admission(intake: &mut Intake) -> Result<BytesPermit, BrokerError> {
    match intake {
        Intake::Admitting(_, admission) => admission.await,
        _ => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn throttled(job: Job) -> Job {
    let (topic, partition) = job.key();
    let message = format!(
        "partition {partition} of '{topic}' stands still with as much in flight as one stream may have; \
         nothing was written, send it again later"
    );
    let error = BrokerError::new(ErrorCode::Throttled, message)
        .with_topic(topic)
        .with_partition(highwater_types::PartitionIndex(*partition));
    job.failed(error)
}
