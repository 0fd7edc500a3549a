//! What a stopped node has of its cluster, group by group, in numbers that can be compared with another survivor's.

use std::collections::{BTreeMap, BTreeSet};

use highwater_server::Standing;
use highwater_types::{ClusterId, GroupId, NodeId, PartitionId, PartitionIndex};
use serde_json::{Value, json};

use super::stopped_node::StoppedNode;
use crate::error::CliError;
use crate::output::Table;

/// See the module.
pub(super) struct Report {
    pub(super) node: NodeId,
    pub(super) cluster: ClusterId,
    groups: Vec<GroupReport>,
    /// Partitions of which this node has nothing, or nothing that can be read.
    absent: Vec<String>,
}

struct GroupReport {
    name: String,
    next_offset: Option<i64>,
    standing: Result<Standing, String>,
}

impl Report {
    pub(super) fn of(node: &StoppedNode) -> Result<Self, CliError> {
        let identity = node.identity();
        let image = node.metadata().ok();
        let mut names = BTreeMap::new();
        let groups = node.groups();
        let has_entries = |standing: &Standing| standing.last.is_some();
        let begun = groups.iter().filter(|(_, standing)| standing.as_ref().is_ok_and(has_entries));
        let begun: BTreeSet<GroupId> = begun.map(|(log, _)| log.id()).collect();
        let mut absent = Vec::new();
        for topic in image.iter().flat_map(|image| image.topics()) {
            names.insert(topic.id, topic.name.to_string());
            for index in (0..).take(topic.partitions.len()) {
                let id = PartitionId { topic: topic.id, index: PartitionIndex(index) };
                if !begun.contains(&GroupId::Partition(id)) {
                    absent.push(format!("{}-{index}", topic.name));
                }
            }
        }
        let name = |id: GroupId| match id {
            GroupId::Metadata => "metadata".to_owned(),
            GroupId::Partition(id) => match names.get(&id.topic) {
                Some(topic) => format!("{topic}-{}", id.index),
                None => id.to_string(),
            },
        };
        let groups = groups.into_iter().map(|(log, standing)| GroupReport {
            name: name(log.id()),
            next_offset: log.segments().map(|_| log.watermarks().log_end().0),
            standing,
        });
        let groups = groups.collect();
        Ok(Self { node: identity.node, cluster: identity.cluster, groups, absent })
    }

    /// Everyone else that votes in some group.
    fn others(&self) -> BTreeSet<NodeId> {
        let standings = self.groups.iter().filter_map(|group| group.standing.as_ref().ok());
        let voters = standings.flat_map(|standing| standing.voters.iter().map(|voter| voter.node));
        voters.filter(|voter| *voter != self.node).collect()
    }

    /// For people.
    pub(super) fn render(&self) -> String {
        let mut table = Table::new(&["GROUP", "TERM", "LAST", "COMMITTED", "NEXT OFFSET", "VOTERS"]);
        for GroupReport { name, next_offset, standing } in &self.groups {
            let offset = next_offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
            let row = match standing {
                Ok(standing) => {
                    let id = |id: Option<highwater_storage::LogId>| {
                        id.map_or_else(|| "-".to_owned(), |id| id.to_string())
                    };
                    let voters: Vec<String> =
                        standing.voters.iter().map(|voter| voter.node.to_string()).collect();
                    let (last, committed) = (id(standing.last), id(standing.committed));
                    vec![name.clone(), standing.term.to_string(), last, committed, offset, voters.join(",")]
                }
                Err(reason) => {
                    let dash = || "-".to_owned();
                    vec![name.clone(), dash(), dash(), dash(), offset, format!("out of service: {reason}")]
                }
            };
            table.row(row);
        }
        format!(
            "node {} of cluster {}\n\n{}\nOf two survivors the one with the higher LAST (term/index, the term first) has more.\n",
            self.node,
            self.cluster,
            table.render()
        )
    }

    /// What may be lost.
    pub(super) fn warning(&self) -> String {
        let lost: Vec<String> = self.others().iter().map(ToString::to_string).collect();
        let absent = match self.absent.len() {
            0 => String::new(),
            count => {
                let some: Vec<&str> = self.absent.iter().take(5).map(String::as_str).collect();
                format!(
                    "  - all of {count} partitions of which this node has nothing ({}{}); they stay unavailable until they are deleted\n",
                    some.join(", "),
                    if count > some.len() { ", ..." } else { "" }
                )
            }
        };
        format!(
            "\nUNSAFE: node {node} is made the only voter of these groups, and the cluster goes on from it under another id.\n\
             Nodes given up: {lost}. What may be lost:\n  \
             - whatever they have after LAST, acknowledged or not: this node cannot know\n{absent}\
             What is between COMMITTED and LAST becomes committed, acknowledged or not.\n\
             Do this only when a majority of the voters is gone for good, and on one node only.\n",
            node = self.node,
            lost = if lost.is_empty() { "none".to_owned() } else { lost.join(", ") },
        )
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        let id = |id: Option<highwater_storage::LogId>| {
            id.map(|id| json!({ "term": id.term.0, "index": id.index.0 }))
        };
        let groups = self.groups.iter().map(|group| match &group.standing {
            Ok(standing) => json!({
                "group": group.name,
                "term": standing.term.0,
                "last": id(standing.last),
                "committed": id(standing.committed),
                "next_offset": group.next_offset,
                "voters": standing.voters.iter().map(|voter| voter.node.0).collect::<Vec<_>>(),
            }),
            Err(reason) => json!({ "group": group.name, "out_of_service": reason }),
        });
        json!({
            "node_id": self.node.0,
            "cluster_id": self.cluster.to_string(),
            "groups": groups.collect::<Vec<_>>(),
            "partitions_absent": self.absent,
        })
    }
}
