//! What every assignment owes, over many small rosters, and the best balance found by trying all.

use std::collections::BTreeMap;

use highwater_types::{PartitionId, PartitionIndex, TopicId};
use uuid::Uuid;

use super::roster::Candidate;
use super::{Assignor, Roster};
use crate::ids::MemberId;
use crate::partition_set::PartitionSet;
use crate::topics::TopicPartitions;

fn topic(number: u128, count: u32) -> TopicPartitions {
    TopicPartitions { topic: TopicId(Uuid::from_u128(number + 1)), count }
}

fn partition(topic: u128, index: u32) -> PartitionId {
    PartitionId { topic: TopicId(Uuid::from_u128(topic + 1)), index: PartitionIndex(index) }
}

/// Numbers below a bound, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Who reads what and had what; the topics are numbered from 0.
struct Case {
    topics: Vec<TopicPartitions>,
    ids: Vec<MemberId>,
    reads: Vec<Vec<usize>>,
    before: Vec<PartitionSet>,
}

impl Case {
    fn drawn(dice: &mut Dice, is_homogeneous: bool) -> Self {
        let topics: Vec<_> =
            (0..1 + dice.below(3)).map(|n| topic(n.into(), 1 + dice.below(3) as u32)).collect();
        let members = 1 + dice.below(4) as usize;
        let all: Vec<usize> = (0..topics.len()).collect();
        let mut reads: Vec<Vec<usize>> = (0..members)
            .map(|_| all.iter().copied().filter(|_| is_homogeneous || dice.below(2) == 0).collect())
            .collect();
        reads[0].clone_from(&all);
        let mut before = vec![Vec::new(); members];
        for (number, topic) in topics.iter().enumerate() {
            for index in 0..topic.count + 1 {
                if let Some(hand) = before.get_mut(dice.below(members as u64 + 2) as usize) {
                    hand.push(partition(number as u128, index));
                }
            }
        }
        let ids = (0..members).map(|n| MemberId::new(&format!("m{n}")).unwrap()).collect();
        Self { topics, ids, reads, before: before.into_iter().map(PartitionSet::from).collect() }
    }

    fn assign(&self, assignor: Assignor) -> Vec<PartitionSet> {
        let candidate =
            |n: usize| Candidate { id: &self.ids[n], topics: self.reads[n].clone(), before: &self.before[n] };
        let candidates = (0..self.ids.len()).map(candidate).collect();
        assignor.assign(&Roster::new(candidates, self.topics.clone(), &BTreeMap::new()))
    }

    fn partitions(&self) -> Vec<(usize, PartitionId)> {
        let of = |n: usize| (0..self.topics[n].count).map(move |index| (n, partition(n as u128, index)));
        (0..self.topics.len()).flat_map(of).collect()
    }

    /// The least sum of squares, by trying everything.
    fn least(&self, from: usize, loads: &mut [u32]) -> u32 {
        let partitions = self.partitions();
        let Some((topic, _)) = partitions.get(from) else {
            return loads.iter().map(|load| load * load).sum();
        };
        let mut least = u32::MAX;
        for member in 0..loads.len() {
            if self.reads[member].contains(topic) {
                loads[member] += 1;
                least = least.min(self.least(from + 1, loads));
                loads[member] -= 1;
            }
        }
        least
    }
}

#[test]
fn every_partition_is_dealt_to_one_reader_of_its_topic() {
    let mut dice = Dice(1);
    for _ in 0..500 {
        let case = Case::drawn(&mut dice, false);
        for assignor in Assignor::ALL {
            let dealt = case.assign(assignor);
            for (topic, partition) in case.partitions() {
                let holders: Vec<usize> =
                    (0..dealt.len()).filter(|member| dealt[*member].contains(partition)).collect();
                assert_eq!(holders.len(), 1, "{assignor}: {partition} is dealt to {holders:?}");
                assert!(case.reads[holders[0]].contains(&topic), "{assignor}: {partition}");
            }
        }
    }
}

#[test]
fn uniform_is_as_balanced_as_any_assignment_could_be() {
    let mut dice = Dice(2);
    for round in 0..300 {
        let case = Case::drawn(&mut dice, round % 3 == 0);
        let loads: Vec<u32> = case.assign(Assignor::Uniform).iter().map(|hand| hand.len() as u32).collect();
        let least = case.least(0, &mut vec![0; case.ids.len()]);
        assert_eq!(loads.iter().map(|load| load * load).sum::<u32>(), least, "loads {loads:?}");
    }
}

#[test]
fn uniform_leaves_what_is_balanced_as_it_is() {
    let mut dice = Dice(3);
    for round in 0..300 {
        let mut case = Case::drawn(&mut dice, round % 2 == 0);
        case.before = case.assign(Assignor::Uniform);
        assert_eq!(case.assign(Assignor::Uniform), case.before);
    }
}

#[test]
fn uniform_takes_nothing_from_a_member_that_has_no_more_than_its_share() {
    let mut dice = Dice(4);
    for _ in 0..500 {
        let case = Case::drawn(&mut dice, true);
        let share = case.partitions().len() / case.ids.len();
        let dealt = case.assign(Assignor::Uniform);
        for (before, after) in case.before.iter().zip(&dealt) {
            let existing =
                before.iter().filter(|held| case.partitions().iter().any(|(_, known)| known == held));
            let (had, kept) =
                existing.fold((0, 0), |(had, kept), held| (had + 1, kept + usize::from(after.contains(held))));
            assert!(kept >= had.min(share), "kept {kept} of {had}, its share is {share}");
        }
    }
}

#[test]
fn range_cuts_topics_alike_that_have_the_same_readers_and_counts() {
    let mut case = Case::drawn(&mut Dice(5), true);
    case.topics = vec![topic(0, 7), topic(1, 7)];
    case.ids = (0..3).map(|n| MemberId::new(&format!("m{n}")).unwrap()).collect();
    case.reads = vec![vec![0, 1]; 3];
    case.before = vec![PartitionSet::default(); 3];
    for hand in case.assign(Assignor::Range) {
        let of = |topic| {
            let mine = hand.iter().filter(|held| held.topic == partition(topic, 0).topic);
            mine.map(|held| held.index).collect::<Vec<_>>()
        };
        assert_eq!(of(0), of(1));
    }
}
