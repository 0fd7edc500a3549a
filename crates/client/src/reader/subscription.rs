//! The task behind a reader: reads each partition from its leader over a few Subscribe streams, passes on what they push,
//! gives credit back as it is consumed, and after a break or a move resumes every partition at its next offset. While a node is silent it
//! looks whether another leads.
//!
//! A stream reads the partitions that it was opened for. So partitions that come have another one, and when some go the rest is read
//! over a new one: a push that nobody wants takes credit from those that somebody does.
//!
//! Invariants:
//! - a partition's next offset moves only when the push before it was handed over, and only pushes of the stream that it
//!   is read from now are taken, so that nothing is lost or repeated whenever a stream breaks or a leader moves;
//! - credit is bounded as [`Credit`] says.

mod opening;

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_proto::v1::{ErrorDetail, SubscribePush, subscribe_response};
use highwater_types::{Backoff, ErrorCode, Offset, PartitionIndex};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::consumer::{OutOfRange, StartPosition};
use crate::error::ClientError;
use crate::reader::credit::Credit;
use crate::reader::push_stream::{PushStream, StreamEvent, StreamId};
use crate::reader::read_set::{Changes, ReadSet, ReadingId};
use crate::reader::reading::Reading;
use crate::reader::{ReadEnd, ReadEvent, ReaderConfig};

/// Messages of nodes that wait to be looked at, beside one that each stream holds.
const EVENTS_MAX: usize = 16;
/// The reader is gone.
struct Finished;

/// See the module.
pub(crate) struct Subscription {
    cluster: Arc<Cluster>,
    config: ReaderConfig,
    set: Arc<ReadSet>,
    /// The partitions that are still read.
    readings: BTreeMap<ReadingId, Reading>,
    streams: BTreeMap<StreamId, PushStream>,
    credit: Credit,
    next_stream: u64,
    /// For the streams to put their messages in.
    sink: mpsc::Sender<StreamEvent>,
    events: mpsc::Receiver<StreamEvent>,
    changes: watch::Receiver<u64>,
    /// As of which the leaders were followed.
    changes_seen: u64,
    out: mpsc::Sender<ReadEvent>,
    backoff: Backoff,
    leader_backoff: Backoff,
    failing: Option<(Instant, ClientError)>,
}

