//! What the client was told of its partitions, so what it may commit and is to give up. It is pure.
//!
//! A partition is the client's from when it was told that it is assigned until it released it, or was told that it is lost.

use std::collections::BTreeMap;

use highwater_groups::PartitionSet;
use highwater_proto::v1;
use highwater_types::{PartitionId, PartitionIndex, TopicId};

use crate::grpc::convert::topic_id;

/// What the client has.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    told: BTreeMap<PartitionId, Told>,
    /// The newest topic of each name of which the client has partitions.
    named: BTreeMap<String, TopicId>,
}

/// What the client was told of a partition last.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    topic: String,
    is_revoked: bool,
}

impl Ledger {
    /// The client is told that it is assigned this.
    pub(super) fn assign(&mut self, partition: PartitionId, topic: &str) {
        self.named.insert(topic.to_owned(), partition.topic);
        self.told.insert(partition, Told { topic: topic.to_owned(), is_revoked: false });
    }

    /// These are to be given up. Returns what the client is to be told, and what it does not know of and has given up
    /// therefore.
    pub(super) fn revoke(&mut self, partitions: &PartitionSet) -> (Vec<v1::TopicPartitions>, PartitionSet) {
        let (known, unknown): (Vec<_>, Vec<_>) =
            partitions.iter().partition(|partition| self.told.contains_key(partition));
        for partition in &known {
            if let Some(told) = self.told.get_mut(partition) {
                told.is_revoked = true;
            }
        }
        (self.describe(&known), unknown.into())
    }

    /// These are not the client's any more. Returns what it is to be told.
    pub(super) fn lose(&mut self, partitions: &PartitionSet) -> Vec<v1::TopicPartitions> {
        let known: Vec<_> = partitions.iter().filter(|partition| self.told.contains_key(partition)).collect();
        let described = self.describe(&known);
        self.forget(&known);
        described
    }

    /// The client says that it gave these up. Returns what it was to.
    pub(super) fn release(&mut self, topics: &[v1::TopicPartitions]) -> PartitionSet {
        let mut released = Vec::new();
        for topic in topics {
            let found = |index: &u32| self.find(&topic.topic, &topic.topic_id, *index);
            let is_revoked =
                |partition: &PartitionId| self.told.get(partition).is_some_and(|told| told.is_revoked);
            released.extend(topic.partitions.iter().filter_map(found).filter(is_revoked));
        }
        self.forget(&released);
        released.into()
    }

    /// The partition of a commit, with the id of its topic, if it is the client's.
    pub(super) fn find(&self, topic: &str, id: &str, partition: u32) -> Option<PartitionId> {
        let topic_id = match id {
            "" => *self.named.get(topic)?,
            id => topic_id(id).ok()?,
        };
        let partition = PartitionId { topic: topic_id, index: PartitionIndex(partition) };
        self.told.contains_key(&partition).then_some(partition)
    }

    fn forget(&mut self, partitions: &[PartitionId]) {
        partitions.iter().for_each(|partition| drop(self.told.remove(partition)));
        let told = &self.told;
        self.named.retain(|_, topic| told.keys().any(|partition| partition.topic == *topic));
    }

    fn describe(&self, partitions: &[PartitionId]) -> Vec<v1::TopicPartitions> {
        let runs = partitions.chunk_by(|a, b| a.topic == b.topic);
        let topics = runs.map(|run| v1::TopicPartitions {
            topic: self.told.get(&run[0]).map(|told| told.topic.clone()).unwrap_or_default(),
            topic_id: run[0].topic.to_string(),
            partitions: run.iter().map(|partition| partition.index.0).collect(),
        });
        topics.collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn partition(topic: u128, index: u32) -> PartitionId {
        PartitionId { topic: TopicId(Uuid::from_u128(topic)), index: PartitionIndex(index) }
    }

    fn set(partitions: &[PartitionId]) -> PartitionSet {
        partitions.to_vec().into()
    }

    fn named(topic: &str, topic_id: &str, partitions: &[u32]) -> v1::TopicPartitions {
        let (topic, topic_id) = (topic.to_owned(), topic_id.to_owned());
        v1::TopicPartitions { topic, topic_id, partitions: partitions.to_vec() }
    }

    #[test]
    fn what_the_client_never_heard_of_is_given_up_without_it() {
        let mut ledger = Ledger::default();
        ledger.assign(partition(1, 0), "orders");
        let id = partition(1, 0).topic.to_string();
        let (told, given_up) = ledger.revoke(&set(&[partition(1, 0), partition(1, 1)]));
        assert_eq!(told, [named("orders", &id, &[0])]);
        assert_eq!(given_up, set(&[partition(1, 1)]));
    }

    #[test]
    fn only_what_was_revoked_is_released_and_once() {
        let mut ledger = Ledger::default();
        ledger.assign(partition(1, 0), "orders");
        ledger.assign(partition(1, 1), "orders");
        let _ = ledger.revoke(&set(&[partition(1, 0)]));
        let said = [named("orders", "", &[0, 1, 7]), named("others", "", &[0])];
        assert_eq!(ledger.release(&said), set(&[partition(1, 0)]));
        assert!(ledger.release(&said).is_empty());
        assert_eq!(ledger.find("orders", "", 1), Some(partition(1, 1)));
        assert_eq!(ledger.find("orders", "", 0), None);
    }

    #[test]
    fn a_name_means_the_newest_topic_and_an_id_any() {
        let mut ledger = Ledger::default();
        ledger.assign(partition(1, 0), "orders");
        ledger.assign(partition(2, 0), "orders");
        let old = partition(1, 0).topic.to_string();
        assert_eq!(ledger.find("orders", "", 0), Some(partition(2, 0)));
        assert_eq!(ledger.find("orders", &old, 0), Some(partition(1, 0)));
        assert_eq!(ledger.lose(&set(&[partition(1, 0)])), [named("orders", &old, &[0])]);
        assert_eq!(ledger.find("orders", &old, 0), None);
    }
}
