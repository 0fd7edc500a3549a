//! The commands that change cluster metadata. Whatever is not a function of the
//! metadata itself (ids, times, placement) was drawn by the proposer and is in the command.

use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_types::{
    ClusterId, ConfigOverrides, Incarnation, NodeId, PartitionId, PartitionIndex, TimestampMs, TopicId,
};

use crate::cluster::{FeatureLevel, MetadataVersion, Recovery};
use crate::codec;
use crate::error::MetadataError;
use crate::node::{NodeMode, NodeRegistration};
use crate::partition_move::PartitionMove;

/// A change to one setting of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// Gives the topic a value of its own.
    Set {
        /// The setting's name.
        name: String,
        /// The value as text.
        value: String,
    },
    /// Goes back to the default.
    Delete {
        /// The setting's name.
        name: String,
    },
}

impl ConfigChange {
    /// The name of the setting that changes.
    pub fn name(&self) -> &str {
        match self {
            Self::Set { name, .. } | Self::Delete { name } => name,
        }
    }
}

/// One command. Texts are as the client sent them; applying validates them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataCommand {
    /// Gives the cluster its identity. Must come before all others.
    ClusterBorn {
        /// The cluster's id.
        cluster: ClusterId,
        /// The level of features to begin with.
        feature_level: FeatureLevel,
        /// The proposer's time.
        at: TimestampMs,
    },
    /// Says that the cluster goes on from what one node had, under another id, so that what was left behind is of another
    /// cluster. Written into the survivor's log offline; nobody proposes it.
    ClusterRecovered {
        /// What happened.
        recovery: Recovery,
        /// The cluster's id from now on.
        cluster: ClusterId,
    },
    /// Makes a node known, or says what changed about it. Another incarnation means that
    /// its data directory was emptied or replaced.
    RegisterNode {
        /// The cluster that the node believes to belong to.
        cluster: ClusterId,
        /// What the node says about itself.
        node: NodeRegistration,
    },
    /// Says what is wanted of a node.
    SetNodeMode {
        /// The node.
        node: NodeId,
        /// What is wanted.
        mode: NodeMode,
        /// The proposer's time.
        at: TimestampMs,
    },
    /// Takes a node without replicas out of the cluster. This incarnation never comes back.
    RemoveNode {
        /// The node.
        node: NodeId,
        /// The incarnation that the proposer saw, so that a delayed removal does not hit a
        /// node that came back under the same id.
        incarnation: Incarnation,
        /// The voters on the metadata with whom the proposer counted a majority without the node. When one of them is gone by now,
        /// there may be none, and the command is refused: of two removals at a time each might count on the other's node.
        counted_on: Vec<(NodeId, Incarnation)>,
        /// The proposer's time.
        at: TimestampMs,
    },
    /// Lets the cluster use what a newer level has.
    RaiseFeatureLevel {
        /// The level to use from now on.
        level: FeatureLevel,
    },
    /// Creates a topic, all of its partitions in phase `Creating`.
    CreateTopic {
        /// A fresh id.
        topic: TopicId,
        /// The wanted name.
        name: String,
        /// The replicas of each partition, in order of the partitions' indexes.
        placement: Vec<Vec<NodeId>>,
        /// Settings by name.
        overrides: ConfigOverrides,
        /// Whether the cluster makes it for itself: only then must its name be internal.
        internal: bool,
        /// The proposer's time.
        at: TimestampMs,
    },
    /// Changes settings of a topic; those not named stay as they are.
    AlterTopicConfigs {
        /// The topic.
        topic: TopicId,
        /// The changes, at most one for each setting.
        changes: Vec<ConfigChange>,
    },
    /// Adds partitions at the end.
    AddPartitions {
        /// The topic.
        topic: TopicId,
        /// The partitions that the proposer saw. When there are others by now, the placement
        /// was made for a topic that no longer is, and the command is refused.
        partitions_before: u32,
        /// The replicas of each new partition.
        placement: Vec<Vec<NodeId>>,
    },
    /// Changes which nodes should hold partitions, or their order: all of it or nothing.
    ReassignPartitions {
        /// The changes, at most one for each partition and at most
        /// [`highwater_types::limits::MOVES_PER_COMMAND_MAX`].
        moves: Vec<PartitionMove>,
        /// Topics whose replication factor changes, and to what; the moves must bring every
        /// partition of theirs to it. Other topics keep theirs.
        replication_factors: BTreeMap<TopicId, u32>,
        /// The proposer's time.
        at: TimestampMs,
    },
    /// Turns reassignments around: back to the replicas before them.
    CancelReassignments {
        /// The partitions; those without a reassignment stay as they are.
        partitions: Vec<PartitionId>,
    },
    /// Says that a partition's group has exactly the wanted members. Only its leader
    /// says so, and by it nodes that left may remove their data.
    ReassignmentDone {
        /// The partition.
        partition: PartitionId,
        /// The replicas that the group has.
        replicas: Vec<NodeId>,
        /// The reassignment's [`crate::Reassignment::since`].
        since: MetadataVersion,
    },
    /// Says that the groups of these partitions were initialized.
    PartitionsReady {
        /// The topic.
        topic: TopicId,
        /// The partitions.
        partitions: Vec<PartitionIndex>,
    },
    /// Deletes a topic. Its name is free at once; its data stays for the grace period
    /// `file.delete.delay.ms`, under a tombstone.
    DeleteTopic {
        /// The topic.
        topic: TopicId,
        /// The proposer's time.
        at: TimestampMs,
    },
    /// Says that a node holds nothing of a deleted topic any more. When the last
    /// holder has said so, the tombstone goes.
    ForgetTopic {
        /// The deleted topic.
        topic: TopicId,
        /// The node that removed its data.
        node: NodeId,
        /// The proposer's time, which must be past the grace period.
        at: TimestampMs,
    },
    /// Hands out the next producer ids. Sent twice, it hands out two blocks.
    AllocateProducerIds {
        /// How many, from 1 to [`highwater_types::limits::PRODUCER_ID_BLOCK`].
        count: i64,
    },
}

impl MetadataCommand {
    /// The feature level from which on the command is accepted: a build that does not know
    /// it cannot be in a cluster of that level. Raising the level is possible from the first.
    pub fn feature_level(&self) -> FeatureLevel {
        match self {
            Self::ClusterBorn { .. }
            | Self::RegisterNode { .. }
            | Self::RaiseFeatureLevel { .. }
            | Self::CreateTopic { .. }
            | Self::AlterTopicConfigs { .. }
            | Self::AddPartitions { .. }
            | Self::PartitionsReady { .. }
            | Self::DeleteTopic { .. }
            | Self::ForgetTopic { .. }
            | Self::AllocateProducerIds { .. } => FeatureLevel::ONE_NODE,
            Self::ClusterRecovered { .. }
            | Self::SetNodeMode { .. }
            | Self::RemoveNode { .. }
            | Self::ReassignPartitions { .. }
            | Self::CancelReassignments { .. }
            | Self::ReassignmentDone { .. } => FeatureLevel::SEVERAL_NODES,
        }
    }

    /// The replicated form.
    pub fn encode(&self) -> Bytes {
        codec::encode_command(self)
    }

    /// The inverse of [`MetadataCommand::encode`].
    ///
    /// # Errors
    /// The bytes are not a command, or one of a newer build.
    pub fn decode(bytes: &[u8]) -> Result<Self, MetadataError> {
        codec::decode_command(bytes)
    }
}
