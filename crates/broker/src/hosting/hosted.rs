//! What runs for a partition on this node: its Raft group, and what the entries of that are.

use std::sync::Arc;

use highwater_consensus::Group;
use highwater_coordinator::Shard;
use tokio_util::sync::DropGuard;

use super::HostedPartition;

/// A running partition. Clones share it.
#[derive(Clone)]
pub(super) enum Hosted {
    /// Its entries are batches of records.
    Records(HostedPartition, Group),
    /// Its entries are changes to consumer groups.
    Groups(HostedShard, Group),
}

/// A running shard of the cluster's consumer groups. It ends with the last clone.
#[derive(Clone)]
pub(super) struct HostedShard {
    pub(super) shard: Shard<Group>,
    pub(super) _ends: Arc<DropGuard>,
}

impl Hosted {
    pub(super) fn group(&self) -> &Group {
        match self {
            Self::Records(_, group) | Self::Groups(_, group) => group,
        }
    }

    /// Has those look again who wait for records: the partition is stopped.
    pub(super) fn wake_waiters(&self) {
        if let Self::Records(partition, _) = self {
            partition.wake_waiters();
        }
    }
}
