//! A wanted change of one partition's replicas, as planners give it and commands carry it.

use highwater_types::{NodeId, PartitionId};

/// Moves a partition from some replicas to others. The same nodes in another order only
/// change which leader is preferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMove {
    /// The partition.
    pub partition: PartitionId,
    /// The replicas to have, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// The replicas that the planner saw. When there are others by now the plan is stale.
    pub replicas_before: Vec<NodeId>,
}
