//! Reads a session's partitions: finds where each begins, reads it from its leader, wherever that is, and goes on at the next one when the
//! leader moves.
//!
//! Invariant: what was read of a partition waits here until it is taken, and is dropped with the partition. Nothing is read without
//! credit.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use highwater_broker::{Broker, BrokerError, LeaderHint};
use highwater_groups::PartitionSet;
use highwater_proto::v1;
use highwater_types::{ErrorCode, Offset, PartitionId, TopicId};
use tokio::time::{Instant, sleep_until};

use super::lanes::{Address, Fetched, Lanes, Wanted, address_of};
use super::partitions::Partitions;
use super::reading::{Place, Reading};
use super::starts::{Found, StartQuery, find_committed, find_start};
use super::terms::Wishes;
use super::topics::TopicNames;
use crate::grpc::format::size_bytes;
use crate::grpc::forward::{Forwarding, Origin, incomplete};
use crate::grpc::groups::Groups;
use crate::grpc::status::from_detail;

/// How often it is looked whether partitions have other leaders while one is waited for that may never answer.
const REVIEW_INTERVAL: Duration = Duration::from_millis(500);

/// A partition that begins.
pub(super) struct Start {
    pub(super) partition: PartitionId,
    pub(super) topic: String,
    pub(super) offset: Offset,
}

/// Records of one partition.
pub(super) struct Push {
    pub(super) topic: String,
    pub(super) data: v1::RecordData,
    pub(super) bytes: usize,
    pub(super) partition: PartitionId,
    address: Address,
}

/// What a session reads from.
pub(super) struct Sources {
    pub(super) broker: Arc<Broker>,
    pub(super) forwarding: Forwarding,
    pub(super) groups: Groups,
    pub(super) group: String,
}

/// See the module.
pub(super) struct Reader {
    sources: Sources,
    wishes: Wishes,
    partitions: Partitions,
    lanes: Lanes,
    sought: FuturesUnordered<Pin<Box<dyn Future<Output = Found> + Send>>>,
    pushes: VecDeque<Push>,
    review_at: Instant,
}

impl Reader {
    pub(super) fn new(sources: Sources, wishes: Wishes) -> Self {
        Self {
            sources,
            wishes,
            partitions: Partitions::default(),
            lanes: Lanes::default(),
            sought: FuturesUnordered::new(),
            pushes: VecDeque::new(),
            review_at: Instant::now(),
        }
    }

    /// Begins to read partitions.
    pub(super) fn begin(&mut self, partitions: &PartitionSet, names: &TopicNames) {
        // One of a topic that is gone has no name, and is about to be taken back.
        for partition in partitions.iter().filter(|partition| !names.name(partition.topic).is_empty()) {
            self.partitions.begin(partition, names.name(partition.topic));
        }
    }

    /// Reads them no more, and drops what was read of them.
    pub(super) fn end(&mut self, partitions: &PartitionSet) {
        partitions.iter().for_each(|partition| self.partitions.end(partition));
        let lanes = &mut self.lanes;
        self.pushes.retain(|push| {
            let is_dropped = partitions.contains(push.partition);
            lanes.lane(&push.address).waiting -= usize::from(is_dropped);
            !is_dropped
        });
    }

    /// What was read, of each leader in turn.
    pub(super) fn take(&mut self) -> Option<Push> {
        let push = self.pushes.pop_front()?;
        self.lanes.lane(&push.address).waiting -= 1;
        Some(push)
    }

    /// Reads until partitions begin, which are returned, or there is something to be taken. Cancel-safe.
    pub(super) async fn next(&mut self, has_credit: bool) -> Vec<Start> {
        loop {
            self.retry_what_is_due();
            self.seek();
            if has_credit {
                self.ask();
            }
            let timer = self.timer();
            tokio::select! {
                biased;
                Some(found) = self.sought.next() => {
                    let starts = self.take_found(found);
                    if !starts.is_empty() {
                        return starts;
                    }
                }
                fetched = self.lanes.next() => {
                    self.take_fetched(fetched);
                    if !self.pushes.is_empty() {
                        return Vec::new();
                    }
                }
                () = sleep_until(timer.unwrap_or(self.review_at)), if timer.is_some() => self.review_when_due(),
            }
        }
    }

    /// When something is due though nothing happens.
    fn timer(&self) -> Option<Instant> {
        let review_at = self.lanes.has_remote().then_some(self.review_at);
        self.partitions.next_retry().into_iter().chain(review_at).min()
    }

    fn retry_what_is_due(&mut self) {
        let now = Instant::now();
        for reading in self.partitions.iter_mut().filter(|reading| reading.retry_at.is_some_and(|at| at <= now))
        {
            reading.retry_at = None;
            look_up_leader(reading, &self.sources, &mut self.lanes);
        }
    }

    /// Follows leaders that moved away from nodes that do not say so.
    fn review_when_due(&mut self) {
        let now = Instant::now();
        if self.review_at > now {
            return;
        }
        self.review_at = now + REVIEW_INTERVAL;
        let remote = self.partitions.iter_mut().filter(|reading| reading.leader.is_some());
        for reading in remote {
            look_up_leader(reading, &self.sources, &mut self.lanes);
        }
    }

