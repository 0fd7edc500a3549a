//! A group with its members, topics, messages and clock, and everything that can happen next.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use highwater_groups::codec::encode_records;
use highwater_groups::membership::{Ask as MemberAsk, Sent};
use highwater_groups::{
    CommitRequest, Committer, Coordinator, Decision, GroupName, GroupsConfig, GroupsState, HeartbeatRequest,
    JoinRequest, Leave, LeaveRequest, MemberAnswer, MemberId, Membership, Now, OffsetCommit, Subscription,
    TopicCatalog, TopicsChange, Uptime,
};
use highwater_types::{Offset, PartitionId, PartitionIndex, TimestampMs, TopicName};

use crate::client::{Ask, Body, Client, Message, REBALANCE, SESSION, body_of};
use crate::topics::Topics;

const TOPIC: &str = "t";

/// How much may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Faults {
    pub(crate) joins: usize,
    pub(crate) leaves: usize,
    /// Heartbeats sent before the last one was answered.
    pub(crate) resends: usize,
    pub(crate) losses: usize,
    pub(crate) doubles: usize,
    pub(crate) ticks: usize,
    pub(crate) failovers: usize,
    /// First a partition more, then the topic deleted and created again, and so on.
    pub(crate) topics: usize,
    pub(crate) commits: usize,
}

/// Something that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Join(usize),
    Leave(usize),
    Beat(usize),
    GiveUp(usize),
    Commit(usize, PartitionId),
    Deliver(usize),
    Lose(usize),
    Double(usize),
    Tick,
    FailOver,
    ChangeTopic,
}

/// Everything there is.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) coordinator: Coordinator,
    pub(crate) clients: Vec<Client>,
    pub(crate) topics: Topics,
    pub(crate) messages: Vec<Message>,
    pub(crate) faults: Faults,
    /// Who owned each partition last, and how many did before.
    pub(crate) owners: BTreeMap<PartitionId, (usize, u32)>,
    /// Partitions of which a commit counted.
    pub(crate) committed: BTreeSet<PartitionId>,
    /// A commit that counted though it should not have.
    pub(crate) stale_commit: Option<PartitionId>,
    replica: GroupsState,
    now: u64,
    /// When the coordinator heard each member last: all that its deadlines depend on, but for its replicated state.
    heard_at: BTreeMap<MemberId, u64>,
}

impl World {
    pub(crate) fn new(members: usize, partitions: u32, faults: Faults) -> Self {
        let mut topics = Topics::default();
        topics.put(TOPIC, partitions);
        let coordinator = Coordinator::take_over(GroupsState::default(), config(), Uptime::default());
        Self {
            coordinator,
            clients: vec![Client::default(); members],
            topics,
            messages: Vec::new(),
            faults,
            owners: BTreeMap::new(),
            committed: BTreeSet::new(),
            stale_commit: None,
            replica: GroupsState::default(),
            now: 0,
            heard_at: BTreeMap::new(),
        }
    }

    /// What can happen next.
    pub(crate) fn events(&self) -> Vec<Event> {
        let faults = &self.faults;
        let mut events = Vec::new();
        for (member, client) in self.clients.iter().enumerate() {
            let is_waiting = self.is_waiting(member);
            if !client.is_member() {
                events.extend((!is_waiting && faults.joins > 0).then_some(Event::Join(member)));
                continue;
            }
            events.extend((!is_waiting || faults.resends > 0).then_some(Event::Beat(member)));
            events.extend((!client.giving_up().is_empty()).then_some(Event::GiveUp(member)));
            events.extend((faults.leaves > 0).then_some(Event::Leave(member)));
            let owned = client.owned();
            let owned = owned.iter().filter(|_| faults.commits > 0);
            events.extend(owned.map(|partition| Event::Commit(member, partition)));
        }
        for number in 0..self.messages.len() {
            events.push(Event::Deliver(number));
            events.extend((faults.losses > 0).then_some(Event::Lose(number)));
            events.extend((faults.doubles > 0).then_some(Event::Double(number)));
        }
        events.extend((faults.ticks > 0).then_some(Event::Tick));
        events.extend((faults.failovers > 0).then_some(Event::FailOver));
        events.extend((faults.topics > 0).then_some(Event::ChangeTopic));
        events
    }

