//! Snapshots: the whole metadata as bytes.
//!
//! ```text
//! 0      4         8        12
//! +------+---------+--------+-----------------------------+
//! | HWMS | version | crc32c | protobuf Snapshot           |
//! +------+---------+--------+-----------------------------+
//!  magic   u32 LE    u32 LE   of exactly the rest
//! ```
//!
//! The checksum covers the body. Reading checks what the state machine guarantees, because
//! nodes start and stop partitions by what it says: a snapshot that contradicts itself is
//! refused as a whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use highwater_types::{NodeId, ProducerId, TimestampMs, TopicConfig, TopicName};
use prost::Message;

use super::command::{read_cluster, read_node, write_cluster, write_node};
use super::{FORMAT_VERSION, Reader, wire};
use crate::cluster::MetadataVersion;
use crate::decision::Effect;
use crate::error::MetadataError;
use crate::image::MetadataImage;
use crate::tombstone::Tombstone;
use crate::topic::{PartitionPhase, PartitionRecord, TopicRecord};

const READER: Reader = Reader { what: "snapshot" };
const MAGIC: [u8; 4] = *b"HWMS";
const HEADER_BYTES: usize = 12;
const _: () = assert!(HEADER_BYTES == MAGIC.len() + 2 * size_of::<u32>());

/// The image as bytes; equal images give equal bytes.
pub fn encode_snapshot(image: &MetadataImage) -> Bytes {
    let body = wire::Snapshot {
        metadata_version: image.version().0,
        cluster: image.cluster().map(write_cluster),
        nodes: image.nodes().map(write_node).collect(),
        topics: image.topics().map(|topic| write_topic(topic)).collect(),
        tombstones: image.tombstones().map(write_tombstone).collect(),
        next_producer_id: image.next_producer_id().0,
    }
    .encode_to_vec();
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    out.extend_from_slice(&body);
    out.into()
}

/// The inverse of [`encode_snapshot`].
///
/// # Errors
/// The bytes are damaged, of a newer build, or contradict themselves.
pub fn decode_snapshot(bytes: &[u8]) -> Result<MetadataImage, MetadataError> {
    let snapshot: wire::Snapshot = READER.message(checked_body(bytes)?)?;
    let mut image = MetadataImage::default();
    match &snapshot.cluster {
        Some(cluster) => image.put(Effect::Cluster(read_cluster(READER, cluster)?)),
        None if snapshot == wire::Snapshot::default() => return Ok(image),
        None => return Err(READER.malformed("it has contents but no cluster")),
    }
    for node in snapshot.nodes {
        let node = read_node(node);
        if image.node(node.id).is_some() {
            return Err(READER.malformed(format!("node {} is there twice", node.id)));
        }
        image.put(Effect::Node(node));
    }
    for topic in snapshot.topics {
        put_topic(&mut image, read_topic(topic)?)?;
    }
    for tombstone in snapshot.tombstones {
        put_tombstone(&mut image, read_tombstone(&tombstone)?)?;
    }
    if snapshot.next_producer_id < 0 {
        return Err(READER.malformed("the next producer id is negative"));
    }
    image.put(Effect::NextProducerId(ProducerId(snapshot.next_producer_id)));
    image.set_version(MetadataVersion(snapshot.metadata_version));
    Ok(image)
}

/// The body of a snapshot whose header and checksum are right.
fn checked_body(bytes: &[u8]) -> Result<&[u8], MetadataError> {
    let too_short = || READER.malformed(format!("{} bytes are no snapshot", bytes.len()));
    let (magic, rest) = bytes.split_first_chunk::<4>().ok_or_else(too_short)?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(too_short)?;
    let (stated, body) = rest.split_first_chunk::<4>().ok_or_else(too_short)?;
    if *magic != MAGIC {
        return Err(READER.malformed("it does not start with HWMS"));
    }
    READER.version(u32::from_le_bytes(*version))?;
    let (stated, actual) = (u32::from_le_bytes(*stated), crc32c::crc32c(body));
    if stated != actual {
        return Err(MetadataError::Checksum { stated, actual });
    }
    Ok(body)
}

