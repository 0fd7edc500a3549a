//! Everything that a partition refuses or fails at, with the numbers that tell a
//! client or an operator what was wrong and what to do.
//!
//! The offsets in here are for the message only: no listener puts them into the
//! offset fields of an answer.

use highwater_records::RecordsError;
use highwater_types::{ErrorCode, NodeId, Offset, TimestampMs};

use crate::producer_state::SequenceError;

/// Why a partition did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// The batch is damaged or breaks the format's rules.
    #[error("the batch is not valid: {0}")]
    InvalidBatch(#[from] RecordsError),
    /// The batch is larger than the topic allows.
    #[error(
        "the batch has {bytes} bytes; the topic's max.message.bytes allows {max}: send smaller batches or raise it"
    )]
    BatchTooLarge {
        /// Bytes of the batch.
        bytes: usize,
        /// Most that the topic allows, inclusive.
        max: usize,
    },
    /// The batch is part of a transaction.
    #[error("transactional batches are not supported yet: produce without transactional.id")]
    Transactional,
    /// A timestamp is too far from the broker's clock.
    #[error(
        "timestamp {timestamp} is outside {earliest} to {latest}, which the topic's message.timestamp.before.max.ms \
         and message.timestamp.after.max.ms allow now: check the producer's clock"
    )]
    TimestampOutOfBounds {
        /// The timestamp that is out of bounds.
        timestamp: TimestampMs,
        /// The earliest that is allowed now, inclusive.
        earliest: TimestampMs,
        /// The latest that is allowed now, inclusive.
        latest: TimestampMs,
    },
    /// The producer's id, epoch or sequence does not continue what the partition knows.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// There is no room on the disk; nothing was written.
    #[error(
        "no space for {bytes} bytes on the broker's disk; nothing was written, free disk space and send it again"
    )]
    NoSpace {
        /// Bytes that were to be appended.
        bytes: u64,
    },
    /// The disk failed before anything was written.
    #[error("the broker's disk failed and nothing was written: {reason}")]
    ReserveFailed {
        /// What failed.
        reason: String,
    },
    /// The batch found no room in the queue before its deadline; nothing was written.
    #[error(
        "the partition is busy: {bytes} bytes found no room before the deadline; nothing was written, send it again later"
    )]
    Busy {
        /// Bytes that were to be appended.
        bytes: usize,
    },
    /// Another node leads the partition, or none does.
    #[error("this node does not lead the partition; {}", match .leader {
        Some(node) => format!("node {node} does"),
        None => "no leader is known now, try again".to_owned(),
    })]
    NotLeader {
        /// The leader, when it is known.
        leader: Option<NodeId>,
    },
    /// The leader is new and does not know the high watermark yet.
    #[error("the new leader does not know the high watermark yet; try again")]
    NotServing,
    /// This node leads, but too few of the other replicas stand by it: another may lead already.
    #[error(
        "this node led the partition and does not hear enough of its replicas to be sure that it still does; \
         try again, another may lead it soon"
    )]
    CutOff,
    /// The offset is outside the log.
    #[error(
        "offset {offset} is outside the log, which has {log_start} (inclusive) to {high_watermark} (exclusive)"
    )]
    OffsetOutOfRange {
        /// The offset that was asked for.
        offset: Offset,
        /// The first offset that can be read.
        log_start: Offset,
        /// The first offset that is not committed.
        high_watermark: Offset,
    },
    /// The stored data is damaged.
    #[error("the partition is quarantined, it accepts no writes: {reason}")]
    Quarantined {
        /// What is damaged.
        reason: String,
    },
    /// The deadline passed after the batch was queued.
    #[error("the deadline passed; the batch may or may not be written later")]
    DeadlinePassed,
    /// The group failed after the batch was proposed.
    #[error("the write failed midway, it may or may not have taken place: {reason}")]
    OutcomeUnknown {
        /// What failed.
        reason: String,
    },
    /// The partition is being stopped.
    #[error("the partition is stopping on this node; try again")]
    Stopped,
    /// Stored data could not be read.
    #[error("reading offset {offset} failed: {reason}; the node's log has more")]
    ReadFailed {
        /// The offset at which the read began.
        offset: Offset,
        /// What failed.
        reason: String,
    },
    /// Stored data is damaged here.
    #[error("offset {offset} cannot be read, its segment is damaged: {reason}; {}", match .is_alone {
        true => "there is no other replica to fetch it from: restore it from a backup",
        false => "it is being fetched from another replica, try again",
    })]
    Damaged {
        /// The offset at which the read began.
        offset: Offset,
        /// What is damaged.
        reason: String,
        /// Whether there is no other replica.
        is_alone: bool,
    },
    /// The segment that is written to could not be closed. It stays in use.
    #[error("closing the segment that ends at offset {offset} failed: {reason}")]
    RollFailed {
        /// The offset after its last record.
        offset: Offset,
        /// What failed.
        reason: String,
    },
}

impl PartitionError {
    /// What a client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidBatch(error) => error.code(),
            Self::BatchTooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::Transactional => ErrorCode::Unsupported,
            Self::TimestampOutOfBounds { .. } => ErrorCode::InvalidTimestamp,
            Self::Sequence(error) => error.code(),
            Self::NoSpace { .. } => ErrorCode::NoSpace,
            Self::Busy { .. } => ErrorCode::Throttled,
            Self::NotLeader { leader: Some(_) } => ErrorCode::NotLeader,
            Self::NotLeader { leader: None } | Self::CutOff => ErrorCode::LeaderNotAvailable,
            Self::NotServing => ErrorCode::OffsetNotAvailable,
            Self::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Quarantined { .. } | Self::Damaged { is_alone: true, .. } => ErrorCode::Quarantined,
            Self::DeadlinePassed | Self::OutcomeUnknown { .. } => ErrorCode::Timeout,
            Self::Stopped | Self::Damaged { is_alone: false, .. } => ErrorCode::Unavailable,
            Self::ReserveFailed { .. } | Self::ReadFailed { .. } | Self::RollFailed { .. } => {
                ErrorCode::Internal
            }
        }
    }
}
