//! Whether the cluster goes on without all that one node has stored, which is damaged: the word that lets the node set that aside.
//!
//! What is set aside may have been the last copy of a record, and the vote that made up a majority. So the leader of the metadata says yes
//! only when it is sure that both are elsewhere; unsure is no. Two nodes of three are never both told yes while it matters: what the
//! first one had is with the majority of the others, and as long as the first one has not caught up again as a new member, that
//! majority needs the second.
//!
//! Nothing is decided for the node: its old life goes when the new one registers, and leaders take the new one in step by step
//! ([`crate::supervisor`]), each a committed change to which a majority of the others agrees.

use highwater_consensus::MemberStanding;
use highwater_types::limits::REFUSAL_EXAMPLES_MAX;
use highwater_types::{ClusterId, ErrorCode, Incarnation, NodeId, PartitionId};

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::gathered::Gathered;
use crate::node_admin::find_node;
use crate::replicas::{ReplicaRole, ReplicaState};

impl Broker {
    /// That the cluster goes on without what this life of a node has stored. Asked by the node itself, which takes part in nothing.
    ///
    /// # Errors
    /// `NOT_LEADER` with a hint when this node does not lead the metadata; otherwise what is missing.
    pub async fn spare_data(
        &self,
        cluster: ClusterId,
        node: NodeId,
        incarnation: Incarnation,
    ) -> Result<(), BrokerError> {
        self.lead_metadata_for(cluster)?;
        // To commit something takes a majority of the voters, of whom the node is none now; and the image is as new as the cluster's.
        self.register().await?;
        let gathered = self.gather().await;
        let record = find_node(&gathered.image, node)?;
        if record.incarnation != incarnation {
            let message = format!(
                "the cluster knows node {node} with another data directory than this one: start it with that, or in an empty directory"
            );
            return Err(BrokerError::invalid_request(message));
        }
        // Whoever asks takes part in nothing. A node that does is another process with the same name, on a copy of the directory.
        let standing = self.metadata_group.standing().unwrap_or_default();
        if standing.get(&node).is_some_and(MemberStanding::is_in_sync) {
            let message = format!("node {node} runs elsewhere, or did a moment ago");
            return Err(BrokerError::new(ErrorCode::Unavailable, message));
        }
        let missing = missing_without(&gathered, node);
        if missing.is_empty() {
            tracing::warn!(%node, %incarnation, "the cluster goes on without what a damaged node has stored; it will come back as a new member");
            return Ok(());
        }
        Err(refusal(node, &missing))
    }
}

/// What would be missing without the replicas of a node: partitions by name, and why.
fn missing_without(gathered: &Gathered, node: NodeId) -> Vec<(String, String)> {
    let held = gathered
        .partitions()
        .filter(|(topic, id)| topic.partition(id.index).is_some_and(|record| record.is_held_by(node)));
    let missing = held.filter_map(|(topic, id)| {
        let why = why_needed(gathered, id, node)?;
        Some((format!("{}-{}", topic.name, id.index), why))
    });
    missing.collect()
}

/// Why a partition needs a node's replica, as far as is known.
fn why_needed(gathered: &Gathered, id: PartitionId, node: NodeId) -> Option<String> {
    let Some(leader) = gathered.leader(id).filter(|leader| *leader != node) else {
        return Some("nobody leads it without this replica".to_owned());
    };
    let Some(states) = gathered.attention.get(&id) else {
        return Some(format!("its leader, node {leader}, does not miss this replica yet"));
    };
    let is_voter = |state: &ReplicaState| state.role == Some(ReplicaRole::Voter);
    let whole = states.iter().filter(|state| is_voter(state) && state.node != node && state.is_in_sync).count();
    // One that is being taken in anew may still be a voter, and none that acknowledges anything.
    let voters = states.iter().filter(|state| is_voter(state)).count();
    let of = voters.max(states.iter().filter(|state| !state.is_leaving).count());
    (whole * 2 <= of).then(|| format!("only {whole} of its {of} replicas are voters in sync without this one"))
}

fn refusal(node: NodeId, missing: &[(String, String)]) -> BrokerError {
    let shown: Vec<String> =
        missing.iter().take(REFUSAL_EXAMPLES_MAX).map(|(name, why)| format!("{name}: {why}")).collect();
    let more = if missing.len() > shown.len() { "; …" } else { "" };
    let count = missing.len();
    let message = format!(
        "what node {node} has stored may be needed: {count} of its partitions do not go on without it ({}{more}). Bring the other \
         nodes up; the records of a partition that only this node has come back from a backup, or go with its topic",
        shown.join("; ")
    );
    BrokerError::new(ErrorCode::Unavailable, message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::gathered::tests::{id, image, state};

    const LOST: NodeId = NodeId(3);

    /// What is missing without node 3 when the first partition is led by `leader` and stands so, and the second does well.
    fn missing(leader: Option<u64>, states: Option<Vec<ReplicaState>>) -> Vec<(String, String)> {
        let well = vec![state(1, true), state(2, true), state(3, false)];
        let mut led = BTreeMap::from([(id(1), (NodeId(1), 10))]);
        led.extend(leader.map(|leader| (id(0), (NodeId(leader), 10))));
        let mut attention = BTreeMap::from([(id(1), well)]);
        attention.extend(states.map(|states| (id(0), states)));
        missing_without(&Gathered { image: image(), nodes: BTreeMap::new(), led, attention }, LOST)
    }

    fn learner(node: u64) -> ReplicaState {
        ReplicaState { role: Some(ReplicaRole::Learner), ..state(node, false) }
    }

    #[test]
    fn a_replica_is_spared_while_a_majority_of_all_voters_is_whole_without_it() {
        assert!(missing(Some(1), Some(vec![state(1, true), state(2, true), state(3, false)])).is_empty());
        let short = missing(Some(1), Some(vec![state(1, true), state(2, false), state(3, false)]));
        assert_eq!(short.len(), 1, "{short:?}");
        assert_eq!(short[0].0, "orders-0");
        assert!(short[0].1.contains("only 1 of its 3 replicas"), "{short:?}");
    }

    #[test]
    fn a_partition_that_nobody_else_leads_needs_its_replica() {
        for leader in [None, Some(LOST.0)] {
            let missing = missing(leader, Some(vec![state(3, true)]));
            assert!(missing[0].1.contains("nobody leads it"), "{missing:?}");
        }
    }

    #[test]
    fn a_leader_that_does_not_miss_the_replica_yet_is_asked_again() {
        assert!(missing(Some(1), None)[0].1.contains("does not miss"));
    }

    #[test]
    fn the_second_of_three_is_not_spared_before_the_first_has_caught_up_again() {
        // Node 2 gave up what it had before node 3 asks: two voters are left, then it is back as a learner.
        for states in [vec![state(1, true), state(3, false)], vec![state(1, true), learner(2), state(3, false)]]
        {
            assert!(missing(Some(1), Some(states.clone()))[0].1.contains("only 1 of its"), "{states:?}");
        }
    }
}
