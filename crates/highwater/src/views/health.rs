//! What is wrong with a cluster, worst first, and what to do about each. It reads a status and asks nobody.
//!
//! A cluster is healthy when every node answers and has room, the metadata and every partition have a leader, and
//! every replica keeps up and is whole. What an operator asked for (maintenance, a drain, moves) is worth a notice and
//! is no problem.

use std::collections::BTreeSet;
use std::time::Duration;

use highwater_types::limits::DISK_RESERVE_BYTES;
use serde::Serialize;

use super::cluster_status::{ClusterStatus, PartitionSet};
use super::named_nodes;
use super::node::{NodeMode, NodeView};
use crate::output::{counted, span};

/// Free space below which a disk is worth a notice, in percent.
const DISK_LOW_PERCENT: u64 = 10;
/// How many partitions are named before the rest is counted.
const NAMED_MAX: usize = 5;

/// Its kind, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "snake_case")]
pub(crate) enum FindingKind {
    /// The metadata has no leader: nothing can be changed.
    NoMetadataLeader,
    /// Partitions without a leader: they take and give no records.
    PartitionsUnavailable,
    /// Replicas out of service because what they hold is damaged.
    PartitionsQuarantined,
    /// A node that does not answer.
    NodeUnreachable,
    /// A node that takes no records.
    NodeReadOnly,
    /// A node that has no room for records.
    DiskFull,
    /// Partitions of which a replica is missing or behind.
    PartitionsUnderReplicated,
    /// The cluster says that something is wrong which this program does not know.
    Other,
    /// A node whose disk is nearly full.
    DiskLow,
    /// A node that somebody put into maintenance.
    NodeMaintenance,
    /// A node that is being emptied.
    NodeDraining,
    /// Replicas that are being moved.
    Reassigning,
    /// Nodes of different versions.
    MixedVersions,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct Finding {
    pub(crate) kind: FindingKind,
    /// The node it is about, if it is about one.
    pub(crate) node_id: Option<u64>,
    /// What it is.
    pub(crate) message: String,
    /// What to do, or what happens by itself.
    pub(crate) next: String,
}

/// What is wrong, worst first.
pub(crate) fn problems(status: &ClusterStatus) -> Vec<Finding> {
    use FindingKind as Kind;
    let mut found = Vec::new();
    if status.controller_node_id.is_none() {
        let message = "the metadata has no leader: topics and nodes cannot be changed";
        found.push(of_all(Kind::NoMetadataLeader, message, "a majority of the metadata's voters has to be up"));
    }
    let describe = |first: &str| format!("`highwater partition describe {first}`");
    found.extend(of_partitions(
        &status.unavailable,
        Kind::PartitionsUnavailable,
        ["has no leader and serves nobody", "have no leader and serve nobody"],
        |first| format!("a majority of the replicas has to be up: {}", describe(first)),
    ));
    found.extend(of_partitions(
        &status.quarantined,
        Kind::PartitionsQuarantined,
        ["has a damaged replica", "have a damaged replica"],
        |first| format!("what is damaged is fetched from the other replicas: {}", describe(first)),
    ));
    for node in &status.nodes {
        found.extend((!node.is_reachable).then(|| unreachable(node)));
        found.extend(read_only(node));
        found.extend(full_disk(node));
    }
    found.extend(of_partitions(
        &status.under_replicated,
        Kind::PartitionsUnderReplicated,
        ["lacks replicas in sync", "lack replicas in sync"],
        |first| format!("they catch up by themselves when their nodes are up: {}", describe(first)),
    ));
    if found.is_empty() && !status.is_healthy {
        let next = "this program may be older than the nodes; their logs say more";
        found.push(of_all(Kind::Other, "the cluster says that it is not healthy, and not why", next));
    }
    found
}

/// What somebody asked for, or should know.
pub(crate) fn notices(status: &ClusterStatus) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for node in &status.nodes {
        found.extend(low_disk(node));
        found.extend(of_mode(node));
    }
    if status.reassignments > 0 {
        let count = counted(status.reassignments.into(), "partition");
        let message = format!("{count} {} moving", if status.reassignments == 1 { "is" } else { "are" });
        found.push(of_all(FindingKind::Reassigning, &message, "how far: `highwater reassign status`"));
    }
    let versions: BTreeSet<&str> =
        status.nodes.iter().filter_map(|node| node.server_version.as_deref()).collect();
    if versions.len() > 1 {
        let versions: Vec<&str> = versions.into_iter().collect();
        let message = format!("the nodes run different versions: {}", versions.join(", "));
        found.push(of_all(FindingKind::MixedVersions, &message, "what is new is used when all nodes know it"));
    }
    found
}

fn of_all(kind: FindingKind, message: &str, next: &str) -> Finding {
    Finding { kind, node_id: None, message: message.to_owned(), next: next.to_owned() }
}

