//! What nodes hold while a plan is made.

use std::collections::BTreeMap;

use highwater_types::NodeId;

use crate::image::MetadataImage;
use crate::node::NodeMode;
use crate::shuffle::shuffle;

/// One node, and what it would hold after the moves so far.
pub(super) struct NodeLoad {
    pub(super) rack: Option<String>,
    pub(super) mode: NodeMode,
    pub(super) replicas: u32,
    pub(super) leaders: u32,
    /// Its place in the order that the seed gives, which decides between equals.
    pub(super) rank: usize,
}

/// All registered nodes.
pub(super) struct Load {
    nodes: BTreeMap<NodeId, NodeLoad>,
}

impl Load {
    pub(super) fn of(image: &MetadataImage, seed: u64) -> Self {
        let mut nodes = image.placement_nodes();
        shuffle(&mut nodes, seed);
        let load = |(rank, node): (usize, crate::placement::PlacementNode)| {
            let (replicas, leaders) = (node.replicas, node.leaders);
            (node.id, NodeLoad { rack: node.rack, mode: node.mode, replicas, leaders, rank })
        };
        Self { nodes: nodes.into_iter().enumerate().map(load).collect() }
    }

    /// The nodes that plans give replicas to.
    pub(super) fn serving(&self) -> impl Iterator<Item = (NodeId, &NodeLoad)> {
        let serving = self.nodes.iter().filter(|(_, load)| load.mode == NodeMode::Serving);
        serving.map(|(node, load)| (*node, load))
    }

    /// A node that a partition names, so one that is registered.
    pub(super) fn node(&self, node: NodeId) -> &NodeLoad {
        self.nodes.get(&node).expect("partitions name registered nodes only")
    }

    pub(super) fn node_mut(&mut self, node: NodeId) -> &mut NodeLoad {
        self.nodes.get_mut(&node).expect("partitions name registered nodes only")
    }

    /// How many of the replicas, but for those on `leaving`, are on the rack of `node`.
    pub(super) fn on_rack_of(&self, node: NodeId, replicas: &[NodeId], leaving: NodeId) -> usize {
        let Some(rack) = &self.node(node).rack else { return 0 };
        let staying = replicas.iter().filter(|replica| **replica != leaving && **replica != node);
        staying.filter(|replica| self.node(**replica).rack.as_ref() == Some(rack)).count()
    }

    /// Notes that a replica goes from one node to another.
    pub(super) fn move_replica(&mut self, from: NodeId, to: NodeId) {
        self.node_mut(from).replicas -= 1;
        self.node_mut(to).replicas += 1;
    }

    /// Notes that another node is the preferred leader.
    pub(super) fn move_leader(&mut self, from: NodeId, to: NodeId) {
        self.node_mut(from).leaders -= 1;
        self.node_mut(to).leaders += 1;
    }
}
