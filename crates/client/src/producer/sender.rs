//! The task behind a producer: moves batches from the accumulator through the partitions' queues onto the stream,
//! and their outcomes back. It alone knows the connection; every decision about order and retries is
//! [`PartitionQueue`]'s.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use highwater_proto::v1::produce_stream_response;
use highwater_types::Offset;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::config::ClientConfig;
use crate::connections::Connections;
use crate::error::ClientError;
use crate::producer::accumulator::{Accumulator, PartitionKey, Taken};
use crate::producer::batch::BatchNumber;
use crate::producer::ledger::{Ledger, is_topic_gone};
use crate::producer::partition_queue::{CorrelationId, Finished, Identity, PartitionQueue};
use crate::producer::requests;

use crate::producer::stream::{Incoming, ProduceStream, STREAM_BATCHES_MAX};

/// Beyond the request timeout, how much longer an answer may take before its stream counts as broken.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

type Opening = Pin<Box<dyn Future<Output = Result<(ProduceStream, Option<Identity>), ClientError>> + Send>>;

struct InFlight {
    partition: PartitionKey,
    sent: Instant,
}

/// See the module.
pub(crate) struct Sender {
    accumulator: Arc<Accumulator>,
    connections: Arc<Connections>,
    config: ClientConfig,
    /// In order, so that every run sends in the same.
    partitions: BTreeMap<PartitionKey, PartitionQueue>,
    /// What a partition starts with. Absent while there is no producer id.
    identity: Option<Identity>,
    stream: Option<ProduceStream>,
    opening: Option<Opening>,
    open_at: Option<Instant>,
    backoff: Backoff,
    next_correlation: u64,
    in_flight: HashMap<CorrelationId, InFlight>,
    ledger: Arc<Ledger>,
    /// Every batch below this has its outcome. It closes when the sender ends.
    done_below: watch::Sender<BatchNumber>,
}

impl Sender {
    pub(crate) fn new(
        accumulator: Arc<Accumulator>,
        connections: Arc<Connections>,
        config: ClientConfig,
        idempotent: bool,
        ledger: Arc<Ledger>,
        done_below: watch::Sender<BatchNumber>,
    ) -> Self {
        Self {
            accumulator,
            connections,
            partitions: BTreeMap::new(),
            identity: (!idempotent).then_some(Identity::NONE),
            stream: None,
            opening: None,
            open_at: None,
            backoff: config.backoff(),
            config,
            next_correlation: 0,
            in_flight: HashMap::new(),
            ledger,
            done_below,
        }
    }

