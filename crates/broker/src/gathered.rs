//! What the nodes said when they were asked how they are, held against what the metadata want: which partitions are not as they should be.
//!
//! Pure: it asks nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_controller::{MetadataImage, PartitionRecord, TopicRecord};
use highwater_types::{NodeId, PartitionId, PartitionIndex};

use crate::error::BrokerError;
use crate::overview::PartitionProblem;
use crate::replicas::ReplicaState;
use crate::report::NodeReport;

/// What all nodes said, and the metadata to hold it against.
pub(crate) struct Gathered {
    pub(crate) image: MetadataImage,
    pub(crate) nodes: BTreeMap<NodeId, Result<NodeReport, BrokerError>>,
    /// Who leads what, with its size.
    pub(crate) led: BTreeMap<PartitionId, (NodeId, u64)>,
    /// The partitions that need attention, as their leaders see them.
    pub(crate) attention: BTreeMap<PartitionId, Vec<ReplicaState>>,
}

impl Gathered {
    /// The partitions of all topics, by the topics' names.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (&Arc<TopicRecord>, PartitionId)> {
        let mut topics: Vec<_> = self.image.topics().collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        topics.into_iter().flat_map(|topic| {
            let indexes = (0..topic.partition_count()).map(PartitionIndex);
            indexes.map(move |index| (topic, PartitionId { topic: topic.id, index }))
        })
    }

    pub(crate) fn leader(&self, id: PartitionId) -> Option<NodeId> {
        self.led.get(&id).map(|(node, _)| *node)
    }

    /// Whether enough of a partition's replicas are there to elect a leader.
    pub(crate) fn is_leadable(&self, record: &PartitionRecord) -> bool {
        let there = record.replicas.iter().filter(|node| self.answers(**node)).count();
        there > record.replicas.len() / 2
    }

    fn answers(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(Result::is_ok)
    }

    fn problem(
        &self,
        topic: &TopicRecord,
        id: PartitionId,
        nodes: Vec<NodeId>,
        reason: String,
    ) -> PartitionProblem {
        PartitionProblem { topic: topic.name.as_str().to_owned(), id, leader: self.leader(id), nodes, reason }
    }

    pub(crate) fn unavailable(&self) -> Vec<PartitionProblem> {
        let failed = self.told(|report| &report.failed);
        let leaderless = self.partitions().filter(|(_, id)| !self.led.contains_key(id));
        let problems = leaderless.filter_map(|(topic, id)| {
            let replicas = topic.partition(id.index)?.replicas.to_vec();
            let silent: Vec<NodeId> = replicas.iter().copied().filter(|node| !self.answers(*node)).collect();
            let reason = match silent.as_slice() {
                [] => match failed.get(&id) {
                    None => "it has no leader at the moment".to_owned(),
                    Some(failed) => format!("it has no leader: {}", not_started(failed)),
                },
                silent => format!(
                    "it has no leader: {} of its {} replicas cannot be reached ({})",
                    silent.len(),
                    replicas.len(),
                    list(silent)
                ),
            };
            Some(self.problem(topic, id, if silent.is_empty() { replicas } else { silent }, reason))
        });
        problems.collect()
    }

    pub(crate) fn under_replicated(&self) -> Vec<PartitionProblem> {
        let failed = self.told(|report| &report.failed);
        let problems = self.partitions().filter_map(|(topic, id)| {
            let behind: Vec<&ReplicaState> = self
                .attention
                .get(&id)?
                .iter()
                .filter(|state| !state.is_in_sync && !state.is_leaving)
                .collect();
            let in_sync = self.attention.get(&id)?.iter().filter(|state| state.is_in_sync).count();
            // While a replica moves, the one that it comes from still counts.
            if behind.is_empty() || in_sync >= topic.partition(id.index)?.replicas.len() {
                return None;
            }
            let reasons: Vec<String> = behind
                .iter()
                .map(|state| {
                    let mut failed = failed.get(&id).into_iter().flatten();
                    let failed = failed.find(|(node, _)| *node == state.node);
                    failed.map_or_else(|| state.problem(), |failed| not_started(&[*failed]))
                })
                .collect();
            let nodes = behind.iter().map(|state| state.node).collect();
            Some(self.problem(topic, id, nodes, reasons.join("; ")))
        });
        problems.collect()
    }

    pub(crate) fn quarantined(&self) -> Vec<PartitionProblem> {
        let damaged = self.told(|report| &report.quarantined);
        let problems = self.partitions().filter_map(|(topic, id)| {
            let damaged = damaged.get(&id)?;
            let reasons: Vec<_> =
                damaged.iter().map(|(node, reason)| format!("on node {node}: {reason}")).collect();
            let nodes = damaged.iter().map(|(node, _)| *node).collect();
            Some(self.problem(topic, id, nodes, reasons.join("; ")))
        });
        problems.collect()
    }

    /// What nodes told of their replicas.
    fn told(
        &self,
        of: impl Fn(&NodeReport) -> &[(PartitionId, String)],
    ) -> BTreeMap<PartitionId, Vec<(NodeId, &str)>> {
        let mut told: BTreeMap<PartitionId, Vec<(NodeId, &str)>> = BTreeMap::new();
        for (node, report) in &self.nodes {
            for (id, reason) in report.iter().flat_map(&of) {
                told.entry(*id).or_default().push((*node, reason.as_str()));
            }
        }
        told
    }
}

