//! From a topic's name and a partition's number to the partition on this node, and from
//! what failed there to what a client is told.

use std::sync::Arc;

use highwater_controller::{MetadataImage, TopicRecord};
use highwater_partition::PartitionError;
use highwater_types::{ErrorCode, NodeId, PartitionId, PartitionIndex, TopicId, TopicName};

use crate::broker::{Broker, CLIENT_LISTENER};
use crate::error::{BrokerError, LeaderHint};
use crate::hosting::HostedPartition;
use crate::request::TopicRef;

/// A partition that was found, and what is needed to speak about it.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) topic: Arc<TopicRecord>,
    pub(crate) index: PartitionIndex,
    pub(crate) partition: HostedPartition,
}

/// The topic that has the name now.
pub(crate) fn find_topic<'a>(
    image: &'a MetadataImage,
    topic: &TopicRef,
) -> Result<&'a Arc<TopicRecord>, BrokerError> {
    let version = image.version().0;
    let about = |error: BrokerError| error.with_topic(&topic.name).with_metadata_version(version);
    let Some(record) = image.topic_by_name(&topic.name) else {
        TopicName::new(&topic.name).map_err(|error| about(error.into()))?;
        let message = format!("there is no topic '{}'", topic.name);
        return Err(about(BrokerError::new(ErrorCode::UnknownTopicOrPartition, message)));
    };
    match topic.id {
        Some(id) if id != record.id => {
            let message = format!(
                "topic '{}' has id {}, not {id}: it was deleted and created again",
                topic.name, record.id
            );
            Err(about(BrokerError::new(ErrorCode::UnknownTopicId, message)))
        }
        _ => Ok(record),
    }
}

impl Broker {
    /// The partition that a request is for, on this node.
    pub(crate) fn route(&self, topic: &TopicRef, index: PartitionIndex) -> Result<Route, BrokerError> {
        let image = self.image();
        let record = find_topic(&image, topic)?;
        self.route_within(&image, record, index)
    }

    /// A partition of a topic that was found.
    pub(crate) fn route_within(
        &self,
        image: &MetadataImage,
        topic: &Arc<TopicRecord>,
        index: PartitionIndex,
    ) -> Result<Route, BrokerError> {
        let about = |error: BrokerError| {
            let error = error.with_topic(topic.name.as_str()).with_partition(index);
            error.with_metadata_version(image.version().0)
        };
        let Some(record) = topic.partition(index) else {
            let count = topic.partition_count();
            let message =
                format!("topic '{}' has {count} partitions, from 0; there is no partition {index}", topic.name);
            return Err(about(BrokerError::new(ErrorCode::UnknownTopicOrPartition, message)));
        };
        // A replica that leaves may lead until the new ones have caught up.
        if !record.is_held_by(self.options.node) {
            let mut error =
                about(BrokerError::new(ErrorCode::NotLeader, "this node has no replica of the partition"));
            let id = PartitionId { topic: topic.id, index };
            // A replica knows better who leads, when nobody has said so here.
            let node = self.leaders.leader(id).or_else(|| record.replicas.first().copied());
            error.leader = node.and_then(|node| leader_hint(image, node));
            return Err(error);
        }
        let id = PartitionId { topic: topic.id, index };
        let partition = self.hosting.partition(id).map_err(about)?;
        Ok(Route { topic: Arc::clone(topic), index, partition })
    }

    /// The node that leads a partition, as far as this node knows, when it is another one. `None` also when nobody is
    /// known to lead it, or there is no such partition: a request for it then says so.
    pub fn leader_elsewhere(&self, topic: &str, index: PartitionIndex) -> Option<LeaderHint> {
        let image = self.image();
        image.nodes().nth(1)?;
        let record = image.topic_by_name(topic)?;
        let told = || {
            let leader = self.leaders.leader(PartitionId { topic: record.id, index })?;
            leader_hint(&image, leader)
        };
        match self.route_within(&image, record, index) {
            Err(error) => error.leader.or_else(told),
            Ok(route) => {
                let described = route.partition.describe();
                // A damaged replica takes no part in its group any more, which goes on without it.
                if described.quarantined.is_some() {
                    return told();
                }
                let leader = described.leader.filter(|node| !described.is_leader && *node != self.options.node);
                leader.and_then(|node| leader_hint(&image, node))
            }
        }
    }

    /// Where clients reach another node that is alive and reachable both ways.
    pub fn reachable_node(&self, node: NodeId) -> Option<LeaderHint> {
        let is_other = node != self.options.node;
        leader_hint(&self.image(), node).filter(|_| is_other && self.is_there(node))
    }

    /// How many partitions the topic of this name has, as far as this node knows.
    pub fn partition_count(&self, topic: &str) -> Option<u32> {
        self.image().topic_by_name(topic).map(|topic| topic.partition_count())
    }

    /// Whether a route that was taken before still leads to a running partition. A reader asks after
    /// it has registered to be woken, so that it does not miss that the partition was stopped.
    pub(crate) fn check_route(&self, route: &Route) -> Result<(), BrokerError> {
        let id = PartitionId { topic: route.topic.id, index: route.index };
        let hosted = self.hosting.partition(id);
        hosted.map(drop).map_err(|_| self.explain(&PartitionError::Stopped, route))
    }

    /// A partition's failure, as a client is told. When the topic was deleted meanwhile, that
    /// is what failed.
    pub(crate) fn explain(&self, error: &PartitionError, route: &Route) -> BrokerError {
        explain(&self.image(), error, route)
    }
}

/// See [`Broker::explain`].
pub(crate) fn explain(image: &MetadataImage, error: &PartitionError, route: &Route) -> BrokerError {
    let topic = &route.topic;
    let mut explained = BrokerError::new(error.code(), error.to_string())
        .with_topic(topic.name.as_str())
        .with_partition(route.index)
        .with_metadata_version(image.version().0);
    // What may have been written stays unknown, deleted or not.
    if error.code() != ErrorCode::Timeout && is_gone(image, topic.id) {
        explained.code = ErrorCode::UnknownTopicOrPartition;
        explained.message = format!("topic '{}' was deleted", topic.name);
    } else if let PartitionError::NotLeader { leader: Some(leader) } = error {
        explained.leader = leader_hint(image, *leader);
    }
    explained
}

fn is_gone(image: &MetadataImage, topic: TopicId) -> bool {
    image.topic(topic).is_none()
}

/// Where clients reach a node.
pub(crate) fn leader_hint(image: &MetadataImage, node: NodeId) -> Option<LeaderHint> {
    let address = image.node(node)?.addresses.get(CLIENT_LISTENER)?.clone();
    Some(LeaderHint { node, address })
}
