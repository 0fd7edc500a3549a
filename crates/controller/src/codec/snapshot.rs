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

mod partition;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use highwater_types::limits::RETIRED_INCARNATIONS_MAX;
use highwater_types::{NodeId, ProducerId, TimestampMs, TopicConfig, TopicName};
use prost::Message;

use self::partition::{read_partition, write_partition};
use super::nodes::{read_cluster, read_member, read_node, write_cluster, write_member, write_node};
use super::{FORMAT_VERSION_NEWEST, Reader, wire};
use crate::cluster::{FeatureLevel, MetadataVersion};
use crate::decision::Effect;
use crate::error::MetadataError;
use crate::image::MetadataImage;
use crate::retired::RetiredIncarnation;
use crate::tombstone::Tombstone;
use crate::topic::TopicRecord;

const READER: Reader = Reader { what: "snapshot" };
const MAGIC: [u8; 4] = *b"HWMS";
const HEADER_BYTES: usize = 12;
const _: () = assert!(HEADER_BYTES == MAGIC.len() + 2 * size_of::<u32>());

/// The image as bytes; equal images give equal bytes.
pub fn encode_snapshot(image: &MetadataImage) -> Bytes {
    let level = level_of(image);
    let body = wire::Snapshot {
        metadata_version: image.version().0,
        cluster: image.cluster().map(write_cluster),
        nodes: image.nodes().map(write_node).collect(),
        topics: image.topics().map(|topic| write_topic(topic, level)).collect(),
        tombstones: image.tombstones().map(write_tombstone).collect(),
        next_producer_id: image.next_producer_id().0,
        retired: image.retired().iter().map(write_retired).collect(),
    }
    .encode_to_vec();
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&level.0.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    out.extend_from_slice(&body);
    out.into()
}

/// The inverse of [`encode_snapshot`].
///
/// # Errors
/// The bytes are damaged, of a newer build, or contradict themselves.
pub fn decode_snapshot(bytes: &[u8]) -> Result<MetadataImage, MetadataError> {
    let (version, body) = checked_body(bytes)?;
    let snapshot: wire::Snapshot = READER.message(body)?;
    let mut image = MetadataImage::default();
    match &snapshot.cluster {
        Some(cluster) => image.put(Effect::Cluster(read_cluster(READER, cluster)?)),
        None if snapshot == wire::Snapshot::default() && version == level_of(&image).0 => return Ok(image),
        None => return Err(READER.malformed("it has contents but no cluster")),
    }
    let level = level_of(&image);
    if level.0 != version {
        return Err(READER.malformed(format!("it is of level {level} and states version {version}")));
    }
    for node in snapshot.nodes {
        let node = read_node(READER, node)?;
        if image.node(node.id).is_some() {
            return Err(READER.malformed(format!("node {} is there twice", node.id)));
        }
        image.put(Effect::Node(node));
    }
    for retired in snapshot.retired {
        put_retired(&mut image, &retired)?;
    }
    for topic in snapshot.topics {
        let topic = read_topic(&image, level, topic)?;
        put_topic(&mut image, topic)?;
    }
    for tombstone in snapshot.tombstones {
        let tombstone = read_tombstone(&image, &tombstone)?;
        put_tombstone(&mut image, tombstone)?;
    }
    if snapshot.next_producer_id < 0 {
        return Err(READER.malformed("the next producer id is negative"));
    }
    image.put(Effect::NextProducerId(ProducerId(snapshot.next_producer_id)));
    image.set_version(MetadataVersion(snapshot.metadata_version));
    Ok(image)
}

/// The level that gives a snapshot its form.
fn level_of(image: &MetadataImage) -> FeatureLevel {
    image.cluster().map_or(FeatureLevel::ONE_NODE, |cluster| cluster.feature_level)
}

