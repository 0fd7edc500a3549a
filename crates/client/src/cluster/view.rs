//! Who leads which partition, and where the nodes are, as far as the client was told. A pure state: it asks nobody.
//!
//! Invariants:
//! - what an older leader epoch says never replaces what a newer one said; an epoch of 0 is unknown;
//! - of one topic name only one life is known: what was told of an earlier one is gone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use highwater_proto::v1::{LeaderHint, NodeDescription, TopicDescription};
use highwater_types::NodeId;

use crate::topic::PartitionKey;

/// Where a partition's leader is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// At this address.
    At(Arc<str>),
    /// The cluster says that there is none now.
    Nobody,
    /// Nobody said anything about it.
    Unknown,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Leader {
    node: Option<NodeId>,
    epoch: u64,
}

#[derive(Debug)]
struct Topic {
    id: Arc<str>,
    leaders: Vec<Leader>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct View {
    nodes: BTreeMap<NodeId, Arc<str>>,
    topics: HashMap<Arc<str>, Topic>,
}

impl View {
    pub(crate) fn whereabouts(&self, key: &PartitionKey) -> Whereabouts {
        let topic = self.topics.get(&key.topic).filter(|topic| topic.id == key.topic_id);
        let leader = topic.and_then(|topic| topic.leaders.get(usize::try_from(key.partition.0).ok()?));
        match leader.map(|leader| leader.node) {
            None => Whereabouts::Unknown,
            Some(None) => Whereabouts::Nobody,
            Some(Some(node)) => self.nodes.get(&node).cloned().map_or(Whereabouts::Unknown, Whereabouts::At),
        }
    }

    /// Whether a leader's node has no address here.
    pub(crate) fn misses_nodes(&self) -> bool {
        let mut leaders = self.topics.values().flat_map(|topic| &topic.leaders);
        self.nodes.is_empty() || leaders.any(|leader| leader.node.is_some_and(|n| !self.nodes.contains_key(&n)))
    }

    pub(crate) fn addresses(&self) -> Vec<Arc<str>> {
        self.nodes.values().cloned().collect()
    }

    /// These are all nodes of the cluster. Returns whether that is news.
    pub(crate) fn take_nodes(&mut self, nodes: &[NodeDescription]) -> bool {
        let nodes = nodes.iter().filter(|node| !node.address.is_empty());
        let nodes = nodes.map(|node| (NodeId(node.node_id), node.address.as_str().into())).collect();
        let is_news = self.nodes != nodes;
        self.nodes = nodes;
        is_news
    }

    /// Returns whether a leader changed.
    pub(crate) fn take_topic(&mut self, described: &TopicDescription) -> bool {
        let name: Arc<str> = described.name.as_str().into();
        let known = self.topics.get(&name).filter(|topic| *topic.id == *described.topic_id);
        let leader = |(index, told): (usize, &highwater_proto::v1::PartitionDescription)| {
            let known = known.and_then(|topic| topic.leaders.get(index)).copied().unwrap_or_default();
            if told.leader_epoch != 0 && told.leader_epoch < known.epoch {
                return known;
            }
            Leader { node: told.leader_node_id.map(NodeId), epoch: told.leader_epoch.max(known.epoch) }
        };
        let leaders: Vec<_> = described.partitions.iter().enumerate().map(leader).collect();
        let is_news = known.is_none_or(|known| known.leaders != leaders);
        self.topics.insert(name, Topic { id: described.topic_id.as_str().into(), leaders });
        is_news
    }

    /// The topic does not exist any more.
    pub(crate) fn forget_topic(&mut self, name: &str) -> bool {
        self.topics.remove(name).is_some()
    }

    /// The node that was asked does not lead the partition, and says who does. Returns whether that is news.
    pub(crate) fn take_hint(&mut self, key: &PartitionKey, hint: &LeaderHint) -> bool {
        let node = NodeId(hint.node_id);
        let before = self.whereabouts(key);
        if !hint.address.is_empty() {
            self.nodes.insert(node, hint.address.as_str().into());
        }
        if let Some(leader) = self.leader_mut(key) {
            leader.node = Some(node);
        }
        self.whereabouts(key) != before
    }

