//! Why a command was refused, or bytes were not understood. A refused command changes nothing.

use highwater_types::{ErrorCode, Offset, PartitionId, TopicId};

use crate::ids::{Epoch, GroupName, InstanceId, MemberId};

/// What can be wrong with a command, a record or a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupsError {
    /// A name or an id is empty or too long.
    #[error("{what} has 1 to {max} bytes; this one has {bytes}")]
    Name {
        /// What was to be named.
        what: &'static str,
        /// Bytes as given.
        bytes: usize,
        /// Most bytes, inclusive.
        max: usize,
    },
    /// A subscription names no topic, or too many.
    #[error("a member subscribes to 1 to {max} topics, not {topics}")]
    SubscriptionSize {
        /// Topics as given.
        topics: usize,
        /// Most topics, inclusive.
        max: usize,
    },
    /// The assignor is not one of the server's (`UNSUPPORTED_ASSIGNOR`).
    #[error("there is no assignor '{name}'; use uniform or range, or name none")]
    UnsupportedAssignor {
        /// The name as given.
        name: String,
    },
    /// A member wants to take too long, or no time, to give up partitions.
    #[error("a rebalance timeout is 1 to {max} ms, not {requested} ms")]
    RebalanceTimeout {
        /// As given, in milliseconds.
        requested: u128,
        /// Longest, inclusive, in milliseconds.
        max: u64,
    },
    /// The coordinator has as many groups as it can.
    #[error("group '{group}' cannot begin: there are {max} groups; delete some that are empty")]
    TooManyGroups {
        /// The group that was to begin.
        group: GroupName,
        /// Most groups, inclusive.
        max: usize,
    },
    /// The group has as many members as it can (`GROUP_MAX_SIZE_REACHED`).
    #[error(
        "group '{group}' has {max} members and takes no more; end some, or let the operator raise the limit"
    )]
    GroupFull {
        /// The group.
        group: GroupName,
        /// Most members, inclusive.
        max: usize,
    },
    /// There is no such group (`GROUP_ID_NOT_FOUND`).
    #[error("there is no group '{group}'")]
    UnknownGroup {
        /// The group.
        group: GroupName,
    },
    /// The group has members, and what was asked for needs one without (`NON_EMPTY_GROUP`).
    #[error("group '{group}' has members ({members}, such as {example}); end them first, then try again")]
    GroupNotEmpty {
        /// The group.
        group: GroupName,
        /// How many members it has.
        members: usize,
        /// One of them.
        example: MemberId,
    },
    /// The group has no such member (`UNKNOWN_MEMBER_ID`).
    #[error("group '{group}' has no member {member}: it left or was silent for too long; join again")]
    UnknownMember {
        /// The group.
        group: GroupName,
        /// The member.
        member: MemberId,
    },
    /// The member states an epoch that it cannot be in (`FENCED_MEMBER_EPOCH`).
    #[error("member {member} is in epoch {current}, not {stated}; drop all partitions and join again")]
    FencedEpoch {
        /// The member.
        member: MemberId,
        /// The epoch in the request.
        stated: Epoch,
        /// The member's epoch.
        current: Epoch,
    },
    /// The member says that it owns what it was not given, or what was taken from it.
    #[error(
        "member {member} does not hold {partition}, which it says it owns; drop all partitions and join again"
    )]
    NotGiven {
        /// The member.
        member: MemberId,
        /// The first such partition.
        partition: PartitionId,
    },
    /// The static member left for a while: its place waits for the next process.
    #[error("member {member} left for a while; join again")]
    MemberAway {
        /// The member.
        member: MemberId,
    },
    /// Another member fills the place of this instance (`FENCED_INSTANCE_ID`).
    #[error(
        "instance {instance} is member {current} by now, not {member}; end this process, or name it otherwise"
    )]
    FencedInstance {
        /// The instance.
        instance: InstanceId,
        /// The member in the request.
        member: MemberId,
        /// The member that fills its place.
        current: MemberId,
    },
    /// A member joins in the place of another that has not left (`UNRELEASED_INSTANCE_ID`).
    #[error("member {current} is in the place of instance {instance} until it leaves or its session ends")]
    UnreleasedInstance {
        /// The instance.
        instance: InstanceId,
        /// The member that fills its place.
        current: MemberId,
    },
    /// A member joins again as another instance, or as none.
    #[error("member {member} joined before with another instance id, or none; a process keeps it for its life")]
    OtherInstance {
        /// The member.
        member: MemberId,
    },
    /// A dynamic member cannot leave for a while: nothing says who comes back.
    #[error("member {member} has no instance id, so it leaves for good or not at all")]
    NotStatic {
        /// The member.
        member: MemberId,
    },
    /// A commit does not come from the member that holds the partition (`STALE_MEMBER_EPOCH`, KIP-1251).
    #[error("{partition} cannot be committed: member {member} does not hold it since epoch {stated} or before")]
    StaleCommit {
        /// The partition.
        partition: PartitionId,
        /// The member.
        member: MemberId,
        /// The epoch in the request.
        stated: Epoch,
    },
    /// The topic of an offset is not there: it was deleted, or is not known here yet.
    #[error("there is no topic {topic}")]
    UnknownTopic {
        /// The topic.
        topic: TopicId,
    },
    /// The topic has no such partition.
    #[error("there is no partition {partition}")]
    UnknownPartition {
        /// The partition.
        partition: PartitionId,
    },
    /// The offsets of a topic are in use by members that subscribe to it (`GROUP_SUBSCRIBED_TO_TOPIC`).
    #[error(
        "offsets of {partition} are in use: members of group '{group}' subscribe to its topic; end them first"
    )]
    TopicInUse {
        /// The group.
        group: GroupName,
        /// The partition.
        partition: PartitionId,
    },
    /// No offset is negative.
    #[error("{offset} is no offset")]
    NegativeOffset {
        /// As given.
        offset: Offset,
    },
    /// The text that goes with an offset is too long (`OFFSET_METADATA_TOO_LARGE`).
    #[error("the text that goes with an offset has at most {max} bytes, not {bytes}; keep it elsewhere")]
    OffsetMetadataTooLong {
        /// Bytes as given.
        bytes: usize,
        /// Most bytes, inclusive.
        max: usize,
    },
    /// The group has offsets of as many partitions as it can.
    #[error(
        "group '{group}' has offsets of {max} partitions and takes no more; delete those that are not needed"
    )]
    TooManyOffsets {
        /// The group.
        group: GroupName,
        /// Most partitions, inclusive.
        max: usize,
    },
    /// Bytes of a newer build.
    #[error("the {what} is of version {version}; this build knows versions up to {newest}: upgrade it")]
    UnknownVersion {
        /// What kind of bytes.
        what: &'static str,
        /// Their version.
        version: u32,
        /// The newest version that this build knows.
        newest: u32,
    },
    /// Bytes that mean nothing, or records that contradict what came before.
    #[error("the {what} is malformed: {detail}")]
    Malformed {
        /// What kind of bytes.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// Damaged bytes.
    #[error("the snapshot is damaged: its checksum is {actual:08x}, not {stated:08x}")]
    Checksum {
        /// The checksum in the bytes.
        stated: u32,
        /// The checksum of the bytes.
        actual: u32,
    },
}

