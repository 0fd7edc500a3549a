//! A partition as the cluster wants it: who really is a member of its group, its leader
//! knows.
//!
//! ```text
//! reassign: replicas = wanted, before = the last settled replicas, leaving = all others
//!           that were wanted since          (leader adds learners, changes the membership)
//! cancel:   replicas = before, leaving = all others that were wanted since
//! done:     before and leaving go: who left may remove its data
//! ```
//!
//! Invariants: `replicas` and `leaving` share no node, and every node of `before` is in
//! one of them. So every node that may hold data or be a member is in `replicas` or in
//! `leaving`, and leaves them only when the leader has said that the group is settled.

use std::sync::Arc;

use highwater_types::{Incarnation, NodeId, TimestampMs};

use crate::cluster::MetadataVersion;

/// Whether a partition's group was ever initialized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartitionPhase {
    /// No replica has data: the group may be initialized.
    Creating,
    /// The group has elected a leader once. It is never initialized again: a replica
    /// that finds itself empty lost its data and must not begin a second history.
    Ready,
}

/// A change of a partition's replicas that its group has not completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    /// The replicas that the group had when it was last settled: where a cancellation leads.
    pub before: Arc<[NodeId]>,
    /// Nodes that may still hold data or membership, and are not wanted: in order of their ids.
    pub leaving: Arc<[NodeId]>,
    /// The version that made the replicas what they are. Whoever says that the group is
    /// settled names it: otherwise a word about an earlier change to the same replicas would
    /// pass for one about this, and a member would remove its data.
    pub since: MetadataVersion,
    /// When the replicas were last asked for, by the proposer's clock.
    pub started_at: TimestampMs,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRecord {
    /// The nodes that should hold it, the preferred leader first; never empty, no duplicates.
    pub replicas: Arc<[NodeId]>,
    /// Whether its group was initialized.
    pub phase: PartitionPhase,
    /// While it is `Creating`, and only then: the members with which every replica
    /// initializes the group, in the order of `replicas`. They are those at the partition's
    /// creation, also when a node has another incarnation by now: replicas that began with
    /// different members would be different groups.
    pub initial: Option<Arc<[(NodeId, Incarnation)]>>,
    /// The change of replicas that is under way.
    pub reassignment: Option<Arc<Reassignment>>,
}

impl PartitionRecord {
    /// Nodes that may hold data or membership from before, though they are not wanted.
    pub fn leaving(&self) -> &[NodeId] {
        self.reassignment.as_ref().map_or(&[], |moving| &moving.leaving)
    }

    /// The nodes that may hold data of the partition: those wanted, then those leaving.
    pub fn holders(&self) -> impl Iterator<Item = NodeId> {
        self.replicas.iter().chain(self.leaving()).copied()
    }

    /// Whether the node may hold data of the partition. A node that does not may remove what
    /// it has, once it knows that its image is as new as the cluster's: a node that
    /// restarts sees old images first, in which a later assignment to it is missing.
    pub fn is_held_by(&self, node: NodeId) -> bool {
        self.holders().any(|holder| holder == node)
    }
}
