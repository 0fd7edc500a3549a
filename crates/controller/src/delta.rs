//! What changed from one image to the next, so that a node can start and stop
//! partitions without looking at all of them.

use highwater_types::{NodeId, PartitionId, PartitionIndex, TopicId};

use crate::cluster::MetadataVersion;
use crate::image::MetadataImage;
use crate::node::NodeMode;
use crate::partition::{PartitionPhase, PartitionRecord};
use crate::topic::TopicRecord;

/// One thing that changed. Details are in the image that the change led to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetadataChange {
    /// The cluster has its identity.
    ClusterBorn,
    /// The cluster goes on from a single survivor, under another id.
    ClusterRecovered,
    /// The cluster uses a newer level of features.
    FeatureLevelRaised,
    /// A node is new, or says something else about itself.
    NodeChanged(NodeId),
    /// A node came back with an emptied or another data directory: what it held and promised
    /// before is gone. It may say something else about itself, too.
    NodeReborn(NodeId),
    /// Something else is wanted of a node.
    NodeModeChanged(NodeId),
    /// A node is not in the cluster any more.
    NodeRemoved(NodeId),
    /// A topic is new.
    TopicCreated(TopicId),
    /// A topic's settings changed.
    TopicConfigChanged(TopicId),
    /// A topic has new partitions at its end.
    PartitionsAdded {
        /// The topic.
        topic: TopicId,
        /// The first new partition; all after it are new too.
        first: PartitionIndex,
    },
    /// A partition's group was initialized.
    PartitionReady(PartitionId),
    /// Other nodes should hold a partition, or the same ones in another order.
    PartitionReassigned(PartitionId),
    /// A partition's group has the wanted members.
    PartitionSettled(PartitionId),
    /// A partition's group is settled without this node, which may remove what it holds of it, once it
    /// knows that its image is as new as the cluster's. This says when to look;
    /// [`PartitionRecord::is_held_by`] says what is so, also after a restart.
    PartitionLeft {
        /// The partition.
        partition: PartitionId,
        /// The node.
        node: NodeId,
    },
    /// A topic is deleted: serve it no more; its data stays under the tombstone.
    TopicDeleted(TopicId),
    /// A node removed what it held of a deleted topic, and others have not yet.
    TopicDataRemoved {
        /// The deleted topic.
        topic: TopicId,
        /// The node.
        node: NodeId,
    },
    /// The tombstone is gone. This is no licence to remove data.
    TopicForgotten(TopicId),
    /// Producer ids were handed out.
    ProducerIdsAllocated,
}

/// What changed from one version to a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataDelta {
    /// The version before.
    pub from: MetadataVersion,
    /// The version after; equal to `from` when nothing changed.
    pub to: MetadataVersion,
    /// The changes.
    pub changes: Vec<MetadataChange>,
}

impl MetadataDelta {
    /// The changes between two images of one cluster, sorted. What came and went in between
    /// does not show. This is how a node catches up that was given a snapshot.
    pub fn between(old: &MetadataImage, new: &MetadataImage) -> Self {
        let mut changes = Vec::new();
        match (old.cluster(), new.cluster()) {
            (None, Some(_)) => changes.push(MetadataChange::ClusterBorn),
            (Some(before), Some(after)) => {
                if before.id != after.id {
                    changes.push(MetadataChange::ClusterRecovered);
                }
                if before.feature_level != after.feature_level {
                    changes.push(MetadataChange::FeatureLevelRaised);
                }
            }
            _ => {}
        }
        node_changes(old, new, &mut changes);
        if !old.shares_topics_with(new) {
            topic_changes(old, new, &mut changes);
            tombstone_changes(old, new, &mut changes);
        }
        if old.next_producer_id() != new.next_producer_id() {
            changes.push(MetadataChange::ProducerIdsAllocated);
        }
        changes.sort_unstable();
        Self { from: old.version(), to: new.version(), changes }
    }
}

