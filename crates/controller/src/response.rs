//! What the proposer of a command gets back.

use highwater_types::{ErrorCode, ProducerId, TimestampMs, TopicId};

use crate::cluster::MetadataVersion;

/// The answer to a command that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataResponse {
    /// The version in which the command's effect can be seen. An image of this version
    /// or a later one reflects the command.
    pub version: MetadataVersion,
    /// What the command came to.
    pub outcome: Outcome,
}

/// What a command came to, where there is something to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What was asked for is so now.
    Done,
    /// The topic exists.
    TopicCreated {
        /// Its id.
        topic: TopicId,
        /// Its partitions.
        partitions: u32,
    },
    /// The topic has more partitions.
    PartitionsAdded {
        /// All partitions it has now.
        partitions: u32,
    },
    /// The topic is deleted.
    TopicDeleted {
        /// Its data stays until then.
        data_kept_until: TimestampMs,
    },
    /// A block of producer ids belongs to the proposer.
    ProducerIds {
        /// The first of them.
        first: ProducerId,
        /// How many, `first` included.
        count: i64,
    },
}

/// The answer to a command that was refused, as it travels to the proposer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of refusal.
    pub code: ErrorCode,
    /// The reason in words, with its numbers.
    pub message: String,
}
