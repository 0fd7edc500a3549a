//! Commands, responses and snapshots as bytes: protobuf with a version. Bytes that are not
//! understood become an error, never a panic and never a partial value.
//!
//! The version of a command is the feature level from which on it is used, that of a snapshot is
//! the level of its cluster. So nodes that know the cluster's level understand all that is sent,
//! and bytes of an earlier level are read and written as ever.

mod command;
mod nodes;
mod response;
mod snapshot;
mod wire;

pub use command::{decode_command, encode_command};
pub use response::{decode_response, encode_response};
pub use snapshot::{decode_snapshot, encode_snapshot};

use highwater_types::{ClusterId, NodeId, PartitionId, PartitionIndex, TopicId};
use prost::Message;
use uuid::Uuid;

use crate::cluster::FeatureLevel;
use crate::error::MetadataError;

/// The newest version of commands and snapshots; this build reads all from 1 on.
const FORMAT_VERSION_NEWEST: u32 = FeatureLevel::NEWEST.0;

/// One kind of bytes, for errors that say what was malformed.
#[derive(Clone, Copy)]
struct Reader {
    what: &'static str,
}

impl Reader {
    fn message<M: Message + Default>(self, bytes: &[u8]) -> Result<M, MetadataError> {
        M::decode(bytes).map_err(|error| self.malformed(error.to_string()))
    }

    fn version(self, version: u32, newest: u32) -> Result<(), MetadataError> {
        match version {
            0 => Err(self.malformed("it states no version")),
            _ if version <= newest => Ok(()),
            _ => Err(MetadataError::UnknownVersion { what: self.what, version, newest }),
        }
    }

    fn topic(self, bytes: &[u8]) -> Result<TopicId, MetadataError> {
        self.uuid(bytes).map(TopicId)
    }

    fn partition(self, partition: Option<wire::PartitionRef>) -> Result<PartitionId, MetadataError> {
        let partition = self.present(partition, "partition")?;
        Ok(PartitionId { topic: self.topic(&partition.topic)?, index: PartitionIndex(partition.index) })
    }

    fn cluster(self, bytes: &[u8]) -> Result<ClusterId, MetadataError> {
        self.uuid(bytes).map(ClusterId)
    }

    /// The nil UUID names nothing: as a topic it would be the metadata group.
    fn uuid(self, bytes: &[u8]) -> Result<Uuid, MetadataError> {
        match Uuid::from_slice(bytes) {
            Ok(uuid) if !uuid.is_nil() => Ok(uuid),
            Ok(_) => Err(self.malformed("an id is all zeros")),
            Err(_) => Err(self.malformed(format!("an id has {} bytes, not 16", bytes.len()))),
        }
    }

    fn present<T>(self, field: Option<T>, name: &str) -> Result<T, MetadataError> {
        field.ok_or_else(|| self.malformed(format!("it has no {name}")))
    }

    fn malformed(self, detail: impl Into<String>) -> MetadataError {
        MetadataError::Malformed { what: self.what, detail: detail.into() }
    }
}

/// A partition as it is written.
fn write_partition_ref(partition: PartitionId) -> wire::PartitionRef {
    wire::PartitionRef { topic: partition.topic.0.as_bytes().to_vec(), index: partition.index.0 }
}

/// Nodes as they are written.
fn write_ids(nodes: &[NodeId]) -> Vec<u64> {
    nodes.iter().map(|node| node.0).collect()
}

/// Nodes as they are read.
fn read_ids(ids: &[u64]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}
