//! The cluster's metadata at one version: immutable to everyone but the state machine,
//! and cheap to clone, since clones share all that did not change.
//!
//! Invariants: every live topic is found by its id and by its name; no two live topics
//! share a collision key; no id is live and deleted at once; `partition_count` is the
//! sum over the live topics; every node that a partition or a tombstone names is registered;
//! no registered node has an incarnation that is retired.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_types::topic_name::collision_key;
use highwater_types::{Incarnation, NodeId, PartitionId, PartitionIndex, ProducerId, TopicId};

use crate::cluster::{ClusterRecord, MetadataVersion};
use crate::decision::Effect;
use crate::error::MetadataError;
use crate::node::NodeRecord;
use crate::partition::PartitionRecord;
use crate::placement::PlacementNode;
use crate::retired::RetiredIncarnations;
use crate::tombstone::Tombstone;
use crate::topic::TopicRecord;

/// Cluster metadata at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataImage {
    version: MetadataVersion,
    cluster: Option<ClusterRecord>,
    nodes: Arc<BTreeMap<NodeId, NodeRecord>>,
    retired: Arc<RetiredIncarnations>,
    topics: Arc<BTreeMap<TopicId, Arc<TopicRecord>>>,
    /// The live topics by collision key, which is unique among them.
    names: Arc<BTreeMap<String, TopicId>>,
    tombstones: Arc<BTreeMap<TopicId, Tombstone>>,
    next_producer_id: ProducerId,
    partition_count: u32,
}

impl Default for MetadataImage {
    fn default() -> Self {
        Self {
            version: MetadataVersion::default(),
            cluster: None,
            nodes: Arc::default(),
            retired: Arc::default(),
            topics: Arc::default(),
            names: Arc::default(),
            tombstones: Arc::default(),
            next_producer_id: ProducerId(0),
            partition_count: 0,
        }
    }
}

impl MetadataImage {
    /// How many changes led here.
    pub fn version(&self) -> MetadataVersion {
        self.version
    }

    /// The cluster's identity, once it was born.
    pub fn cluster(&self) -> Option<&ClusterRecord> {
        self.cluster.as_ref()
    }

