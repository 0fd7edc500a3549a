//! What a topic's configuration takes, what it refuses, and in which words.

use super::*;
use crate::limits::BATCH_BYTES_MAX;

fn overrides(pairs: &[(&str, &str)]) -> ConfigOverrides {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn configure(pairs: &[(&str, &str)]) -> Result<TopicConfig, ConfigError> {
    TopicConfig::from_overrides(&overrides(pairs))
}

#[test]
fn a_topic_without_overrides_has_kafkas_defaults() {
    let config = configure(&[]).expect("defaults are valid");
    assert_eq!(config, TopicConfig::default());
    assert_eq!(config.retention_ms, Some(7 * 24 * 60 * 60 * 1000));
    assert_eq!(config.retention_bytes, None);
    assert_eq!(config.segment_bytes, 1 << 30);
    assert_eq!(config.max_message_bytes, 1_048_588);
    assert_eq!(config.message_timestamp_after_max_ms, 60 * 60 * 1000);
    assert_eq!(config.message_timestamp_before_max_ms, i64::MAX);
    assert_eq!(config.message_timestamp_type, TimestampType::CreateTime);
    assert_eq!(config.durability, Durability::Fsync);
}

#[test]
fn every_setting_takes_effect() {
    let config = configure(&[
        ("durability", "memory"),
        ("file.delete.delay.ms", "1"),
        ("index.interval.bytes", "2"),
        ("max.message.bytes", "3"),
        ("message.timestamp.after.max.ms", "4"),
        ("message.timestamp.before.max.ms", "5"),
        ("message.timestamp.type", "LogAppendTime"),
        ("min.insync.replicas", "6"),
        ("retention.bytes", "7"),
        ("retention.ms", "-1"),
        ("segment.bytes", "4096"),
        ("segment.ms", " 9 "),
    ]);
    let expected = TopicConfig {
        durability: Durability::Memory,
        file_delete_delay_ms: 1,
        index_interval_bytes: 2,
        max_message_bytes: 3,
        message_timestamp_after_max_ms: 4,
        message_timestamp_before_max_ms: 5,
        message_timestamp_type: TimestampType::LogAppendTime,
        min_insync_replicas: 6,
        retention_bytes: Some(7),
        retention_ms: None,
        segment_bytes: 4096,
        segment_ms: 9,
    };
    assert_eq!(config, Ok(expected));
}

#[test]
fn the_tables_are_sorted_and_share_no_name() {
    let known: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
    let unsupported: Vec<_> = UNSUPPORTED_SETTINGS.iter().map(|row| row.name).collect();
    assert!(known.is_sorted() && unsupported.is_sorted());
    assert!(known.iter().all(|name| !unsupported.contains(name)));
    for setting in SETTINGS {
        assert_eq!(setting.canonical(setting.default).as_deref(), Ok(setting.default));
    }
}

#[test]
fn each_bound_is_inclusive_and_the_next_value_is_refused() {
    for setting in SETTINGS {
        let SettingType::Number { min, max } = setting.kind else {
            continue;
        };
        assert!(configure(&[(setting.name, &min.to_string())]).is_ok(), "{}", setting.name);
        assert!(configure(&[(setting.name, &max.to_string())]).is_ok(), "{}", setting.name);
        let below = configure(&[(setting.name, &(min - 1).to_string())]);
        let name = setting.name;
        assert_eq!(below, Err(ConfigError::OutOfRange { name, value: min - 1, min, max }));
        if let Some(above) = max.checked_add(1) {
            let refused = configure(&[(name, &above.to_string())]);
            assert_eq!(refused, Err(ConfigError::OutOfRange { name, value: above, min, max }));
        }
    }
    assert!(configure(&[("max.message.bytes", &(BATCH_BYTES_MAX + 1).to_string())]).is_err());
}

#[test]
fn refusals_say_what_to_do_instead() {
    for (name, value, message) in [
        ("retention_ms", "1", "unknown topic setting 'retention_ms'; did you mean 'retention.ms'?"),
        ("colour", "red", "unknown topic setting 'colour'"),
        ("cleanup.policy", "compact", "cleanup.policy=compact is not supported yet: only 'delete' is"),
        (
            "cleanup.policy",
            "compact,delete",
            "cleanup.policy=compact,delete is not supported yet: only 'delete' is",
        ),
        ("compression.type", "zstd", "compression.type=zstd is not supported yet: only 'producer' is"),
        ("compression.type", "zip", "compression.type='zip' is not possible: it must be one of producer"),
        ("durability", "disk", "durability='disk' is not possible: it must be one of fsync, memory"),
        ("segment.ms", "1h", "segment.ms='1h' is not a whole number"),
        ("retention.ms", "-2", "retention.ms=-2 is out of range: it must be from -1 to 9223372036854775807"),
        (
            "flush.ms",
            "1",
            "'flush.ms' is a Kafka setting that is not supported here: every acknowledged batch is \
             on disk already; see 'durability'",
        ),
    ] {
        let refused = configure(&[(name, value)]).expect_err(name);
        assert_eq!(refused.to_string(), message);
    }
}

#[test]
fn more_in_sync_replicas_than_a_majority_are_refused() {
    let config = configure(&[("min.insync.replicas", "2")]).expect("possible with three");
    assert_eq!(config.check_replication(3), Ok(()));
    assert_eq!(
        config.check_replication(1),
        Err(ConfigError::BeyondMajority { requested: 2, majority: 1, replication_factor: 1 })
    );
}

#[test]
fn describe_lists_every_setting_and_where_its_value_came_from() {
    let entries = TopicConfig::describe(&overrides(&[("retention.ms", "5")]));
    assert_eq!(entries.len(), SETTINGS.len());
    for entry in entries {
        assert!(!entry.setting.documentation.is_empty());
        if entry.setting.name == "retention.ms" {
            assert_eq!((entry.value.as_str(), entry.source), ("5", ConfigSource::Topic));
        } else {
            let expected = (entry.setting.default, ConfigSource::Default);
            assert_eq!((entry.value.as_str(), entry.source), expected);
        }
    }
}
