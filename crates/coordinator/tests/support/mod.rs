//! A shard's log in memory, whose group delays, refuses and loses its leadership on command; and topics to read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use highwater_consensus::GroupStatus;
use highwater_coordinator::{AppliedGroups, Catalog, CoordinatorError, Replica, Shard, ShardParts, Topics};
use highwater_groups::{
    GroupName, GroupsConfig, HeartbeatRequest, JoinRequest, MemberAnswer, MemberId, Subscription, TopicCatalog,
    TopicPartitions,
};
use highwater_storage::{Applier, Entry, LogId, Payload};
use highwater_types::{NodeId, PartitionId, PartitionIndex, RaftIndex, SystemClock, Term, TopicId, TopicName};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const A: NodeId = NodeId(1);
pub(crate) const B: NodeId = NodeId(2);

/// The log of one shard, and its replicas.
#[derive(Clone, Default)]
pub(crate) struct FakeLog(Arc<Mutex<LogState>>);

#[derive(Default)]
struct LogState {
    term: Term,
    leader: Option<NodeId>,
    /// Whether others stand by the leader.
    is_supported: bool,
    entries: Vec<Entry>,
    replicas: BTreeMap<NodeId, Replicated>,
    /// Whether proposals wait for [`FakeLog::commit`].
    holds: bool,
    waiting: Vec<(Bytes, oneshot::Sender<Result<(), CoordinatorError>>)>,
}

struct Replicated {
    applier: Box<dyn Applier>,
    status: watch::Sender<GroupStatus>,
}

impl FakeLog {
    /// A node with a replica, which follows from the beginning of the log.
    pub(crate) fn add(&self, node: NodeId) -> (Arc<FakeReplica>, AppliedGroups) {
        let applied = AppliedGroups::default();
        let mut state = self.0.lock();
        let mut applier = applied.applier();
        state.entries.iter().for_each(|entry| drop(applier.apply(entry)));
        let status = watch::Sender::new(GroupStatus::default());
        state.replicas.insert(node, Replicated { applier, status });
        (Arc::new(FakeReplica { node, log: self.clone() }), applied)
    }

    /// Another node leads, in another term. What waits is lost.
    pub(crate) fn elect(&self, node: NodeId) {
        let mut state = self.0.lock();
        (state.leader, state.is_supported) = (Some(node), true);
        state.term = Term(state.term.0 + 1);
        let lost = std::mem::take(&mut state.waiting);
        lost.into_iter().for_each(|(_, proposer)| drop(proposer.send(Err(unknown()))));
        state.publish();
    }

    /// The others stand by the leader, or do not.
    pub(crate) fn support(&self, is_supported: bool) {
        let mut state = self.0.lock();
        state.is_supported = is_supported;
        state.publish();
    }

    /// Entries wait for [`FakeLog::commit`] from here on.
    pub(crate) fn hold(&self) {
        self.0.lock().holds = true;
    }

    /// How many entries wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().waiting.len()
    }

    /// Commits what waits, and all that comes.
    pub(crate) fn commit(&self) {
        let mut state = self.0.lock();
        state.holds = false;
        for (entry, proposer) in std::mem::take(&mut state.waiting) {
            state.append(entry);
            let _ = proposer.send(Ok(()));
        }
    }

    /// Commits what waits, of which the proposer never hears; and all that comes.
    pub(crate) fn commit_in_silence(&self) {
        let mut state = self.0.lock();
        state.holds = false;
        for (entry, proposer) in std::mem::take(&mut state.waiting) {
            state.append(entry);
            let _ = proposer.send(Err(unknown()));
        }
    }

    /// Entries that say something.
    pub(crate) fn entries(&self) -> usize {
        let says_something =
            |entry: &&Entry| !matches!(&entry.payload, Payload::Control(bytes) if bytes.is_empty());
        self.0.lock().entries.iter().filter(says_something).count()
    }
}

fn unknown() -> CoordinatorError {
    CoordinatorError::OutcomeUnknown { reason: "the leader changed".to_owned() }
}

impl LogState {
    fn append(&mut self, records: Bytes) {
        let id = LogId { term: self.term, index: RaftIndex(self.entries.len() as u64) };
        let entry = Entry { id, payload: Payload::Control(records) };
        self.replicas.values_mut().for_each(|replica| drop(replica.applier.apply(&entry)));
        self.entries.push(entry);
    }

    fn status_of(&self, node: NodeId) -> GroupStatus {
        let is_leader = self.leader == Some(node);
        let is_serving = is_leader && self.is_supported;
        GroupStatus { leader: self.leader, term: self.term, is_leader, is_serving, ..GroupStatus::default() }
    }

    fn publish(&self) {
        for (node, replica) in &self.replicas {
            replica.status.send_replace(self.status_of(*node));
        }
    }
}

/// One replica of a [`FakeLog`].
pub(crate) struct FakeReplica {
    node: NodeId,
    log: FakeLog,
}

