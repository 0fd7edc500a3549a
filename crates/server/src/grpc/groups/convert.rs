//! Messages about groups to what the broker takes, and back.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater_broker::{Broker, BrokerError, GroupPartitionRef, Membership};
use highwater_groups::{
    Assignor, GroupName, GroupPhase, GroupsError, InstanceId, MemberId, PartitionSet, Subscription,
};
use highwater_proto::v1;
use highwater_types::{PartitionId, PartitionIndex, TopicId, TopicName, limits};

use super::super::convert::{topic_id, topic_ref};
use super::super::status::detail;

pub(super) fn group(name: &str) -> Result<GroupName, BrokerError> {
    GroupName::new(name).map_err(|error| refused(&error))
}

pub(super) fn member(id: &str) -> Result<MemberId, BrokerError> {
    MemberId::new(id).map_err(|error| refused(&error))
}

/// Empty for none.
pub(super) fn instance(id: &str) -> Result<Option<InstanceId>, BrokerError> {
    match id {
        "" => Ok(None),
        id => InstanceId::new(id).map(Some).map_err(|error| refused(&error)),
    }
}

/// What a member wants to read.
pub(super) fn subscription(topics: Vec<String>) -> Result<Subscription, BrokerError> {
    let names = topics.into_iter().map(|topic| {
        let name = TopicName::new(&topic).map_err(|error| BrokerError::from(error).with_topic(&topic))?;
        if name.is_internal() {
            let message = format!("'{topic}' is the cluster's own topic: no group reads it");
            return Err(BrokerError::invalid_request(message).with_topic(&topic));
        }
        Ok(name)
    });
    let names = names.collect::<Result<Vec<TopicName>, BrokerError>>()?;
    Subscription::new(names).map_err(|error| refused(&error))
}

pub(super) fn assignor(assignor: i32) -> Result<Option<Assignor>, BrokerError> {
    match v1::GroupAssignor::try_from(assignor) {
        Ok(v1::GroupAssignor::Unspecified) => Ok(None),
        Ok(v1::GroupAssignor::Uniform) => Ok(Some(Assignor::Uniform)),
        Ok(v1::GroupAssignor::Range) => Ok(Some(Assignor::Range)),
        Err(_) => Err(refused(&GroupsError::UnsupportedAssignor { name: assignor.to_string() })),
    }
}

pub(super) fn rebalance_timeout(ms: u32) -> Duration {
    let ms = if ms == 0 { limits::REBALANCE_TIMEOUT_MS_DEFAULT } else { ms };
    Duration::from_millis(u64::from(ms))
}

/// What a member says that it owns: by the topics' ids, for a topic may be gone.
pub(super) fn owned(owned: v1::GroupAssignment) -> Result<PartitionSet, BrokerError> {
    let mut partitions = Vec::new();
    for v1::TopicPartitions { topic, topic_id: id, partitions: indexes } in owned.topics {
        let topic = topic_id(&id).map_err(|error| error.with_topic(topic))?;
        partitions.extend(indexes.into_iter().map(|index| PartitionId { topic, index: PartitionIndex(index) }));
    }
    Ok(PartitionSet::from(partitions))
}

/// The partitions of a request about offsets, one by one.
pub(super) fn partitions(topics: Vec<v1::TopicPartitions>) -> Result<Vec<GroupPartitionRef>, BrokerError> {
    let mut named = Vec::new();
    for v1::TopicPartitions { topic, topic_id, partitions } in topics {
        let topic = topic_ref(topic, &topic_id)?;
        named.extend(
            partitions.into_iter().map(|partition| GroupPartitionRef {
                topic: topic.clone(),
                partition: PartitionIndex(partition),
            }),
        );
    }
    Ok(named)
}

/// One partition of a request about offsets.
pub(super) fn partition(topic: String, id: &str, partition: u32) -> Result<GroupPartitionRef, BrokerError> {
    Ok(GroupPartitionRef { topic: topic_ref(topic, id)?, partition: PartitionIndex(partition) })
}

/// Where a member stands.
pub(super) fn membership(broker: &Broker, membership: &Membership) -> v1::GroupMembership {
    let Membership { answer, heartbeat_interval, session_timeout } = membership;
    v1::GroupMembership {
        member_epoch: answer.epoch.0,
        revision: answer.revision.0,
        assignment: answer.assignment.as_ref().map(|set| assignment(broker, set.iter())),
        is_to_give_up: answer.is_to_give_up,
        heartbeat_interval_ms: millis(*heartbeat_interval),
        session_timeout_ms: millis(*session_timeout),
    }
}

/// Partitions by topic, with the names that the topics have now.
pub(super) fn assignment(
    broker: &Broker,
    partitions: impl IntoIterator<Item = PartitionId>,
) -> v1::GroupAssignment {
    let mut topics: BTreeMap<TopicId, Vec<u32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(partition.topic).or_default().push(partition.index.0);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| v1::TopicPartitions {
        topic: broker.topic_name(topic).unwrap_or_default(),
        topic_id: topic.to_string(),
        partitions,
    });
    v1::GroupAssignment { topics: topics.collect() }
}

pub(super) fn state(phase: GroupPhase) -> v1::GroupState {
    match phase {
        GroupPhase::Empty => v1::GroupState::Empty,
        GroupPhase::Assigning => v1::GroupState::Assigning,
        GroupPhase::Reconciling => v1::GroupState::Reconciling,
        GroupPhase::Stable => v1::GroupState::Stable,
    }
}

/// What became of an offset.
pub(super) fn offset_result(
    (topic, partition): (String, u32),
    result: Result<(), BrokerError>,
) -> v1::GroupOffsetResult {
    v1::GroupOffsetResult { topic, partition, error: result.err().map(detail) }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn refused(error: &GroupsError) -> BrokerError {
    BrokerError::new(error.code(), error.to_string())
}