    /// Has the places of partitions found that are not known.
    fn seek(&mut self) {
        let mut uncommitted = Vec::new();
        let mut unplaced: BTreeMap<(Address, TopicId), StartQuery> = BTreeMap::new();
        for reading in self.partitions.iter_mut().filter(|reading| reading.is_to_be_sought()) {
            match reading.place {
                Place::Unknown => uncommitted.push((reading.key, reading.topic.clone())),
                Place::Wanted(committed) => {
                    let topic_id = reading.key.partition.topic;
                    let leader = target(reading, &self.sources);
                    let query = unplaced.entry((address_of(leader.as_ref()), topic_id));
                    let query = query.or_insert_with(|| StartQuery {
                        topic: reading.topic.clone(),
                        topic_id,
                        partitions: Vec::new(),
                        position: self.wishes.position,
                        failures: 0,
                    });
                    query.partitions.push((reading.key, committed));
                    query.failures = query.failures.max(reading.failures);
                }
                Place::At(_) => continue,
            }
            reading.is_sought = true;
        }
        let Sources { broker, forwarding, groups, group } = &self.sources;
        if !uncommitted.is_empty() {
            self.sought.push(Box::pin(find_committed(groups.clone(), group.clone(), uncommitted)));
        }
        for query in unplaced.into_values().flat_map(StartQuery::split) {
            self.sought.push(Box::pin(find_start(Arc::clone(broker), forwarding.clone(), query)));
        }
    }

    fn take_found(&mut self, found: Found) -> Vec<Start> {
        let mut starts = Vec::new();
        match found {
            Found::Committed(found) => {
                for (key, committed) in found {
                    let Some(reading) = self.partitions.current(key) else { continue };
                    reading.is_sought = false;
                    match committed {
                        Ok(committed) => (reading.place, reading.failures) = (Place::Wanted(committed), 0),
                        Err(_) => reading.fail(),
                    }
                }
            }
            Found::Start(found) => {
                for (key, start) in found {
                    let Some(reading) = self.partitions.current(key) else { continue };
                    reading.is_sought = false;
                    let Ok(offset) = start else {
                        reading.fail();
                        continue;
                    };
                    (reading.place, reading.failures) = (Place::At(offset), 0);
                    reading.leader = target(reading, &self.sources);
                    self.lanes.change(reading.leader.as_ref());
                    if !std::mem::replace(&mut reading.is_told, true) {
                        let topic = reading.topic.clone();
                        starts.push(Start { partition: key.partition, topic, offset });
                    }
                }
            }
        }
        starts
    }

    /// Asks each leader for the next records of its partitions.
    fn ask(&mut self) {
        for (address, after) in self.lanes.free() {
            let (asked, leader) = self.partitions.wanted_of(&address, after);
            if asked.is_empty() {
                self.lanes.close(&address);
                continue;
            }
            let Wishes { push_bytes_max: max_bytes, format, .. } = self.wishes;
            let request = v1::FetchRequest { max_bytes, format, ..v1::FetchRequest::default() };
            let Sources { broker, forwarding, .. } = &self.sources;
            self.lanes.ask(leader, broker, forwarding, asked, request);
        }
    }

    fn take_fetched(&mut self, fetched: Fetched) {
        use v1::fetch_result::Result as Outcome;
        let Fetched { address, asked, answer } = fetched;
        let (mut results, failure) = match answer {
            Ok(answer) => (answer.results.into_iter(), incomplete()),
            Err(error) => (Vec::new().into_iter(), error),
        };
        for wanted in asked {
            let outcome = match results.next().and_then(|result| result.result) {
                Some(Outcome::Data(data)) => Ok(data),
                Some(Outcome::Error(error)) => Err(from_detail(error)),
                None => Err(failure.clone()),
            };
            self.take_outcome(&address, &wanted, outcome);
        }
    }

    fn take_outcome(
        &mut self,
        address: &Address,
        wanted: &Wanted,
        outcome: Result<v1::RecordData, BrokerError>,
    ) {
        let Some(reading) = self.partitions.current(wanted.key) else { return };
        match outcome {
            Ok(data) if data.next_offset > wanted.offset.0 => {
                (reading.place, reading.failures) = (Place::At(Offset(data.next_offset)), 0);
                let lane = self.lanes.lane(address);
                lane.waiting += 1;
                lane.after = Some(wanted.key.partition);
                self.pushes.push_back(Push {
                    topic: wanted.topic.clone(),
                    bytes: size_bytes(&data),
                    data,
                    partition: wanted.key.partition,
                    address: address.clone(),
                });
            }
            Ok(_) => reading.failures = 0,
            // What was there may have been deleted, or lost: it goes on where there is something.
            Err(error) if error.code == ErrorCode::OffsetOutOfRange => {
                reading.place = Place::Wanted(Some(wanted.offset));
                reading.fail();
            }
            Err(_) => reading.fail(),
        }
    }
}

fn target(reading: &Reading, sources: &Sources) -> Option<LeaderHint> {
    let index = reading.key.partition.index.0;
    Forwarding::target(&sources.broker, Origin::Client, &reading.topic, index)
}

/// Has a partition read where it is led now.
fn look_up_leader(reading: &mut Reading, sources: &Sources, lanes: &mut Lanes) {
    if !matches!(reading.place, Place::At(_)) {
        return;
    }
    let leader = target(reading, sources);
    if reading.leader != leader || reading.failures > 0 {
        lanes.change(reading.leader.as_ref());
        lanes.change(leader.as_ref());
        reading.leader = leader;
    }
}