/// Which replicas could not be started, and why.
fn not_started(failed: &[(NodeId, &str)]) -> String {
    let reasons = failed
        .iter()
        .map(|(node, reason)| format!("on node {node} it could not be started and is tried again: {reason}"));
    reasons.collect::<Vec<_>>().join("; ")
}

pub(crate) fn list(nodes: &[NodeId]) -> String {
    let nodes: Vec<_> = nodes.iter().map(NodeId::to_string).collect();
    nodes.join(", ")
}

#[cfg(test)]
pub(crate) mod tests {
    use highwater_controller::{FeatureLevel, MetadataCommand, MetadataState, NodeRegistration};
    use highwater_types::{ClusterId, ErrorCode, Incarnation, TimestampMs, TopicId};
    use uuid::Uuid;

    use super::*;
    use crate::replicas::ReplicaRole;

    const TOPIC: TopicId = TopicId(Uuid::from_u128(7));
    const AT: TimestampMs = TimestampMs(1);

    /// Three nodes and a topic of two partitions on all of them.
    pub(crate) fn image() -> MetadataImage {
        let mut state = MetadataState::default();
        let cluster = ClusterId(Uuid::nil());
        let born = MetadataCommand::ClusterBorn { cluster, feature_level: FeatureLevel::NEWEST, at: AT };
        state.apply(&born).result.expect("born");
        for id in (1..=3).map(NodeId) {
            let node = NodeRegistration {
                id,
                incarnation: Incarnation(id.0),
                addresses: BTreeMap::new(),
                rack: None,
                feature_level_newest: FeatureLevel::NEWEST,
                registered_at: AT,
            };
            state.apply(&MetadataCommand::RegisterNode { cluster, node }).result.expect("known");
        }
        let create = MetadataCommand::CreateTopic {
            topic: TOPIC,
            name: "orders".to_owned(),
            placement: vec![vec![NodeId(1), NodeId(2), NodeId(3)]; 2],
            overrides: BTreeMap::new(),
            internal: false,
            at: AT,
        };
        state.apply(&create).result.expect("created");
        state.image().clone()
    }

    pub(crate) fn id(index: u32) -> PartitionId {
        PartitionId { topic: TOPIC, index: PartitionIndex(index) }
    }

    pub(crate) fn state(node: u64, is_in_sync: bool) -> ReplicaState {
        ReplicaState {
            node: NodeId(node),
            role: Some(ReplicaRole::Voter),
            is_leader: node == 1,
            is_in_sync,
            is_reachable: true,
            lag_entries: Some(if is_in_sync { 0 } else { 5000 }),
            lag_bytes: Some(0),
            high_watermark: None,
            last_seen: None,
            quarantine: None,
            quarantined_ranges: Vec::new(),
            is_leaving: false,
        }
    }

