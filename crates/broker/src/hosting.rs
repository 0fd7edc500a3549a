//! The partitions that this node runs, as the metadata places them.
//!
//! Invariants:
//! - A group is initialized only while the metadata says that its partition is being created
//!   (R16); afterwards a metadata command says that it was.
//! - Data is removed only on a committed tombstone, after its grace period (R10). A partition that the
//!   metadata does not mention is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use highwater_consensus::{ConsensusError, Group, GroupHost, Member, Origin};
use highwater_controller::{PartitionPhase, PartitionRecord, TopicRecord};
use highwater_partition::{Partition, PartitionApplier};
use highwater_types::{
    Clock, ErrorCode, GroupId, Incarnation, NodeId, PartitionId, PartitionIndex, TopicConfig, TopicId, limits,
};
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::error::BrokerError;
use crate::group_options::group_options;

/// How long a start waits for a partition's leader.
const SETTLE_DEADLINE: Duration = Duration::from_secs(10);

/// A partition with its Raft group.
pub(crate) type HostedPartition = Partition<Group>;

/// All partitions of a node.
pub(crate) struct Hosting {
    node: NodeId,
    host: Arc<GroupHost>,
    clock: Arc<dyn Clock>,
    /// In order, as their partitions are: what is done to all of them has one order in every run.
    topics: RwLock<BTreeMap<TopicId, HostedTopic>>,
}

/// What a node runs of one topic.
struct HostedTopic {
    config: watch::Sender<Arc<TopicConfig>>,
    partitions: BTreeMap<PartitionIndex, Slot>,
}

/// A partition that was to be started.
#[derive(Clone)]
enum Slot {
    Running(HostedPartition, Group),
    Failed(StartFailure),
}

/// Why a partition could not be started.
#[derive(Clone)]
struct StartFailure {
    code: ErrorCode,
    reason: String,
}

impl StartFailure {
    fn new(error: &ConsensusError) -> Self {
        let code = if error.is_damage() {
            ErrorCode::Quarantined
        } else if error.is_no_space() {
            ErrorCode::NoSpace
        } else {
            ErrorCode::Unavailable
        };
        Self { code, reason: error.to_string() }
    }

    /// Whether another start may succeed without a person. Only damage stays.
    fn passes(&self) -> bool {
        self.code != ErrorCode::Quarantined
    }
}

impl Slot {
    /// Why the partition is out of service, when its data is damaged.
    fn damage(&self) -> Option<String> {
        match self {
            Self::Running(_, group) => group.status().quarantined,
            Self::Failed(failure) => (!failure.passes()).then(|| failure.reason.clone()),
        }
    }

    fn is_to_start_again(&self) -> bool {
        matches!(self, Self::Failed(failure) if failure.passes())
    }
}

impl Hosting {
    pub(crate) fn new(node: NodeId, host: Arc<GroupHost>, clock: Arc<dyn Clock>) -> Self {
        Self { node, host, clock, topics: RwLock::default() }
    }

    /// The running partition, or why there is none here.
    pub(crate) fn partition(&self, id: PartitionId) -> Result<HostedPartition, BrokerError> {
        let topics = self.topics.read();
        let slot = topics.get(&id.topic).and_then(|topic| topic.partitions.get(&id.index));
        match slot {
            Some(Slot::Running(partition, _)) => Ok(partition.clone()),
            Some(Slot::Failed(failure)) => {
                let again = if failure.passes() { "; it is tried again every few seconds" } else { "" };
                let reason = &failure.reason;
                let message = format!("the partition could not be started on this node: {reason}{again}");
                Err(BrokerError::new(failure.code, message))
            }
            None => {
                let message = "the partition is being started on this node, try again";
                Err(BrokerError::new(ErrorCode::LeaderNotAvailable, message))
            }
        }
    }

    /// All running partitions.
    pub(crate) fn running(&self) -> Vec<HostedPartition> {
        let topics = self.topics.read();
        let slots = topics.values().flat_map(|topic| topic.partitions.values());
        slots
            .filter_map(|slot| match slot {
                Slot::Running(partition, _) => Some(partition.clone()),
                Slot::Failed(_) => None,
            })
            .collect()
    }

