//! What a founding has to do, from what the nodes say of themselves. Pure: it asks nobody and changes nothing.
//!
//! Why no two clusters can come of it that share a node that either was founded with. A node is made part of a cluster once, durably,
//! and never of another. Who founds is told last, when all others are part of the cluster. So of two foundings with a node in
//! common at most one gets that far. And every seed of a node is one of the nodes: two clusters never wait for the same seed.

use std::collections::BTreeSet;

use highwater_client::{Introduced, NodeState};
use highwater_types::ClusterId;

/// A node and where it was asked.
#[derive(Debug, Clone)]
pub(super) struct Met {
    pub(super) address: String,
    pub(super) who: Introduced,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Founding {
    pub(super) cluster: ClusterId,
    /// Who joins, in the order in which they are told: positions among the nodes.
    pub(super) joining: Vec<usize>,
    /// Who begins the cluster, after all of them; none when it has begun.
    pub(super) founder: Option<usize>,
}

impl Founding {
    /// Whether every node is part of the cluster already.
    pub(super) fn is_done(&self) -> bool {
        self.joining.is_empty() && self.founder.is_none()
    }

    /// Decides. `nodes` are in order of their ids, each once.
    ///
    /// # Errors
    /// Everything that is in the way.
    pub(super) fn plan(nodes: &[Met]) -> Result<Self, Vec<String>> {
        let mut problems = incompatible(nodes);
        let clusters: BTreeSet<ClusterId> = nodes.iter().filter_map(|node| cluster_of(&node.who)).collect();
        if clusters.len() > 1 {
            problems.extend(nodes.iter().filter_map(|node| {
                let cluster = cluster_of(&node.who)?;
                Some(format!("{node} belongs to cluster {cluster}"))
            }));
            problems
                .push("these are nodes of different clusters: name only those of one, or new ones".to_owned());
            return Err(problems);
        }
        let Some(cluster) = clusters.first().copied() else {
            let founder = (0..nodes.len()).next();
            let cluster = founder.map(|founder| nodes[founder].who.would_found);
            let joining = (1..nodes.len()).collect();
            return match cluster {
                Some(cluster) if problems.is_empty() => Ok(Self { cluster, joining, founder }),
                _ => Err(problems),
            };
        };
        let unborn = |met: &Met| met.who.state == NodeState::Unborn;
        let is_founded = nodes.iter().any(|met| match met.who.state {
            NodeState::Member(_) => true,
            NodeState::Awaiting(_) => met.who.is_founder,
            NodeState::Opening | NodeState::Unborn => false,
        });
        let founder = match is_founded {
            true => None,
            false => {
                let founder = nodes.iter().position(|met| unborn(met) && met.who.would_found == cluster);
                if founder.is_none() {
                    problems.extend(never_founded(nodes, cluster));
                }
                founder
            }
        };
        let joining =
            (0..nodes.len()).filter(|&index| unborn(&nodes[index]) && Some(index) != founder).collect();
        if problems.is_empty() { Ok(Self { cluster, joining, founder }) } else { Err(problems) }
    }
}

impl std::fmt::Display for Met {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node {} at {}", self.who.node, self.address)
    }
}

/// The cluster that a node is part of.
pub(super) fn cluster_of(who: &Introduced) -> Option<ClusterId> {
    match who.state {
        NodeState::Awaiting(cluster) | NodeState::Member(cluster) => Some(cluster),
        NodeState::Opening | NodeState::Unborn => None,
    }
}

/// Nodes that cannot be in one cluster.
fn incompatible(nodes: &[Met]) -> Vec<String> {
    let mut problems = Vec::new();
    for pair in nodes.windows(2) {
        if let [one, other] = pair
            && one.who.node == other.who.node
        {
            let (node, one, other) = (one.who.node, &one.address, &other.address);
            problems.push(format!("{one} and {other} both are node {node}: give one of them another node.id"));
        }
    }
    let oldest = nodes.iter().map(|met| met.who.peer_versions.0).max();
    let newest = nodes.iter().map(|met| met.who.peer_versions.1).min();
    let levels: BTreeSet<u32> = nodes.iter().map(|met| met.who.feature_level_newest).collect();
    if oldest > newest || levels.len() > 1 {
        problems.extend(nodes.iter().map(|met| {
            let ((min, max), level) = (met.who.peer_versions, met.who.feature_level_newest);
            let version = &met.who.server_version;
            format!("{met} runs {version}: protocol {min} to {max}, features up to level {level}")
        }));
        problems.push("these versions do not begin a cluster together: install the same one on all".to_owned());
    }
    problems
}

