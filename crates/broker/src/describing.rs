//! What a topic is: its partitions as this node knows them, and its settings.

use std::sync::Arc;

use highwater_controller::{MetadataImage, PartitionRecord, TopicRecord};
use highwater_partition::PartitionError;
use highwater_types::{ErrorCode, NodeId, PartitionId, PartitionIndex};

use crate::admin::{PartitionDescription, PartitionOffsets, TopicDescription};
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::request::TopicRef;
use crate::routing::find_topic;
use crate::topics::summary;

impl Broker {
    /// A topic with its partitions and configs. The watermarks of a partition that another node leads are `NOT_LEADER` with a
    /// hint: only its leader knows them.
    ///
    /// # Errors
    /// When there is no topic of that name.
    pub fn describe_topic(&self, name: &str, include_offsets: bool) -> Result<TopicDescription, BrokerError> {
        let image = self.image();
        let topic = find_topic(&image, &TopicRef::named(name))?;
        let indexes = (0..topic.partition_count()).map(PartitionIndex);
        let partitions = indexes
            .zip(&topic.partitions)
            .map(|(index, record)| self.describe_partition(&image, topic, index, record, include_offsets))
            .collect();
        let configs = topic.overrides.clone();
        Ok(TopicDescription { summary: summary(topic), partitions, configs })
    }

    fn describe_partition(
        &self,
        image: &MetadataImage,
        topic: &Arc<TopicRecord>,
        index: PartitionIndex,
        record: &PartitionRecord,
        include_offsets: bool,
    ) -> PartitionDescription {
        let (replicas, leaving) = (record.replicas.to_vec(), record.leaving().to_vec());
        let id = PartitionId { topic: topic.id, index };
        let states = if include_offsets { self.replica_states(id, record) } else { Vec::new() };
        if topic.name.is_internal() {
            let (leader, leader_epoch) = self.leader_of(id);
            let offsets = None;
            return PartitionDescription {
                partition: index,
                leader,
                leader_epoch,
                replicas,
                leaving,
                states,
                offsets,
            };
        }
        let route = match self.route_within(image, topic, index) {
            Ok(route) => route,
            Err(error) => {
                let (leader, leader_epoch) = self.leader_of(id);
                // Only a replica can tell the offsets; that is no failure of the partition.
                let is_elsewhere = error.code == ErrorCode::NotLeader;
                let offsets = (!is_elsewhere || include_offsets).then_some(Err(error));
                return PartitionDescription {
                    partition: index,
                    leader,
                    leader_epoch,
                    replicas,
                    leaving,
                    states,
                    offsets,
                };
            }
        };
        let described = route.partition.describe();
        let offsets = match described.quarantined {
            Some(reason) => {
                let message = format!("the partition is quarantined: {reason}");
                let error = BrokerError::new(ErrorCode::Quarantined, message);
                Some(Err(error.with_topic(topic.name.as_str()).with_partition(index)))
            }
            None if !include_offsets => None,
            None if !described.is_leader => {
                let not_leader = PartitionError::NotLeader { leader: described.leader };
                Some(Err(self.explain(&not_leader, &route)))
            }
            None => Some(Ok(PartitionOffsets {
                log_start: described.watermarks.log_start(),
                high_watermark: described.watermarks.high_watermark(),
                size_bytes: described.size_bytes,
            })),
        };
        PartitionDescription {
            partition: index,
            leader: described.leader,
            leader_epoch: described.term.0,
            replicas,
            leaving,
            states,
            offsets,
        }
    }

    /// Who leads a partition, and in which term: as the replica here knows, or as was told.
    fn leader_of(&self, id: PartitionId) -> (Option<NodeId>, u64) {
        let status = self.hosting.group(id).map(|group| group.status());
        match status.filter(|status| status.quarantined.is_none()) {
            Some(status) => (status.leader, status.term.0),
            None => self.leaders.led(id).map_or((None, 0), |(term, node)| (Some(node), term.0)),
        }
    }
}
