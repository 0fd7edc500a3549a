//! Which nodes of the cluster are talked to: a question to whoever knows the cluster's metadata.

use highwater_types::{ClusterId, Incarnation, NodeId};

use crate::error::RefusalCode;
use crate::identity::PeerIdentity;

/// Decides about a node that has shown that it is of this cluster. Both ends ask it before the first request, and the one that serves
/// again and again while the connection lasts.
pub trait Admission: Send + Sync + 'static {
    /// Whether `peer` may be talked to.
    ///
    /// # Errors
    /// Why not; the peer is told.
    fn check(&self, peer: &PeerIdentity) -> Result<(), NotAdmitted>;

    /// Whether `peer`, which is of another cluster, is of what this one was before it went on without the peer.
    ///
    /// # Errors
    /// That it is; the peer is told.
    fn check_stranger(&self, _peer: &PeerIdentity) -> Result<(), NotAdmitted> {
        Ok(())
    }

    /// A peer refused this node, for this reason.
    fn refused(&self, _code: RefusalCode, _reason: &str) {}
}

/// Why a node of this cluster is not talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Its data is from another life than the one that the cluster counts on.
    #[error(
        "the data of node {node} is of incarnation {found}, the cluster knows {known}: the directory was replaced by another one, and cannot come back"
    )]
    StaleIncarnation {
        /// The node.
        node: NodeId,
        /// The incarnation that the cluster knows.
        known: Incarnation,
        /// The one that the node showed.
        found: Incarnation,
    },
    /// It was removed from the cluster.
    #[error(
        "node {node} was removed from the cluster, and its data directory cannot come back; started with an empty one it joins anew"
    )]
    Removed {
        /// The node.
        node: NodeId,
    },
    /// The cluster went on without it.
    #[error(
        "cluster {was} lost its majority and went on as {cluster} without node {node}: what this node has is of before that. \
         Keep a copy if it may be needed, empty its data directory, and start it again to join"
    )]
    LeftBehind {
        /// The node.
        node: NodeId,
        /// The cluster that it belongs to.
        was: ClusterId,
        /// What that is now.
        cluster: ClusterId,
    },
}

impl NotAdmitted {
    pub(crate) fn code(self) -> RefusalCode {
        match self {
            Self::StaleIncarnation { .. } => RefusalCode::StaleIncarnation,
            Self::Removed { .. } => RefusalCode::Removed,
            Self::LeftBehind { .. } => RefusalCode::LeftBehind,
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
