//! A catalog of topics that a test changes as it goes.

use std::collections::BTreeMap;

use highwater_groups::{TopicCatalog, TopicPartitions};
use highwater_types::{PartitionId, PartitionIndex, TopicId, TopicName};
use uuid::Uuid;

/// The live topics. Ids are 1, 2, … in the order of creation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topics {
    live: BTreeMap<TopicName, TopicPartitions>,
    names: Vec<TopicName>,
}

impl Topics {
    /// Creates a topic, or gives it partitions.
    pub(crate) fn put(&mut self, name: &str, count: u32) -> TopicName {
        let name = TopicName::new(name).unwrap();
        match self.live.get_mut(&name) {
            Some(known) => known.count = count,
            None => {
                self.names.push(name.clone());
                let topic = TopicId(Uuid::from_u128(self.names.len() as u128));
                self.live.insert(name.clone(), TopicPartitions { topic, count });
            }
        }
        name
    }

    /// Deletes a topic.
    pub(crate) fn delete(&mut self, name: &str) -> TopicId {
        self.live.remove(name).expect("the topic is there").topic
    }

    /// A partition by what a scenario calls it: `orders:3`, or `orders'1:3` in the topic's first life.
    pub(crate) fn partition(&self, text: &str) -> PartitionId {
        let (topic, index) = text.split_once(':').expect("topic:partition");
        let topic = match topic.split_once('\'') {
            Some((_, life)) => TopicId(Uuid::from_u128(life.parse().unwrap())),
            None => self.live.get(topic).expect("the topic is there").topic,
        };
        PartitionId { topic, index: PartitionIndex(index.parse().unwrap()) }
    }

    /// What a scenario calls a topic: by its name, and with its number when it is another life of it.
    pub(crate) fn label(&self, topic: TopicId) -> String {
        let number = topic.0.as_u128() as usize;
        let name = &self.names[number - 1];
        match self.live.get(name).is_some_and(|known| known.topic == topic) {
            true => name.to_string(),
            false => format!("{name}'{number}"),
        }
    }
}

impl TopicCatalog for Topics {
    fn by_name(&self, name: &TopicName) -> Option<TopicPartitions> {
        self.live.get(name).copied()
    }

    fn by_id(&self, topic: TopicId) -> Option<TopicPartitions> {
        self.live.values().find(|known| known.topic == topic).copied()
    }
}
