//! The clients of a run: they make the topics, load them while faults happen, and read everything in the end.

mod consumer;
pub(crate) mod groups;
mod lone;
mod members;
mod prober;
mod producer;
mod settle;
mod upkeep;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_client::v1::CreateTopicRequest;
use highwater_client::{Client, ClientConfig};
use highwater_types::{Offset, PartitionIndex};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::chance::Chance;
use crate::clock::MachineClock;
use crate::group_history::GroupHistory;
use crate::history::{History, Place};
use crate::machine::name_of;
use crate::network::{GRPC_PORT, SimNetwork};
use crate::trace::Trace;

/// How many replicas each partition has.
const REPLICAS: u32 = 3;
/// How long a call that is asked again may take.
const CALL_WITHIN: Duration = Duration::from_secs(5);

/// What the clients are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Make the topics.
    Prepare,
    /// Send and read.
    Load,
    /// Send nothing more; read everything.
    Settle,
}

/// What the clients have done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The topics are there.
    pub(crate) is_prepared: bool,
    /// Everything was read after everything was over.
    pub(crate) is_settled: bool,
}

/// What a seed decides of the load.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Topics, and how many partitions each has.
    pub(crate) topics: BTreeMap<String, u32>,
    /// Bytes of a segment.
    pub(crate) segment_bytes: u64,
    pub(crate) producers: u32,
    pub(crate) consumers: u32,
    /// Whether records are deleted meanwhile.
    pub(crate) deletes: bool,
    /// Whether other topics are made and deleted meanwhile.
    pub(crate) churns: bool,
    /// Whether there is a topic of one replica.
    pub(crate) has_lone: bool,
    /// Whether leaders and replicas are moved meanwhile, and nodes drained and removed.
    pub(crate) administers: bool,
    pub(crate) nodes: u64,
    /// Members of a consumer group.
    pub(crate) members: u32,
}

impl Load {
    pub(crate) fn draw(seed: u64, nodes: Option<u64>, has_lone: bool) -> Self {
        let chance = Chance::new(seed, "load");
        let administers = chance.one_in(2);
        let most = if administers { *chance.pick(&[3, 4]) } else { 3 };
        let topics = (0..chance.within(1..3)).map(|topic| (format!("t{topic}"), 1 + topic_partitions(&chance)));
        Self {
            topics: topics.collect(),
            segment_bytes: *chance.pick(&[4096, 16 << 10, 1 << 20]),
            producers: u32::try_from(chance.within(2..5)).unwrap_or(2),
            consumers: u32::try_from(chance.within(1..3)).unwrap_or(1),
            deletes: chance.one_in(2),
            churns: chance.one_in(3),
            // It has no place of its own when replicas are moved.
            has_lone: has_lone && !administers,
            administers,
            nodes: nodes.unwrap_or(most),
            members: *Chance::new(seed, "groups").pick(&[0, 2, 3]),
        }
    }

    /// All partitions of all topics.
    pub(crate) fn places(&self) -> Vec<Place> {
        let partitions = |(topic, count): (&String, &u32)| {
            let topic = topic.clone();
            (0..*count).map(move |index| Place { topic: topic.clone(), partition: PartitionIndex(index) })
        };
        self.topics.iter().flat_map(partitions).collect()
    }
}

fn topic_partitions(chance: &Chance) -> u32 {
    u32::try_from(chance.below(3)).unwrap_or(0)
}

/// What all clients share.
pub(crate) struct Shared {
    pub(crate) seed: u64,
    pub(crate) load: Load,
    pub(crate) history: History,
    pub(crate) group: GroupHistory,
    pub(crate) progress: Mutex<Progress>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) trace: Arc<Trace>,
    /// The highest watermark and log start that anybody was told.
    seen: Mutex<BTreeMap<Place, (Offset, Offset)>>,
    /// Values whose outcome is not booked.
    on_their_way: watch::Sender<u64>,
    /// The topics that stay.
    pub(crate) topic_ids: Mutex<Vec<String>>,
    /// The node of the topic of one replica, if there is such a topic.
    lone: Mutex<Option<u64>>,
    /// The node whose disk was emptied.
    pub(crate) emptied: Mutex<Option<u64>>,
}

impl Shared {
    pub(crate) fn new(seed: u64, load: Load, phase: watch::Receiver<Phase>, trace: Arc<Trace>) -> Self {
        let group = GroupHistory::new(load.places(), Arc::clone(&trace));
        Self {
            seed,
            load,
            group,
            phase,
            trace,
            history: History::default(),
            progress: Mutex::default(),
            seen: Mutex::default(),
            on_their_way: watch::Sender::default(),
            topic_ids: Mutex::default(),
            lone: Mutex::default(),
            emptied: Mutex::default(),
        }
    }