    /// The node at this address does not lead the partition, and does not know who does.
    pub(crate) fn deny(&mut self, key: &PartitionKey, address: &str) {
        if matches!(self.whereabouts(key), Whereabouts::At(leader) if *leader == *address)
            && let Some(leader) = self.leader_mut(key)
        {
            leader.node = None;
        }
    }

    fn leader_mut(&mut self, key: &PartitionKey) -> Option<&mut Leader> {
        let topic = self.topics.get_mut(&key.topic).filter(|topic| topic.id == key.topic_id)?;
        topic.leaders.get_mut(usize::try_from(key.partition.0).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_proto::v1::PartitionDescription;
    use highwater_types::PartitionIndex;

    fn key() -> PartitionKey {
        PartitionKey { topic: "t".into(), topic_id: "id".into(), partition: PartitionIndex(0) }
    }

    fn topic(leader: Option<u64>, epoch: u64) -> TopicDescription {
        let partition =
            PartitionDescription { leader_node_id: leader, leader_epoch: epoch, ..Default::default() };
        let partitions = vec![partition];
        TopicDescription { name: "t".into(), topic_id: "id".into(), partitions, ..Default::default() }
    }

    fn two_nodes() -> View {
        let mut view = View::default();
        let node = |node_id, address: &str| NodeDescription { node_id, address: address.into() };
        view.take_nodes(&[node(1, "a:1"), node(2, "b:1")]);
        view
    }

    #[test]
    fn an_older_epoch_does_not_bring_an_old_leader_back() {
        let mut view = two_nodes();
        assert_eq!(view.whereabouts(&key()), Whereabouts::Unknown);
        assert!(view.take_topic(&topic(Some(2), 5)));
        assert!(!view.take_topic(&topic(Some(1), 4)));
        assert_eq!(view.whereabouts(&key()), Whereabouts::At("b:1".into()));
        assert!(view.take_topic(&topic(Some(1), 6)));
        assert_eq!(view.whereabouts(&key()), Whereabouts::At("a:1".into()));
        assert!(view.take_topic(&topic(None, 7)));
        assert_eq!(view.whereabouts(&key()), Whereabouts::Nobody);
    }

    #[test]
    fn a_hint_moves_one_partition_at_once_and_brings_its_node() {
        let mut view = two_nodes();
        view.take_topic(&topic(Some(1), 5));
        assert!(view.take_hint(&key(), &LeaderHint { node_id: 3, address: "c:1".into() }));
        assert_eq!(view.whereabouts(&key()), Whereabouts::At("c:1".into()));
        view.deny(&key(), "a:1");
        assert_eq!(view.whereabouts(&key()), Whereabouts::At("c:1".into()), "it was another that denied");
        view.deny(&key(), "c:1");
        assert_eq!(view.whereabouts(&key()), Whereabouts::Nobody);
    }

    #[test]
    fn a_topic_that_was_created_again_has_nothing_of_the_one_before() {
        let mut view = two_nodes();
        view.take_topic(&topic(Some(1), 9));
        view.take_topic(&TopicDescription { topic_id: "another".into(), ..topic(Some(2), 1) });
        assert_eq!(view.whereabouts(&key()), Whereabouts::Unknown);
        let key = PartitionKey { topic_id: "another".into(), ..key() };
        assert_eq!(view.whereabouts(&key), Whereabouts::At("b:1".into()));
    }

    #[test]
    fn a_node_that_comes_back_elsewhere_is_found_there() {
        let mut view = two_nodes();
        view.take_topic(&topic(Some(1), 5));
        assert!(!view.misses_nodes());
        view.take_nodes(&[NodeDescription { node_id: 1, address: "a:9".into() }]);
        assert_eq!(view.whereabouts(&key()), Whereabouts::At("a:9".into()));
        view.take_nodes(&[NodeDescription { node_id: 2, address: "b:1".into() }]);
        assert_eq!(view.whereabouts(&key()), Whereabouts::Unknown);
        assert!(view.misses_nodes());
    }
}