fn put_topic(image: &mut MetadataImage, topic: TopicRecord) -> Result<(), MetadataError> {
    if image.topic(topic.id).is_some() || image.topic_colliding_with(topic.name.as_str()).is_some() {
        return Err(READER.malformed(format!("topic '{}' is there twice", topic.name)));
    }
    image.put(Effect::Topic(Arc::new(topic)));
    Ok(())
}

fn put_tombstone(image: &mut MetadataImage, tombstone: Tombstone) -> Result<(), MetadataError> {
    let topic = tombstone.topic;
    if image.topic(topic).is_some() || image.tombstone(topic).is_some() {
        return Err(READER.malformed(format!("topic id {topic} is there twice")));
    }
    image.put(Effect::Tombstone(tombstone));
    Ok(())
}

fn write_topic(topic: &TopicRecord) -> wire::Topic {
    wire::Topic {
        id: topic.id.0.as_bytes().to_vec(),
        name: topic.name.as_str().to_owned(),
        overrides: topic.overrides.clone(),
        partitions: topic.partitions.iter().map(write_partition).collect(),
        created_at_ms: topic.created_at.0,
    }
}

/// A setting that this build does not take stops the restore: falling back to a default
/// could make retention remove what the topic was told to keep.
fn read_topic(topic: wire::Topic) -> Result<TopicRecord, MetadataError> {
    if topic.partitions.is_empty() {
        return Err(READER.malformed(format!("topic '{}' has no partitions", topic.name)));
    }
    Ok(TopicRecord {
        id: READER.topic(&topic.id)?,
        name: TopicName::new(&topic.name)?,
        config: TopicConfig::from_overrides(&topic.overrides)?,
        overrides: topic.overrides,
        partitions: topic.partitions.iter().map(read_partition).collect::<Result<_, _>>()?,
        created_at: TimestampMs(topic.created_at_ms),
    })
}

fn write_partition(partition: &PartitionRecord) -> wire::Partition {
    let phase = match partition.phase {
        PartitionPhase::Creating => wire::Phase::Creating,
        PartitionPhase::Ready => wire::Phase::Ready,
    };
    let replicas = partition.replicas.iter().map(|node| node.0).collect();
    wire::Partition { replicas, phase: phase.into() }
}

/// A phase that is not known is never taken for `Creating`: that would license a second
/// history of the partition.
fn read_partition(partition: &wire::Partition) -> Result<PartitionRecord, MetadataError> {
    let phase = match partition.phase() {
        wire::Phase::Creating => PartitionPhase::Creating,
        wire::Phase::Ready => PartitionPhase::Ready,
        wire::Phase::Unspecified => {
            let phase = partition.phase;
            return Err(READER.malformed(format!("a partition has the unknown phase {phase}")));
        }
    };
    if partition.replicas.is_empty() {
        return Err(READER.malformed("a partition has no replicas"));
    }
    let replicas = partition.replicas.iter().copied().map(NodeId).collect();
    Ok(PartitionRecord { replicas, phase })
}

fn write_tombstone(tombstone: &Tombstone) -> wire::Tombstone {
    wire::Tombstone {
        topic: tombstone.topic.0.as_bytes().to_vec(),
        name: tombstone.name.as_str().to_owned(),
        partition_count: tombstone.partition_count,
        deleted_at_ms: tombstone.deleted_at.0,
        data_kept_until_ms: tombstone.data_kept_until.0,
        holders: tombstone.holders.iter().map(|node| node.0).collect(),
    }
}

fn read_tombstone(tombstone: &wire::Tombstone) -> Result<Tombstone, MetadataError> {
    let holders: BTreeSet<_> = tombstone.holders.iter().copied().map(NodeId).collect();
    if holders.is_empty() {
        return Err(READER.malformed("a tombstone has no holders"));
    }
    Ok(Tombstone {
        topic: READER.topic(&tombstone.topic)?,
        name: TopicName::new(&tombstone.name)?,
        partition_count: tombstone.partition_count,
        deleted_at: TimestampMs(tombstone.deleted_at_ms),
        data_kept_until: TimestampMs(tombstone.data_kept_until_ms),
        holders,
    })
}
