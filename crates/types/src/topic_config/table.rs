//! The settings, as one table in order of names, and Kafka's settings that are
//! refused by name with a reason.

use super::setting::{Setting, SettingType};
use super::{Durability, TimestampType};
use crate::limits::BATCH_BYTES_MAX;

/// The smallest segment: one page.
const SEGMENT_BYTES_MIN: i64 = 4096;
/// Kafka's bound: positions in a segment fit 31 bits.
const SEGMENT_BYTES_LARGEST: i64 = i32::MAX as i64;

/// Every setting that a topic can be given, in order of names.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "cleanup.policy",
        kind: SettingType::Choice { supported: &["delete"], unsupported: &["compact"] },
        default: "delete",
        documentation: "What happens to old segments. 'delete' removes them by retention.ms and \
                        retention.bytes.",
        store: |_, _| {},
    },
    Setting {
        name: "compression.type",
        kind: SettingType::Choice {
            supported: &["producer"],
            unsupported: &["uncompressed", "gzip", "snappy", "lz4", "zstd"],
        },
        default: "producer",
        documentation: "How batches are compressed in the log. 'producer' keeps them as they came: \
                        a batch is never recompressed.",
        store: |_, _| {},
    },
    Setting {
        name: "durability",
        kind: SettingType::Choice { supported: &["fsync", "memory"], unsupported: &[] },
        default: "fsync",
        documentation: "When a batch is acknowledged. 'fsync': when a majority of replicas has it on \
                        disk. 'memory': when a majority has it in memory, so that a power cut of a \
                        majority at one time loses the newest batches.",
        store: |config, value| {
            config.durability = match value.word() {
                "memory" => Durability::Memory,
                _ => Durability::Fsync,
            };
        },
    },
    Setting {
        name: "file.delete.delay.ms",
        kind: SettingType::Number { min: 0, max: i64::MAX },
        default: "60000",
        documentation: "How long the data of a deleted topic stays on disk before it is removed.",
        store: |config, value| config.file_delete_delay_ms = value.number(),
    },
    Setting {
        name: "index.interval.bytes",
        kind: SettingType::Number { min: 0, max: i32::MAX as i64 },
        default: "4096",
        documentation: "Bytes of log between two entries of the offset index. Fewer find an offset \
                        faster and make the index larger.",
        store: |config, value| config.index_interval_bytes = value.unsigned(),
    },
    Setting {
        name: "max.message.bytes",
        kind: SettingType::Number { min: 0, max: BATCH_BYTES_MAX as i64 },
        default: "1048588",
        documentation: "Size of the largest batch, after compression, in bytes.",
        store: |config, value| {
            config.max_message_bytes = usize::try_from(value.number()).expect("the largest batch fits memory");
        },
    },
    Setting {
        name: "message.timestamp.after.max.ms",
        kind: SettingType::Number { min: 0, max: i64::MAX },
        default: "3600000",
        documentation: "How far a record's timestamp may lie in the future of the leader's clock. \
                        Has no effect with message.timestamp.type=LogAppendTime.",
        store: |config, value| config.message_timestamp_after_max_ms = value.number(),
    },
    Setting {
        name: "message.timestamp.before.max.ms",
        kind: SettingType::Number { min: 0, max: i64::MAX },
        default: "9223372036854775807",
        documentation: "How far a record's timestamp may lie in the past of the leader's clock. Has \
                        no effect with message.timestamp.type=LogAppendTime.",
        store: |config, value| config.message_timestamp_before_max_ms = value.number(),
    },
    Setting {
        name: "message.timestamp.type",
        kind: SettingType::Choice { supported: &["CreateTime", "LogAppendTime"], unsupported: &[] },
        default: "CreateTime",
        documentation: "Which time a record's timestamp means: the producer's (CreateTime) or that \
                        at which the leader appended it (LogAppendTime).",
        store: |config, value| {
            config.message_timestamp_type = match value.word() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            };
        },
    },
    Setting {
        name: "min.insync.replicas",
        kind: SettingType::Number { min: 1, max: i32::MAX as i64 },
        default: "1",
        documentation: "Replicas that must have a batch before it is acknowledged. A statement, not a \
                        mechanism: every write waits for a majority of the replicas whatever this \
                        says, and a value above that majority is refused.",
        store: |config, value| {
            config.min_insync_replicas =
                u32::try_from(value.number()).expect("the setting's largest value fits 31 bits");
        },
    },
    Setting {
        name: "retention.bytes",
        kind: SettingType::Number { min: -1, max: i64::MAX },
        default: "-1",
        documentation: "Size of a partition beyond which its oldest segments are removed; -1 has no \
                        bound. The newest segment always stays.",
        store: |config, value| config.retention_bytes = value.optional().map(i64::unsigned_abs),
    },
    Setting {
        name: "retention.ms",
        kind: SettingType::Number { min: -1, max: i64::MAX },
        default: "604800000",
        documentation: "Age beyond which segments are removed, by the largest timestamp in them; -1 \
                        keeps them for ever.",
        store: |config, value| config.retention_ms = value.optional(),
    },
    Setting {
        name: "segment.bytes",
        kind: SettingType::Number { min: SEGMENT_BYTES_MIN, max: SEGMENT_BYTES_LARGEST },
        default: "1073741824",
        documentation: "Size at which a new segment is started. Retention removes whole segments.",
        store: |config, value| config.segment_bytes = value.unsigned(),
    },
    Setting {
        name: "segment.ms",
        kind: SettingType::Number { min: 1, max: i64::MAX },
        default: "604800000",
        documentation: "Age at which a new segment is started though the old one is not full, so that \
                        retention can remove the old one.",
        store: |config, value| config.segment_ms = value.number(),
    },
];

