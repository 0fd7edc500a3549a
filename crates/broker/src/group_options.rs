//! What a topic's settings mean for the log of each of its partitions.

use highwater_storage::{Durability as LogDurability, GroupOptions, SegmentOptions};
use highwater_types::{Durability, TopicConfig};

/// How a partition of such a topic stores its log.
pub(crate) fn group_options(config: &TopicConfig) -> GroupOptions {
    GroupOptions {
        durability: match config.durability {
            Durability::Fsync => LogDurability::Fsync,
            Durability::Memory => LogDurability::Memory,
        },
        segments: Some(segment_options(config)),
    }
}

/// How a shard of consumer groups stores its log: in the journal alone, until a checkpoint takes its state in.
pub(crate) fn shard_options() -> GroupOptions {
    GroupOptions { durability: LogDurability::Fsync, segments: None }
}

/// How a partition of such a topic cuts its log into segments.
pub(crate) fn segment_options(config: &TopicConfig) -> SegmentOptions {
    SegmentOptions {
        segment_bytes: config.segment_bytes,
        segment_ms: config.segment_ms,
        index_interval_bytes: config.index_interval_bytes,
    }
}
