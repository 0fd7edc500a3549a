//! Where a subscription's partitions are read: finds their leaders, and opens streams for those that are due.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_proto::v1::{RecordFormat, SubscribePartition, SubscribeStart};
use tokio::time::Instant;

use super::Subscription;
use crate::cluster::Whereabouts;
use crate::config::ClientConfig;
use crate::reader::push_stream::{PushStream, Silence, StreamId};
use crate::reader::read_set::ReadingId;
use crate::reader::reading::Reading;

/// With so many streams of a topic to one node the next one takes over what they read.
const STREAMS_PER_NODE_MAX: usize = 4;

impl Subscription {
    /// Partitions whose leader moved are read from there.
    pub(super) fn follow_leaders(&mut self) {
        let changes = *self.changes.borrow();
        if std::mem::replace(&mut self.changes_seen, changes) == changes {
            return;
        }
        for reading in self.readings.values_mut() {
            if let Whereabouts::At(leader) = self.cluster.whereabouts(&reading.key) {
                reading.follow(&leader);
            }
        }
    }

    /// Opens streams for what is not read and may be tried now; returns when to look again.
    pub(super) fn start_streams(&mut self, now: Instant) -> Option<Instant> {
        self.take_back_credit(now);
        let mut wake = self.failing.as_ref().and_then(|(since, _)| Some(*since + self.config.retry_for?));
        let mut starting: BTreeMap<(Arc<str>, Arc<str>), Vec<ReadingId>> = BTreeMap::new();
        for (id, reading) in &mut self.readings {
            if let Some(due) = reading.due(now) {
                if due > now {
                    wake = wake.into_iter().chain([due]).min();
                } else {
                    let whereabouts = self.cluster.whereabouts(&reading.key);
                    let address = reading.choose(&whereabouts, self.cluster.connections.current(), now);
                    if let Some(address) = address {
                        let topic_id = Arc::clone(&reading.key.topic_id);
                        starting.entry((address, topic_id)).or_default().push(*id);
                    }
                }
            }
            if reading.misses_leader {
                self.cluster.look_again(&reading.key.topic);
            }
        }
        for ((address, topic_id), ids) in starting {
            self.start_stream(&address, &topic_id, ids, now);
        }
        self.drop_unread_streams();
        wake
    }

    /// A stream that other partitions have left may hold the credit that those need elsewhere: it begins anew with its share.
    fn take_back_credit(&mut self, now: Instant) {
        if !self.readings.values().any(|reading| reading.due(now).is_some_and(|due| due <= now)) {
            return;
        }
        let replaced: Vec<_> = self.with_too_much_credit().collect();
        for reading in self.readings.values_mut() {
            if reading.stream.is_some_and(|stream| replaced.contains(&stream)) {
                reading.reopen();
            }
        }
        self.drop_unread_streams();
    }

    fn drop_unread_streams(&mut self) {
        let readings = &self.readings;
        self.streams.retain(|id, _| readings.values().any(|reading| reading.stream == Some(*id)));
    }

    /// Looks for the leaders of what a silent node is read for; returns when to look again.
    pub(super) fn watch_for_silence(&mut self, now: Instant) -> Option<Instant> {
        for (id, stream) in &mut self.streams {
            if stream.silence.is_look_due(now) {
                // Whoever is silent is not the one to ask why.
                self.cluster.connections.avoid(&stream.address);
                if let Some(reading) = self.readings.values().find(|reading| reading.stream == Some(*id)) {
                    self.cluster.look_again(&reading.key.topic);
                }
            }
        }
        self.streams.values().map(|stream| stream.silence.look_at()).min()
    }

    /// Opens a stream for readings of one topic at one node.
    fn start_stream(&mut self, address: &Arc<str>, topic_id: &str, mut ids: Vec<ReadingId>, now: Instant) {
        let here = |stream: &PushStream| stream.address == *address && *stream.topic_id == *topic_id;
        if self.streams.values().filter(|stream| here(stream)).count() >= STREAMS_PER_NODE_MAX {
            for (id, reading) in &mut self.readings {
                if reading.stream.and_then(|stream| self.streams.get(&stream)).is_some_and(here) {
                    reading.reopen();
                    ids.push(*id);
                }
            }
        }
        self.drop_unread_streams();
        let server = match self.cluster.connections.server(address) {
            Ok(server) => server,
            Err(error) => {
                let retry_at = now + self.backoff.next_wait();
                self.stop(&ids, &error, retry_at, true);
                return;
            }
        };
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        let start = self.start_message(&ids);
        let asked = ids.iter().filter_map(|id| Some((self.readings.get(id)?.key.partition, *id))).collect();
        let ClientConfig { request_timeout, stall_timeout, .. } = self.cluster.config;
        let silence = Silence::new(stall_timeout, now);
        let stream = PushStream::start(id, server, start, asked, request_timeout, silence, self.sink.clone());
        self.streams.insert(id, stream);
        for reading in ids {
            if let Some(reading) = self.readings.get_mut(&reading) {
                reading.start(id, address);
            }
        }
    }

    fn start_message(&self, ids: &[ReadingId]) -> SubscribeStart {
        let readings = || ids.iter().filter_map(|id| self.readings.get(id));
        let unconsumed: u64 = readings().map(|reading| reading.unconsumed).sum();
        let share = self.credit.share(ids.len(), self.readings.len());
        let available = self.credit.available(self.readings.values(), self.streams.values());
        let partition = |reading: &Reading| SubscribePartition {
            partition: reading.key.partition.0,
            position: Some(reading.position.to_proto()),
        };
        let key = readings().next().map(|reading| &reading.key);
        SubscribeStart {
            topic: key.map(|key| key.topic.to_string()).unwrap_or_default(),
            topic_id: key.map(|key| key.topic_id.to_string()).unwrap_or_default(),
            partitions: readings().map(partition).collect(),
            position: None,
            // What was pushed over an earlier stream and is not consumed yet counts as taken.
            credit_bytes: share.saturating_sub(unconsumed).min(available),
            max_push_bytes: self.config.push_bytes_max,
            format: RecordFormat::Batches.into(),
        }
    }
}