    /// The topics with partitions that could not be started for a reason that may have passed.
    pub(crate) fn to_start_again(&self) -> Vec<TopicId> {
        let topics = self.topics.read();
        let waits = |hosted: &HostedTopic| hosted.partitions.values().any(Slot::is_to_start_again);
        topics.iter().filter(|(_, hosted)| waits(hosted)).map(|(id, _)| *id).collect()
    }

    /// Starts those partitions of a topic that are placed here and are not running. What failed for a reason that passes is
    /// tried again.
    pub(crate) async fn start_topic(&self, topic: &TopicRecord) {
        let config = self.config_of(topic);
        let missing: Vec<_> = {
            let topics = self.topics.read();
            let hosted = topics.get(&topic.id);
            (0u32..)
                .map(PartitionIndex)
                .zip(&topic.partitions)
                .filter(|(_, partition)| partition.is_held_by(self.node))
                .filter_map(|(index, partition)| match hosted.and_then(|h| h.partitions.get(&index)) {
                    None => Some((index, partition.clone(), false)),
                    Some(slot) if slot.is_to_start_again() => Some((index, partition.clone(), true)),
                    Some(_) => None,
                })
                .collect()
        };
        let starts = missing.into_iter().map(|(index, partition, is_again)| {
            let config = config.clone();
            async move {
                let id = PartitionId { topic: topic.id, index };
                let slot = self.start_partition(id, topic, &partition, config).await;
                report(id, topic, &slot, is_again);
                (index, slot)
            }
        });
        let started: Vec<_> =
            stream::iter(starts).buffer_unordered(limits::PARTITION_STARTS_MAX).collect().await;
        let mut topics = self.topics.write();
        if let Some(hosted) = topics.get_mut(&topic.id) {
            hosted.partitions.extend(started);
        }
    }

    /// The receiving end of a topic's configuration; the topic is hosted from then on.
    fn config_of(&self, topic: &TopicRecord) -> watch::Receiver<Arc<TopicConfig>> {
        let mut topics = self.topics.write();
        let hosted = topics.entry(topic.id).or_insert_with(|| HostedTopic {
            config: watch::Sender::new(Arc::new(topic.config.clone())),
            partitions: BTreeMap::new(),
        });
        hosted.config.subscribe()
    }

    async fn start_partition(
        &self,
        id: PartitionId,
        topic: &TopicRecord,
        placed: &PartitionRecord,
        config: watch::Receiver<Arc<TopicConfig>>,
    ) -> Slot {
        let (applier, applied) = PartitionApplier::new();
        let options = group_options(&topic.config);
        let group = GroupId::Partition(id);
        match self.host.start_group(group, options, origin(self.host.member(), placed), Box::new(applier)).await
        {
            Ok(group) => {
                wait_until_settled(id, &group).await;
                let clock = Arc::clone(&self.clock);
                let partition = Partition::new(id, group.clone(), applied, config, clock);
                Slot::Running(partition, group)
            }
            Err(error) => Slot::Failed(StartFailure::new(&error)),
        }
    }

    /// Gives a topic's new settings to its partitions.
    pub(crate) fn reconfigure(&self, topic: &TopicRecord) {
        let topics = self.topics.read();
        let Some(hosted) = topics.get(&topic.id) else { return };
        hosted.config.send_replace(Arc::new(topic.config.clone()));
        for slot in hosted.partitions.values() {
            if let Slot::Running(_, group) = slot {
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
            if let Slot::Running(partition, _) = slot {
                // Its readers look again, and find it gone.
                partition.wake_waiters();
            }
        });
        stream::iter(stops).buffer_unordered(limits::PARTITION_STARTS_MAX).collect::<()>().await;
    }

    /// Stops a partition that this node holds no more and removes its data. Only ever called when the metadata, as new as the
    /// cluster's, say so.
    ///
    /// # Errors
    /// When some of it is still there; calling again is safe.
    pub(crate) async fn leave(&self, id: PartitionId) -> Result<(), ConsensusError> {
        let slot =
            self.topics.write().get_mut(&id.topic).and_then(|hosted| hosted.partitions.remove(&id.index));
        self.host.stop_group(GroupId::Partition(id)).await;
        if let Some(Slot::Running(partition, _)) = slot {
            partition.wake_waiters();
        }
        self.host.remove_group(GroupId::Partition(id)).await
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
        let topics = self.topics.read();
        let slots = topics.iter().flat_map(|(topic, hosted)| {
            hosted.partitions.iter().map(|(index, slot)| (PartitionId { topic: *topic, index: *index }, slot))
        });
        slots
            .filter_map(|(id, slot)| match slot {
                Slot::Running(_, group) => Some((id, group.clone())),
                Slot::Failed(_) => None,
            })
            .collect()
    }

