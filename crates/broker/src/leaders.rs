//! Who leads which partition, as far as this node was told. Soft state: it is lost with the process, and may be
//! old; who is asked in vain says so. Every node tells every other one what it leads.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use highwater_types::{NodeId, PartitionId, Term};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::remote::LeadersUpdate;

/// What one node leads.
pub(crate) type Led = Arc<BTreeMap<PartitionId, Term>>;

/// The leaders of the cluster's partitions.
pub(crate) struct Leaders {
    /// Of other nodes.
    told: RwLock<BTreeMap<PartitionId, (Term, NodeId)>>,
    /// Of this node.
    own: watch::Sender<Led>,
}

impl Leaders {
    /// Nothing is known.
    pub(crate) fn new() -> Self {
        Self { told: RwLock::default(), own: watch::Sender::new(Led::default()) }
    }

    /// The leader that was told of last, of the newest term.
    pub(crate) fn leader(&self, partition: PartitionId) -> Option<NodeId> {
        self.told.read().get(&partition).map(|(_, node)| *node)
    }

    /// The same with its term.
    pub(crate) fn led(&self, partition: PartitionId) -> Option<(Term, NodeId)> {
        self.told.read().get(&partition).copied()
    }

    /// Takes in what another node says of itself.
    pub(crate) fn told_by(&self, node: NodeId, update: &LeadersUpdate) {
        let mut told = self.told.write();
        if update.is_first {
            told.retain(|_, (_, leader)| *leader != node);
        }
        for (partition, term) in &update.left {
            if told.get(partition) == Some(&(*term, node)) {
                told.remove(partition);
            }
        }
        for (partition, term) in &update.led {
            let known = told.entry(*partition).or_insert((*term, node));
            if known.0 <= *term {
                *known = (*term, node);
            }
        }
    }

    /// Forgets what a node led that is gone.
    pub(crate) fn forget(&self, node: NodeId) {
        self.told.write().retain(|_, (_, leader)| *leader != node);
    }

    /// Says what this node leads now.
    pub(crate) fn lead(&self, led: BTreeMap<PartitionId, Term>) {
        self.own.send_if_modified(|own| {
            let changed = **own != led;
            if changed {
                *own = Arc::new(led);
            }
            changed
        });
    }

    /// What this node leads: all of it, then each change. Ends with the broker.
    pub(crate) fn follow_own(&self) -> BoxStream<'static, LeadersUpdate> {
        let own = self.own.subscribe();
        let updates = stream::unfold((own, None::<Led>), |(mut own, before)| async move {
            if before.is_some() {
                own.changed().await.ok()?;
            }
            let now = Arc::clone(&own.borrow_and_update());
            let update = difference(before.as_ref(), &now);
            Some((update, (own, Some(now))))
        });
        updates.boxed()
    }
}

fn difference(before: Option<&Led>, now: &Led) -> LeadersUpdate {
    let Some(before) = before else {
        let led = now.iter().map(|(partition, term)| (*partition, *term)).collect();
        return LeadersUpdate { is_first: true, led, left: Vec::new() };
    };
    let missing_in = |other: &Led| {
        let other = Arc::clone(other);
        move |(partition, term): &(&PartitionId, &Term)| other.get(*partition) != Some(*term)
    };
    let owned = |(partition, term): (&PartitionId, &Term)| (*partition, *term);
    LeadersUpdate {
        is_first: false,
        led: now.iter().filter(missing_in(before)).map(owned).collect(),
        left: before.iter().filter(|(partition, _)| !now.contains_key(partition)).map(owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use highwater_types::{PartitionIndex, TopicId};
    use uuid::Uuid;

    use super::*;

    fn partition(index: u32) -> PartitionId {
        PartitionId { topic: TopicId(Uuid::from_u128(7)), index: PartitionIndex(index) }
    }

    #[tokio::test]
    async fn another_node_learns_all_and_then_what_changes() {
        let (a, b) = (Leaders::new(), Leaders::new());
        a.lead(BTreeMap::from([(partition(0), Term(1)), (partition(1), Term(1))]));
        let mut updates = a.follow_own();
        b.told_by(NodeId(1), &updates.next().await.expect("all"));
        assert_eq!(b.leader(partition(1)), Some(NodeId(1)));
        a.lead(BTreeMap::from([(partition(0), Term(3))]));
        b.told_by(NodeId(1), &updates.next().await.expect("a change"));
        assert_eq!(b.leader(partition(0)), Some(NodeId(1)));
        assert_eq!(b.leader(partition(1)), None);
    }

    #[test]
    fn an_older_leader_that_speaks_late_is_not_believed() {
        let leaders = Leaders::new();
        let led = |term| LeadersUpdate { led: vec![(partition(0), Term(term))], ..LeadersUpdate::default() };
        leaders.told_by(NodeId(2), &led(5));
        leaders.told_by(NodeId(1), &led(4));
        assert_eq!(leaders.leader(partition(0)), Some(NodeId(2)));
        leaders.forget(NodeId(2));
        assert_eq!(leaders.leader(partition(0)), None);
    }
}
