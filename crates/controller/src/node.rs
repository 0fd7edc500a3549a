//! A node as the cluster knows it. Whether it is alive is not known here: liveness
//! changes too often to be a replicated fact.

use std::collections::BTreeMap;

use highwater_types::{Incarnation, NodeId, TimestampMs};

use crate::cluster::FeatureLevel;

/// One registered node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// The node, at least 1.
    pub id: NodeId,
    /// The life of its data directory that registered last.
    pub incarnation: Incarnation,
    /// Where it can be reached: `host:port` by the name of the listener.
    pub addresses: BTreeMap<String, String>,
    /// Where it stands: replicas of a partition are spread over racks.
    pub rack: Option<String>,
    /// The newest level that its build knows.
    pub feature_level_newest: FeatureLevel,
    /// When what is above last changed, by the node's clock.
    pub registered_at: TimestampMs,
}

impl NodeRecord {
    /// Whether the two say the same about a node, whenever they were said.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let at = self.registered_at;
        *self == Self { registered_at: at, ..other.clone() }
    }
}
