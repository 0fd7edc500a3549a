//! The task behind a consumer: reads each partition from its leader over a few Subscribe streams, passes on what they push,
//! gives credit back as it is consumed, and after a break or a move resumes every partition at its next offset. While a node is silent it
//! looks whether another leads.
//!
//! Invariants:
//! - a partition's next offset moves only when the push before it was handed over, and only pushes of the stream that it
//!   is read from now are taken, so that nothing is lost or repeated whenever a stream breaks or a leader moves;
//! - credit given and not used, and bytes that the user has not taken, are together no more than the consumer's credit (and
//!   a push for each stream).

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_proto::v1::{
    ErrorDetail, RecordFormat, SubscribePartition, SubscribePush, SubscribeStart, subscribe_response,
};
use highwater_types::{ErrorCode, Offset, PartitionIndex};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::cluster::{Cluster, Whereabouts};
use crate::config::ClientConfig;
use crate::consumer::config::{ConsumerConfig, OutOfRange, StartPosition};
use crate::consumer::push_stream::{PushStream, Silence, StreamEvent, StreamId};
use crate::consumer::reading::Reading;
use crate::consumer::taken::Taken;
use crate::error::ClientError;
use crate::topic::TopicMetadata;
use highwater_types::Backoff;

/// Messages of nodes that wait to be looked at, beside one that each stream holds.
const EVENTS_MAX: usize = 16;
/// Credit goes back when this part of it was consumed.
const CREDIT_PARTS: u64 = 4;
/// With so many streams to one node the next one takes over what they read.
const STREAMS_PER_NODE_MAX: usize = 4;
/// What the consumer gets.
pub(crate) type Pushed = Result<SubscribePush, ClientError>;

/// The consumer is gone, or told about an error that ends everything.
struct Finished;

/// See the module.
pub(crate) struct Subscription {
    cluster: Arc<Cluster>,
    config: ConsumerConfig,
    topic: TopicMetadata,
    /// The partitions that are still read.
    readings: BTreeMap<PartitionIndex, Reading>,
    streams: BTreeMap<StreamId, PushStream>,
    next_stream: u64,
    /// For the streams to put their messages in.
    sink: mpsc::Sender<StreamEvent>,
    events: mpsc::Receiver<StreamEvent>,
    changes: watch::Receiver<u64>,
    /// As of which the leaders were followed.
    changes_seen: u64,
    out: mpsc::Sender<Pushed>,
    taken: Arc<Taken>,
    backoff: Backoff,
    leader_backoff: Backoff,
    failing: Option<(Instant, ClientError)>,
}

