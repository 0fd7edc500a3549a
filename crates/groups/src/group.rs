//! One group: its head, members and offsets. It changes by records alone (`apply.rs`).
//!
//! Invariants: no partition is kept by two members, nor in the target of two; every instance is one member's;
//! `assignment_epoch ≤ epoch`; `subscribers` counts the members that name a topic.

mod apply;

use std::collections::BTreeMap;

use highwater_types::{PartitionId, PartitionIndex, TopicId, TopicName};

use crate::current::{CurrentAssignment, MemberState};
use crate::ids::{Epoch, InstanceId, MemberId};
use crate::partition_set::PartitionSet;
use crate::record::{CommittedOffset, GroupHead, MemberDescription};
use crate::topics::{TopicCatalog, TopicPartitions};

/// One member, as the records so far made it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// What it says about itself.
    pub description: MemberDescription,
    /// What it is to hold in the end.
    pub target: PartitionSet,
    /// What it holds now.
    pub current: CurrentAssignment,
}

/// How far a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupPhase {
    /// It has no members.
    Empty,
    /// Its assignment is to be computed.
    Assigning,
    /// Members give up and take partitions.
    Reconciling,
    /// Each member holds what it is to hold.
    Stable,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group {
    head: GroupHead,
    assignment_epoch: Epoch,
    members: BTreeMap<MemberId, Member>,
    offsets: BTreeMap<PartitionId, CommittedOffset>,
    /// Derived: the member of each instance.
    instances: BTreeMap<InstanceId, MemberId>,
    /// Derived: who keeps a partition.
    keepers: BTreeMap<PartitionId, MemberId>,
    /// Derived: in whose target a partition is.
    targets: BTreeMap<PartitionId, MemberId>,
    /// Derived: how many members name a topic.
    subscribers: BTreeMap<TopicName, usize>,
}

impl Group {
    /// The group, but for its members and offsets.
    pub fn head(&self) -> &GroupHead {
        &self.head
    }

    /// The group epoch.
    pub fn epoch(&self) -> Epoch {
        self.head.epoch
    }

    /// The epoch that targets are computed for.
    pub fn assignment_epoch(&self) -> Epoch {
        self.assignment_epoch
    }

    /// A member.
    pub fn member(&self, member: &MemberId) -> Option<&Member> {
        self.members.get(member)
    }

    /// The members, in order of their ids.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// The member that fills an instance's place.
    pub fn instance(&self, instance: &InstanceId) -> Option<&Member> {
        self.members.get(self.instances.get(instance)?)
    }

    /// Who may own a partition now: it is held, or not given up yet.
    pub fn keeper(&self, partition: PartitionId) -> Option<&MemberId> {
        self.keepers.get(&partition)
    }

    /// Who is to hold a partition in the end.
    pub fn target(&self, partition: PartitionId) -> Option<&MemberId> {
        self.targets.get(&partition)
    }

    /// A committed offset.
    pub fn offset(&self, partition: PartitionId) -> Option<&CommittedOffset> {
        if highwater_types::mutant!(OffsetsOfPredecessor) {
            return self.offsets().find(|(other, _)| other.index == partition.index).map(|(_, offset)| offset);
        }
        self.offsets.get(&partition)
    }

    /// The committed offsets, in order of their partitions.
    pub fn offsets(&self) -> impl ExactSizeIterator<Item = (PartitionId, &CommittedOffset)> {
        self.offsets.iter().map(|(partition, offset)| (*partition, offset))
    }

    /// The committed offsets of one topic, in order of their partitions.
    pub fn offsets_of(&self, topic: TopicId) -> impl Iterator<Item = (PartitionId, &CommittedOffset)> {
        let from = PartitionId { topic, index: PartitionIndex(0) };
        let to = PartitionId { topic, index: PartitionIndex(u32::MAX) };
        self.offsets.range(from..=to).map(|(partition, offset)| (*partition, offset))
    }

    /// Whether some member subscribes to the topic.
    pub fn reads(&self, topic: TopicId) -> bool {
        self.head.topics.iter().any(|(_, known)| known.topic == topic)
    }

    /// Whether some member names the topic, whether it exists or not.
    pub fn names(&self, topic: &TopicName) -> bool {
        self.subscribers.contains_key(topic)
    }

    /// How far the group is.
    pub fn phase(&self) -> GroupPhase {
        let settled = |member: &Member| match member.current.state {
            MemberState::Stable => member.current.epoch == self.assignment_epoch,
            MemberState::Away => true,
            MemberState::Unrevoked | MemberState::Unreleased => false,
        };
        if self.members.is_empty() {
            GroupPhase::Empty
        } else if self.assignment_epoch < self.head.epoch {
            GroupPhase::Assigning
        } else if self.members.values().all(settled) {
            GroupPhase::Stable
        } else {
            GroupPhase::Reconciling
        }
    }

    /// The topics that exist of those that members name.
    pub(crate) fn topics_now(&self, catalog: &dyn TopicCatalog) -> Vec<(TopicName, TopicPartitions)> {
        let known = |name: &TopicName| Some((name.clone(), catalog.by_name(name)?));
        self.subscribers.keys().filter_map(known).collect()
    }

    /// Who keeps which partition.
    pub(crate) fn keepers(&self) -> &BTreeMap<PartitionId, MemberId> {
        &self.keepers
    }
}
