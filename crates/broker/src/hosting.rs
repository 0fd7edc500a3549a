//! The partitions that this node runs, as the metadata places them.
//!
//! Invariants:
//! - A group is initialized only while the metadata says that its partition is being created
//!   (R16); afterwards a metadata command says that it was.
//! - Data is removed only on a committed tombstone, after its grace period, or when a committed move says that the replica is elsewhere
//!   (R10). A partition that the metadata does not mention is left alone.
//! - Whoever starts a partition or takes it out of service claims it first ([`slot`]).

mod hosted;
mod retiring;
mod slot;
mod starting;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use highwater_consensus::{ConsensusError, Group, GroupHost};
use highwater_controller::TopicRecord;
use highwater_coordinator::Shard;
use highwater_partition::Partition;
use highwater_types::{
    Clock, ErrorCode, GroupId, NodeId, PartitionId, PartitionIndex, TopicConfig, TopicId, limits,
};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::error::BrokerError;
use crate::group_options::group_options;
use crate::groups::GroupsParts;
use hosted::Hosted;
use slot::Slot;

/// A partition with its Raft group.
pub(crate) type HostedPartition = Partition<Group>;

/// All partitions of a node.
pub(crate) struct Hosting {
    node: NodeId,
    host: Arc<GroupHost>,
    clock: Arc<dyn Clock>,
    groups: GroupsParts,
    /// In order, as their partitions are: what is done to all of them has one order in every run.
    topics: RwLock<BTreeMap<TopicId, HostedTopic>>,
}

/// What a node runs of one topic.
struct HostedTopic {
    config: watch::Sender<Arc<TopicConfig>>,
    partitions: BTreeMap<PartitionIndex, Slot>,
}

impl Hosting {
    pub(crate) fn new(node: NodeId, host: Arc<GroupHost>, clock: Arc<dyn Clock>, groups: GroupsParts) -> Self {
        Self { node, host, clock, groups, topics: RwLock::default() }
    }

    /// The running partition, or why there is none here.
    pub(crate) fn partition(&self, id: PartitionId) -> Result<HostedPartition, BrokerError> {
        match self.hosted(id)? {
            Hosted::Records(partition, _) => Ok(partition),
            Hosted::Groups(..) => {
                let message = "the topic is the cluster's own and holds no records: see the calls about groups";
                Err(BrokerError::invalid_request(message))
            }
        }
    }

    /// The running shard of consumer groups, or why there is none here.
    pub(crate) fn shard(&self, id: PartitionId) -> Result<Shard<Group>, BrokerError> {
        match self.hosted(id)? {
            Hosted::Groups(hosted, _) => Ok(hosted.shard),
            Hosted::Records(..) => {
                let message = format!("{id} is no shard of consumer groups");
                Err(BrokerError::new(ErrorCode::Internal, message))
            }
        }
    }

    fn hosted(&self, id: PartitionId) -> Result<Hosted, BrokerError> {
        let topics = self.topics.read();
        let slot = topics.get(&id.topic).and_then(|topic| topic.partitions.get(&id.index));
        if let Some(Slot::Running(hosted)) = slot {
            return Ok(hosted.clone());
        }
        Err(match slot.and_then(Slot::failure) {
            Some(failure) => {
                let again = if failure.passes() { "; it is tried again every few seconds" } else { "" };
                let reason = &failure.reason;
                let message = format!("the partition could not be started on this node: {reason}{again}");
                BrokerError::new(failure.code, message)
            }
            None => {
                let message = "the partition is being started on this node, try again";
                BrokerError::new(ErrorCode::LeaderNotAvailable, message)
            }
        })
    }

    /// All running partitions of records.
    pub(crate) fn running(&self) -> Vec<HostedPartition> {
        let found = self.find(|slot| match slot {
            Slot::Running(Hosted::Records(partition, _)) => Some(partition.clone()),
            Slot::Running(Hosted::Groups(..)) | Slot::Starting(_) | Slot::Failed(_) | Slot::Leaving => None,
        });
        found.into_iter().map(|(_, partition)| partition).collect()
    }

    /// All running shards of consumer groups.
    pub(crate) fn shards(&self) -> Vec<(PartitionId, Shard<Group>)> {
        self.find(|slot| match slot {
            Slot::Running(Hosted::Groups(hosted, _)) => Some(hosted.shard.clone()),
            Slot::Running(Hosted::Records(..)) | Slot::Starting(_) | Slot::Failed(_) | Slot::Leaving => None,
        })
    }