impl GroupsError {
    /// The kind of error that a client sees.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Name { .. }
            | Self::SubscriptionSize { .. }
            | Self::RebalanceTimeout { .. }
            | Self::NotStatic { .. }
            | Self::OtherInstance { .. }
            | Self::NegativeOffset { .. }
            | Self::OffsetMetadataTooLong { .. } => ErrorCode::InvalidRequest,
            Self::UnsupportedAssignor { .. } | Self::UnknownVersion { .. } => ErrorCode::Unsupported,
            Self::TooManyGroups { .. } | Self::GroupFull { .. } | Self::TooManyOffsets { .. } => {
                ErrorCode::Throttled
            }
            Self::UnknownGroup { .. } => ErrorCode::UnknownGroup,
            Self::GroupNotEmpty { .. } | Self::TopicInUse { .. } => ErrorCode::GroupNotEmpty,
            Self::UnknownMember { .. } => ErrorCode::UnknownMember,
            Self::FencedEpoch { .. }
            | Self::NotGiven { .. }
            | Self::MemberAway { .. }
            | Self::FencedInstance { .. } => ErrorCode::FencedMember,
            Self::UnreleasedInstance { .. } => ErrorCode::InstanceInUse,
            Self::StaleCommit { .. } => ErrorCode::StaleMember,
            Self::UnknownTopic { .. } => ErrorCode::UnknownTopicId,
            Self::UnknownPartition { .. } => ErrorCode::UnknownTopicOrPartition,
            Self::Malformed { .. } | Self::Checksum { .. } => ErrorCode::Internal,
        }
    }
}
