//! Who a node is to its peers: for good, for the life of its data, and for the life of its process.

use highwater_consensus::{Member, Sender};
use highwater_types::{ClusterId, Incarnation, NodeId, ProcessEpoch};

/// Who a node is. Both ends of a connection know it of each other before the first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
    /// Its number in the cluster.
    pub node: NodeId,
    /// The life of its data directory.
    pub incarnation: Incarnation,
    /// The life of its process.
    pub process: ProcessEpoch,
}

impl PeerIdentity {
    /// As the sender of requests.
    pub fn sender(&self) -> Sender {
        Sender { node: self.node, epoch: self.process }
    }

    /// As a member of groups.
    pub fn member(&self) -> Member {
        Member { node: self.node, incarnation: self.incarnation }
    }
}