    /// The topics with partitions that could not be started for a reason that may have passed.
    pub(crate) fn to_start_again(&self) -> Vec<TopicId> {
        let topics = self.topics.read();
        let waits = |hosted: &HostedTopic| hosted.partitions.values().any(Slot::is_to_start_again);
        topics.iter().filter(|(_, hosted)| waits(hosted)).map(|(id, _)| *id).collect()
    }

    /// Gives a topic's new settings to its partitions.
    pub(crate) fn reconfigure(&self, topic: &TopicRecord) {
        let topics = self.topics.read();
        let Some(hosted) = topics.get(&topic.id) else { return };
        hosted.config.send_replace(Arc::new(topic.config.clone()));
        for slot in hosted.partitions.values() {
            if let Slot::Running(Hosted::Records(_, group)) = slot {
                group.log().set_options(group_options(&topic.config));
            }
        }
    }

    /// Stops what runs of a topic. Its data stays.
    pub(crate) async fn stop_topic(&self, topic: TopicId) {
        let hosted = self.topics.write().remove(&topic);
        let Some(hosted) = hosted else { return };
        let stops = hosted.partitions.into_iter().map(|(index, slot)| async move {
            self.host.stop_group(GroupId::Partition(PartitionId { topic, index })).await;
            if let Slot::Running(hosted) = slot {
                // Its readers look again, and find it gone.
                hosted.wake_waiters();
            }
        });
        stream::iter(stops).buffer_unordered(limits::PARTITION_STARTS_MAX).collect::<()>().await;
    }

    /// Removes the data of a deleted topic. Only ever called for a committed tombstone.
    ///
    /// # Errors
    /// When some of it is still there; calling again is safe.
    pub(crate) async fn remove_data(&self, topic: TopicId, partition_count: u32) -> Result<(), ConsensusError> {
        self.stop_topic(topic).await;
        let removals = (0..partition_count)
            .map(PartitionIndex)
            .map(|index| self.host.remove_group(GroupId::Partition(PartitionId { topic, index })));
        stream::iter(removals)
            .buffer_unordered(limits::PARTITION_STARTS_MAX)
            .fold(Ok(()), async |all, one| all.and(one))
            .await
    }

    /// The groups of all running partitions.
    pub(crate) fn groups(&self) -> Vec<(PartitionId, Group)> {
        self.find(|slot| slot.group().cloned())
    }

    /// The group of a running partition.
    pub(crate) fn group(&self, id: PartitionId) -> Option<Group> {
        let topics = self.topics.read();
        topics.get(&id.topic)?.partitions.get(&id.index)?.group().cloned()
    }

    /// Why a partition is out of service here, when its data is damaged.
    pub(crate) fn damage(&self, id: PartitionId) -> Option<String> {
        let topics = self.topics.read();
        topics.get(&id.topic)?.partitions.get(&id.index)?.damage()
    }

    /// The partitions that are out of service because their data is damaged, and why.
    pub(crate) fn damaged(&self) -> Vec<(PartitionId, String)> {
        self.find(Slot::damage)
    }

    /// The partitions that could not be started for a reason that may pass, and why.
    pub(crate) fn failed(&self) -> Vec<(PartitionId, String)> {
        self.find(|slot| {
            slot.failure().filter(|failure| failure.passes()).map(|failure| failure.reason.clone())
        })
    }

    /// What is found in slots, in the order of their partitions.
    fn find<T>(&self, found: impl Fn(&Slot) -> Option<T>) -> Vec<(PartitionId, T)> {
        let topics = self.topics.read();
        let slots = topics.iter().flat_map(|(topic, hosted)| {
            hosted.partitions.iter().map(|(index, slot)| (PartitionId { topic: *topic, index: *index }, slot))
        });
        slots.filter_map(|(id, slot)| Some((id, found(slot)?))).collect()
    }

    /// The groups below.
    pub(crate) fn host(&self) -> &Arc<GroupHost> {
        &self.host
    }

    /// Whether segments have left a log whose files only a checkpoint can free.
    pub(crate) fn awaits_checkpoint(&self) -> bool {
        let topics = self.topics.read();
        let mut groups = topics.values().flat_map(|topic| topic.partitions.values()).filter_map(Slot::group);
        groups.any(|group| {
            let segments = group.log().segments();
            segments.is_some_and(|segments| segments.detached_bytes() > segments.pinned_bytes())
        })
    }

    /// Stops every group of the node.
    ///
    /// # Errors
    /// When the last checkpoint fails; nothing is lost, the next start replays the journal.
    pub(crate) async fn shutdown(&self) -> Result<(), ConsensusError> {
        self.topics.write().clear();
        self.host.shutdown().await
    }
}
