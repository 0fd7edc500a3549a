//! Records as the log holds them: all of one decision in one entry.

use bytes::Bytes;
use highwater_types::{LeaderEpoch, Offset, TimestampMs};
use prost::Message;

use super::member::{read_current, read_description, write_current, write_description};
use super::wire::{self, Change};
use super::{FORMAT_VERSION, Reader, write_partition, write_partitions, write_topic_id};
use crate::error::GroupsError;
use crate::ids::Epoch;
use crate::record::{CommittedOffset, GroupChange, GroupHead, GroupKind, GroupRecord};
use crate::topics::TopicPartitions;

const READER: Reader = Reader { what: "records" };

/// The logged form of the records of one decision; those of several may be joined, in order, and share an entry.
pub fn encode_records(records: &[GroupRecord]) -> Bytes {
    let records = records.iter().map(write_record).collect();
    wire::Records { version: FORMAT_VERSION, records }.encode_to_vec().into()
}

/// The inverse of [`encode_records`].
///
/// # Errors
/// The bytes are not records, or some of a newer build.
pub fn decode_records(bytes: &[u8]) -> Result<Vec<GroupRecord>, GroupsError> {
    let encoded: wire::Records = READER.message(bytes)?;
    READER.version(encoded.version)?;
    encoded.records.into_iter().map(|record| read_record(READER, record)).collect()
}

pub(super) fn write_record(record: &GroupRecord) -> wire::Record {
    let change = match &record.change {
        GroupChange::Group(head) => Change::Group(write_head(head)),
        GroupChange::Deleted => Change::Deleted(wire::Deleted {}),
        GroupChange::Member(description) => Change::Member(write_description(description)),
        GroupChange::MemberRemoved(member) => Change::MemberRemoved(member.as_str().to_owned()),
        GroupChange::Target { member, partitions } => Change::Target(wire::Target {
            member: member.as_str().to_owned(),
            topics: write_partitions(partitions),
        }),
        GroupChange::Assigned(epoch) => Change::Assigned(epoch.0),
        GroupChange::Current { member, current } => Change::Current(write_current(member, current)),
        GroupChange::Offset { partition, offset } => Change::Offset(wire::Offset {
            partition: Some(write_partition(*partition)),
            offset: offset.offset.0,
            leader_epoch: offset.leader_epoch.map(|epoch| epoch.0),
            metadata: offset.metadata.clone(),
            committed_at_ms: offset.committed_at.0,
        }),
        GroupChange::OffsetDeleted(partition) => Change::OffsetDeleted(write_partition(*partition)),
        GroupChange::TopicForgotten(topic) => Change::TopicForgotten(write_topic_id(*topic)),
    };
    wire::Record { group: record.group.as_str().to_owned(), change: Some(change) }
}

pub(super) fn read_record(reader: Reader, record: wire::Record) -> Result<GroupRecord, GroupsError> {
    let change = match reader.present(record.change, "kind of record that this build knows")? {
        Change::Group(head) => GroupChange::Group(read_head(reader, head)?),
        Change::Deleted(wire::Deleted {}) => GroupChange::Deleted,
        Change::Member(description) => GroupChange::Member(read_description(reader, description)?),
        Change::MemberRemoved(member) => GroupChange::MemberRemoved(reader.member(&member)?),
        Change::Target(target) => GroupChange::Target {
            member: reader.member(&target.member)?,
            partitions: reader.partitions(&target.topics)?,
        },
        Change::Assigned(epoch) => GroupChange::Assigned(Epoch(epoch)),
        Change::Current(current) => GroupChange::Current {
            member: reader.member(&current.member)?,
            current: read_current(reader, &current)?,
        },
        Change::Offset(offset) => read_offset(reader, offset)?,
        Change::OffsetDeleted(partition) => GroupChange::OffsetDeleted(reader.partition(&partition)?),
        Change::TopicForgotten(topic) => GroupChange::TopicForgotten(reader.topic(&topic)?),
    };
    Ok(GroupRecord { group: reader.group(&record.group)?, change })
}

fn read_offset(reader: Reader, offset: wire::Offset) -> Result<GroupChange, GroupsError> {
    let partition = reader.partition(&reader.present(offset.partition, "partition")?)?;
    let offset = CommittedOffset {
        offset: Offset(offset.offset),
        leader_epoch: offset.leader_epoch.map(LeaderEpoch),
        metadata: offset.metadata,
        committed_at: TimestampMs(offset.committed_at_ms),
    };
    Ok(GroupChange::Offset { partition, offset })
}

fn write_head(head: &GroupHead) -> wire::Group {
    let GroupKind::Consumer = head.kind;
    let topics = head.topics.iter().map(|(name, known)| wire::NamedTopic {
        name: name.as_str().to_owned(),
        topic: write_topic_id(known.topic),
        count: known.count,
    });
    wire::Group {
        kind: wire::Kind::Consumer.into(),
        epoch: head.epoch.0,
        topics: topics.collect(),
        empty_since_ms: head.empty_since.map(|since| since.0),
    }
}

fn read_head(reader: Reader, head: wire::Group) -> Result<GroupHead, GroupsError> {
    let kind = match head.kind() {
        wire::Kind::Consumer => GroupKind::Consumer,
        wire::Kind::Unspecified => {
            return Err(reader.malformed("a group is of a kind that this build does not know"));
        }
    };
    let topic = |topic: &wire::NamedTopic| {
        let known = TopicPartitions { topic: reader.topic(&topic.topic)?, count: topic.count };
        Ok((reader.topic_name(&topic.name)?, known))
    };
    Ok(GroupHead {
        kind,
        epoch: Epoch(head.epoch),
        topics: head.topics.iter().map(topic).collect::<Result<_, GroupsError>>()?,
        empty_since: head.empty_since_ms.map(TimestampMs),
    })
}
