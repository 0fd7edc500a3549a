//! Replicas and reports of nodes, as messages and back: nodes tell each other what clients are told too.

use std::time::Duration;

use bytes::Bytes;
use highwater_broker::{NodeReport, ReplicaRole, ReplicaState};
use highwater_proto::internal::v1 as internal;
use highwater_proto::v1;
use highwater_types::{NodeId, Offset, PartitionId, PartitionIndex, TopicId};
use uuid::Uuid;

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A replica as it is described.
pub(crate) fn replica(state: &ReplicaState) -> v1::ReplicaDescription {
    let role = match state.role {
        None => v1::ReplicaRole::Unspecified,
        Some(ReplicaRole::Voter) => v1::ReplicaRole::Voter,
        Some(ReplicaRole::Learner) => v1::ReplicaRole::Learner,
        Some(ReplicaRole::Missing) => v1::ReplicaRole::Missing,
    };
    v1::ReplicaDescription {
        node_id: state.node.0,
        role: role.into(),
        is_leader: state.is_leader,
        is_in_sync: state.is_in_sync,
        is_reachable: state.is_reachable,
        lag_entries: state.lag_entries,
        lag_bytes: state.lag_bytes,
        high_watermark: state.high_watermark.map(|offset| offset.0),
        last_seen_ms: state.last_seen.map(millis),
        quarantine_reason: state.quarantine.clone().unwrap_or_default(),
        quarantined_ranges: state.quarantined_ranges.iter().map(|(from, below)| range(*from, *below)).collect(),
        is_leaving: state.is_leaving,
    }
}

fn range(from: Offset, below: Offset) -> v1::OffsetRange {
    v1::OffsetRange { start: from.0, end: below.0 }
}

fn replica_state(message: v1::ReplicaDescription) -> ReplicaState {
    let role = match message.role() {
        v1::ReplicaRole::Unspecified => None,
        v1::ReplicaRole::Voter => Some(ReplicaRole::Voter),
        v1::ReplicaRole::Learner => Some(ReplicaRole::Learner),
        v1::ReplicaRole::Missing => Some(ReplicaRole::Missing),
    };
    ReplicaState {
        node: NodeId(message.node_id),
        role,
        is_leader: message.is_leader,
        is_in_sync: message.is_in_sync,
        is_reachable: message.is_reachable,
        lag_entries: message.lag_entries,
        lag_bytes: message.lag_bytes,
        high_watermark: message.high_watermark.map(Offset),
        last_seen: message.last_seen_ms.map(Duration::from_millis),
        quarantine: Some(message.quarantine_reason).filter(|reason| !reason.is_empty()),
        quarantined_ranges: message
            .quarantined_ranges
            .iter()
            .map(|range| (Offset(range.start), Offset(range.end)))
            .collect(),
        is_leaving: message.is_leaving,
    }
}

/// What a node says of itself, as clients are told.
pub(crate) fn report(report: &NodeReport) -> v1::NodeReport {
    v1::NodeReport {
        server_version: report.version.clone(),
        uptime_ms: millis(report.uptime),
        metadata_version: report.metadata_version,
        disk_total_bytes: report.disk_total_bytes,
        disk_free_bytes: report.disk_free_bytes,
        data_bytes: report.data_bytes,
        leaders: count(report.led.len()),
        replicas: report.replicas,
        quarantined: count(report.quarantined.len()),
        read_only_reason: report.read_only.clone().unwrap_or_default(),
    }
}

/// The same with all that another node needs to know.
pub(crate) fn full_report(node: NodeId, told: &NodeReport) -> internal::ReportNodeResponse {
    let mut led: Vec<internal::LedTopic> = Vec::new();
    for (id, size) in &told.led {
        let topic_id = topic_bytes(*id);
        let is_same = led.last().is_some_and(|last| last.topic_id == topic_id);
        if !is_same {
            led.push(internal::LedTopic { topic_id, ..internal::LedTopic::default() });
        }
        if let Some(last) = led.last_mut() {
            last.partitions.push(id.index.0);
            last.sizes_bytes.push(*size);
        }
    }
    let attention = told.attention.iter().map(|(id, states)| internal::LedPartitionReport {
        topic_id: topic_bytes(*id),
        partition: id.index.0,
        replicas: states.iter().map(replica).collect(),
    });
    let quarantined = told.quarantined.iter().map(|(id, reason)| internal::QuarantinedReplica {
        topic_id: topic_bytes(*id),
        partition: id.index.0,
        reason: reason.clone(),
    });
    let failed = told.failed.iter().map(|(id, reason)| internal::QuarantinedReplica {
        topic_id: topic_bytes(*id),
        partition: id.index.0,
        reason: reason.clone(),
    });
    internal::ReportNodeResponse {
        node_id: node.0,
        report: Some(report(told)),
        led,
        attention: attention.collect(),
        quarantined: quarantined.collect(),
        failed: failed.collect(),
    }
}

/// What another node said. Partitions whose ids cannot be read are left out: a newer version may know other kinds.
pub(crate) fn node_report(message: internal::ReportNodeResponse) -> NodeReport {
    let told = message.report.unwrap_or_default();
    let led = message.led.into_iter().flat_map(|topic| {
        let sized = topic.partitions.into_iter().zip(topic.sizes_bytes);
        sized.filter_map(move |(index, size)| Some((partition_id(&topic.topic_id, index)?, size)))
    });
    let attention = message.attention.into_iter().filter_map(|one| {
        let states = one.replicas.into_iter().map(replica_state).collect();
        Some((partition_id(&one.topic_id, one.partition)?, states))
    });
    let quarantined = message
        .quarantined
        .into_iter()
        .filter_map(|one| Some((partition_id(&one.topic_id, one.partition)?, one.reason)));
    let failed = message
        .failed
        .into_iter()
        .filter_map(|one| Some((partition_id(&one.topic_id, one.partition)?, one.reason)));
    NodeReport {
        failed: failed.collect(),
        led: led.collect(),
        attention: attention.collect(),
        quarantined: quarantined.collect(),
        version: told.server_version,
        uptime: Duration::from_millis(told.uptime_ms),
        metadata_version: told.metadata_version,
        disk_total_bytes: told.disk_total_bytes,
        disk_free_bytes: told.disk_free_bytes,
        data_bytes: told.data_bytes,
        replicas: told.replicas,
        read_only: Some(told.read_only_reason).filter(|reason| !reason.is_empty()),
    }
}

fn topic_bytes(id: PartitionId) -> Bytes {
    Bytes::copy_from_slice(id.topic.0.as_bytes())
}

fn partition_id(topic: &[u8], index: u32) -> Option<PartitionId> {
    Some(PartitionId { topic: TopicId(Uuid::from_slice(topic).ok()?), index: PartitionIndex(index) })
}
