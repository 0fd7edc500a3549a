//! The vocabulary every other crate shares: identifiers, positions, time and
//! randomness as traits, error codes, named limits and topic configuration.
//!
//! It never does IO, never reads a clock or draws randomness by itself, and
//! depends on no other crate of the workspace.

pub mod backoff;
pub mod environment;
pub mod error_code;
pub mod exit_code;
pub mod ids;
pub mod limits;
pub mod mutant;
pub mod position;
pub mod producer;
pub mod topic_config;
pub mod topic_name;

pub use backoff::Backoff;
pub use environment::{Clock, Random, RandomRng, SystemClock, SystemRandom, TimestampMs};
pub use error_code::ErrorCode;
pub use ids::{ClusterId, GroupId, Incarnation, NodeId, PartitionId, PartitionIndex, ProcessEpoch, TopicId};
pub use position::{FilePosition, LeaderEpoch, Offset, RaftIndex, Term};
pub use producer::{ProducerEpoch, ProducerId, Sequence};
pub use topic_config::{ConfigError, ConfigOverrides, Durability, TimestampType, TopicConfig};
pub use topic_name::{TopicName, TopicNameError};
