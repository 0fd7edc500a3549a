//! What the cluster's metadata say of a node that shows itself: whether it still belongs to the cluster.
//!
//! It is asked by whoever lets peers in, before the broker runs and while it does. A node that the metadata do not know is no
//! stranger yet: it may have joined a moment ago. Only one that is known to be gone is refused.

use highwater_types::{Incarnation, NodeId};

use crate::metadata::Metadata;

/// The nodes, as far as this node's metadata go. Clones share it.
#[derive(Clone)]
pub struct KnownNodes {
    pub(crate) metadata: Metadata,
}

/// Whether a node belongs to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeStanding {
    /// It does, as far as is known.
    Belongs,
    /// It was removed.
    Removed,
    /// Its data directory was replaced by another.
    Replaced {
        /// The incarnation that counts.
        by: Incarnation,
    },
}

impl KnownNodes {
    /// No metadata yet: everybody belongs.
    pub fn new() -> Self {
        Self { metadata: Metadata::new() }
    }

    /// Whether that life of the node's data directory belongs to the cluster.
    pub fn standing(&self, node: NodeId, incarnation: Incarnation) -> NodeStanding {
        let image = self.metadata.image();
        if image.retired().find(node, incarnation).is_none() {
            return NodeStanding::Belongs;
        }
        match image.node(node) {
            Some(known) => NodeStanding::Replaced { by: known.incarnation },
            None => NodeStanding::Removed,
        }
    }

    /// Waits until that life of the node's data directory does not belong to the cluster any more. Cancel-safe.
    pub(crate) async fn gone(&self, node: NodeId, incarnation: Incarnation) -> NodeStanding {
        let mut images = self.metadata.watch();
        loop {
            let standing = self.standing(node, incarnation);
            if standing != NodeStanding::Belongs {
                return standing;
            }
            if images.changed().await.is_err() {
                // Nothing is ever said again.
                return std::future::pending().await;
            }
        }
    }
}

impl Default for KnownNodes {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use highwater_controller::{FeatureLevel, MetadataCommand, MetadataState, NodeRegistration};
    use highwater_types::{ClusterId, TimestampMs};
    use uuid::Uuid;

    use super::*;

    const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));
    const AT: TimestampMs = TimestampMs(1);

    fn register(node: u64, incarnation: u64) -> MetadataCommand {
        let node = NodeRegistration {
            id: NodeId(node),
            incarnation: Incarnation(incarnation),
            addresses: BTreeMap::new(),
            rack: None,
            feature_level_newest: FeatureLevel::NEWEST,
            registered_at: AT,
        };
        MetadataCommand::RegisterNode { cluster: CLUSTER, node }
    }

    #[test]
    fn nodes_that_were_removed_or_replaced_do_not_belong_and_those_that_are_not_known_yet_do() {
        let known = KnownNodes::new();
        assert_eq!(known.standing(NodeId(2), Incarnation(5)), NodeStanding::Belongs, "no metadata yet");
        let mut state = MetadataState::default();
        let born =
            MetadataCommand::ClusterBorn { cluster: CLUSTER, feature_level: FeatureLevel::NEWEST, at: AT };
        let (node, incarnation, counted_on) = (NodeId(2), Incarnation(5), Vec::new());
        let remove = MetadataCommand::RemoveNode { node, incarnation, counted_on, at: AT };
        for command in [born, register(1, 1), register(2, 5), remove, register(3, 7), register(3, 8)] {
            state.apply(&command).result.expect("accepted");
        }
        known.metadata.applier().restore(&state.snapshot()).expect("its own snapshot");
        let standing = |node, incarnation| known.standing(NodeId(node), Incarnation(incarnation));
        assert_eq!(standing(1, 1), NodeStanding::Belongs);
        assert_eq!(standing(2, 5), NodeStanding::Removed);
        assert_eq!(standing(2, 6), NodeStanding::Belongs, "with an empty directory it joins anew");
        assert_eq!(standing(3, 7), NodeStanding::Replaced { by: Incarnation(8) });
        assert_eq!(standing(3, 8), NodeStanding::Belongs);
        assert_eq!(standing(4, 1), NodeStanding::Belongs, "it may have joined a moment ago");
    }
}
