//! The one error of the broker: a kind that every listener translates into its own
//! codes, and what a client needs to act on it. It never carries an offset.

use highwater_types::{ConfigError, ErrorCode, NodeId, PartitionIndex, TopicNameError};

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BrokerError {
    /// The kind; whether trying again can help is a property of it.
    pub code: ErrorCode,
    /// What went wrong, with its numbers, for a person.
    pub message: String,
    /// The topic concerned, if it is one.
    pub topic: Option<String>,
    /// The partition concerned, if it is one.
    pub partition: Option<PartitionIndex>,
    /// The metadata version from which this was answered; 0 when it played no part.
    pub metadata_version: u64,
    /// Where the partition's leader is, as far as this node knows.
    pub leader: Option<LeaderHint>,
}

/// The node that is believed to lead a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderHint {
    /// The node.
    pub node: NodeId,
    /// Its address for clients, `host:port`.
    pub address: String,
}

impl BrokerError {
    /// An error about no topic in particular.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), topic: None, partition: None, metadata_version: 0, leader: None }
    }

    /// The request is malformed or contradicts itself.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// The same, about a topic.
    #[must_use]
    pub fn with_topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// The same, about a partition.
    #[must_use]
    pub fn with_partition(mut self, partition: PartitionIndex) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The same, answered from this version of the metadata.
    #[must_use]
    pub fn with_metadata_version(mut self, version: u64) -> Self {
        self.metadata_version = version;
        self
    }
}

impl From<TopicNameError> for BrokerError {
    fn from(error: TopicNameError) -> Self {
        Self::new(ErrorCode::InvalidTopicName, error.to_string())
    }
}

impl From<ConfigError> for BrokerError {
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorCode::InvalidConfig, error.to_string())
    }
}