/// The version and the body of a snapshot whose header and checksum are right.
fn checked_body(bytes: &[u8]) -> Result<(u32, &[u8]), MetadataError> {
    let too_short = || READER.malformed(format!("{} bytes are no snapshot", bytes.len()));
    let (magic, rest) = bytes.split_first_chunk::<4>().ok_or_else(too_short)?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(too_short)?;
    let (stated, body) = rest.split_first_chunk::<4>().ok_or_else(too_short)?;
    if *magic != MAGIC {
        return Err(READER.malformed("it does not start with HWMS"));
    }
    let version = u32::from_le_bytes(*version);
    READER.version(version, FORMAT_VERSION_NEWEST)?;
    let (stated, actual) = (u32::from_le_bytes(*stated), crc32c::crc32c(body));
    if stated != actual {
        return Err(MetadataError::Checksum { stated, actual });
    }
    Ok((version, body))
}

fn put_retired(image: &mut MetadataImage, retired: &wire::Retired) -> Result<(), MetadataError> {
    let member = READER.present(retired.member.as_ref(), "node of an incarnation that is gone")?;
    let (node, incarnation) = read_member(member);
    if image.retired().find(node, incarnation).is_some() {
        return Err(READER.malformed(format!("incarnation {incarnation} of node {node} is gone twice")));
    }
    if image.node(node).is_some_and(|known| known.incarnation == incarnation) {
        return Err(READER.malformed(format!("node {node} has incarnation {incarnation}, which is gone")));
    }
    if image.retired().iter().len() >= RETIRED_INCARNATIONS_MAX {
        return Err(READER.malformed(format!("more than {RETIRED_INCARNATIONS_MAX} incarnations are gone")));
    }
    let at = TimestampMs(retired.at_ms);
    image.put(Effect::Retired(RetiredIncarnation { node, incarnation, at }));
    Ok(())
}

fn write_retired(retired: &RetiredIncarnation) -> wire::Retired {
    let member = Some(write_member((retired.node, retired.incarnation)));
    wire::Retired { member, at_ms: retired.at.0 }
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

fn write_topic(topic: &TopicRecord, level: FeatureLevel) -> wire::Topic {
    wire::Topic {
        id: topic.id.0.as_bytes().to_vec(),
        name: topic.name.as_str().to_owned(),
        overrides: topic.overrides.clone(),
        partitions: topic.partitions.iter().map(|partition| write_partition(partition, level)).collect(),
        created_at_ms: topic.created_at.0,
    }
}

/// A setting that this build does not take stops the restore: falling back to a default
/// could make retention remove what the topic was told to keep.
fn read_topic(
    image: &MetadataImage,
    level: FeatureLevel,
    topic: wire::Topic,
) -> Result<TopicRecord, MetadataError> {
    if topic.partitions.is_empty() {
        return Err(READER.malformed(format!("topic '{}' has no partitions", topic.name)));
    }
    let partitions = topic.partitions.iter().map(|partition| read_partition(image, level, partition));
    let topic = TopicRecord {
        partitions: partitions.collect::<Result<_, _>>()?,
        id: READER.topic(&topic.id)?,
        name: TopicName::new(&topic.name)?,
        config: TopicConfig::from_overrides(&topic.overrides)?,
        overrides: topic.overrides,
        created_at: TimestampMs(topic.created_at_ms),
    };
    if topic.check_replication_factor(topic.replication_factor()).is_err() {
        let name = topic.name;
        return Err(READER.malformed(format!("partitions of topic '{name}' differ in their replicas")));
    }
    Ok(topic)
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

fn read_tombstone(image: &MetadataImage, tombstone: &wire::Tombstone) -> Result<Tombstone, MetadataError> {
    let holders: BTreeSet<_> = tombstone.holders.iter().copied().map(NodeId).collect();
    if holders.is_empty() {
        return Err(READER.malformed("a tombstone has no holders"));
    }
    if let Some(node) = holders.iter().find(|node| image.node(**node).is_none()) {
        return Err(READER.malformed(format!("a tombstone names node {node}, which is not there")));
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
