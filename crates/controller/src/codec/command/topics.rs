//! Commands about topics, from their creation until they are forgotten.

use highwater_types::{ConfigOverrides, NodeId, PartitionIndex, TimestampMs, TopicId};

use super::{READER, read_placement, write_placement};
use crate::codec::wire::{self, CommandKind};
use crate::command::{ConfigChange, MetadataCommand};
use crate::error::MetadataError;

pub(super) fn write_create(
    topic: TopicId,
    name: &str,
    placement: &[Vec<NodeId>],
    overrides: &ConfigOverrides,
    internal: bool,
    at: TimestampMs,
) -> CommandKind {
    CommandKind::CreateTopic(wire::CreateTopic {
        topic: topic.0.as_bytes().to_vec(),
        name: name.to_owned(),
        placement: write_placement(placement),
        overrides: overrides.clone(),
        internal,
        at_ms: at.0,
    })
}

pub(super) fn read_create(create: wire::CreateTopic) -> Result<MetadataCommand, MetadataError> {
    Ok(MetadataCommand::CreateTopic {
        topic: READER.topic(&create.topic)?,
        name: create.name,
        placement: read_placement(&create.placement),
        overrides: create.overrides,
        internal: create.internal,
        at: TimestampMs(create.at_ms),
    })
}

pub(super) fn write_alter(topic: TopicId, changes: &[ConfigChange]) -> CommandKind {
    CommandKind::AlterTopicConfigs(wire::AlterTopicConfigs {
        topic: topic.0.as_bytes().to_vec(),
        changes: changes.iter().cloned().map(write_change).collect(),
    })
}

pub(super) fn read_alter(alter: wire::AlterTopicConfigs) -> Result<MetadataCommand, MetadataError> {
    Ok(MetadataCommand::AlterTopicConfigs {
        topic: READER.topic(&alter.topic)?,
        changes: alter.changes.into_iter().map(read_change).collect(),
    })
}

fn write_change(change: ConfigChange) -> wire::ConfigChange {
    match change {
        ConfigChange::Set { name, value } => wire::ConfigChange { name, value: Some(value) },
        ConfigChange::Delete { name } => wire::ConfigChange { name, value: None },
    }
}

fn read_change(change: wire::ConfigChange) -> ConfigChange {
    match change.value {
        Some(value) => ConfigChange::Set { name: change.name, value },
        None => ConfigChange::Delete { name: change.name },
    }
}

pub(super) fn write_add_partitions(topic: TopicId, before: u32, placement: &[Vec<NodeId>]) -> CommandKind {
    CommandKind::AddPartitions(wire::AddPartitions {
        topic: topic.0.as_bytes().to_vec(),
        partitions_before: before,
        placement: write_placement(placement),
    })
}

pub(super) fn read_add_partitions(add: &wire::AddPartitions) -> Result<MetadataCommand, MetadataError> {
    Ok(MetadataCommand::AddPartitions {
        topic: READER.topic(&add.topic)?,
        partitions_before: add.partitions_before,
        placement: read_placement(&add.placement),
    })
}

pub(super) fn write_ready(topic: TopicId, partitions: &[PartitionIndex]) -> CommandKind {
    CommandKind::PartitionsReady(wire::PartitionsReady {
        topic: topic.0.as_bytes().to_vec(),
        partitions: partitions.iter().map(|index| index.0).collect(),
    })
}

pub(super) fn read_ready(ready: wire::PartitionsReady) -> Result<MetadataCommand, MetadataError> {
    Ok(MetadataCommand::PartitionsReady {
        topic: READER.topic(&ready.topic)?,
        partitions: ready.partitions.into_iter().map(PartitionIndex).collect(),
    })
}

pub(super) fn write_delete(topic: TopicId, at: TimestampMs) -> CommandKind {
    CommandKind::DeleteTopic(wire::DeleteTopic { topic: topic.0.as_bytes().to_vec(), at_ms: at.0 })
}

pub(super) fn read_delete(delete: &wire::DeleteTopic) -> Result<MetadataCommand, MetadataError> {
    Ok(MetadataCommand::DeleteTopic { topic: READER.topic(&delete.topic)?, at: TimestampMs(delete.at_ms) })
}

pub(super) fn write_forget(topic: TopicId, node: NodeId, at: TimestampMs) -> CommandKind {
    let topic = topic.0.as_bytes().to_vec();
    CommandKind::ForgetTopic(wire::ForgetTopic { topic, node: node.0, at_ms: at.0 })
}

pub(super) fn read_forget(forget: &wire::ForgetTopic) -> Result<MetadataCommand, MetadataError> {
    Ok(MetadataCommand::ForgetTopic {
        topic: READER.topic(&forget.topic)?,
        node: NodeId(forget.node),
        at: TimestampMs(forget.at_ms),
    })
}
