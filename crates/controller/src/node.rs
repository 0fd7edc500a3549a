//! A node as the cluster knows it. Whether it is alive is not known here: liveness
//! changes too often to be a replicated fact.

use std::collections::BTreeMap;
use std::fmt;

use highwater_types::{Incarnation, NodeId, TimestampMs};

use crate::cluster::FeatureLevel;

/// What an operator wants of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum NodeMode {
    /// It takes replicas and leads.
    #[default]
    Serving,
    /// It is about to be restarted: leaders move away, replicas stay.
    Maintenance,
    /// It is about to be removed: leaders and replicas move away, and none come.
    Draining,
}

impl fmt::Display for NodeMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving => "serving",
            Self::Maintenance => "maintenance",
            Self::Draining => "draining",
        })
    }
}

/// What a node says about itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRegistration {
    /// The node, at least 1.
    pub id: NodeId,
    /// The life of its data directory.
    pub incarnation: Incarnation,
    /// Where it can be reached: `host:port` by the name of the listener.
    pub addresses: BTreeMap<String, String>,
    /// Where it stands: replicas of a partition are spread over racks.
    pub rack: Option<String>,
    /// The newest level that its build knows.
    pub feature_level_newest: FeatureLevel,
    /// When it says so, by the node's clock.
    pub registered_at: TimestampMs,
}

/// One registered node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// The node, at least 1.
    pub id: NodeId,
    /// The life of its data directory that registered last. Earlier ones never come back.
    pub incarnation: Incarnation,
    /// Where it can be reached: `host:port` by the name of the listener.
    pub addresses: BTreeMap<String, String>,
    /// Where it stands: replicas of a partition are spread over racks.
    pub rack: Option<String>,
    /// The newest level that its build knows.
    pub feature_level_newest: FeatureLevel,
    /// When what is above last changed, by the node's clock.
    pub registered_at: TimestampMs,
    /// What an operator wants of it; registering does not change that.
    pub mode: NodeMode,
    /// When the mode last changed, by the proposer's clock; none while nobody changed it.
    pub mode_since: Option<TimestampMs>,
}

impl NodeRecord {
    /// A node that registers for the first time, or again after it was removed.
    pub(crate) fn new(said: &NodeRegistration) -> Self {
        Self {
            id: said.id,
            incarnation: said.incarnation,
            addresses: said.addresses.clone(),
            rack: said.rack.clone(),
            feature_level_newest: said.feature_level_newest,
            registered_at: said.registered_at,
            mode: NodeMode::Serving,
            mode_since: None,
        }
    }

    /// The record after the node said something new about itself.
    pub(crate) fn updated(&self, said: &NodeRegistration) -> Self {
        Self { mode: self.mode, mode_since: self.mode_since, ..Self::new(said) }
    }

    /// Whether the node says what is known already, whenever it says so.
    pub(crate) fn says_the_same(&self, said: &NodeRegistration) -> bool {
        *self == Self { registered_at: self.registered_at, ..self.updated(said) }
    }

    /// What the node said last.
    pub fn registration(&self) -> NodeRegistration {
        NodeRegistration {
            id: self.id,
            incarnation: self.incarnation,
            addresses: self.addresses.clone(),
            rack: self.rack.clone(),
            feature_level_newest: self.feature_level_newest,
            registered_at: self.registered_at,
        }
    }
}
