//! The partitions that a session reads. It is pure but for looking at the clock when one fails.

use std::collections::BTreeMap;
use std::ops::Bound;

use highwater_broker::LeaderHint;
use highwater_types::{PartitionId, limits};
use tokio::time::Instant;

use super::lanes::{Address, Wanted, address_of};
use super::reading::{Key, Reading};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    reading: BTreeMap<PartitionId, Reading>,
    /// Counts those that were ever assigned.
    serial: u64,
}

impl Partitions {
    /// The partition is assigned.
    pub(super) fn begin(&mut self, partition: PartitionId, topic: &str) {
        self.serial += 1;
        let key = Key { partition, serial: self.serial };
        self.reading.insert(partition, Reading::new(key, topic.to_owned()));
    }

    /// The partition is read no more.
    pub(super) fn end(&mut self, partition: PartitionId) {
        self.reading.remove(&partition);
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Reading> {
        self.reading.values_mut()
    }

    /// The partition, if it is still assigned for the same time.
    pub(super) fn current(&mut self, key: Key) -> Option<&mut Reading> {
        self.reading.get_mut(&key.partition).filter(|reading| reading.key == key)
    }

    /// When the next one that failed is tried again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.reading.values().filter_map(|reading| reading.retry_at).min()
    }

    /// What to read of a leader, first what is after the partition that gave something last; and the leader, if it is another node.
    pub(super) fn wanted_of(
        &self,
        address: &Address,
        after: Option<PartitionId>,
    ) -> (Vec<Wanted>, Option<LeaderHint>) {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.reading.range((after, Bound::Unbounded));
        let in_turn = behind.chain(&self.reading).take(self.reading.len()).map(|(_, reading)| reading);
        let its = in_turn.filter(|reading| address_of(reading.leader.as_ref()) == *address);
        let mut leader = None;
        let wanted = its.filter_map(|reading| {
            let offset = reading.offset()?;
            leader.clone_from(&reading.leader);
            Some(Wanted { key: reading.key, topic: reading.topic.clone(), offset })
        });
        let wanted = wanted.take(limits::PARTITIONS_PER_REQUEST_MAX).collect();
        (wanted, leader)
    }
}

#[cfg(test)]
mod tests {
    use highwater_types::{Offset, PartitionIndex, TopicId};
    use uuid::Uuid;

    use super::*;
    use crate::grpc::group_session::reading::Place;

    fn partition(index: u32) -> PartitionId {
        PartitionId { topic: TopicId(Uuid::from_u128(1)), index: PartitionIndex(index) }
    }

    fn all_at_0(count: u32) -> Partitions {
        let mut partitions = Partitions::default();
        (0..count).for_each(|index| partitions.begin(partition(index), "orders"));
        partitions.iter_mut().for_each(|reading| reading.place = Place::At(Offset(0)));
        partitions
    }

    fn in_turn(partitions: &Partitions, after: Option<u32>) -> Vec<u32> {
        let (wanted, _) = partitions.wanted_of(&None, after.map(partition));
        wanted.iter().map(|wanted| wanted.key.partition.index.0).collect()
    }

    #[test]
    fn whoever_gave_something_last_is_last_in_turn() {
        let partitions = all_at_0(4);
        assert_eq!(in_turn(&partitions, None), [0, 1, 2, 3]);
        assert_eq!(in_turn(&partitions, Some(1)), [2, 3, 0, 1]);
        assert_eq!(in_turn(&partitions, Some(3)), [0, 1, 2, 3]);
    }

    #[test]
    fn what_failed_waits_and_what_is_not_placed_is_not_read() {
        let mut partitions = all_at_0(3);
        partitions.begin(partition(3), "orders");
        partitions.iter_mut().nth(1).expect("there are four").fail();
        assert_eq!(in_turn(&partitions, None), [0, 2]);
        assert!(partitions.next_retry().is_some());
    }

    #[test]
    fn what_was_begun_for_an_earlier_time_is_not_for_this_one() {
        let mut partitions = all_at_0(1);
        let earlier = partitions.wanted_of(&None, None).0[0].key;
        assert!(partitions.current(earlier).is_some());
        partitions.end(partition(0));
        partitions.begin(partition(0), "orders");
        assert!(partitions.current(earlier).is_none());
    }
}