impl Subscription {
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        config: ReaderConfig,
        out: mpsc::Sender<ReadEvent>,
        set: Arc<ReadSet>,
    ) -> Self {
        let (sink, events) = mpsc::channel(EVENTS_MAX);
        Self {
            changes: cluster.changes(),
            changes_seen: 0,
            backoff: cluster.config.backoff(),
            leader_backoff: cluster.config.leader_backoff(),
            credit: Credit::new(config.credit_bytes),
            cluster,
            config,
            set,
            readings: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_stream: 0,
            sink,
            events,
            out,
            failing: None,
        }
    }

    /// Runs until the reader is gone.
    pub(crate) async fn run(mut self) {
        loop {
            let now = Instant::now();
            if let Some(error) = self.gives_up(now) {
                self.failing = None;
                let ids = self.readings.keys().copied().collect();
                if self.end(ids, error).await.is_err() {
                    return;
                }
            }
            self.take_changes();
            self.follow_leaders();
            let due = self.start_streams(now);
            let look_at = self.watch_for_silence(now);
            let wake = due.into_iter().chain(look_at).min();
            self.credit.give_back(&self.readings, &mut self.streams);
            let set = Arc::clone(&self.set);
            let step = tokio::select! {
                // It holds a sink itself, so that this always is an event.
                event = self.events.recv() => match event {
                    Some((id, event)) => self.on_event(id, event).await,
                    None => Err(Finished),
                },
                () = set.changed() => Ok(()),
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

    /// Some readings are over; what was pushed of them before is handed out before that is told.
    async fn end(&mut self, ids: Vec<ReadingId>, error: ClientError) -> Result<(), Finished> {
        for id in &ids {
            self.forget(*id);
        }
        self.out.send(ReadEvent::Ended(ReadEnd { ids, error })).await.map_err(|_| Finished)
    }

    fn forget(&mut self, id: ReadingId) -> Option<Reading> {
        let reading = self.readings.remove(&id)?;
        self.credit.leave(id, &reading);
        Some(reading)
    }

    /// Takes up what came, went and was consumed. Streams that are not what they should be any more are replaced.
    fn take_changes(&mut self) {
        let Changes { added, removed, taken } = self.set.take_changes();
        for (id, bytes) in taken {
            match self.readings.get_mut(&id) {
                Some(reading) => reading.unconsumed = reading.unconsumed.saturating_sub(bytes),
                None => self.credit.left(id, bytes),
            }
        }
        let gone: Vec<_> = removed.into_iter().filter_map(|id| self.forget(id)?.stream).collect();
        let grows = !added.is_empty();
        self.readings.extend(added.into_iter().map(|(id, (key, start))| (id, Reading::new(key, start))));
        let replaced: Vec<_> = if grows { self.with_too_much_credit().chain(gone).collect() } else { gone };
        for reading in self.readings.values_mut() {
            if reading.stream.is_some_and(|stream| replaced.contains(&stream)) {
                reading.reopen();
            }
        }
    }

    /// Streams that were given more than is theirs now that there are more partitions.
    pub(super) fn with_too_much_credit(&self) -> impl Iterator<Item = StreamId> {
        let share = |id| {
            let partitions = self.readings.values().filter(|reading| reading.stream == Some(id)).count();
            self.credit.share(partitions, self.readings.len())
        };
        let has_too_much = move |(id, stream): &(&StreamId, &PushStream)| {
            u64::try_from(stream.credit).is_ok_and(|credit| credit > share(**id))
        };
        self.streams.iter().filter(has_too_much).map(|(id, _)| *id)
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

    async fn on_push(&mut self, id: StreamId, address: &Arc<str>, push: SubscribePush) -> Result<(), Finished> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let charged = push.charged_bytes;
        stream.charge(charged);
        let asked = stream.asked.get(&PartitionIndex(push.partition)).copied();
        let next = push.data.as_ref().map(|data| Offset(data.next_offset));
        let Some((reading_id, next)) = asked.zip(next) else {
            let what = "a push without data, or of a partition not asked for";
            return self.break_protocol(id, address, what).await;
        };
        let Some(reading) = self.readings.get_mut(&reading_id).filter(|reading| reading.stream == Some(id))
        else {
            return Ok(());
        };
        let from = match reading.position {
            StartPosition::Offset(from) => Some(from),
            _ => None,
        };
        if from.is_some_and(|from| next < from) {
            return self.break_protocol(id, address, "a push that goes back").await;
        }
        let event = ReadEvent::Push { id: reading_id, from, push };
        self.out.send(event).await.map_err(|_| Finished)?;
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
        let asked = self.streams.get(&id).and_then(|stream| stream.asked.get(&partition)).copied();
        let reading = asked.and_then(|asked| Some((asked, self.readings.get_mut(&asked)?)));
        let Some((reading_id, reading)) = reading.filter(|(_, reading)| reading.stream == Some(id)) else {
            return Ok(());
        };
        let now = Instant::now();
        let code = detail.error_code();
        let fallback = match self.config.out_of_range {
            _ if code != Some(ErrorCode::OffsetOutOfRange) => None,
            OutOfRange::Fail => None,
            OutOfRange::Earliest => Some(StartPosition::Earliest),
            OutOfRange::Latest => Some(StartPosition::Latest),
        };
        let error = ClientError::from(detail.clone());
        let key = reading.key.clone();
        if let Some(fallback) = fallback {
            tracing::warn!(%error, "records that were to be read are gone; going on as configured");
            reading.position = fallback;
        } else if !error.is_retriable() {
            return self.end(vec![reading_id], error).await;
        }
        let waits_for_leader = matches!(
            code,
            Some(ErrorCode::NotLeader | ErrorCode::LeaderNotAvailable | ErrorCode::OffsetNotAvailable)
        );
        let backoff = if waits_for_leader { &mut self.leader_backoff } else { &mut self.backoff };
        let retry_at = now + backoff.next_wait();
        self.stop(&[reading_id], &error, retry_at, waits_for_leader);
        self.cluster.on_refusal(&key, address, &detail);
        Ok(())
    }

    /// A stream is over: its partitions are tried again together, or sooner where another leads them.
    async fn on_lost(&mut self, id: StreamId, address: &Arc<str>, error: ClientError) -> Result<(), Finished> {
        let theirs = self.readings.iter().filter(|(_, reading)| reading.stream == Some(id));
        let theirs: Vec<_> = theirs.map(|(id, _)| *id).collect();
        if self.streams.remove(&id).is_some() && matches!(error, ClientError::Connection { .. }) {
            self.cluster.connections.move_on_from(address);
        }
        if !error.is_retriable() {
            return if theirs.is_empty() { Ok(()) } else { self.end(theirs, error).await };
        }
        if !theirs.is_empty() {
            tracing::debug!(%address, %error, "subscription interrupted; will resume");
            let retry_at = Instant::now() + self.backoff.next_wait();
            self.stop(&theirs, &error, retry_at, true);
        }
        Ok(())
    }

    fn stop(&mut self, ids: &[ReadingId], error: &ClientError, retry_at: Instant, misses_leader: bool) {
        let since = self.failing.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        self.failing = Some((since, error.clone()));
        for id in ids {
            if let Some(reading) = self.readings.get_mut(id) {
                reading.stop(Instant::now(), retry_at, misses_leader);
            }
        }
    }

    async fn break_protocol(
        &mut self,
        id: StreamId,
        address: &Arc<str>,
        what: &'static str,
    ) -> Result<(), Finished> {
        self.on_lost(id, address, ClientError::Protocol { server: address.to_string(), what }).await
    }
}
