//! Records and snapshots as bytes: protobuf with a version. Bytes that are not understood become an error, never a
//! panic and never a partial value.

mod member;
mod record;
mod snapshot;
mod wire;

pub use record::{decode_records, encode_records};
pub(crate) use snapshot::{decode_snapshot, encode_snapshot};

use highwater_types::{PartitionId, PartitionIndex, TopicId, TopicName};
use prost::Message;
use uuid::Uuid;

use crate::error::GroupsError;
use crate::ids::{GroupName, MemberId};
use crate::partition_set::PartitionSet;

/// The newest version of records and snapshots; this build reads all from 1 on. It rises when a record means
/// what a build before would not know.
const FORMAT_VERSION: u32 = 1;

/// One kind of bytes, for errors that say what was malformed.
#[derive(Clone, Copy)]
struct Reader {
    what: &'static str,
}

impl Reader {
    fn message<M: Message + Default>(self, bytes: &[u8]) -> Result<M, GroupsError> {
        M::decode(bytes).map_err(|error| self.malformed(error.to_string()))
    }

    fn version(self, version: u32) -> Result<(), GroupsError> {
        match version {
            0 => Err(self.malformed("it states no version")),
            1..=FORMAT_VERSION => Ok(()),
            _ => Err(GroupsError::UnknownVersion { what: self.what, version, newest: FORMAT_VERSION }),
        }
    }

    fn present<T>(self, field: Option<T>, name: &str) -> Result<T, GroupsError> {
        field.ok_or_else(|| self.malformed(format!("it has no {name}")))
    }

    fn group(self, text: &str) -> Result<GroupName, GroupsError> {
        GroupName::new(text).map_err(|error| self.malformed(error.to_string()))
    }

    fn member(self, text: &str) -> Result<MemberId, GroupsError> {
        MemberId::new(text).map_err(|error| self.malformed(error.to_string()))
    }

    fn topic_name(self, text: &str) -> Result<TopicName, GroupsError> {
        TopicName::new(text).map_err(|error| self.malformed(error.to_string()))
    }

    fn topic(self, bytes: &[u8]) -> Result<TopicId, GroupsError> {
        match Uuid::from_slice(bytes) {
            Ok(uuid) if !uuid.is_nil() => Ok(TopicId(uuid)),
            Ok(_) => Err(self.malformed("a topic's id is all zeros")),
            Err(_) => Err(self.malformed(format!("a topic's id has {} bytes, not 16", bytes.len()))),
        }
    }

    fn partition(self, partition: &wire::Partition) -> Result<PartitionId, GroupsError> {
        Ok(PartitionId { topic: self.topic(&partition.topic)?, index: PartitionIndex(partition.index) })
    }

    fn partitions(self, topics: &[wire::Topic]) -> Result<PartitionSet, GroupsError> {
        let mut partitions = Vec::new();
        for topic in topics {
            let id = self.topic(&topic.topic)?;
            partitions.extend(
                topic.indexes.iter().map(|index| PartitionId { topic: id, index: PartitionIndex(*index) }),
            );
        }
        Ok(partitions.into())
    }

    fn malformed(self, detail: impl Into<String>) -> GroupsError {
        GroupsError::Malformed { what: self.what, detail: detail.into() }
    }
}

fn write_topic_id(topic: TopicId) -> Vec<u8> {
    topic.0.as_bytes().to_vec()
}

fn write_partition(partition: PartitionId) -> wire::Partition {
    wire::Partition { topic: write_topic_id(partition.topic), index: partition.index.0 }
}

fn write_partitions(partitions: &PartitionSet) -> Vec<wire::Topic> {
    let topic = |(topic, run): (TopicId, &[PartitionId])| wire::Topic {
        topic: write_topic_id(topic),
        indexes: run.iter().map(|partition| partition.index.0).collect(),
    };
    partitions.by_topic().map(topic).collect()
}
