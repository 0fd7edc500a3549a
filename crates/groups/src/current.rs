//! What one member holds, and how far it is on its way to its target (KIP-848).
//!
//! ```text
//!            target changed: give up first         all given up
//!  Stable ───────────────────────────▶ Unrevoked ──────────────┐
//!    ▲  │                                                      ▼
//!    │  └──────── target changed: only more ─────────────▶ Unreleased
//!    └───────────────── got all of the target ─────────────────┘
//! ```
//!
//! Invariants: `held` and `revoking` have no partition in common; `revoking` is empty unless the state is
//! `Unrevoked`; `stated_epoch ≤ epoch`; `since ≤ epoch` for each partition.

use std::collections::BTreeMap;

use highwater_types::PartitionId;

use crate::ids::{Epoch, Revision};
use crate::partition_set::PartitionSet;

/// How a member stands to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberState {
    /// It holds its target of its epoch.
    Stable,
    /// It was told to give up partitions and has not said that it did.
    Unrevoked,
    /// It lacks partitions: others hold them, or they are not computed yet.
    Unreleased,
    /// A static member whose process left for a while: what it holds waits for the next one.
    Away,
}

/// Where a member is on its way to its target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CurrentAssignment {
    /// The member epoch: the assignment that it has reached.
    pub epoch: Epoch,
    /// The epoch that the member itself stated last. When answers are lost it is behind
    /// `epoch`, and the member may go on stating it.
    pub stated_epoch: Epoch,
    /// Counts the changes to `held` and `revoking` that are of the coordinator's making.
    pub revision: Revision,
    /// How it stands to its target.
    pub state: MemberState,
    /// What it may own, each with the epoch in which it was given (KIP-1251).
    pub held: BTreeMap<PartitionId, Epoch>,
    /// What it is to give up and may own until it says that it did.
    pub revoking: BTreeMap<PartitionId, Epoch>,
}

impl CurrentAssignment {
    /// A member that has just joined a group in this epoch.
    pub(crate) fn joined(epoch: Epoch) -> Self {
        Self {
            epoch,
            stated_epoch: epoch,
            revision: Revision::default(),
            state: MemberState::Unreleased,
            held: BTreeMap::new(),
            revoking: BTreeMap::new(),
        }
    }

    /// What the member is told to own.
    pub fn assignment(&self) -> PartitionSet {
        self.held.keys().copied().collect()
    }

    /// The partitions that nobody else may be given: held or not given up yet.
    pub(crate) fn kept(&self) -> impl Iterator<Item = PartitionId> {
        self.held.keys().chain(self.revoking.keys()).copied()
    }

    /// Since which epoch the member may own the partition, if it may.
    pub fn since(&self, partition: PartitionId) -> Option<Epoch> {
        self.held.get(&partition).or_else(|| self.revoking.get(&partition)).copied()
    }
}
