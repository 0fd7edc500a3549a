//! How the replicas of a partition stand, as far as this node can tell: all of them where it leads, its own where it follows.

use std::time::Duration;

use highwater_consensus::{Group, MemberStanding};
use highwater_controller::PartitionRecord;
use highwater_types::{NodeId, Offset, PartitionId};

use crate::broker::Broker;

/// What a replica is in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaRole {
    /// It votes.
    Voter,
    /// It follows, and does not count yet or not any more.
    Learner,
    /// It is wanted, and no member yet.
    Missing,
}

/// A replica of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaState {
    /// The node that it is on.
    pub node: NodeId,
    /// What it is in the group; none while there is no leader to tell.
    pub role: Option<ReplicaRole>,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether it counts as a copy.
    pub is_in_sync: bool,
    /// Whether its node can be reached.
    pub is_reachable: bool,
    /// Entries that it is not known to have; none of a replica that does not follow.
    pub lag_entries: Option<u64>,
    /// About how many bytes these are.
    pub lag_bytes: Option<u64>,
    /// Its own high watermark.
    pub high_watermark: Option<Offset>,
    /// How long ago its node was heard of.
    pub last_seen: Option<Duration>,
    /// What of its data is damaged, and what is done about it.
    pub quarantine: Option<String>,
    /// Offsets that it does not give out, as they are damaged: each from the first to below the second.
    pub quarantined_ranges: Vec<(Offset, Offset)>,
    /// Whether the partition moves away from it.
    pub is_leaving: bool,
}

impl ReplicaState {
    /// Why it does not count as a copy.
    pub(crate) fn problem(&self) -> String {
        let node = self.node;
        match self.role {
            _ if !self.is_reachable => format!("node {node} cannot be reached"),
            None => format!("nobody knows how far node {node} is"),
            Some(ReplicaRole::Missing) => format!("node {node} has not joined yet"),
            Some(ReplicaRole::Learner | ReplicaRole::Voter) => match self.lag_entries {
                None => format!("the replica on node {node} does not follow"),
                Some(entries) => {
                    let bytes = self.lag_bytes.unwrap_or_default();
                    format!("node {node} is {entries} entries (about {bytes} bytes) behind")
                }
            },
        }
    }
}

impl Broker {
    /// The replicas of a partition: those wanted in their order, then those that leave.
    pub(crate) fn replica_states(&self, id: PartitionId, record: &PartitionRecord) -> Vec<ReplicaState> {
        let group = self.hosting.group(id);
        let standing = group.as_ref().and_then(Group::standing);
        let entry_bytes = group.as_ref().map_or(0, bytes_per_entry);
        record
            .holders()
            .map(|node| {
                let mut state = self.seen_from_here(node);
                state.is_leaving = !record.replicas.contains(&node);
                if let Some(standing) = &standing {
                    judge(&mut state, standing.get(&node), entry_bytes, self.options.node);
                }
                if node == self.options.node {
                    if let Some(damage) = self.damage_of(id) {
                        state.quarantine = Some(damage.reason);
                        state.quarantined_ranges = damage.ranges;
                    }
                    state.high_watermark =
                        group.as_ref().map(|group| group.log().watermarks().high_watermark());
                }
                state
            })
            .collect()
    }

    /// What can be said of a replica on a node without knowing its group.
    fn seen_from_here(&self, node: NodeId) -> ReplicaState {
        let own = node == self.options.node;
        let host = self.hosting.host();
        ReplicaState {
            node,
            role: None,
            is_leader: false,
            is_in_sync: false,
            is_reachable: own || host.is_reachable(node),
            lag_entries: None,
            lag_bytes: None,
            high_watermark: None,
            last_seen: if own { Some(Duration::ZERO) } else { host.last_heard(node) },
            quarantine: None,
            quarantined_ranges: Vec::new(),
            is_leaving: false,
        }
    }
}

/// Adds what the leader knows of a member.
fn judge(state: &mut ReplicaState, standing: Option<&MemberStanding>, entry_bytes: u64, leader: NodeId) {
    let Some(standing) = standing else {
        state.role = (!state.is_leaving).then_some(ReplicaRole::Missing);
        return;
    };
    state.role = Some(if standing.is_voter { ReplicaRole::Voter } else { ReplicaRole::Learner });
    state.is_leader = state.node == leader;
    state.is_reachable = standing.is_reachable;
    state.is_in_sync = standing.is_in_sync();
    // What was known of one that does not follow may not be so any more.
    if standing.is_following {
        state.lag_entries = Some(standing.lag_entries);
        state.lag_bytes = Some(standing.lag_entries.saturating_mul(entry_bytes));
    }
}

/// Bytes of an entry of the group's log, on average.
fn bytes_per_entry(group: &Group) -> u64 {
    let log = group.log();
    let (purged, last) = log.bounds();
    let index = |id: Option<highwater_consensus::LogId>| id.map_or(0, |id| id.index.0 + 1);
    let entries = index(last).saturating_sub(index(purged));
    let stored = log.segments().map_or(0, |segments| segments.size_bytes());
    let tail = u64::try_from(log.tail_bytes()).unwrap_or(u64::MAX);
    stored.saturating_add(tail).checked_div(entries).unwrap_or(0)
}