    /// A registered node.
    pub fn node(&self, id: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&id)
    }

    /// The registered nodes, in order of their ids.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &NodeRecord> {
        self.nodes.values()
    }

    /// Incarnations of nodes that must not come back.
    pub fn retired(&self) -> &RetiredIncarnations {
        &self.retired
    }

    /// The registered nodes as [`crate::place`] wants them, with what they hold now.
    pub fn placement_nodes(&self) -> Vec<PlacementNode> {
        let mut nodes: BTreeMap<NodeId, PlacementNode> =
            self.nodes().map(|node| (node.id, PlacementNode::empty(node))).collect();
        for partition in self.topics().flat_map(|topic| &topic.partitions) {
            for (position, replica) in partition.replicas.iter().enumerate() {
                if let Some(node) = nodes.get_mut(replica) {
                    node.replicas += 1;
                    node.leaders += u32::from(position == 0);
                }
            }
        }
        nodes.into_values().collect()
    }

    /// Nodes with the incarnations that they have now.
    pub(crate) fn members(&self, nodes: &[NodeId]) -> Result<Arc<[(NodeId, Incarnation)]>, MetadataError> {
        let member = |node: &NodeId| {
            let known = self.node(*node).ok_or(MetadataError::UnknownNode { node: *node })?;
            Ok((*node, known.incarnation))
        };
        nodes.iter().map(member).collect()
    }

    /// A live topic.
    pub fn topic(&self, id: TopicId) -> Option<&Arc<TopicRecord>> {
        self.topics.get(&id)
    }

    /// The live topic of exactly that name.
    pub fn topic_by_name(&self, name: &str) -> Option<&Arc<TopicRecord>> {
        self.topic_colliding_with(name).filter(|topic| topic.name.as_str() == name)
    }

    /// The live topic that keeps the name from being used: its own, or one that differs
    /// in `.` and `_` only.
    pub fn topic_colliding_with(&self, name: &str) -> Option<&Arc<TopicRecord>> {
        self.topics.get(self.names.get(collision_key(name).as_ref())?)
    }

    /// The live topics, in order of their ids.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<TopicRecord>> {
        self.topics.values()
    }

    /// A partition of a live topic.
    pub fn partition(&self, id: PartitionId) -> Option<&PartitionRecord> {
        self.topic(id.topic)?.partition(id.index)
    }

    /// The partitions of which a node may hold data, wanted or leaving.
    pub fn held_by(&self, node: NodeId) -> impl Iterator<Item = (&TopicRecord, PartitionIndex)> {
        self.topics().flat_map(move |topic| {
            let partitions = (0..).map(PartitionIndex).zip(&topic.partitions);
            let held = partitions.filter(move |(_, partition)| partition.is_held_by(node));
            held.map(|(index, _)| (topic.as_ref(), index))
        })
    }

    /// What remains of a deleted topic.
    pub fn tombstone(&self, id: TopicId) -> Option<&Tombstone> {
        self.tombstones.get(&id)
    }

    /// What remains of deleted topics, in order of their ids.
    pub fn tombstones(&self) -> impl ExactSizeIterator<Item = &Tombstone> {
        self.tombstones.values()
    }

    /// The first producer id that nobody was given.
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }

    /// The partitions of all live topics together.
    pub fn partition_count(&self) -> u32 {
        self.partition_count
    }

    /// Whether the two share their topics or tombstones, so that a comparison can be saved.
    pub fn shares_topics_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.topics, &other.topics) && Arc::ptr_eq(&self.tombstones, &other.tombstones)
    }

    /// Makes decided effects true and counts them as one change.
    pub(crate) fn evolve(&mut self, effects: Vec<Effect>) {
        effects.into_iter().for_each(|effect| self.put(effect));
        self.version = self.version.next();
    }

    /// States which version an image has that was put together from its parts.
    pub(crate) fn set_version(&mut self, version: MetadataVersion) {
        self.version = version;
    }

    /// Makes one effect true.
    pub(crate) fn put(&mut self, effect: Effect) {
        match effect {
            Effect::Cluster(cluster) => self.cluster = Some(cluster),
            Effect::Node(node) => {
                Arc::make_mut(&mut self.nodes).insert(node.id, node);
            }
            Effect::NodeRemoved(node) => {
                Arc::make_mut(&mut self.nodes).remove(&node);
            }
            Effect::Retired(retired) => Arc::make_mut(&mut self.retired).add(retired),
            Effect::Topic(topic) => self.put_topic(topic),
            Effect::Deleted(tombstone) => {
                let removed = Arc::make_mut(&mut self.topics).remove(&tombstone.topic);
                let removed = removed.expect("only a live topic is deleted");
                let key = removed.name.collision_key();
                Arc::make_mut(&mut self.names).remove(key.as_ref());
                self.partition_count -= removed.partition_count();
                Arc::make_mut(&mut self.tombstones).insert(tombstone.topic, tombstone);
            }
            Effect::Tombstone(tombstone) => {
                Arc::make_mut(&mut self.tombstones).insert(tombstone.topic, tombstone);
            }
            Effect::Forgotten(topic) => {
                Arc::make_mut(&mut self.tombstones).remove(&topic);
            }
            Effect::NextProducerId(next) => self.next_producer_id = next,
        }
    }

    /// Adds a topic or replaces the record of one.
    fn put_topic(&mut self, topic: Arc<TopicRecord>) {
        let (id, count) = (topic.id, topic.partition_count());
        let replaced = match Arc::make_mut(&mut self.topics).entry(id) {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                let key = topic.name.collision_key().into_owned();
                let collided = Arc::make_mut(&mut self.names).insert(key, id);
                assert!(collided.is_none(), "two live topics share the key of '{}'", topic.name);
                vacant.insert(topic);
                0
            }
            std::collections::btree_map::Entry::Occupied(mut occupied) => {
                occupied.insert(topic).partition_count()
            }
        };
        self.partition_count = self.partition_count - replaced + count;
    }
}
