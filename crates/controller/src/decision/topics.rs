//! Decisions about live topics: creation and settings.

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_types::topic_config::Setting;
use highwater_types::{ConfigOverrides, NodeId, TimestampMs, TopicConfig, TopicId, TopicName};

use super::{Decision, Effect, partitions};
use crate::command::ConfigChange;
use crate::delta::MetadataChange;
use crate::error::MetadataError;
use crate::image::MetadataImage;
use crate::response::Outcome;
use crate::topic::TopicRecord;

/// What a command to create a topic carries.
pub(super) struct NewTopic<'a> {
    pub(super) id: TopicId,
    pub(super) name: &'a str,
    pub(super) placement: &'a [Vec<NodeId>],
    pub(super) overrides: &'a ConfigOverrides,
    pub(super) internal: bool,
    pub(super) at: TimestampMs,
}

/// Creates a topic.
pub(super) fn create(image: &MetadataImage, new: NewTopic<'_>) -> Result<Decision, MetadataError> {
    let name = TopicName::new(new.name)?;
    if let Some(existing) = image.topic(new.id) {
        if existing.name != name {
            return Err(MetadataError::TopicIdUsed { topic: new.id });
        }
        let partitions = existing.partition_count();
        return Ok(Decision::unchanged(Outcome::TopicCreated { topic: new.id, partitions }));
    }
    if image.tombstone(new.id).is_some() {
        return Err(MetadataError::TopicIdUsed { topic: new.id });
    }
    if name.is_internal() != new.internal {
        return Err(MetadataError::ReservedTopicName { name });
    }
    if let Some(existing) = image.topic_colliding_with(new.name) {
        let (topic, existing) = (existing.id, existing.name.clone());
        return Err(if existing == name {
            MetadataError::TopicExists { name, topic }
        } else {
            MetadataError::TopicNameCollides { name, existing }
        });
    }
    let replicas = new.placement.first().map_or(0, Vec::len);
    let partitions = partitions::creating(image, 0, replicas, new.placement)?;
    let mut topic = TopicRecord {
        id: new.id,
        name,
        overrides: ConfigOverrides::new(),
        config: TopicConfig::default(),
        partitions,
        created_at: new.at,
    };
    for (name, value) in new.overrides {
        let value = Setting::find(name)?.canonical(value)?;
        topic.overrides.insert(name.clone(), value);
    }
    settle_config(&mut topic)?;
    Ok(Decision::change(
        Outcome::TopicCreated { topic: topic.id, partitions: topic.partition_count() },
        Effect::Topic(Arc::new(topic)),
        MetadataChange::TopicCreated(new.id),
    ))
}

/// Changes settings of a topic.
pub(super) fn alter_configs(
    image: &MetadataImage,
    topic: TopicId,
    changes: &[ConfigChange],
) -> Result<Decision, MetadataError> {
    let current = image.topic(topic).ok_or(MetadataError::UnknownTopic { topic })?;
    let mut changed = TopicRecord::clone(current);
    let mut seen = BTreeSet::new();
    for change in changes {
        let setting = Setting::find(change.name())?;
        if !seen.insert(setting.name) {
            return Err(MetadataError::DuplicateSetting { name: setting.name.to_owned() });
        }
        match change {
            ConfigChange::Set { value, .. } => {
                changed.overrides.insert(setting.name.to_owned(), setting.canonical(value)?);
            }
            ConfigChange::Delete { .. } => {
                changed.overrides.remove(setting.name);
            }
        }
    }
    if changed.overrides == current.overrides {
        return Ok(Decision::unchanged(Outcome::Done));
    }
    settle_config(&mut changed)?;
    Ok(Decision::change(
        Outcome::Done,
        Effect::Topic(Arc::new(changed)),
        MetadataChange::TopicConfigChanged(topic),
    ))
}

/// Makes `config` what `overrides` mean, and checks what only the whole can tell.
fn settle_config(topic: &mut TopicRecord) -> Result<(), MetadataError> {
    topic.config = TopicConfig::from_overrides(&topic.overrides)?;
    topic.config.check_replication(topic.replication_factor())?;
    Ok(())
}
