//! The fake nodes' coordinator of groups: the real state machine, in memory, with a session of the test's choice.

use std::collections::BTreeSet;
use std::time::Duration;

use highwater_groups::{
    Coordinator, Decision, GroupName, GroupsConfig, GroupsError, GroupsState, MemberAnswer, MemberId, Now,
    PartitionSet, TopicCatalog, TopicPartitions, Uptime, Wake,
};
use highwater_proto::v1;
use highwater_types::{ErrorCode, PartitionId, PartitionIndex, TimestampMs, TopicId, TopicName};
use tokio::time::Instant;

/// The one topic, whatever it is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Catalog(pub(crate) TopicPartitions);

impl TopicCatalog for Catalog {
    fn by_name(&self, name: &TopicName) -> Option<TopicPartitions> {
        (name.as_str() != "missing").then_some(self.0)
    }

    fn by_id(&self, topic: TopicId) -> Option<TopicPartitions> {
        (topic == self.0.topic).then_some(self.0)
    }
}

/// Why nothing is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Out {
    /// The coordinator is being replaced.
    NoCoordinator,
    /// Calls arrive and have no answer.
    Silent,
}

/// The groups, and how their coordinator misbehaves.
pub(crate) struct Groups {
    pub(crate) coordinator: Coordinator,
    origin: Instant,
    pub(crate) wakes: BTreeSet<Wake>,
    pub(crate) out: Option<Out>,
    /// Clients whose heartbeats and joins have no answer.
    pub(crate) unheard: BTreeSet<String>,
    /// How many heartbeats were answered, or woken to be.
    pub(crate) heartbeats: u64,
    /// Every commit that was taken: who, partition, offset.
    pub(crate) commits: Vec<(String, u32, i64)>,
}

impl Default for Groups {
    fn default() -> Self {
        let config = GroupsConfig {
            session_timeout: Duration::from_secs(20),
            heartbeat_interval: Duration::from_secs(5),
            ..GroupsConfig::default()
        };
        Self {
            coordinator: Coordinator::take_over(GroupsState::default(), config, Uptime::default()),
            origin: Instant::now(),
            wakes: BTreeSet::new(),
            out: None,
            unheard: BTreeSet::new(),
            heartbeats: 0,
            commits: Vec::new(),
        }
    }
}

impl Groups {
    pub(crate) fn now(&self) -> Now {
        Now { uptime: Uptime(self.origin.elapsed()), wall: TimestampMs(1) }
    }

    /// Another coordinator takes over, with another session timeout.
    pub(crate) fn take_over(&mut self, session_timeout: Duration) {
        let heartbeat_interval = session_timeout / 4;
        let config = GroupsConfig { session_timeout, heartbeat_interval, ..self.coordinator.config().clone() };
        let state = self.coordinator.state().clone();
        self.coordinator = Coordinator::take_over(state, config, self.now().uptime);
    }

    /// Gives out what was decided.
    pub(crate) fn decided<T>(&mut self, decision: Decision<T>) -> Result<T, Box<v1::ErrorDetail>> {
        self.wakes.extend(decision.wakes);
        decision.answer.map_err(|error| Box::new(detail(&error)))
    }

    /// How many members the group has, and what each owns, by what its client calls itself.
    pub(crate) fn members(&self, group: &str) -> Vec<(String, Vec<u32>)> {
        let name = GroupName::new(group).expect("a name");
        let Some(group) = self.coordinator.state().group(&name) else { return Vec::new() };
        let owned = |set: &PartitionSet| set.iter().map(|partition| partition.index.0).collect();
        let members = group.members();
        members.map(|m| (m.description.client_id.clone(), owned(&m.current.assignment()))).collect()
    }

    pub(crate) fn is_stable(&self, group: &str) -> bool {
        let name = GroupName::new(group).expect("a name");
        let group = self.coordinator.state().group(&name);
        group.is_some_and(|group| group.phase() == highwater_groups::GroupPhase::Stable)
    }

    /// What is committed for a partition of the topic.
    pub(crate) fn committed(&self, group: &str, topic: TopicId, partition: u32) -> Option<i64> {
        let name = GroupName::new(group).expect("a name");
        let partition = PartitionId { topic, index: PartitionIndex(partition) };
        Some(self.coordinator.state().group(&name)?.offset(partition)?.offset.0)
    }

    /// What its client calls itself.
    pub(crate) fn client_of(&self, group: &GroupName, member: &MemberId) -> Option<String> {
        let member = self.coordinator.state().group(group)?.member(member)?;
        Some(member.description.client_id.clone())
    }

    /// The answer to a member, as it goes over the wire.
    pub(crate) fn standing(&self, answer: MemberAnswer, topic: &str) -> v1::GroupMembership {
        let millis = |time: Duration| u32::try_from(time.as_millis()).expect("short");
        v1::GroupMembership {
            member_epoch: answer.epoch.0,
            revision: answer.revision.0,
            assignment: answer.assignment.map(|set| assignment(&set, topic)),
            is_to_give_up: answer.is_to_give_up,
            heartbeat_interval_ms: millis(self.coordinator.config().heartbeat_interval),
            session_timeout_ms: millis(self.coordinator.config().session_timeout),
        }
    }
}

pub(crate) fn detail(error: &GroupsError) -> v1::ErrorDetail {
    v1::ErrorDetail::new(error.code(), error.to_string())
}

/// What all calls say while the coordinator is being replaced.
pub(crate) fn no_coordinator() -> v1::ErrorDetail {
    v1::ErrorDetail::new(ErrorCode::LeaderNotAvailable, "told to")
}

fn assignment(set: &PartitionSet, topic: &str) -> v1::GroupAssignment {
    let of = |run: &[PartitionId]| v1::TopicPartitions {
        topic: topic.to_owned(),
        topic_id: run[0].topic.to_string(),
        partitions: run.iter().map(|partition| partition.index.0).collect(),
    };
    v1::GroupAssignment { topics: set.as_slice().chunk_by(|a, b| a.topic == b.topic).map(of).collect() }
}

/// The partitions of an assignment that came over the wire.
pub(crate) fn partitions(told: v1::GroupAssignment) -> PartitionSet {
    let of = |topic: v1::TopicPartitions| {
        let id = TopicId(topic.topic_id.parse().expect("an id"));
        topic.partitions.into_iter().map(move |index| PartitionId { topic: id, index: PartitionIndex(index) })
    };
    told.topics.into_iter().flat_map(of).collect()
}