    /// The software of the client machine of this number, from 0.
    pub(crate) async fn run(self: Arc<Self>, machine: u32) {
        if machine == 0 {
            self.prepare().await;
        }
        self.reach(Phase::Load).await;
        let mut tasks = Vec::new();
        for number in (0..self.load.producers).filter(|number| number % 2 == machine) {
            tasks.push(tokio::spawn(producer::run(self.clone(), number)));
        }
        for number in (0..self.load.consumers).filter(|number| number % 2 == machine) {
            tasks.push(tokio::spawn(consumer::run(self.clone(), number)));
        }
        tasks.push(tokio::spawn(prober::run(self.clone(), machine)));
        if self.load.members > 0 && machine == 0 {
            tasks.push(tokio::spawn(groups::probe(self.clone())));
        }
        if self.load.deletes && machine == 0 {
            tasks.push(tokio::spawn(upkeep::delete_records(self.clone())));
        }
        if self.load.churns && machine == 1 {
            tasks.push(tokio::spawn(upkeep::churn(self.clone())));
        }
        if self.load.administers && machine == 1 {
            tasks.push(tokio::spawn(members::run(self.clone())));
        }
        self.reach(Phase::Settle).await;
        if machine == 0 {
            self.all_are_booked().await;
            settle::run(&self).await;
        }
        std::future::pending().await
    }

    /// Waits until the phase is this one, or a later one.
    async fn reach(&self, phase: Phase) {
        let mut current = self.phase.clone();
        if current.wait_for(|current| *current >= phase).await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until the outcome of every value is booked.
    async fn all_are_booked(&self) {
        let mut on_their_way = self.on_their_way.subscribe();
        if on_their_way.wait_for(|count| *count == 0).await.is_err() {
            std::future::pending().await
        }
    }

    fn is_loading(&self) -> bool {
        *self.phase.borrow() == Phase::Load
    }

    /// A client of its own, which is told of all nodes.
    fn client(&self, name: &str) -> Client {
        let chance = |purpose: &str| Arc::new(Chance::new(self.seed, &format!("{name} {purpose}")));
        let config = ClientConfig {
            clock: Arc::new(MachineClock::default()),
            random: chance("random"),
            dial: SimNetwork::new(chance("network")).dial(),
            ..ClientConfig::new((1..=self.load.nodes).map(|node| format!("{}:{GRPC_PORT}", name_of(node))))
        };
        Client::with_config(config).expect("the addresses are well-formed")
    }

    async fn prepare(&self) {
        let client = self.client("prepare");
        for (topic, partitions) in &self.load.topics {
            // Clocks jump by more than any age: nothing may go by its age.
            let configs = [
                ("segment.bytes".to_owned(), self.load.segment_bytes.to_string()),
                ("retention.ms".to_owned(), "-1".to_owned()),
            ];
            let request = CreateTopicRequest {
                name: topic.clone(),
                partitions: *partitions,
                replication_factor: REPLICAS,
                configs: configs.into(),
                ..CreateTopicRequest::default()
            };
            loop {
                match timeout(CALL_WITHIN, client.admin().create_topic(request.clone())).await {
                    Ok(Ok(created)) => {
                        self.topic_ids.lock().push(created.topic_id);
                        break;
                    }
                    Ok(Err(error)) => {
                        self.trace.note(format_args!("{topic} cannot be made yet: {error}"));
                        if let Ok(described) = client.admin().describe_topic(topic, false).await {
                            self.topic_ids.lock().push(described.topic_id);
                            break;
                        }
                    }
                    Err(_) => self.trace.note(format_args!("{topic} cannot be made in time")),
                }
                sleep(Duration::from_millis(200)).await;
            }
        }
        if self.load.has_lone {
            lone::prepare(self, &client).await;
        }
        if self.load.members > 0 {
            groups::prepare(self, &client).await;
        }
        self.trace.note("the topics are there");
        self.progress.lock().is_prepared = true;
    }

    /// The highest watermark and log start that anybody was told of a partition until now.
    fn seen(&self, place: &Place) -> (Offset, Offset) {
        self.seen.lock().get(place).copied().unwrap_or((Offset::ZERO, Offset::ZERO))
    }

    fn saw(&self, place: &Place, high_watermark: Offset, log_start: Offset) {
        let mut seen = self.seen.lock();
        let known = seen.entry(place.clone()).or_insert((Offset::ZERO, Offset::ZERO));
        *known = (known.0.max(high_watermark), known.1.max(log_start));
    }

    fn chance(&self, purpose: &str) -> Chance {
        Chance::new(self.seed, purpose)
    }
}