/// A setting that Kafka has and that would have no effect here.
#[derive(Debug)]
pub struct UnsupportedSetting {
    /// Kafka's name.
    pub name: &'static str,
    /// Why it is refused, and what there is instead.
    pub reason: &'static str,
}

const COMPACTION: &str = "log compaction does not exist yet";
const COMPRESSION: &str = "batches are kept as the producer compressed them";
const FLUSHING: &str = "every acknowledged batch is on disk already; see 'durability'";
const THROTTLING: &str = "replication is not throttled per topic yet";
const TIERING: &str = "tiered storage does not exist yet";
const REMOVED: &str = "Kafka 4 removed it";

/// Kafka's topic settings that are refused by name, in order of names.
pub const UNSUPPORTED_SETTINGS: &[UnsupportedSetting] = &[
    UnsupportedSetting { name: "compression.gzip.level", reason: COMPRESSION },
    UnsupportedSetting { name: "compression.lz4.level", reason: COMPRESSION },
    UnsupportedSetting { name: "compression.zstd.level", reason: COMPRESSION },
    UnsupportedSetting { name: "delete.retention.ms", reason: COMPACTION },
    UnsupportedSetting { name: "flush.messages", reason: FLUSHING },
    UnsupportedSetting { name: "flush.ms", reason: FLUSHING },
    UnsupportedSetting { name: "follower.replication.throttled.replicas", reason: THROTTLING },
    UnsupportedSetting { name: "leader.replication.throttled.replicas", reason: THROTTLING },
    UnsupportedSetting { name: "local.retention.bytes", reason: TIERING },
    UnsupportedSetting { name: "local.retention.ms", reason: TIERING },
    UnsupportedSetting { name: "max.compaction.lag.ms", reason: COMPACTION },
    UnsupportedSetting { name: "message.downconversion.enable", reason: REMOVED },
    UnsupportedSetting { name: "message.format.version", reason: REMOVED },
    UnsupportedSetting {
        name: "message.timestamp.difference.max.ms",
        reason: "Kafka 4 removed it; use message.timestamp.before.max.ms and \
                 message.timestamp.after.max.ms",
    },
    UnsupportedSetting { name: "min.cleanable.dirty.ratio", reason: COMPACTION },
    UnsupportedSetting { name: "min.compaction.lag.ms", reason: COMPACTION },
    UnsupportedSetting { name: "preallocate", reason: "segments are always allocated ahead of their records" },
    UnsupportedSetting { name: "remote.log.copy.disable", reason: TIERING },
    UnsupportedSetting { name: "remote.log.delete.on.disable", reason: TIERING },
    UnsupportedSetting { name: "remote.storage.enable", reason: TIERING },
    UnsupportedSetting {
        name: "segment.index.bytes",
        reason: "an index grows with its segment and has no size of its own",
    },
    UnsupportedSetting {
        name: "segment.jitter.ms",
        reason: "segments are started at their own partition's times already",
    },
    UnsupportedSetting {
        name: "unclean.leader.election.enable",
        reason: "a leader always has every acknowledged batch; there is no unclean election",
    },
];
