//! Reading partitions of one topic as they grow, each from a place of its own.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use highwater_partition::{DataWaiter, WaitRegistration};
use highwater_types::{Offset, PartitionIndex, TimestampMs, TopicId, limits};

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::fetch::fetched;
use crate::request::{Fetched, OffsetQuery, TopicRef};
use crate::routing::{Route, find_topic};

/// What to subscribe to.
#[derive(Debug, Clone)]
pub struct Subscribe {
    /// The topic.
    pub topic: TopicRef,
    /// The partitions and where each starts; none means all that the topic has now, each from `default`.
    pub partitions: Vec<(PartitionIndex, StartAt)>,
    /// Where partitions start that were not named.
    pub default: StartAt,
}

/// Where reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// The log start.
    Earliest,
    /// The high watermark.
    Latest,
    /// This offset.
    Offset(Offset),
    /// The smallest offset at or after this time; the high watermark when there is none.
    Time(TimestampMs),
}

/// A partition, and where it starts or why it does not.
type Start = (PartitionIndex, Result<Fetched, BrokerError>);

/// What a partition gave: the partition, the offset that was read from, and the records.
pub type Pushed = (PartitionIndex, Offset, Result<Fetched, BrokerError>);

/// A reader of several partitions that remembers where it is in each.
pub struct Subscription {
    broker: Arc<Broker>,
    topic: TopicId,
    starts: VecDeque<Start>,
    readers: Vec<Reader>,
    /// Where in `readers` to look first, so that every partition gets its turn.
    turn: usize,
    /// Kept while waiting, so that a cancelled wait goes on where it was.
    waiting: Option<(Arc<DataWaiter>, Vec<WaitRegistration>)>,
}

struct Reader {
    route: Route,
    position: Offset,
}

impl Broker {
    /// Finds where each partition starts.
    ///
    /// # Errors
    /// When the topic is not known or a partition is named twice. What is wrong with one
    /// partition is told in its start.
    pub async fn subscribe(self: &Arc<Self>, request: Subscribe) -> Result<Subscription, BrokerError> {
        let image = self.image();
        let topic = find_topic(&image, &request.topic)?;
        let wanted = if request.partitions.is_empty() {
            (0..topic.partition_count()).map(|n| (PartitionIndex(n), request.default)).collect()
        } else {
            request.partitions
        };
        check(&wanted)?;
        let mut starts = VecDeque::with_capacity(wanted.len());
        let mut readers = Vec::with_capacity(wanted.len());
        for (index, at) in wanted {
            let started = match self.route_within(&image, topic, index) {
                Ok(route) => self.start_reading(&route, at).await.map(|start| (route, start)),
                Err(error) => Err(error),
            };
            let start = started.map(|(route, start)| {
                readers.push(Reader { route, position: start.next_offset });
                start
            });
            starts.push_back((index, start));
        }
        Ok(Subscription { broker: Arc::clone(self), topic: topic.id, starts, readers, turn: 0, waiting: None })
    }

    /// The start of one partition, as a run without records.
    async fn start_reading(&self, route: &Route, at: StartAt) -> Result<Fetched, BrokerError> {
        let query = match at {
            StartAt::Earliest => OffsetQuery::Earliest,
            StartAt::Latest => OffsetQuery::Latest,
            StartAt::Time(time) => OffsetQuery::AtTime(time),
            StartAt::Offset(offset) => return self.start_at(route, offset).await,
        };
        let offset = match self.find_offset(route, query).await?.offset {
            Some(offset) => offset,
            None => {
                let latest = self.find_offset(route, OffsetQuery::Latest).await?;
                latest.offset.unwrap_or(Offset::ZERO)
            }
        };
        self.start_at(route, offset).await
    }

    /// Checks that an offset can be read from.
    async fn start_at(&self, route: &Route, offset: Offset) -> Result<Fetched, BrokerError> {
        let read = route.partition.fetch(offset, 0).await;
        let mut start = fetched(read.map_err(|error| self.explain(&error, route))?);
        start.batches.clear();
        start.next_offset = offset;
        Ok(start)
    }
}

impl Subscription {
    /// The topic's id.
    pub fn topic_id(&self) -> TopicId {
        self.topic
    }

    /// Where the next partition starts, each once: a run without records, or why the partition
    /// takes no part.
    pub fn next_start(&mut self) -> Option<Start> {
        self.starts.pop_front()
    }

    /// Waits for records of any partition and reads at most `max_bytes` of them, but at least
    /// one batch. What was read counts as taken only with [`Subscription::advance`]; after an error the caller
    /// ends the partition. `None` when every partition has ended. Cancel-safe.
    pub async fn next(&mut self, max_bytes: usize) -> Option<Pushed> {
        loop {
            if self.readers.is_empty() {
                return None;
            }
            if let Some((waiter, _)) = &self.waiting {
                waiter.wait().await;
                self.waiting = None;
            }
            for step in 0..self.readers.len() {
                let turn = (self.turn + step) % self.readers.len();
                let Reader { route, position } = &self.readers[turn];
                let result = match route.partition.fetch(*position, max_bytes).await {
                    Ok(slices) if slices.batches.is_empty() => continue,
                    Ok(slices) => Ok(fetched(slices)),
                    Err(error) => Err(self.broker.explain(&error, route)),
                };
                let pushed = (route.index, *position, result);
                self.turn = turn + 1;
                return Some(pushed);
            }
            let waiter = DataWaiter::new(1);
            let register = |reader: &Reader| reader.route.partition.register(&waiter, reader.position);
            let registrations = self.readers.iter().map(register).collect();
            let gone = self.readers.iter().find_map(|reader| {
                let error = self.broker.check_route(&reader.route).err()?;
                Some((reader.route.index, reader.position, Err(error)))
            });
            if gone.is_some() {
                return gone;
            }
            self.waiting = Some((waiter, registrations));
        }
    }

    /// Says that a partition was taken up to an offset, exclusive.
    pub fn advance(&mut self, partition: PartitionIndex, next_offset: Offset) {
        if let Some(reader) = self.readers.iter_mut().find(|r| r.route.index == partition) {
            reader.position = next_offset;
        }
    }

    /// Ends a partition's part.
    pub fn end(&mut self, partition: PartitionIndex) {
        self.readers.retain(|reader| reader.route.index != partition);
        self.waiting = None;
    }
}

fn check(wanted: &[(PartitionIndex, StartAt)]) -> Result<(), BrokerError> {
    let max = limits::PARTITIONS_PER_REQUEST_MAX;
    if wanted.len() > max {
        let count = wanted.len();
        let message = format!("a subscription reads at most {max} partitions, not {count}");
        return Err(BrokerError::invalid_request(message));
    }
    let mut seen = HashSet::with_capacity(wanted.len());
    match wanted.iter().find(|(partition, _)| !seen.insert(*partition)) {
        Some((twice, _)) => {
            let error = BrokerError::invalid_request("the subscription names a partition twice");
            Err(error.with_partition(*twice))
        }
        None => Ok(()),
    }
}