    /// Runs until the producer is closed and everything has its outcome.
    pub(crate) async fn run(mut self) {
        let mut incoming = Vec::new();
        loop {
            let now = Instant::now();
            let wake = self.advance(now);
            if self.accumulator.is_closed_and_empty() && self.partitions.values().all(PartitionQueue::is_empty)
            {
                return;
            }
            let accumulator = Arc::clone(&self.accumulator);
            tokio::select! {
                () = accumulator.changed() => {}
                () = receive(&mut self.stream, &mut incoming) => self.on_incoming(&mut incoming),
                opened = open(&mut self.opening) => self.on_opened(opened),
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Does all that can be done now; returns when to look again though nothing happened.
    fn advance(&mut self, now: Instant) -> Option<Instant> {
        let expires = self.expire(now);
        let lingers = self.take_ready(now);
        self.send_ready(now);
        self.break_silent_stream(now);
        self.start_opening(now);
        self.report_progress();
        let queues = self.partitions.values().filter_map(PartitionQueue::next_wake).min();
        let opens = self.open_at.filter(|_| self.opening.is_none() && self.stream.is_none());
        let silent = self.in_flight.values().map(|in_flight| in_flight.sent + self.silence_max()).min();
        // What is due was done above, as far as it can be without news; looking at it again would only spin.
        [expires, lingers, queues, opens, silent].into_iter().flatten().filter(|wake| *wake > now).min()
    }

    fn expire(&mut self, now: Instant) -> Option<Instant> {
        let (expired, next) = self.accumulator.expire(now);
        let mut finished: Vec<Finished> = Vec::new();
        for batch in expired {
            let error = ClientError::DeliveryTimeout {
                timeout_ms: u64::try_from((batch.deadline - batch.created).as_millis()).unwrap_or(u64::MAX),
                outcome_unknown: false,
                last_error: self.ledger.last_error().map(Box::new),
            };
            finished.push((batch, Err(error)));
        }
        finished.extend(self.partitions.values_mut().flat_map(|queue| queue.expire(now)));
        self.finish(finished);
        next
    }

    fn take_ready(&mut self, now: Instant) -> Option<Instant> {
        let mut wake = None;
        for key in self.accumulator.partitions() {
            let (identity, config) = (self.identity, &self.config);
            let queue = self
                .partitions
                .entry(key.clone())
                .or_insert_with(|| PartitionQueue::new(identity, config.backoff()));
            while queue.has_room() {
                match self.accumulator.take(&key, now) {
                    Taken::Batch(batch) => queue.push(batch),
                    Taken::NotBefore(then) => {
                        wake = wake.into_iter().chain([then]).min();
                        break;
                    }
                    Taken::Nothing => break,
                }
            }
        }
        wake
    }

    fn send_ready(&mut self, now: Instant) {
        let Some(stream) = &self.stream else { return };
        let mut finished = Vec::new();
        let mut broken = false;
        'partitions: for (key, queue) in &mut self.partitions {
            if queue.needs_identity()
                && let Some(identity) = self.identity
            {
                queue.set_identity(identity);
            }
            while self.in_flight.len() < STREAM_BATCHES_MAX {
                let correlation = CorrelationId(self.next_correlation);
                let Some(to_send) = queue.next_to_send(now, correlation) else { break };
                self.next_correlation += 1;
                match requests::produce(key, correlation, &to_send, self.config.request_timeout) {
                    Ok(request) => {
                        self.in_flight.insert(correlation, InFlight { partition: key.clone(), sent: now });
                        if !stream.send(request) {
                            broken = true;
                            break 'partitions;
                        }
                    }
                    Err(error) => finished.extend(queue.on_unsendable(correlation, error)),
                }
            }
        }
        self.finish(finished);
        if broken {
            let server = stream_address(self.stream.as_ref());
            self.on_stream_lost(&ClientError::Connection { server, reason: "the stream ended".to_owned() });
        }
    }

    /// A stream that owes an answer for too long is given up.
    fn break_silent_stream(&mut self, now: Instant) {
        let silence_max = self.silence_max();
        if self.in_flight.values().any(|in_flight| in_flight.sent + silence_max <= now) {
            let reason = format!("no answer within {} ms", silence_max.as_millis());
            let server = stream_address(self.stream.as_ref());
            self.on_stream_lost(&ClientError::Connection { server, reason });
        }
    }

    fn silence_max(&self) -> Duration {
        self.config.request_timeout + ANSWER_GRACE
    }

    fn start_opening(&mut self, now: Instant) {
        let wants_identity =
            self.partitions.values().any(PartitionQueue::needs_identity) && self.identity.is_none();
        let has_work = self.partitions.values().any(|queue| !queue.is_empty());
        let is_due = self.open_at.is_none_or(|open_at| open_at <= now);
        if self.opening.is_some() || !has_work || !is_due || (self.stream.is_some() && !wants_identity) {
            return;
        }
        if self.stream.is_some() {
            // All partitions drew on one producer id; one of them has used up its epochs.
            let server = stream_address(self.stream.as_ref());
            self.on_stream_lost(&ClientError::Connection {
                server,
                reason: "a new producer id is needed".to_owned(),
            });
        }
        let (connections, timeout) = (Arc::clone(&self.connections), self.config.request_timeout);
        self.opening = Some(Box::pin(async move {
            let identity =
                if wants_identity { Some(requests::init_producer(&connections).await?) } else { None };
            Ok((ProduceStream::open(connections, timeout).await?, identity))
        }));
    }

    fn on_opened(&mut self, opened: Result<(ProduceStream, Option<Identity>), ClientError>) {
        self.opening = None;
        match opened {
            Ok((stream, identity)) => {
                self.open_at = None;
                self.identity = identity.or(self.identity);
                self.stream = Some(stream);
            }
            Err(error) if error.is_retriable() => {
                tracing::debug!(%error, "cannot open a produce stream; will try again");
                self.note_error(&error);
                self.open_at = Some(Instant::now() + self.backoff.next_wait());
            }
            Err(error) => self.fail_everything(&error),
        }
    }

    fn on_incoming(&mut self, incoming: &mut Vec<Incoming>) {
        let now = Instant::now();
        let mut finished = Vec::new();
        for answer in incoming.drain(..) {
            let response = match answer {
                Ok(response) => response,
                Err(error) => {
                    self.on_stream_lost(&error);
                    continue;
                }
            };
            self.backoff.reset();
            let correlation = CorrelationId(response.correlation_id);
            let in_flight = self.in_flight.remove(&correlation);
            let queue = in_flight.and_then(|in_flight| self.partitions.get_mut(&in_flight.partition));
            let Some(queue) = queue else { continue };
            finished.extend(match response.result {
                Some(produce_stream_response::Result::Ack(ack)) => {
                    queue.on_ack(correlation, Offset(ack.base_offset))
                }
                Some(produce_stream_response::Result::Error(detail)) => {
                    if detail.retriable {
                        self.ledger.note_error(&ClientError::from(detail.clone()));
                    }
                    queue.on_error(correlation, detail, now)
                }
                None => {
                    let server = stream_address(self.stream.as_ref());
                    let what = "an answer with neither ack nor error";
                    self.on_stream_lost(&ClientError::Protocol { server, what });
                    None
                }
            });
        }
        if finished.iter().any(|(_, outcome)| outcome.as_ref().is_err_and(is_topic_gone)) {
            self.partitions.retain(|_, queue| !queue.is_empty());
        }
        self.finish(finished);
    }

    fn on_stream_lost(&mut self, error: &ClientError) {
        let Some(stream) = self.stream.take() else { return };
        tracing::debug!(%error, "produce stream lost");
        self.connections.move_on_from(&stream.server);
        self.in_flight.clear();
        for queue in self.partitions.values_mut() {
            queue.on_connection_lost(error);
        }
        self.note_error(error);
        self.open_at = Some(Instant::now() + self.backoff.next_wait());
    }

    fn note_error(&mut self, error: &ClientError) {
        for queue in self.partitions.values_mut() {
            queue.note_error(error);
        }
        self.ledger.note_error(error);
    }

    fn fail_everything(&mut self, error: &ClientError) {
        let mut finished: Vec<Finished> =
            self.partitions.values_mut().flat_map(|queue| queue.fail_all(error)).collect();
        finished.extend(self.accumulator.drain().into_iter().map(|batch| (batch, Err(error.clone()))));
        self.finish(finished);
    }

    fn finish(&mut self, finished: Vec<Finished>) {
        for (batch, outcome) in finished {
            self.ledger.count(&batch, &outcome);
            batch.complete(outcome);
        }
    }

    /// Tells those who wait for a flush how far it is.
    fn report_progress(&mut self) {
        let queued = self.partitions.values().filter_map(PartitionQueue::oldest).min();
        let done_below: BatchNumber =
            queued.into_iter().chain([self.accumulator.oldest()]).min().unwrap_or(BatchNumber(0));
        self.done_below.send_if_modified(|done| {
            let is_news = done_below > *done;
            *done = done_below.max(*done);
            is_news
        });
    }
}

fn stream_address(stream: Option<&ProduceStream>) -> String {
    stream.map_or_else(String::new, |stream| stream.server.address.clone())
}

async fn receive(stream: &mut Option<ProduceStream>, out: &mut Vec<Incoming>) {
    match stream {
        Some(stream) => stream.receive(out).await,
        None => std::future::pending().await,
    }
}

async fn open(opening: &mut Option<Opening>) -> Result<(ProduceStream, Option<Identity>), ClientError> {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
