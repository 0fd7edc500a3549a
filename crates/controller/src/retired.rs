//! Incarnations of nodes that must not come back: data directories whose node was
//! removed, or registered with another directory since. What they promised as members of
//! a group was given up, so they must not act on it again.
//!
//! Incarnations are drawn at random and have no order, so each is remembered by itself.
//! One list serves nodes that are gone and nodes that live on. It is bounded: when it is
//! full the incarnation that went first is forgotten, which is then taken for a new,
//! emptied directory. Refusing to remove nodes instead would need a human for ever.

use highwater_types::limits::RETIRED_INCARNATIONS_MAX;
use highwater_types::{Incarnation, NodeId, TimestampMs};

/// One incarnation that must not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetiredIncarnation {
    /// The node.
    pub node: NodeId,
    /// The life of its data directory that ended.
    pub incarnation: Incarnation,
    /// When it was replaced or removed, by the clock of whoever proposed that.
    pub at: TimestampMs,
}

/// The incarnations that are gone, in the order in which they went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetiredIncarnations {
    gone: Vec<RetiredIncarnation>,
}

impl RetiredIncarnations {
    /// All of them, the one that went first first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &RetiredIncarnation> {
        self.gone.iter()
    }

    /// When that life of the node's directory ended, if it did.
    pub fn find(&self, node: NodeId, incarnation: Incarnation) -> Option<&RetiredIncarnation> {
        self.gone.iter().find(|gone| gone.node == node && gone.incarnation == incarnation)
    }

    /// Remembers one more, and forgets the first when there are too many.
    pub(crate) fn add(&mut self, retired: RetiredIncarnation) {
        if self.gone.len() >= RETIRED_INCARNATIONS_MAX {
            self.gone.remove(0);
        }
        self.gone.push(retired);
    }
}