impl Replica for FakeReplica {
    async fn propose(&self, term: Term, entry: Bytes) -> Result<(), CoordinatorError> {
        let answer = {
            let mut state = self.log.0.lock();
            if state.leader != Some(self.node) || state.term != term {
                return Err(CoordinatorError::NotLeader { leader: state.leader });
            }
            if !state.holds {
                state.append(entry);
                return Ok(());
            }
            let (proposer, answer) = oneshot::channel();
            state.waiting.push((entry, proposer));
            answer
        };
        answer.await.unwrap()
    }

    fn status(&self) -> GroupStatus {
        self.log.0.lock().status_of(self.node)
    }

    fn watch(&self) -> watch::Receiver<GroupStatus> {
        self.log.0.lock().replicas[&self.node].status.subscribe()
    }

    async fn until_settled(&self) {
        let settled = |status: &GroupStatus| status.is_serving || !status.is_leader;
        let _ = self.watch().wait_for(settled).await;
    }
}

/// The topics of a cluster.
#[derive(Clone)]
pub(crate) struct FakeTopics(Arc<TopicsState>);

struct TopicsState {
    catalog: Mutex<FakeCatalog>,
    changes: watch::Sender<u64>,
    /// Whether a node can learn how new its metadata are.
    is_fresh: watch::Sender<bool>,
}

#[derive(Debug, Clone, Default)]
struct FakeCatalog(BTreeMap<TopicName, TopicPartitions>);

impl TopicCatalog for FakeCatalog {
    fn by_name(&self, name: &TopicName) -> Option<TopicPartitions> {
        self.0.get(name).copied()
    }

    fn by_id(&self, topic: TopicId) -> Option<TopicPartitions> {
        self.0.values().find(|known| known.topic == topic).copied()
    }
}

impl FakeTopics {
    /// One topic of so many partitions.
    pub(crate) fn of(name: &str, count: u32) -> Self {
        let state = TopicsState {
            catalog: Mutex::default(),
            changes: watch::Sender::new(0),
            is_fresh: watch::Sender::new(true),
        };
        let topics = Self(Arc::new(state));
        topics.set(name, topic_id(1), count);
        topics
    }

    /// The topic of that name, from now on.
    pub(crate) fn set(&self, name: &str, topic: TopicId, count: u32) {
        let name = TopicName::new(name).unwrap();
        self.0.catalog.lock().0.insert(name, TopicPartitions { topic, count });
        self.0.changes.send_modify(|version| *version += 1);
    }

    /// There is no topic any more.
    pub(crate) fn clear(&self) {
        self.0.catalog.lock().0.clear();
        self.0.changes.send_modify(|version| *version += 1);
    }

    /// Whether nodes can learn how new their metadata are.
    pub(crate) fn set_fresh(&self, is_fresh: bool) {
        self.0.is_fresh.send_replace(is_fresh);
    }
}

#[async_trait]
impl Topics for FakeTopics {
    fn catalog(&self) -> Catalog {
        Arc::new(self.0.catalog.lock().clone())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    async fn refresh(&self) -> Result<(), CoordinatorError> {
        self.0.is_fresh.subscribe().wait_for(|is_fresh| *is_fresh).await.map(drop).map_err(|_| unknown())
    }
}

/// A node that runs a shard of the log.
pub(crate) fn start(
    log: &FakeLog,
    node: NodeId,
    topics: &FakeTopics,
) -> (Shard<FakeReplica>, CancellationToken) {
    let (replica, applied) = log.add(node);
    let stopping = CancellationToken::new();
    let shard = Shard::start(ShardParts {
        replica,
        applied,
        topics: Arc::new(topics.clone()),
        clock: Arc::new(SystemClock),
        config: GroupsConfig::default().with_session_timeout(Duration::from_secs(45)),
        stopping: stopping.clone(),
    });
    (shard, stopping)
}

pub(crate) fn topic_id(number: u128) -> TopicId {
    TopicId(Uuid::from_u128(number))
}

pub(crate) fn partition(index: u32) -> PartitionId {
    PartitionId { topic: topic_id(1), index: PartitionIndex(index) }
}

pub(crate) fn group() -> GroupName {
    GroupName::new("billing").unwrap()
}

pub(crate) fn member(name: &str) -> MemberId {
    MemberId::new(name).unwrap()
}

pub(crate) fn join(name: &str) -> JoinRequest {
    JoinRequest {
        group: group(),
        member: member(name),
        instance: None,
        client_id: String::new(),
        client_host: String::new(),
        subscription: Subscription::new([TopicName::new("orders").unwrap()]).unwrap(),
        assignor: None,
        rebalance_timeout: Duration::from_secs(30),
    }
}

/// The heartbeat of a member that has heard an answer, and owns what it says.
pub(crate) fn heartbeat(name: &str, heard: &MemberAnswer) -> HeartbeatRequest {
    HeartbeatRequest {
        group: group(),
        member: member(name),
        instance: None,
        epoch: heard.epoch,
        seen: heard.revision,
        owned: heard.assignment.clone(),
        subscription: None,
    }
}

/// Waits for a condition, while the clock of the test stands still.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("not in time: {what}");
}
