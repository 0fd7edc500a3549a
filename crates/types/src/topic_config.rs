//! The configuration of a topic, validated in this one place from the text that
//! clients send. Names and defaults are Kafka's where Kafka has the setting.
//!
//! A topic stores its *overrides*: what it was given, by name, as canonical text.
//! [`TopicConfig`] is what the node works with: every setting, typed, with defaults
//! filled in. [`SETTINGS`] is the table behind both and behind what `describe` shows.
//!
//! Invariant: overrides that [`TopicConfig::from_overrides`] accepts mean exactly what
//! they say. What would not take effect is refused and never stored in silence.

mod config_error;
mod setting;
mod suggestion;
mod table;

use std::collections::BTreeMap;

pub use config_error::ConfigError;
pub use setting::{ConfigEntry, ConfigSource, Setting, SettingType};
pub use suggestion::nearest;
pub use table::{SETTINGS, UNSUPPORTED_SETTINGS, UnsupportedSetting};

/// What a topic was given, by setting name. Everything else has its default.
pub type ConfigOverrides = BTreeMap<String, String>;

/// Which time a record's timestamp means; a setting of a topic, and an attribute of each batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum TimestampType {
    /// The producer's time: each record has its own.
    #[default]
    CreateTime,
    /// The time at which the partition's leader appended the batch: all its records have this one.
    LogAppendTime,
}

/// When a batch counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Durability {
    /// On the disks of a majority.
    #[default]
    Fsync,
    /// In the memory of a majority: a power cut of that majority loses it.
    Memory,
}

/// Every setting of a topic, typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// `durability`.
    pub durability: Durability,
    /// `file.delete.delay.ms`, at least 0.
    pub file_delete_delay_ms: i64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u64,
    /// `max.message.bytes`: the largest batch, inclusive, as it lies in the log.
    pub max_message_bytes: usize,
    /// `message.timestamp.after.max.ms`, at least 0.
    pub message_timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`, at least 0.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `min.insync.replicas`, at least 1. A statement, not a mechanism: see its documentation.
    pub min_insync_replicas: u32,
    /// `retention.bytes` of one partition; `None` has no bound.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`, at least 0; `None` keeps records for ever.
    pub retention_ms: Option<i64>,
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `segment.ms`, at least 1.
    pub segment_ms: i64,
}

impl Default for TopicConfig {
    /// Every setting at the default that [`SETTINGS`] states.
    fn default() -> Self {
        let mut config = Self {
            durability: Durability::Fsync,
            file_delete_delay_ms: 0,
            index_interval_bytes: 0,
            max_message_bytes: 0,
            message_timestamp_after_max_ms: 0,
            message_timestamp_before_max_ms: 0,
            message_timestamp_type: TimestampType::CreateTime,
            min_insync_replicas: 0,
            retention_bytes: None,
            retention_ms: None,
            segment_bytes: 0,
            segment_ms: 0,
        };
        for setting in SETTINGS {
            setting
                .assign(&mut config, setting.default)
                .expect("the default of every setting is a value that it takes");
        }
        config
    }
}

impl TopicConfig {
    /// The configuration that a topic's overrides give.
    ///
    /// # Errors
    /// The first override, in order of names, that is unknown, not supported or not a
    /// possible value.
    pub fn from_overrides(overrides: &ConfigOverrides) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (name, value) in overrides {
            Setting::find(name)?.assign(&mut config, value)?;
        }
        Ok(config)
    }

    /// Checks what depends on how many replicas each partition has.
    ///
    /// # Errors
    /// When `min.insync.replicas` asks for more acknowledgements than a majority gives.
    pub fn check_replication(&self, replication_factor: u32) -> Result<(), ConfigError> {
        let majority = replication_factor / 2 + 1;
        if self.min_insync_replicas > majority {
            return Err(ConfigError::BeyondMajority {
                requested: self.min_insync_replicas,
                majority,
                replication_factor,
            });
        }
        Ok(())
    }

    /// Every setting with its value and where the value came from, in order of names.
    pub fn describe(overrides: &ConfigOverrides) -> Vec<ConfigEntry> {
        SETTINGS
            .iter()
            .map(|setting| match overrides.get(setting.name) {
                Some(value) => ConfigEntry { setting, value: value.clone(), source: ConfigSource::Topic },
                None => {
                    ConfigEntry { setting, value: setting.default.to_owned(), source: ConfigSource::Default }
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