    /// Lets something happen.
    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::Join(member) => {
                self.faults.joins -= 1;
                self.ask(member);
            }
            Event::Leave(member) => {
                self.faults.leaves -= 1;
                self.send(member, Ask::Leave);
                self.clients[member].go();
            }
            Event::Beat(member) => {
                self.faults.resends -= usize::from(self.is_waiting(member));
                self.ask(member);
            }
            Event::GiveUp(member) => self.clients[member].give_up(),
            Event::Commit(member, partition) => {
                self.faults.commits -= 1;
                let owners = self.owners.get(&partition).map_or(0, |(_, count)| *count);
                let epoch = self.clients[member].membership.as_ref().and_then(Membership::epoch).unwrap();
                self.send(member, Ask::Commit { epoch, partition, owners });
            }
            Event::Deliver(number) => {
                let message = self.messages.remove(number);
                self.deliver(&message);
            }
            Event::Lose(number) => {
                self.faults.losses -= 1;
                self.messages.remove(number);
            }
            Event::Double(number) => {
                self.faults.doubles -= 1;
                self.messages.push(self.messages[number].clone());
            }
            Event::Tick => {
                self.faults.ticks -= 1;
                self.tick();
            }
            Event::FailOver => {
                self.faults.failovers -= 1;
                self.fail_over();
            }
            Event::ChangeTopic => self.change_topic(),
        }
        self.note_owners();
    }

    /// Whether a join or a heartbeat of the member, or the answer to it, is under way.
    fn is_waiting(&self, member: usize) -> bool {
        let its = self.messages.iter().filter(|message| message.client == member);
        its.filter(|message| self.clients[member].is_mine(message)).any(|message| !is_commit(message))
    }

    /// The member says what it has to say now.
    pub(crate) fn ask(&mut self, member: usize) {
        let (sent, ask) = self.clients[member].request(self.now);
        self.post(member, sent, ask);
    }

    /// The member says something that does not concern its membership.
    fn send(&mut self, member: usize, ask: Ask) {
        let sent = self.clients[member].last.unwrap();
        self.post(member, Sent { at: self.time().uptime, ..sent }, ask);
    }

    fn post(&mut self, member: usize, sent: Sent, ask: Ask) {
        let id = self.clients[member].id;
        self.messages.push(Message { client: member, id, sent, body: Body::Request(ask) });
    }

    pub(crate) fn deliver(&mut self, message: &Message) {
        match &message.body {
            Body::Request(ask) => self.serve(message, ask),
            Body::Answer(_) | Body::Refusal(_) => self.clients[message.client].hear(message, self.now),
        }
    }

    fn serve(&mut self, message: &Message, ask: &Ask) {
        let (now, id) = (self.time(), member_id(message.client, message.id));
        match ask {
            Ask::Member(MemberAsk::Join) => {
                let decision = self.coordinator.join(now, &self.topics, &join(id.clone()));
                self.reply(message, &id, &decision);
            }
            Ask::Member(MemberAsk::Heartbeat { epoch, seen, owned }) => {
                let request = HeartbeatRequest {
                    group: group(),
                    member: id.clone(),
                    instance: None,
                    epoch: *epoch,
                    seen: *seen,
                    owned: owned.clone(),
                    subscription: None,
                };
                let decision = self.coordinator.heartbeat(now, &self.topics, &request);
                self.reply(message, &id, &decision);
            }
            Ask::Leave => {
                let request = LeaveRequest { group: group(), member: id, leave: Leave::ForGood };
                let decision = self.coordinator.leave(now, &self.topics, &request);
                self.replicate(&decision);
            }
            Ask::Commit { epoch, partition, owners } => {
                let request = commit(id, *epoch, *partition);
                let decision = self.coordinator.commit(now, &self.topics, &request);
                self.replicate(&decision);
                let is_accepted = decision.answer.is_ok_and(|results| results.iter().all(Result::is_ok));
                let owners_now = self.owners.get(partition).map_or(0, |(_, count)| *count);
                if is_accepted {
                    self.committed.insert(*partition);
                }
                if is_accepted && owners_now != *owners {
                    self.stale_commit = Some(*partition);
                }
            }
        }
    }

    fn reply(&mut self, message: &Message, id: &MemberId, decision: &Decision<MemberAnswer>) {
        self.replicate(decision);
        let body = match &decision.answer {
            Ok(answer) => {
                self.heard_at.insert(id.clone(), self.now);
                body_of(answer)
            }
            Err(refusal) => Body::Refusal(refusal.code().name()),
        };
        self.messages.push(Message { body, ..message.clone() });
    }

    fn replicate<T>(&mut self, decision: &Decision<T>) {
        self.replica.apply_encoded(&encode_records(&decision.records)).unwrap();
    }

    /// A second passes. Who is late knows it before the coordinator acts on it.
    pub(crate) fn tick(&mut self) {
        self.now += 1;
        self.clients.iter_mut().for_each(|client| client.look_at_clock(self.now));
        let decision = self.coordinator.tick(self.time(), &self.topics);
        self.replicate(&decision);
    }

    fn fail_over(&mut self) {
        assert_eq!(self.replica, *self.coordinator.state(), "the replica differs from its coordinator");
        self.coordinator = Coordinator::take_over(self.replica.clone(), config(), self.time().uptime);
        self.heard_at.values_mut().for_each(|heard_at| *heard_at = self.now);
        let decision = self.coordinator.tick(self.time(), &self.topics);
        self.replicate(&decision);
    }

    fn change_topic(&mut self) {
        let count = self.topics.by_name(&TopicName::new(TOPIC).unwrap()).unwrap().count;
        let mut change = TopicsChange::default();
        match self.faults.topics % 2 {
            0 => change.names.push(self.topics.put(TOPIC, count + 1)),
            _ => {
                change.deleted.push(self.topics.delete(TOPIC));
                change.names.push(self.topics.put(TOPIC, count));
            }
        }
        self.faults.topics -= 1;
        let decision = self.coordinator.topics_changed(self.time(), &self.topics, &change);
        self.replicate(&decision);
    }

    /// Notes who owns what by now, to tell commits of owners before.
    pub(crate) fn note_owners(&mut self) {
        for (member, client) in self.clients.iter().enumerate() {
            for partition in client.owned().iter() {
                let last = self.owners.entry(partition).or_insert((member, 0));
                if last.0 != member {
                    *last = (member, last.1 + 1);
                }
            }
        }
    }

    /// The partitions that there are.
    pub(crate) fn partitions(&self) -> Vec<PartitionId> {
        let known = self.topics.by_name(&TopicName::new(TOPIC).unwrap()).unwrap();
        (0..known.count).map(|index| PartitionId { topic: known.topic, index: PartitionIndex(index) }).collect()
    }

    /// What tells this world from others. Only ages matter of times, only differences of numbers.
    pub(crate) fn key(&self) -> u64 {
        let age = |at: u64| (self.now - at).min(SESSION + 1);
        let mut messages: Vec<_> = self
            .messages
            .iter()
            .map(|message| {
                let client = &self.clients[message.client];
                let is_mine = client.is_mine(message);
                let last = client.last.filter(|_| is_mine && !is_commit(message)).map_or(0, |last| last.number);
                let asked_since = last.saturating_sub(message.sent.number);
                let sent_at = message.sent.at.0.as_secs();
                (message.client, message.id, is_mine, asked_since, age(sent_at), &message.body)
            })
            .collect();
        messages.sort();
        let mut hasher = DefaultHasher::new();
        messages.hash(&mut hasher);
        let left = |until: Uptime| until.0.checked_sub(self.time().uptime.0);
        for client in &self.clients {
            (client.id, &client.processes).hash(&mut hasher);
            let Some(known) = &client.membership else { continue };
            (known.clone().request(self.time().uptime).ask, known.is_due()).hash(&mut hasher);
            (known.owned(), known.giving_up()).hash(&mut hasher);
            (known.session_until().map(left), known.release_by().map(left)).hash(&mut hasher);
        }
        let heard: Vec<_> = self.heard_at.iter().map(|(id, at)| (id, age(*at))).collect();
        (heard, self.faults, self.coordinator.state()).hash(&mut hasher);
        if self.faults.commits > 0 || self.messages.iter().any(is_commit) {
            self.owners.hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The wall clock stands still, so that states differ in nothing but what matters.
    fn time(&self) -> Now {
        Now { uptime: Uptime(Duration::from_secs(self.now)), wall: TimestampMs(0) }
    }
}

pub(crate) fn group() -> GroupName {
    GroupName::new("g").unwrap()
}

pub(crate) fn member_id(member: usize, id: u32) -> MemberId {
    MemberId::new(&format!("m{member}.{id}")).unwrap()
}

fn is_commit(message: &Message) -> bool {
    matches!(message.body, Body::Request(Ask::Commit { .. }))
}

fn config() -> GroupsConfig {
    GroupsConfig {
        session_timeout: Duration::from_secs(SESSION),
        assignment_interval: Duration::ZERO,
        offsets_check_interval: Duration::from_secs(1 << 40),
        ..GroupsConfig::default()
    }
}

fn join(member: MemberId) -> JoinRequest {
    JoinRequest {
        group: group(),
        member,
        instance: None,
        client_id: String::new(),
        client_host: String::new(),
        subscription: Subscription::new([TopicName::new(TOPIC).unwrap()]).unwrap(),
        assignor: None,
        rebalance_timeout: Duration::from_secs(REBALANCE),
    }
}

fn commit(member: MemberId, epoch: highwater_groups::Epoch, partition: PartitionId) -> CommitRequest {
    let offset = OffsetCommit {
        partition,
        offset: Offset(1),
        leader_epoch: None,
        metadata: String::new(),
        may_rewind: true,
    };
    CommitRequest { group: group(), committer: Committer::Member { member, epoch }, offsets: vec![offset] }
}
