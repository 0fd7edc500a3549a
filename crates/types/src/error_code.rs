//! What can go wrong between a client and the cluster, as one list that the
//! gRPC and the Kafka listener each translate into their own codes.

use std::fmt;

/// The kind of an error that a client sees. Whether trying again can help is a
/// property of the kind: [`ErrorCode::is_retriable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The request itself is malformed or contradicts itself.
    InvalidRequest,
    /// No topic or partition of that name or number.
    UnknownTopicOrPartition,
    /// No topic of that id; it may have been deleted and created again.
    UnknownTopicId,
    /// A topic of that name exists.
    TopicAlreadyExists,
    /// The topic name breaks the rules for names.
    InvalidTopicName,
    /// The number of partitions is not possible.
    InvalidPartitions,
    /// The number of replicas is not possible in this cluster.
    InvalidReplicationFactor,
    /// A config's name is unknown or its value is not possible.
    InvalidConfig,
    /// The batch is damaged: its length, checksum or structure is wrong.
    CorruptMessage,
    /// The batch is larger than the topic's `max.message.bytes`.
    MessageTooLarge,
    /// The batch is whole but breaks a rule, such as its timestamps'.
    InvalidRecord,
    /// A timestamp is outside what the topic allows.
    InvalidTimestamp,
    /// The compression type is not known.
    UnsupportedCompressionType,
    /// The offset lies outside the log.
    OffsetOutOfRange,
    /// A new leader does not know the high watermark yet (KIP-207).
    OffsetNotAvailable,
    /// This node does not lead the partition.
    NotLeader,
    /// The partition has no leader now.
    LeaderNotAvailable,
    /// The producer's sequence leaves a gap or goes back beyond the window.
    OutOfOrderSequence,
    /// A newer epoch of this producer id has taken over.
    InvalidProducerEpoch,
    /// The partition no longer knows this producer id.
    UnknownProducerId,
    /// No group of that name.
    UnknownGroup,
    /// The group has members, which what was asked for would work against.
    GroupNotEmpty,
    /// The group has no such member: it left, or was silent for too long. It joins again.
    UnknownMember,
    /// The member is not where it says it is. It drops its partitions and joins again.
    FencedMember,
    /// The member does not hold the partition any more, or not yet in the epoch that it states.
    StaleMember,
    /// Another member fills the place of that instance.
    InstanceInUse,
    /// The node's data directory belongs to the cluster no more: the node was removed, or has another one.
    NodeRemoved,
    /// Not enough disk space; nothing was written.
    NoSpace,
    /// The partition's stored data is damaged and is kept out of service.
    Quarantined,
    /// A limit of the node is reached; try again later.
    Throttled,
    /// The deadline passed; a write may or may not have taken place.
    Timeout,
    /// The node is starting or stopping.
    Unavailable,
    /// The feature is not supported by this version.
    Unsupported,
    /// The node failed in a way that its log describes.
    Internal,
}

impl ErrorCode {
    /// Every kind, once.
    pub const ALL: &'static [Self] = &[
        Self::InvalidRequest,
        Self::UnknownTopicOrPartition,
        Self::UnknownTopicId,
        Self::TopicAlreadyExists,
        Self::InvalidTopicName,
        Self::InvalidPartitions,
        Self::InvalidReplicationFactor,
        Self::InvalidConfig,
        Self::CorruptMessage,
        Self::MessageTooLarge,
        Self::InvalidRecord,
        Self::InvalidTimestamp,
        Self::UnsupportedCompressionType,
        Self::OffsetOutOfRange,
        Self::OffsetNotAvailable,
        Self::NotLeader,
        Self::LeaderNotAvailable,
        Self::OutOfOrderSequence,
        Self::InvalidProducerEpoch,
        Self::UnknownProducerId,
        Self::UnknownGroup,
        Self::GroupNotEmpty,
        Self::UnknownMember,
        Self::FencedMember,
        Self::StaleMember,
        Self::InstanceInUse,
        Self::NodeRemoved,
        Self::NoSpace,
        Self::Quarantined,
        Self::Throttled,
        Self::Timeout,
        Self::Unavailable,
        Self::Unsupported,
        Self::Internal,
    ];

    /// The kind whose [`ErrorCode::name`] this is; `None` when a newer version sent it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// Whether the same request can succeed later without a change to it.
    pub fn is_retriable(self) -> bool {
        matches!(
            self,
            Self::OffsetNotAvailable
                | Self::NotLeader
                | Self::LeaderNotAvailable
                | Self::NoSpace
                | Self::Throttled
                | Self::Timeout
                | Self::Unavailable
        )
    }

    /// The stable upper-case name, as error details carry it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::UnknownTopicOrPartition => "UNKNOWN_TOPIC_OR_PARTITION",
            Self::UnknownTopicId => "UNKNOWN_TOPIC_ID",
            Self::TopicAlreadyExists => "TOPIC_ALREADY_EXISTS",
            Self::InvalidTopicName => "INVALID_TOPIC_NAME",
            Self::InvalidPartitions => "INVALID_PARTITIONS",
            Self::InvalidReplicationFactor => "INVALID_REPLICATION_FACTOR",
            Self::InvalidConfig => "INVALID_CONFIG",
            Self::CorruptMessage => "CORRUPT_MESSAGE",
            Self::MessageTooLarge => "MESSAGE_TOO_LARGE",
            Self::InvalidRecord => "INVALID_RECORD",
            Self::InvalidTimestamp => "INVALID_TIMESTAMP",
            Self::UnsupportedCompressionType => "UNSUPPORTED_COMPRESSION_TYPE",
            Self::OffsetOutOfRange => "OFFSET_OUT_OF_RANGE",
            Self::OffsetNotAvailable => "OFFSET_NOT_AVAILABLE",
            Self::NotLeader => "NOT_LEADER",
            Self::LeaderNotAvailable => "LEADER_NOT_AVAILABLE",
            Self::OutOfOrderSequence => "OUT_OF_ORDER_SEQUENCE_NUMBER",
            Self::InvalidProducerEpoch => "INVALID_PRODUCER_EPOCH",
            Self::UnknownProducerId => "UNKNOWN_PRODUCER_ID",
            Self::UnknownGroup => "UNKNOWN_GROUP",
            Self::GroupNotEmpty => "GROUP_NOT_EMPTY",
            Self::UnknownMember => "UNKNOWN_MEMBER",
            Self::FencedMember => "FENCED_MEMBER",
            Self::StaleMember => "STALE_MEMBER",
            Self::InstanceInUse => "INSTANCE_IN_USE",
            Self::NodeRemoved => "NODE_REMOVED",
            Self::NoSpace => "NO_SPACE",
            Self::Quarantined => "QUARANTINED",
            Self::Throttled => "THROTTLED",
            Self::Timeout => "TIMEOUT",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unsupported => "UNSUPPORTED",
            Self::Internal => "INTERNAL",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