    fn silent() -> Result<NodeReport, BrokerError> {
        Err(BrokerError::new(ErrorCode::Unavailable, "silent"))
    }

    #[test]
    fn a_partition_without_a_leader_names_the_nodes_that_are_missing() {
        let nodes = BTreeMap::from([
            (NodeId(1), Ok(NodeReport::default())),
            (NodeId(2), silent()),
            (NodeId(3), silent()),
        ]);
        let led = BTreeMap::from([(id(0), (NodeId(1), 10))]);
        let gathered = Gathered { image: image(), nodes, led, attention: BTreeMap::new() };
        let problems = gathered.unavailable();
        assert_eq!(problems.len(), 1);
        assert_eq!((problems[0].id, problems[0].leader), (id(1), None));
        assert_eq!(problems[0].nodes, [NodeId(2), NodeId(3)]);
        assert!(problems[0].reason.contains("2 of its 3 replicas cannot be reached (2, 3)"));
        assert!(gathered.under_replicated().is_empty());
    }

    #[test]
    fn a_replica_that_lags_counts_unless_the_one_that_it_replaces_still_does() {
        let nodes = (1..=3).map(|node| (NodeId(node), Ok(NodeReport::default()))).collect();
        let led = BTreeMap::from([(id(0), (NodeId(1), 10)), (id(1), (NodeId(1), 10))]);
        let lags = vec![state(1, true), state(2, true), state(3, false)];
        let leaving = ReplicaState { is_leaving: true, ..state(4, true) };
        let moves = vec![state(1, true), state(2, true), state(3, false), leaving];
        let attention = BTreeMap::from([(id(0), lags), (id(1), moves)]);
        let gathered = Gathered { image: image(), nodes, led, attention };
        let problems = gathered.under_replicated();
        assert_eq!(problems.len(), 1);
        assert_eq!((problems[0].id, problems[0].nodes.as_slice()), (id(0), &[NodeId(3)][..]));
        assert!(problems[0].reason.contains("node 3 is 5000 entries"), "{}", problems[0].reason);
        assert!(gathered.unavailable().is_empty());
    }

    #[test]
    fn a_replica_that_could_not_be_started_is_no_copy_and_why_is_told() {
        let failed = NodeReport {
            failed: vec![(id(0), "no space".to_owned()), (id(1), "no space".to_owned())],
            ..NodeReport::default()
        };
        let nodes = BTreeMap::from([
            (NodeId(1), Ok(NodeReport::default())),
            (NodeId(2), Ok(NodeReport::default())),
            (NodeId(3), Ok(failed)),
        ]);
        let led = BTreeMap::from([(id(0), (NodeId(1), 10))]);
        // Its log is short, so that it lacks few entries.
        let silent = ReplicaState { lag_entries: None, ..state(3, false) };
        let attention = BTreeMap::from([(id(0), vec![state(1, true), state(2, true), silent])]);
        let gathered = Gathered { image: image(), nodes, led, attention };
        let reason = "on node 3 it could not be started and is tried again: no space";
        let problems = gathered.under_replicated();
        assert_eq!(problems.len(), 1);
        assert_eq!((problems[0].nodes.as_slice(), problems[0].reason.as_str()), (&[NodeId(3)][..], reason));
        let problems = gathered.unavailable();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].reason, format!("it has no leader: {reason}"));
    }

    #[test]
    fn damage_is_told_by_whoever_has_it() {
        let damaged = NodeReport { quarantined: vec![(id(1), "a hole".to_owned())], ..NodeReport::default() };
        let nodes = BTreeMap::from([(NodeId(2), Ok(damaged)), (NodeId(3), silent())]);
        let gathered = Gathered { image: image(), nodes, led: BTreeMap::new(), attention: BTreeMap::new() };
        let problems = gathered.quarantined();
        assert_eq!(problems.len(), 1);
        assert_eq!((problems[0].id, problems[0].nodes.as_slice()), (id(1), &[NodeId(2)][..]));
        assert_eq!(problems[0].reason, "on node 2: a hole");
    }
}