/// Why a cluster that some nodes wait for will never be.
fn never_founded(nodes: &[Met], cluster: ClusterId) -> Vec<String> {
    let waiting = nodes.iter().filter(|met| cluster_of(&met.who) == Some(cluster));
    let mut problems: Vec<String> =
        waiting.map(|met| format!("{met} waits for cluster {cluster}, which was never founded")).collect();
    problems.push(
        "name the node that was to found it too, if that still runs since then. Otherwise nothing can be in these nodes: \
         stop them, empty their data directories, start them, and type the command again"
            .to_owned(),
    );
    problems
}

#[cfg(test)]
mod tests {
    use highwater_types::NodeId;
    use highwater_types::SystemRandom;

    use super::*;

    fn met(node: u64, state: NodeState) -> Met {
        let who = Introduced {
            node: NodeId(node),
            state,
            is_founder: false,
            process: node,
            would_found: ClusterId::draw(&SystemRandom),
            seeds: Vec::new(),
            peer_versions: (1, 1),
            feature_level_newest: 2,
            server_version: "0.1.0".to_owned(),
        };
        Met { address: format!("n{node}:7400"), who }
    }

    fn unborn(ids: std::ops::RangeInclusive<u64>) -> Vec<Met> {
        ids.map(|node| met(node, NodeState::Unborn)).collect()
    }

    #[test]
    fn new_nodes_join_before_the_first_of_them_founds_the_cluster() {
        let nodes = unborn(1..=3);
        let plan = Founding::plan(&nodes).expect("nothing is in the way");
        let expected = Founding { cluster: nodes[0].who.would_found, joining: vec![1, 2], founder: Some(0) };
        assert_eq!(plan, expected);
    }

    #[test]
    fn a_founding_that_was_cut_short_goes_on_with_the_same_cluster() {
        let mut nodes = unborn(1..=3);
        let cluster = nodes[0].who.would_found;
        nodes[1].who.state = NodeState::Awaiting(cluster);
        let plan = Founding::plan(&nodes).expect("it goes on");
        assert_eq!(plan, Founding { cluster, joining: vec![2], founder: Some(0) });
        nodes[2].who.state = NodeState::Awaiting(cluster);
        nodes[0].who.state = NodeState::Awaiting(cluster);
        nodes[0].who.is_founder = true;
        assert!(Founding::plan(&nodes).expect("it is founded").is_done());
    }

    #[test]
    fn a_cluster_whose_founder_is_another_process_by_now_is_never_founded() {
        let mut nodes = unborn(1..=2);
        nodes[1].who.state = NodeState::Awaiting(ClusterId::draw(&SystemRandom));
        let problems = Founding::plan(&nodes).expect_err("nobody may found it").join("\n");
        assert!(problems.contains("node 2 at n2:7400 waits for cluster"), "{problems}");
        assert!(problems.contains("empty their data directories"), "{problems}");
    }

    #[test]
    fn nodes_of_two_clusters_versions_that_do_not_meet_and_one_id_twice_are_refused() {
        let mut nodes = unborn(1..=3);
        for node in &mut nodes[1..] {
            node.who.state = NodeState::Member(ClusterId::draw(&SystemRandom));
        }
        let problems = Founding::plan(&nodes).expect_err("two clusters").join("\n");
        assert!(problems.contains("different clusters"), "{problems}");
        let mut nodes = unborn(1..=2);
        nodes[1].who.peer_versions = (2, 3);
        let problems = Founding::plan(&nodes).expect_err("no common version").join("\n");
        assert!(problems.contains("protocol 2 to 3"), "{problems}");
        let nodes = [met(1, NodeState::Unborn), met(1, NodeState::Unborn)];
        let problems = Founding::plan(&nodes).expect_err("one id twice").join("\n");
        assert!(problems.contains("both are node 1"), "{problems}");
    }

    #[test]
    fn a_node_that_comes_later_joins_what_was_founded() {
        let cluster = ClusterId::draw(&SystemRandom);
        let nodes = [met(1, NodeState::Member(cluster)), met(2, NodeState::Unborn)];
        let plan = Founding::plan(&nodes).expect("it joins");
        assert_eq!(plan, Founding { cluster, joining: vec![1], founder: None });
    }
}