fn of_node(kind: FindingKind, node: &NodeView, message: String, next: String) -> Finding {
    Finding { kind, node_id: Some(node.node_id), message, next }
}

/// `what` is said of one partition, and of several.
fn of_partitions(
    set: &PartitionSet,
    kind: FindingKind,
    what: [&str; 2],
    next: impl Fn(&str) -> String,
) -> Option<Finding> {
    if set.count == 0 {
        return None;
    }
    let names: Vec<String> = set.partitions.iter().take(NAMED_MAX).map(|partition| partition.name()).collect();
    let rest = usize::try_from(set.count).unwrap_or(usize::MAX).saturating_sub(names.len());
    let nodes: BTreeSet<u64> =
        set.partitions.iter().flat_map(|partition| &partition.node_ids).copied().collect();
    let nodes: Vec<u64> = nodes.into_iter().collect();
    // Where there is no leader it is no single replica's fault.
    let blames = kind != FindingKind::PartitionsUnavailable && !nodes.is_empty();
    let on = if blames { format!(" on {}", named_nodes(&nodes)) } else { String::new() };
    let what = what[usize::from(set.count != 1)];
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let message = format!("{} {what}{on}: {}{more}", counted(set.count.into(), "partition"), names.join(", "));
    let first = names.first().map_or("TOPIC-N", String::as_str);
    Some(Finding { kind, node_id: None, message, next: next(first) })
}

fn unreachable(node: &NodeView) -> Finding {
    let id = node.node_id;
    let ago = node.last_seen_ms.map(|ms| format!(", last heard of {} ago", span(Duration::from_millis(ms))));
    let message = format!("node {id} does not answer{}", ago.unwrap_or_default());
    let next = match node.mode {
        NodeMode::Maintenance => {
            format!("it is in maintenance; when it is started again: `highwater node activate {id}`")
        }
        NodeMode::Draining if node.replicas == 0 => {
            format!("it is drained; take it out of the cluster: `highwater node remove {id}`")
        }
        NodeMode::Draining => format!("it is being drained: `highwater node drain {id}` shows how far"),
        _ => format!(
            "start it again; if it is lost for good: `highwater node drain {id}`, then `highwater node remove {id}`"
        ),
    };
    of_node(FindingKind::NodeUnreachable, node, message, next)
}

fn read_only(node: &NodeView) -> Option<Finding> {
    let reason = node.read_only_reason.as_ref()?;
    let message = format!("node {} takes no records: {reason}", node.node_id);
    let next = "stop it and look at its data directory with `highwater inspect`; its log says more";
    Some(of_node(FindingKind::NodeReadOnly, node, message, next.to_owned()))
}

fn full_disk(node: &NodeView) -> Option<Finding> {
    // A disk that could not be measured has a size of 0.
    node.disk_total_bytes.filter(|total| *total > 0)?;
    node.disk_free_bytes.filter(|free| *free <= DISK_RESERVE_BYTES)?;
    let message = format!("the disk of node {} is full: it takes no records", node.node_id);
    let next =
        "free some space and it goes on by itself; or shorten a topic's retention with `highwater topic alter`";
    Some(of_node(FindingKind::DiskFull, node, message, next.to_owned()))
}

fn low_disk(node: &NodeView) -> Option<Finding> {
    node.disk_free_bytes.filter(|free| *free > DISK_RESERVE_BYTES)?;
    let percent = node.disk_free_percent().filter(|percent| *percent < DISK_LOW_PERCENT)?;
    let message = format!("the disk of node {} has {percent}% left", node.node_id);
    let next =
        "free some space, shorten a topic's retention, or add a node and `highwater reassign plan --balance`";
    Some(of_node(FindingKind::DiskLow, node, message, next.to_owned()))
}

fn of_mode(node: &NodeView) -> Option<Finding> {
    let id = node.node_id;
    let back = format!("`highwater node activate {id}`");
    // What a node that does not answer waits for is said where that is.
    if !node.is_reachable {
        return None;
    }
    match node.mode {
        NodeMode::Active | NodeMode::Unknown => None,
        NodeMode::Maintenance => {
            let leads = match node.leaders {
                Some(0) | None => "it can be restarted".to_owned(),
                Some(count) => format!("it still leads {}", counted(count.into(), "partition")),
            };
            let message = format!("node {id} is in maintenance: {leads}");
            Some(of_node(FindingKind::NodeMaintenance, node, message, format!("when that is over: {back}")))
        }
        NodeMode::Draining if node.replicas == 0 => {
            let next = format!("take it out of the cluster: `highwater node remove {id}`; or keep it: {back}");
            Some(of_node(FindingKind::NodeDraining, node, format!("node {id} is drained"), next))
        }
        NodeMode::Draining => {
            let message =
                format!("node {id} is being drained: {} left", counted(node.replicas.into(), "replica"));
            let next = format!("how far: `highwater node drain {id}`; to keep it: {back}");
            Some(of_node(FindingKind::NodeDraining, node, message, next))
        }
    }
}