/// What happened to the nodes.
fn node_changes(old: &MetadataImage, new: &MetadataImage, changes: &mut Vec<MetadataChange>) {
    for node in new.nodes() {
        let Some(before) = old.node(node.id) else {
            changes.push(MetadataChange::NodeChanged(node.id));
            if node.mode != NodeMode::Serving {
                changes.push(MetadataChange::NodeModeChanged(node.id));
            }
            continue;
        };
        if before.incarnation != node.incarnation {
            changes.push(MetadataChange::NodeReborn(node.id));
        } else if before.registration() != node.registration() {
            changes.push(MetadataChange::NodeChanged(node.id));
        }
        if (before.mode, before.mode_since) != (node.mode, node.mode_since) {
            changes.push(MetadataChange::NodeModeChanged(node.id));
        }
    }
    let removed = old.nodes().filter(|node| new.node(node.id).is_none());
    changes.extend(removed.map(|node| MetadataChange::NodeRemoved(node.id)));
}

/// What happened to the topics that live now.
fn topic_changes(old: &MetadataImage, new: &MetadataImage, changes: &mut Vec<MetadataChange>) {
    for topic in new.topics() {
        match old.topic(topic.id) {
            None => changes.push(MetadataChange::TopicCreated(topic.id)),
            Some(before) if std::sync::Arc::ptr_eq(before, topic) => {}
            Some(before) => changes_of_topic(before, topic, changes),
        }
    }
}

/// What happened to one topic that lived before and lives now.
fn changes_of_topic(old: &TopicRecord, new: &TopicRecord, changes: &mut Vec<MetadataChange>) {
    if old.overrides != new.overrides {
        changes.push(MetadataChange::TopicConfigChanged(new.id));
    }
    if old.partition_count() < new.partition_count() {
        let first = PartitionIndex(old.partition_count());
        changes.push(MetadataChange::PartitionsAdded { topic: new.id, first });
    }
    for (index, (before, after)) in (0..).zip(old.partitions.iter().zip(&new.partitions)) {
        let id = PartitionId { topic: new.id, index: PartitionIndex(index) };
        changes_of_partition(id, before, after, changes);
    }
}

/// What happened to one partition. A node that left and was wanted again in between never left: it
/// goes on with what it holds, as after a restart.
fn changes_of_partition(
    id: PartitionId,
    old: &PartitionRecord,
    new: &PartitionRecord,
    changes: &mut Vec<MetadataChange>,
) {
    if old.phase != new.phase && new.phase == PartitionPhase::Ready {
        changes.push(MetadataChange::PartitionReady(id));
    }
    let since = |partition: &PartitionRecord| partition.reassignment.as_ref().map(|moving| moving.since);
    if old.replicas != new.replicas || (new.reassignment.is_some() && since(old) != since(new)) {
        changes.push(MetadataChange::PartitionReassigned(id));
    }
    if old.reassignment.is_some() && new.reassignment.is_none() {
        changes.push(MetadataChange::PartitionSettled(id));
    }
    let left = old.holders().filter(|node| !new.is_held_by(*node));
    changes.extend(left.map(|node| MetadataChange::PartitionLeft { partition: id, node }));
}

/// What happened to the topics that are deleted, now or since the old image.
fn tombstone_changes(old: &MetadataImage, new: &MetadataImage, changes: &mut Vec<MetadataChange>) {
    for tombstone in new.tombstones() {
        let topic = tombstone.topic;
        match old.tombstone(topic) {
            None => changes.push(MetadataChange::TopicDeleted(topic)),
            Some(before) => {
                let gone = before.holders.difference(&tombstone.holders);
                let removed = |node: &NodeId| MetadataChange::TopicDataRemoved { topic, node: *node };
                changes.extend(gone.map(removed));
            }
        }
    }
    let known_before = old.topics().map(|topic| topic.id);
    let known_before = known_before.chain(old.tombstones().map(|tombstone| tombstone.topic));
    let forgotten = known_before.filter(|id| new.topic(*id).is_none() && new.tombstone(*id).is_none());
    changes.extend(forgotten.map(MetadataChange::TopicForgotten));
}
