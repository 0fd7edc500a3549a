//! Commands, responses and snapshots as bytes: protobuf with a version. Bytes that are not
//! understood become an error, never a panic and never a partial value.

mod command;
mod response;
mod snapshot;
mod wire;

pub use command::{decode_command, encode_command};
pub use response::{decode_response, encode_response};
pub use snapshot::{decode_snapshot, encode_snapshot};

use highwater_types::{ClusterId, NodeId, TopicId};
use prost::Message;
use uuid::Uuid;

use crate::error::MetadataError;

/// The newest version of the persisted and sent forms; there is no older one.
const FORMAT_VERSION: u32 = 1;

/// One kind of bytes, for errors that say what was malformed.
#[derive(Clone, Copy)]
struct Reader {
    what: &'static str,
}

impl Reader {
    fn message<M: Message + Default>(self, bytes: &[u8]) -> Result<M, MetadataError> {
        M::decode(bytes).map_err(|error| self.malformed(error.to_string()))
    }

    fn version(self, version: u32) -> Result<(), MetadataError> {
        match version {
            0 => Err(self.malformed("it states no version")),
            FORMAT_VERSION => Ok(()),
            _ => Err(MetadataError::UnknownVersion { what: self.what, version, newest: FORMAT_VERSION }),
        }
    }

    fn topic(self, bytes: &[u8]) -> Result<TopicId, MetadataError> {
        self.uuid(bytes).map(TopicId)
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

/// A list of nodes as it is written.
fn write_nodes(nodes: &[NodeId]) -> wire::Nodes {
    wire::Nodes { ids: nodes.iter().map(|node| node.0).collect() }
}

/// A list of nodes as it is read.
fn read_nodes(nodes: &wire::Nodes) -> Vec<NodeId> {
    nodes.ids.iter().copied().map(NodeId).collect()
}
