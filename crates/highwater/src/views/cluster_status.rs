//! The cluster on one screen: what is wrong first, each with what to type next, then its nodes.

use highwater_client::v1;
use serde::Serialize;

use super::health::{Finding, notices, problems};
use super::ids;
use super::node::{NodeView, node_table};
use super::partition_name::PartitionName;
use crate::output::{Screen, Tone, counted};

/// A partition that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct PartitionProblem {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    pub(crate) leader_node_id: Option<u64>,
    /// The nodes whose replicas it is about.
    pub(crate) node_ids: Vec<u64>,
    pub(crate) reason: String,
}

/// Partitions that have a problem in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct PartitionSet {
    pub(crate) count: u32,
    /// The first of them: of very many, not all.
    pub(crate) partitions: Vec<PartitionProblem>,
}

/// See the module. Serialized it is what `cluster status --output json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct ClusterStatus {
    /// Whether there are no problems.
    pub(crate) is_healthy: bool,
    /// Worst first.
    pub(crate) problems: Vec<Finding>,
    pub(crate) notices: Vec<Finding>,
    pub(crate) cluster_id: String,
    pub(crate) controller_node_id: Option<u64>,
    pub(crate) metadata_voter_ids: Vec<u64>,
    pub(crate) metadata_version: u64,
    pub(crate) feature_level: u32,
    pub(crate) answering_node_id: u64,
    pub(crate) topics: u32,
    pub(crate) partitions: u32,
    /// Partitions without a leader.
    pub(crate) unavailable: PartitionSet,
    /// Partitions with fewer replicas in sync than wanted.
    pub(crate) under_replicated: PartitionSet,
    /// Partitions with a replica that is out of service.
    pub(crate) quarantined: PartitionSet,
    /// Partitions whose replicas are being moved.
    pub(crate) reassignments: u32,
    /// By id.
    pub(crate) nodes: Vec<NodeView>,
}

impl PartitionProblem {
    pub(crate) fn name(&self) -> String {
        PartitionName { topic: self.topic.clone(), partition: self.partition }.to_string()
    }
}

impl From<v1::GetClusterStatusResponse> for ClusterStatus {
    fn from(status: v1::GetClusterStatusResponse) -> Self {
        Self {
            is_healthy: status.is_healthy,
            problems: Vec::new(),
            notices: Vec::new(),
            cluster_id: status.cluster_id,
            controller_node_id: status.controller_node_id,
            metadata_voter_ids: status.metadata_voter_ids,
            metadata_version: status.metadata_version,
            feature_level: status.feature_level,
            answering_node_id: status.answering_node_id,
            topics: status.topics,
            partitions: status.partitions,
            unavailable: status.unavailable.into(),
            under_replicated: status.under_replicated.into(),
            quarantined: status.quarantined.into(),
            reassignments: status.reassignments,
            nodes: status.nodes.into_iter().map(NodeView::from).collect(),
        }
        .judged()
    }
}

impl From<Option<v1::PartitionProblems>> for PartitionSet {
    fn from(problems: Option<v1::PartitionProblems>) -> Self {
        let problems = problems.unwrap_or_default();
        let partition = |problem: v1::PartitionProblem| PartitionProblem {
            topic: problem.topic,
            partition: problem.partition,
            leader_node_id: problem.leader_node_id,
            node_ids: problem.node_ids,
            reason: problem.reason,
        };
        Self { count: problems.count, partitions: problems.partitions.into_iter().map(partition).collect() }
    }
}

impl ClusterStatus {
    /// With what follows from it: problems and notices. Whether it is healthy the nodes judge; what they found is put into words here.
    pub(crate) fn judged(mut self) -> Self {
        self.problems = problems(&self);
        self.notices = notices(&self);
        // An older node may know fewer problems than this program.
        self.is_healthy &= self.problems.is_empty();
        self
    }

    /// What is wrong on a line, or that nothing is.
    pub(crate) fn summary(&self) -> String {
        if self.is_healthy {
            return "healthy".to_owned();
        }
        let messages: Vec<&str> = self.problems.iter().map(|problem| problem.message.as_str()).collect();
        messages.join("; ")
    }

    /// The screen.
    pub(crate) fn render(&self, screen: &Screen) -> String {
        let (word, tone) = if self.is_healthy { ("healthy", Tone::Good) } else { ("unhealthy", Tone::Bad) };
        let count = match self.problems.len() {
            0 => String::new(),
            count => format!(": {}", counted(count as u64, "problem")),
        };
        let mut text = format!("{}{count}\n\n", screen.paint(word, Some(tone)));
        for (findings, tone) in [(&self.problems, Tone::Bad), (&self.notices, Tone::Notice)] {
            for finding in findings {
                let message = screen.wrap(&finding.message, 2);
                text.push_str(&screen.paint(message.trim_end_matches('\n'), Some(tone)));
                text.push('\n');
                text.push_str(&screen.wrap(&finding.next, 6));
            }
            if !findings.is_empty() {
                text.push('\n');
            }
        }
        text.push_str(&self.facts(screen));
        text.push('\n');
        text.push_str(&node_table(&self.nodes).render_on(screen));
        text
    }

    fn facts(&self, screen: &Screen) -> String {
        let leader = match self.controller_node_id {
            Some(node) => format!("led by node {node}"),
            None => "without a leader".to_owned(),
        };
        let version = format!("version {}, feature level {}", self.metadata_version, self.feature_level);
        let voters = match self.metadata_voter_ids.as_slice() {
            [] => String::new(),
            voters => format!(", voters {}", ids(voters)),
        };
        let all_well = self.unavailable.count + self.under_replicated.count + self.quarantined.count == 0;
        let partitions = match self.partitions {
            0 => "none yet: `highwater topic create NAME`".to_owned(),
            1 if all_well => "1, with a leader and all of its replicas".to_owned(),
            count if all_well => format!("{count}, each with a leader and all of its replicas"),
            count => count.to_string(),
        };
        let fact = |name, text: String| screen.fact(name, 12, &text);
        [
            fact("cluster", self.cluster_id.clone()),
            fact("metadata", format!("{leader}{voters}; {version}")),
            fact("partitions", partitions),
        ]
        .concat()
    }
}