    /// The group of a running partition.
    pub(crate) fn group(&self, id: PartitionId) -> Option<Group> {
        let topics = self.topics.read();
        match topics.get(&id.topic)?.partitions.get(&id.index)? {
            Slot::Running(_, group) => Some(group.clone()),
            Slot::Failed(_) => None,
        }
    }

    /// Why a partition is out of service here, when its data is damaged.
    pub(crate) fn damage(&self, id: PartitionId) -> Option<String> {
        let topics = self.topics.read();
        topics.get(&id.topic)?.partitions.get(&id.index)?.damage()
    }

    /// The partitions that are out of service because their data is damaged, and why.
    pub(crate) fn damaged(&self) -> Vec<(PartitionId, String)> {
        let topics = self.topics.read();
        let slots = topics.iter().flat_map(|(topic, hosted)| {
            hosted.partitions.iter().map(|(index, slot)| (PartitionId { topic: *topic, index: *index }, slot))
        });
        slots.filter_map(|(id, slot)| Some((id, slot.damage()?))).collect()
    }

    /// The groups below.
    pub(crate) fn host(&self) -> &Arc<GroupHost> {
        &self.host
    }

    /// Whether segments have left a log whose files only a checkpoint can free.
    pub(crate) fn awaits_checkpoint(&self) -> bool {
        let topics = self.topics.read();
        topics.values().flat_map(|topic| topic.partitions.values()).any(|slot| match slot {
            Slot::Running(_, group) => {
                let segments = group.log().segments();
                segments.is_some_and(|segments| segments.detached_bytes() > segments.pinned_bytes())
            }
            Slot::Failed(_) => false,
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

/// Logs a failed start once, and the start that succeeds after it.
fn report(id: PartitionId, topic: &TopicRecord, slot: &Slot, is_again: bool) {
    let topic = &topic.name;
    match slot {
        Slot::Running(..) if is_again => {
            tracing::info!(partition = %id, %topic, "a partition that could not be started before is started now");
        }
        Slot::Running(..) => {}
        Slot::Failed(failure) if is_again => {
            tracing::debug!(partition = %id, %topic, error = failure.reason, "a partition could still not be started");
        }
        Slot::Failed(failure) => {
            tracing::error!(partition = %id, %topic, error = failure.reason, "a partition could not be started");
        }
    }
}

/// Where a partition's log comes from. A new one begins with the members that it had when it was created, the same at each of them.
/// A node whose disk was emptied since then is none of them: it may have voted.
fn origin(own: Member, placed: &PartitionRecord) -> Origin {
    let member =
        |(node, incarnation): &(NodeId, Incarnation)| Member { node: *node, incarnation: *incarnation };
    let initial: BTreeSet<Member> =
        placed.initial.iter().flat_map(|initial| initial.iter()).map(member).collect();
    match placed.phase {
        PartitionPhase::Creating if initial.contains(&own) => Origin::New(initial),
        PartitionPhase::Creating | PartitionPhase::Ready => Origin::Existing,
    }
}

/// Waits until a started group has a leader that serves, is quarantined or waits for room on the disk; not for ever: a
/// group that takes longer answers for itself. A group of several voters is not waited for: the others may start later.
async fn wait_until_settled(id: PartitionId, group: &Group) {
    if group.status().voters.iter().any(|voters| voters.len() > 1) {
        return;
    }
    let mut status = group.watch();
    let settled = status.wait_for(|status| {
        let follows = status.leader.is_some() && !status.is_leader;
        follows || status.is_serving || status.quarantined.is_some()
    });
    let settled = async {
        tokio::select! {
            settled = settled => settled.is_ok(),
            () = group.wait_for_full_disk() => false,
        }
    };
    if !timeout(SETTLE_DEADLINE, settled).await.unwrap_or(false) {
        tracing::warn!(partition = %id, "the partition has no leader yet");
    }
}
