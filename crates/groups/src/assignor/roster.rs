//! Members and partitions as assignors see them: numbered densely, so that an assignment is a few passes
//! over plain lists.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use highwater_types::{PartitionId, PartitionIndex, TopicId, TopicName};

use crate::group::Group;
use crate::ids::MemberId;
use crate::partition_set::PartitionSet;
use crate::topics::TopicPartitions;

/// A partition's number in a roster: those of the first topic come first.
pub(crate) type Number = u32;

/// One member to deal partitions to.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    /// The member.
    pub(crate) id: &'a MemberId,
    /// The topics that it reads and that exist: places in [`Roster::topics`], in order.
    pub(crate) topics: Vec<usize>,
    /// What it was to hold by the assignment before.
    pub(crate) before: &'a PartitionSet,
}

/// Everything that an assignment depends on.
#[derive(Debug)]
pub(crate) struct Roster<'a> {
    /// In an order that does not depend on this life of a static member: by instance, or else by id.
    candidates: Vec<Candidate<'a>>,
    topics: Vec<TopicPartitions>,
    /// The first number of each topic, and last the count of all.
    firsts: Vec<Number>,
    places: BTreeMap<TopicId, usize>,
    keepers: &'a BTreeMap<PartitionId, MemberId>,
}

impl<'a> Roster<'a> {
    /// The roster of a group as it is, over its head's topics.
    pub(crate) fn of(group: &'a Group) -> Self {
        let names: BTreeMap<&TopicName, usize> =
            group.head().topics.iter().enumerate().map(|(place, (name, _))| (name, place)).collect();
        let mut members: Vec<_> = group.members().collect();
        members.sort_by_key(|member| match &member.description.instance {
            Some(instance) => (instance.as_str(), member.description.member.as_str()),
            None => (member.description.member.as_str(), ""),
        });
        let candidate = |member: &&'a crate::group::Member| Candidate {
            id: &member.description.member,
            topics: member
                .description
                .subscription
                .names()
                .filter_map(|name| names.get(name).copied())
                .collect(),
            before: &member.target,
        };
        let candidates = members.iter().map(candidate).collect();
        let topics = group.head().topics.iter().map(|(_, topic)| *topic).collect();
        Self::new(candidates, topics, group.keepers())
    }

    /// A roster of these candidates, in this order.
    pub(crate) fn new(
        candidates: Vec<Candidate<'a>>,
        topics: Vec<TopicPartitions>,
        keepers: &'a BTreeMap<PartitionId, MemberId>,
    ) -> Self {
        let mut firsts = vec![0];
        for topic in &topics {
            firsts.push(firsts[firsts.len() - 1] + topic.count);
        }
        let places = topics.iter().enumerate().map(|(place, topic)| (topic.topic, place)).collect();
        Self { candidates, topics, firsts, places, keepers }
    }

    /// The same of members that hold nothing, nor ever were to.
    pub(crate) fn without_history(mut self) -> Self {
        static NOTHING: LazyLock<PartitionSet> = LazyLock::new(PartitionSet::default);
        static NOBODY: BTreeMap<PartitionId, MemberId> = BTreeMap::new();
        self.candidates.iter_mut().for_each(|candidate| candidate.before = &NOTHING);
        self.keepers = &NOBODY;
        self
    }

    pub(crate) fn candidates(&self) -> &[Candidate<'a>] {
        &self.candidates
    }

    pub(super) fn topics(&self) -> &[TopicPartitions] {
        &self.topics
    }

    /// How many partitions there are.
    pub(super) fn count(&self) -> usize {
        self.firsts[self.topics.len()] as usize
    }

    /// Whether all candidates read the same topics, and all of them.
    pub(super) fn is_homogeneous(&self) -> bool {
        self.candidates.iter().all(|candidate| candidate.topics.len() == self.topics.len())
    }

    /// The numbers of a topic's partitions.
    pub(super) fn numbers(&self, topic: usize) -> std::ops::Range<Number> {
        self.firsts[topic]..self.firsts[topic + 1]
    }

    /// Which topic a partition is of.
    pub(super) fn topic_of(&self, number: Number) -> usize {
        self.firsts.partition_point(|first| *first <= number) - 1
    }

    /// The numbers of partitions, those left out that do not exist any more.
    pub(super) fn numbers_of(&self, partitions: &PartitionSet) -> impl Iterator<Item = Number> {
        partitions.by_topic().flat_map(|(topic, run)| {
            let place = self.places.get(&topic).copied();
            let known = place.map_or(0..0, |place| self.numbers(place));
            let index = move |partition: &PartitionId| known.clone().nth(partition.index.0 as usize);
            run.iter().filter_map(index)
        })
    }

    /// For each candidate what it was to hold before and may hold again, none of it twice.
    pub(super) fn kept(&self) -> Vec<Vec<Number>> {
        let mut is_kept = vec![false; self.count()];
        let keep = |candidate: &Candidate<'_>| {
            let mut reads = vec![false; self.topics.len()];
            candidate.topics.iter().for_each(|topic| reads[*topic] = true);
            let fits = |number: &Number| {
                reads[self.topic_of(*number)] && !std::mem::replace(&mut is_kept[*number as usize], true)
            };
            self.numbers_of(candidate.before).filter(fits).collect()
        };
        self.candidates.iter().map(keep).collect()
    }

    /// For each partition the candidate that may own it now.
    pub(super) fn keepers(&self) -> Vec<Option<usize>> {
        let ids: BTreeMap<&MemberId, usize> =
            self.candidates.iter().enumerate().map(|(place, candidate)| (candidate.id, place)).collect();
        let mut keepers = vec![None; self.count()];
        for (partition, keeper) in self.keepers {
            let place = self.places.get(&partition.topic).copied();
            let number = place.and_then(|place| self.numbers(place).nth(partition.index.0 as usize));
            if let Some(number) = number {
                keepers[number as usize] = ids.get(keeper).copied();
            }
        }
        keepers
    }

    /// Numbers as partitions again.
    pub(super) fn partitions(&self, numbers: &[Number]) -> PartitionSet {
        let partition = |number: &Number| {
            let topic = self.topic_of(*number);
            let index = PartitionIndex(number - self.firsts[topic]);
            PartitionId { topic: self.topics[topic].topic, index }
        };
        numbers.iter().map(partition).collect()
    }
}
