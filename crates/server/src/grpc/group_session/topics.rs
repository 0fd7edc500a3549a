//! Partitions as messages name them: the topics' names beside their ids.

use std::collections::BTreeMap;

use highwater_broker::BrokerError;
use highwater_groups::PartitionSet;
use highwater_proto::v1;
use highwater_types::{PartitionId, PartitionIndex, TopicId};

use crate::grpc::convert::topic_id;

/// The names of the topics that a member was told of. A topic that is gone keeps its last one.
#[derive(Debug, Clone, Default)]
pub(super) struct TopicNames(BTreeMap<TopicId, String>);

impl TopicNames {
    /// Learns the names in an assignment, and says what it assigns.
    pub(super) fn learn(&mut self, assignment: v1::GroupAssignment) -> Result<PartitionSet, BrokerError> {
        let mut partitions = Vec::new();
        for v1::TopicPartitions { topic, topic_id: id, partitions: indexes } in assignment.topics {
            let id = topic_id(&id)?;
            if !topic.is_empty() {
                self.0.insert(id, topic);
            }
            let partition = |index| PartitionId { topic: id, index: PartitionIndex(index) };
            partitions.extend(indexes.into_iter().map(partition));
        }
        Ok(partitions.into())
    }

    /// Forgets the names of all other topics.
    pub(super) fn keep(&mut self, partitions: &PartitionSet) {
        self.0.retain(|topic, _| partitions.iter().any(|partition| partition.topic == *topic));
    }

    /// The name; empty when none was ever told.
    pub(super) fn name(&self, topic: TopicId) -> &str {
        self.0.get(&topic).map_or("", String::as_str)
    }

    /// The partitions by topic.
    pub(super) fn group(&self, partitions: &PartitionSet) -> Vec<v1::TopicPartitions> {
        let runs = partitions.as_slice().chunk_by(|a, b| a.topic == b.topic);
        let topics = runs.map(|run| v1::TopicPartitions {
            topic: self.name(run[0].topic).to_owned(),
            topic_id: run[0].topic.to_string(),
            partitions: run.iter().map(|partition| partition.index.0).collect(),
        });
        topics.collect()
    }
}
