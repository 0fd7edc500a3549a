//! What can be asked of the broker and what it answers, free of any protocol.
//! The rules for each field are checked where the request is carried out, not here.

use std::time::Duration;

use bytes::Bytes;
use highwater_partition::NewRecord;
use highwater_types::{
    ClusterId, NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId, TimestampMs, TopicId,
};
use tokio::time::Instant;

use crate::error::BrokerError;

/// A topic as a client names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopicRef {
    /// The name, unchecked.
    pub name: String,
    /// If given, the id that the topic of this name must have now.
    pub id: Option<TopicId>,
}

impl TopicRef {
    /// Whatever topic has this name now.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), id: None }
    }
}

/// One batch for one partition.
#[derive(Debug)]
pub struct Produce {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// What to append: all of it or nothing.
    pub data: ProduceData,
    /// When to answer `TIMEOUT`; the batch may still be appended after that.
    pub deadline: Instant,
}

/// What a produce request carries.
#[derive(Debug)]
pub enum ProduceData {
    /// Exactly one RecordBatch v2.
    Batch(Bytes),
    /// Records that the broker builds into one batch.
    Records(Vec<NewRecord>),
}

/// Where a batch was appended. It is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Produced {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record, inclusive.
    pub last_offset: Offset,
    /// With log append time: the timestamp of all records of the batch.
    pub log_append_time: Option<TimestampMs>,
    /// The first offset that exists.
    pub log_start: Offset,
}

/// A read of several partitions.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// What to read, at least one.
    pub partitions: Vec<FetchPartition>,
    /// Bytes to wait for, over all partitions; 0 counts as 1.
    pub min_bytes: usize,
    /// How long to wait for them.
    pub max_wait: Duration,
    /// Most bytes to return; the first batch comes even when it is larger.
    pub max_bytes: usize,
}

/// One partition to read.
#[derive(Debug, Clone)]
pub struct FetchPartition {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
    /// The first offset to return.
    pub offset: Offset,
    /// Most bytes of this partition.
    pub max_bytes: usize,
}

/// What one partition of a fetch gave.
#[derive(Debug, Clone)]
pub struct FetchOutcome {
    /// The topic's id, when the topic is known.
    pub topic_id: Option<TopicId>,
    /// The records, or why there are none.
    pub result: Result<Fetched, BrokerError>,
}

/// A run of whole batches of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Each element is one or more whole batches in offset order. The first may begin below the
    /// offset that was asked for.
    pub batches: Vec<Bytes>,
    /// The first offset after the run; without batches, the offset asked for.
    pub next_offset: Offset,
    /// The first offset that is not committed.
    pub high_watermark: Offset,
    /// The first offset that exists.
    pub log_start: Offset,
}

impl Fetched {
    /// Bytes of all batches.
    pub fn size_bytes(&self) -> usize {
        self.batches.iter().map(Bytes::len).sum()
    }
}

/// What offset is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The log start.
    Earliest,
    /// The high watermark.
    Latest,
    /// The smallest offset whose timestamp is at least this.
    AtTime(TimestampMs),
    /// The first record with the largest timestamp.
    MaxTimestamp,
}

/// An offset that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset; `None` when no record matches.
    pub offset: Option<Offset>,
    /// The timestamp of the record found, for queries by time.
    pub timestamp: Option<TimestampMs>,
}

/// The answers to a list of offset queries, in their order.
#[derive(Debug, Clone)]
pub struct ListedOffsets {
    /// The topic's id.
    pub topic_id: TopicId,
    /// One result for each query.
    pub results: Vec<Result<FoundOffset, BrokerError>>,
}

/// An idempotent producer's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// The id, never given out before.
    pub id: ProducerId,
    /// The epoch.
    pub epoch: ProducerEpoch,
}

/// The cluster as this node sees it.
#[derive(Debug, Clone)]
pub struct ClusterDescription {
    /// The cluster's id.
    pub cluster_id: ClusterId,
    /// The nodes with their client addresses, by id.
    pub nodes: Vec<(NodeId, String)>,
    /// Who leads the metadata group.
    pub controller: Option<NodeId>,
    /// The version of the metadata this was read from.
    pub metadata_version: u64,
    /// The node that answers.
    pub answering_node: NodeId,
    /// How often the cluster went on from one node, the newest last.
    pub recoveries: Vec<ClusterRecovery>,
}

/// That a cluster lost its majority and went on from what one node had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRecovery {
    /// The cluster's id before.
    pub was: ClusterId,
    /// The node.
    pub node: NodeId,
    /// When, by its clock.
    pub at: TimestampMs,
}
