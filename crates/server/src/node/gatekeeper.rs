//! Which nodes this one talks to, and what it makes of being refused itself.

use highwater_broker::{KnownNodes, NodeStanding};
use highwater_peer::{Admission, NotAdmitted, PeerIdentity, RefusalCode};
use highwater_storage::directory::RecoveryRecord;
use highwater_types::ClusterId;
use tokio::sync::watch;

use crate::error::NodeFailure;

/// See the module.
pub(super) struct Gatekeeper {
    cluster: ClusterId,
    /// What the cluster was before this node went on alone.
    was: Vec<ClusterId>,
    /// What the metadata say of the nodes.
    known: KnownNodes,
    /// Where a failure of the node is told.
    report: watch::Sender<Option<NodeFailure>>,
}

impl Gatekeeper {
    pub(super) fn new(
        cluster: ClusterId,
        recovery: Option<&RecoveryRecord>,
        known: KnownNodes,
        report: watch::Sender<Option<NodeFailure>>,
    ) -> Self {
        let was = recovery.map(|recovery| recovery.was.clone()).unwrap_or_default();
        Self { cluster, was, known, report }
    }
}

impl Admission for Gatekeeper {
    /// Refuses nodes that were removed, and data directories that were replaced.
    fn check(&self, peer: &PeerIdentity) -> Result<(), NotAdmitted> {
        let (node, found) = (peer.node, peer.incarnation);
        match self.known.standing(node, found) {
            NodeStanding::Belongs => Ok(()),
            NodeStanding::Removed => Err(NotAdmitted::Removed { node }),
            NodeStanding::Replaced { by: known } => Err(NotAdmitted::StaleIncarnation { node, known, found }),
        }
    }

    fn check_stranger(&self, peer: &PeerIdentity) -> Result<(), NotAdmitted> {
        if self.was.contains(&peer.cluster) {
            let PeerIdentity { node, cluster: was, .. } = *peer;
            return Err(NotAdmitted::LeftBehind { node, was, cluster: self.cluster });
        }
        Ok(())
    }

    /// A node that was shut out must not go on. What it says of the cluster is from before that; and one that was left behind could,
    /// with others that were, make a majority of what the cluster was, and take records that the cluster will never have.
    fn refused(&self, code: RefusalCode, reason: &str) {
        if matches!(code, RefusalCode::Removed | RefusalCode::StaleIncarnation | RefusalCode::LeftBehind) {
            let reason = reason.to_owned();
            self.report.send_replace(Some(NodeFailure::ShutOut { reason }));
        }
    }
}
