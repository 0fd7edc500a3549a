//! Decisions about deletion and what remains after it.

use highwater_types::{NodeId, TimestampMs, TopicId};

use super::{Decision, Effect};
use crate::delta::MetadataChange;
use crate::error::MetadataError;
use crate::image::MetadataImage;
use crate::partition::PartitionRecord;
use crate::response::Outcome;
use crate::tombstone::Tombstone;

/// Turns a topic into a tombstone.
pub(super) fn delete(
    image: &MetadataImage,
    topic: TopicId,
    at: TimestampMs,
) -> Result<Decision, MetadataError> {
    if let Some(tombstone) = image.tombstone(topic) {
        let data_kept_until = tombstone.data_kept_until;
        return Ok(Decision::unchanged(Outcome::TopicDeleted { data_kept_until }));
    }
    let current = image.topic(topic).ok_or(MetadataError::UnknownTopic { topic })?;
    let grace_ms = current.config.file_delete_delay_ms;
    let data_kept_until = TimestampMs(at.0.saturating_add(grace_ms));
    let tombstone = Tombstone {
        topic,
        name: current.name.clone(),
        partition_count: current.partition_count(),
        deleted_at: at,
        data_kept_until,
        holders: current.partitions.iter().flat_map(PartitionRecord::holders).collect(),
    };
    Ok(Decision::change(
        Outcome::TopicDeleted { data_kept_until },
        Effect::Deleted(tombstone),
        MetadataChange::TopicDeleted(topic),
    ))
}

/// Takes a node off the holders of a deleted topic's data, because it says so.
pub(super) fn forget(
    image: &MetadataImage,
    topic: TopicId,
    node: NodeId,
    at: TimestampMs,
) -> Result<Decision, MetadataError> {
    if image.topic(topic).is_some() {
        return Err(MetadataError::TopicNotDeleted { topic });
    }
    let held = image.tombstone(topic).filter(|tombstone| tombstone.holders.contains(&node));
    let Some(tombstone) = held else {
        return Ok(Decision::unchanged(Outcome::Done));
    };
    let until = tombstone.data_kept_until;
    if at < until {
        return Err(MetadataError::GracePeriod { topic, at, until });
    }
    let (effect, change) = without_holder(tombstone, node);
    Ok(Decision::change(Outcome::Done, effect, change))
}

/// Takes a node off the holders of all deleted topics' data, because the directory that held it
/// is gone: nobody would ever say that it was removed.
pub(super) fn lost(image: &MetadataImage, node: NodeId) -> impl Iterator<Item = (Effect, MetadataChange)> {
    let held = image.tombstones().filter(move |tombstone| tombstone.holders.contains(&node));
    held.map(move |tombstone| without_holder(tombstone, node))
}

fn without_holder(tombstone: &Tombstone, node: NodeId) -> (Effect, MetadataChange) {
    let topic = tombstone.topic;
    let mut left = tombstone.clone();
    left.holders.remove(&node);
    if left.holders.is_empty() {
        (Effect::Forgotten(topic), MetadataChange::TopicForgotten(topic))
    } else {
        (Effect::Tombstone(left), MetadataChange::TopicDataRemoved { topic, node })
    }
}
