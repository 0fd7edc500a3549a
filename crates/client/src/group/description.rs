//! Groups as they are described to whoever looks after them.

use highwater_proto::v1;
use highwater_types::{NodeId, Offset, PartitionIndex, TimestampMs};

use super::offsets::{TopicPartition, of_assignment};
use crate::error::ClientError;

/// How far a group is with sharing its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupState {
    /// It has no members.
    Empty,
    /// Its assignment is to be computed.
    Assigning,
    /// Members give up and take partitions.
    Reconciling,
    /// Each member owns what it is to own.
    Stable,
    /// A newer node's word for it.
    Unknown,
}

impl From<i32> for GroupState {
    fn from(state: i32) -> Self {
        match v1::GroupState::try_from(state) {
            Ok(v1::GroupState::Empty) => Self::Empty,
            Ok(v1::GroupState::Assigning) => Self::Assigning,
            Ok(v1::GroupState::Reconciling) => Self::Reconciling,
            Ok(v1::GroupState::Stable) => Self::Stable,
            Ok(v1::GroupState::Unspecified) | Err(_) => Self::Unknown,
        }
    }
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSummary {
    /// Its name.
    pub group: String,
    /// How far it is.
    pub state: GroupState,
    /// How many members it has.
    pub members: u32,
    /// The node that coordinates it.
    pub coordinator: NodeId,
}

/// The groups of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupList {
    /// By name, in byte order.
    pub groups: Vec<GroupSummary>,
    /// Why some may be missing: their coordinators could not be asked.
    pub errors: Vec<ClientError>,
}

/// A group in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its name.
    pub group: String,
    /// How far it is.
    pub state: GroupState,
    /// How often its members or topics changed.
    pub group_epoch: u32,
    /// The group epoch that the assignment was computed for.
    pub assignment_epoch: u32,
    /// The node that coordinates it.
    pub coordinator: NodeId,
    /// Its members, by id.
    pub members: Vec<MemberDescription>,
    /// Every partition of the topics that members subscribe to, and every one with an offset, by topic name and partition.
    pub partitions: Vec<GroupPartition>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: String,
    /// Its instance, when it is static.
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it runs.
    pub client_host: String,
    /// The epoch that it has reached.
    pub member_epoch: u32,
    /// The topics that it subscribes to.
    pub topics: Vec<String>,
    /// What it owns, or is told to.
    pub assignment: Vec<TopicPartition>,
    /// What it is to give up and has not said that it did.
    pub giving_up: Vec<TopicPartition>,
    /// What it is to own in the end.
    pub target: Vec<TopicPartition>,
    /// Whether it left for a while and its partitions wait for it.
    pub is_away: bool,
}

/// A partition as a group reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPartition {
    /// The partition.
    pub partition: TopicPartition,
    /// The topic's id.
    pub topic_id: String,
    /// The member that owns it, or is still to give it up.
    pub member_id: Option<String>,
    /// The next record to read; `None` when nothing is committed.
    pub committed: Option<Offset>,
    /// When that was committed, by the coordinator's clock.
    pub committed_at: Option<TimestampMs>,
    /// What is kept beside it.
    pub metadata: String,
    /// The first record that exists, if that was asked for and is known.
    pub log_start: Option<Offset>,
    /// The first offset that is not committed to the log yet, if that was asked for and is known.
    pub high_watermark: Option<Offset>,
    /// Records that exist and that the group has not committed, if that was asked for and is known.
    pub lag: Option<u64>,
    /// Why the end is not known.
    pub error: Option<ClientError>,
}

impl From<v1::GroupSummary> for GroupSummary {
    fn from(told: v1::GroupSummary) -> Self {
        let coordinator = NodeId(told.coordinator_node_id);
        Self { group: told.group, state: told.state.into(), members: told.members, coordinator }
    }
}

impl From<v1::DescribeGroupResponse> for GroupDescription {
    fn from(told: v1::DescribeGroupResponse) -> Self {
        Self {
            group: told.group,
            state: told.state.into(),
            group_epoch: told.group_epoch,
            assignment_epoch: told.assignment_epoch,
            coordinator: NodeId(told.coordinator_node_id),
            members: told.members.into_iter().map(MemberDescription::from).collect(),
            partitions: told.partitions.into_iter().map(GroupPartition::from).collect(),
        }
    }
}

impl From<v1::GroupMember> for MemberDescription {
    fn from(told: v1::GroupMember) -> Self {
        Self {
            member_id: told.member_id,
            instance_id: some_text(told.instance_id),
            client_id: told.client_id,
            client_host: told.client_host,
            member_epoch: told.member_epoch,
            topics: told.topics,
            assignment: of_assignment(told.assignment),
            giving_up: of_assignment(told.giving_up),
            target: of_assignment(told.target),
            is_away: told.is_away,
        }
    }
}

impl From<v1::GroupPartition> for GroupPartition {
    fn from(told: v1::GroupPartition) -> Self {
        Self {
            partition: TopicPartition::new(told.topic, PartitionIndex(told.partition)),
            topic_id: told.topic_id,
            member_id: some_text(told.member_id),
            committed: told.committed_offset.map(Offset),
            committed_at: told.committed_at_ms.map(TimestampMs),
            metadata: told.metadata,
            log_start: told.log_start_offset.map(Offset),
            high_watermark: told.high_watermark.map(Offset),
            lag: told.lag,
            error: told.error.map(ClientError::from),
        }
    }
}

fn some_text(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
