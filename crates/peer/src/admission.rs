//! Which nodes of the cluster are talked to: a question to whoever knows the cluster's metadata.

use highwater_types::{Incarnation, NodeId};

use crate::error::RefusalCode;
use crate::identity::PeerIdentity;

/// Decides about a node that has shown that it is of this cluster. Both ends ask it, before the first request.
pub trait Admission: Send + Sync + 'static {
    /// Whether `peer` may be talked to.
    ///
    /// # Errors
    /// Why not; the peer is told.
    fn check(&self, peer: &PeerIdentity) -> Result<(), NotAdmitted>;
}

/// Why a node of this cluster is not talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Its data is from another life than the one that the cluster counts on.
    #[error("the data of node {node} is of incarnation {found}, the cluster knows {known}")]
    StaleIncarnation {
        /// The node.
        node: NodeId,
        /// The incarnation that the cluster knows.
        known: Incarnation,
        /// The one that the node showed.
        found: Incarnation,
    },
    /// It was removed from the cluster.
    #[error("node {node} was removed from the cluster")]
    Removed {
        /// The node.
        node: NodeId,
    },
}

impl NotAdmitted {
    pub(crate) fn code(self) -> RefusalCode {
        match self {
            Self::StaleIncarnation { .. } => RefusalCode::StaleIncarnation,
            Self::Removed { .. } => RefusalCode::Removed,
        }
    }
}

/// Admits every node of the cluster: for a node that has no metadata yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct AdmitAll;

impl Admission for AdmitAll {
    fn check(&self, _peer: &PeerIdentity) -> Result<(), NotAdmitted> {
        Ok(())
    }
}