impl Subscription {
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        config: ConsumerConfig,
        topic: TopicMetadata,
        partitions: &[PartitionIndex],
        out: mpsc::Sender<Pushed>,
        taken: Arc<Taken>,
    ) -> Self {
        let readings = partitions.iter().map(|partition| (*partition, Reading::new(config.start))).collect();
        let (sink, events) = mpsc::channel(EVENTS_MAX);
        Self {
            changes: cluster.changes(),
            changes_seen: 0,
            backoff: cluster.config.backoff(),
            leader_backoff: cluster.config.leader_backoff(),
            cluster,
            config,
            topic,
            readings,
            streams: BTreeMap::new(),
            next_stream: 0,
            sink,
            events,
            out,
            taken,
            failing: None,
        }
    }

    /// Runs until every partition has ended or the consumer is gone.
    pub(crate) async fn run(mut self) {
        while !self.readings.is_empty() {
            let now = Instant::now();
            if let Some(error) = self.gives_up(now) {
                // When nobody listens any more there is nobody to tell.
                let _ = self.out.send(Err(error)).await;
                return;
            }
            self.follow_leaders();
            let due = self.start_streams(now);
            let look_at = self.watch_for_silence(now);
            let wake = due.into_iter().chain(look_at).min();
            self.return_credit();
            let taken = Arc::clone(&self.taken);
            let step = tokio::select! {
                // It holds a sink itself, so that this always is an event.
                event = self.events.recv() => match event {
                    Some((id, event)) => self.on_event(id, event).await,
                    None => Err(Finished),
                },
                () = taken.changed() => Ok(()),
                // The cluster lives as long as this, so it always is a change.
                _ = self.changes.changed() => Ok(()),
                () = tokio::time::sleep_until(wake.unwrap_or(now)), if wake.is_some() => Ok(()),
                () = self.out.closed() => Err(Finished),
            };
            if step.is_err() {
                return;
            }
        }
    }

    fn gives_up(&self, now: Instant) -> Option<ClientError> {
        let (since, error) = self.failing.as_ref()?;
        self.config.retry_for.filter(|retry_for| now - *since >= *retry_for).map(|_| error.clone())
    }

    /// Partitions whose leader moved are read from there.
    fn follow_leaders(&mut self) {
        let changes = *self.changes.borrow();
        if std::mem::replace(&mut self.changes_seen, changes) == changes {
            return;
        }
        for (partition, reading) in &mut self.readings {
            if let Whereabouts::At(leader) = self.cluster.whereabouts(&self.topic.key(*partition)) {
                reading.follow(&leader);
            }
        }
    }

    /// Opens streams for what is not read and may be tried now; returns when to look again.
    fn start_streams(&mut self, now: Instant) -> Option<Instant> {
        let mut wake = self.failing.as_ref().and_then(|(since, _)| Some(*since + self.config.retry_for?));
        let mut starting: BTreeMap<Arc<str>, Vec<PartitionIndex>> = BTreeMap::new();
        let mut looks = false;
        for (partition, reading) in &mut self.readings {
            looks |= reading.misses_leader;
            let Some(due) = reading.due(now) else { continue };
            if due > now {
                wake = wake.into_iter().chain([due]).min();
                continue;
            }
            let whereabouts = self.cluster.whereabouts(&self.topic.key(*partition));
            let address = reading.choose(&whereabouts, self.cluster.connections.current(), now);
            looks |= reading.misses_leader;
            if let Some(address) = address {
                starting.entry(address).or_default().push(*partition);
            }
        }
        for (address, partitions) in starting {
            self.start_stream(&address, partitions, now);
        }
        let readings = &self.readings;
        self.streams.retain(|id, _| readings.values().any(|reading| reading.stream == Some(*id)));
        if looks {
            self.cluster.look_again(&self.topic.name);
        }
        wake
    }

    /// Looks for the leaders of what a silent node is read for; returns when to look again.
    fn watch_for_silence(&mut self, now: Instant) -> Option<Instant> {
        let mut looks = false;
        for stream in self.streams.values_mut() {
            if stream.silence.is_look_due(now) {
                looks = true;
                // Whoever is silent is not the one to ask why.
                self.cluster.connections.avoid(&stream.address);
            }
        }
        if looks {
            self.cluster.look_again(&self.topic.name);
        }
        self.streams.values().map(|stream| stream.silence.look_at()).min()
    }

    fn start_stream(&mut self, address: &Arc<str>, mut partitions: Vec<PartitionIndex>, now: Instant) {
        let here = |stream: &Option<StreamId>| {
            stream.and_then(|id| self.streams.get(&id)).is_some_and(|stream| stream.address == *address)
        };
        if self.streams.values().filter(|stream| stream.address == *address).count() >= STREAMS_PER_NODE_MAX {
            let theirs = self.readings.iter().filter(|(_, reading)| here(&reading.stream));
            partitions.extend(theirs.map(|(partition, _)| *partition));
        }
        let server = match self.cluster.connections.server(address) {
            Ok(server) => server,
            Err(error) => {
                let retry_at = now + self.backoff.next_wait();
                self.stop(&partitions, &error, retry_at, true);
                return;
            }
        };
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        let start = self.start_message(&partitions);
        let ClientConfig { request_timeout, stall_timeout, .. } = self.cluster.config;
        let silence = Silence::new(stall_timeout, now);
        let stream = PushStream::start(id, server, start, request_timeout, silence, self.sink.clone());
        self.streams.insert(id, stream);
        for partition in partitions {
            if let Some(reading) = self.readings.get_mut(&partition) {
                reading.start(id, address);
            }
        }
    }

    fn start_message(&self, partitions: &[PartitionIndex]) -> SubscribeStart {
        let readings = partitions.iter().filter_map(|partition| self.readings.get_key_value(partition));
        let unconsumed: u64 = readings.clone().map(|(_, reading)| reading.unconsumed).sum();
        let partition = |(partition, reading): (&PartitionIndex, &Reading)| SubscribePartition {
            partition: partition.0,
            position: Some(reading.position.to_proto()),
        };
        SubscribeStart {
            topic: self.topic.name.to_string(),
            topic_id: self.topic.id.to_string(),
            partitions: readings.map(partition).collect(),
            position: None,
            // What was pushed over an earlier stream and is not consumed yet counts as taken.
            credit_bytes: self.share(partitions.len()).saturating_sub(unconsumed),
            max_push_bytes: self.config.push_bytes_max,
            format: RecordFormat::Batches.into(),
        }
    }

    /// The part of the credit that so many partitions have.
    fn share(&self, partitions: usize) -> u64 {
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let all = u128::from(self.config.credit_bytes) * u128::from(wide(partitions));
        let share = all / u128::from(wide(self.readings.len()).max(1));
        u64::try_from(share).unwrap_or(u64::MAX).max(1)
    }

    /// Gives back what was consumed, in pieces that are worth a message.
    fn return_credit(&mut self) {
        for (partition, bytes) in self.taken.drain() {
            if let Some(reading) = self.readings.get_mut(&partition) {
                reading.unconsumed = reading.unconsumed.saturating_sub(bytes);
            }
        }
        let mut held: BTreeMap<StreamId, (usize, u64)> = BTreeMap::new();
        for reading in self.readings.values() {
            if let Some(id) = reading.stream {
                let (partitions, unconsumed) = held.entry(id).or_default();
                *partitions += 1;
                *unconsumed += reading.unconsumed;
            }
        }
        for (id, (partitions, unconsumed)) in held {
            let share = self.share(partitions);
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            // A push that went beyond the credit is among what is not consumed, so it is not counted twice.
            let used = unconsumed.saturating_add_signed(stream.credit);
            let free = share.saturating_sub(used);
            if free > 0 && free >= share / CREDIT_PARTS {
                stream.grant(free);
            }
        }
    }

    async fn on_event(
        &mut self,
        id: StreamId,
        event: Result<subscribe_response::Message, ClientError>,
    ) -> Result<(), Finished> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        stream.silence.broken(Instant::now());
        let address = Arc::clone(&stream.address);
        match event {
            Ok(subscribe_response::Message::Push(push)) => self.on_push(id, &address, push).await,
            Ok(subscribe_response::Message::Error(detail)) if detail.partition.is_some() => {
                self.on_partition_error(id, &address, detail).await
            }
            Ok(subscribe_response::Message::Error(detail)) => self.on_lost(id, &address, detail.into()).await,
            Err(error) => self.on_lost(id, &address, error).await,
        }
    }

    async fn on_push(&mut self, id: StreamId, address: &str, push: SubscribePush) -> Result<(), Finished> {
        let partition = PartitionIndex(push.partition);
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let charged = push.charged_bytes;
        stream.charge(charged);
        let is_asked = stream.asked.contains(&partition);
        let next = push.data.as_ref().map(|data| Offset(data.next_offset));
        let Some(next) = next.filter(|_| is_asked) else {
            return self.break_protocol(address, "a push without data, or of a partition not asked for").await;
        };
        let Some(reading) = self.readings.get_mut(&partition).filter(|reading| reading.stream == Some(id))
        else {
            return Ok(());
        };
        if matches!(reading.position, StartPosition::Offset(current) if next < current) {
            return self.break_protocol(address, "a push that goes back").await;
        }
        self.out.send(Ok(push)).await.map_err(|_| Finished)?;
        reading.on_push(next, charged);
        self.backoff.reset();
        self.leader_backoff.reset();
        self.failing = None;
        Ok(())
    }

    async fn on_partition_error(
        &mut self,
        id: StreamId,
        address: &Arc<str>,
        detail: ErrorDetail,
    ) -> Result<(), Finished> {
        let partition = PartitionIndex(detail.partition.unwrap_or_default());
        if self.readings.get(&partition).is_none_or(|reading| reading.stream != Some(id)) {
            return Ok(());
        }
        let now = Instant::now();
        let code = detail.error_code();
        let fallback = match self.config.out_of_range {
            _ if code != Some(ErrorCode::OffsetOutOfRange) => None,
            OutOfRange::Fail => None,
            OutOfRange::Earliest => Some(StartPosition::Earliest),
            OutOfRange::Latest => Some(StartPosition::Latest),
        };
        let error = ClientError::from(detail.clone());
        if let Some(fallback) = fallback {
            tracing::warn!(%error, "records that were to be read are gone; going on as configured");
            if let Some(reading) = self.readings.get_mut(&partition) {
                reading.position = fallback;
            }
        } else if !error.is_retriable() {
            self.readings.remove(&partition);
            return self.out.send(Err(error)).await.map_err(|_| Finished);
        }
        let waits_for_leader = matches!(
            code,
            Some(ErrorCode::NotLeader | ErrorCode::LeaderNotAvailable | ErrorCode::OffsetNotAvailable)
        );
        let backoff = if waits_for_leader { &mut self.leader_backoff } else { &mut self.backoff };
        let retry_at = now + backoff.next_wait();
        self.stop(&[partition], &error, retry_at, waits_for_leader);
        self.cluster.on_refusal(&self.topic.key(partition), address, &detail);
        Ok(())
    }

    /// A stream is over: its partitions are tried again together, or sooner where another leads them.
    async fn on_lost(&mut self, id: StreamId, address: &Arc<str>, error: ClientError) -> Result<(), Finished> {
        if !error.is_retriable() {
            let _ = self.out.send(Err(error)).await;
            return Err(Finished);
        }
        if self.streams.remove(&id).is_some() && matches!(error, ClientError::Connection { .. }) {
            self.cluster.connections.move_on_from(address);
        }
        let theirs = self.readings.iter().filter(|(_, reading)| reading.stream == Some(id));
        let theirs: Vec<_> = theirs.map(|(partition, _)| *partition).collect();
        if !theirs.is_empty() {
            tracing::debug!(%address, %error, "subscription interrupted; will resume");
            let retry_at = Instant::now() + self.backoff.next_wait();
            self.stop(&theirs, &error, retry_at, true);
        }
        Ok(())
    }

    fn stop(
        &mut self,
        partitions: &[PartitionIndex],
        error: &ClientError,
        retry_at: Instant,
        misses_leader: bool,
    ) {
        let since = self.failing.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        self.failing = Some((since, error.clone()));
        for partition in partitions {
            if let Some(reading) = self.readings.get_mut(partition) {
                reading.stop(Instant::now(), retry_at, misses_leader);
            }
        }
    }

    async fn break_protocol(&self, server: &str, what: &'static str) -> Result<(), Finished> {
        let _ = self.out.send(Err(ClientError::Protocol { server: server.to_owned(), what })).await;
        Err(Finished)
    }
}
