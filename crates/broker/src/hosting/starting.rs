//! Starts the partitions that the metadata place here.
//!
//! Invariant: a partition is started by who claimed it, and by nobody else meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use highwater_consensus::{ConsensusError, Group, Member, Origin};
use highwater_controller::{PartitionPhase, PartitionRecord, TopicRecord};
use highwater_coordinator::{AppliedGroups, Shard, ShardParts};
use highwater_partition::{Partition, PartitionApplier};
use highwater_storage::{Applier, GroupOptions};
use highwater_types::topic_name::GROUPS_TOPIC;
use highwater_types::{GroupId, Incarnation, NodeId, PartitionId, PartitionIndex, TopicConfig, limits, mutant};
use tokio::sync::watch;
use tokio::time::timeout;

use super::hosted::{Hosted, HostedShard};
use super::slot::{Slot, StartFailure};
use super::{HostedTopic, Hosting};
use crate::group_options::{group_options, shard_options};

/// How long a start waits for a partition's leader.
const SETTLE_DEADLINE: Duration = Duration::from_secs(10);

impl Hosting {
    /// Starts those partitions of a topic that are placed here and that nobody has claimed. What failed for a reason that passes is
    /// tried again.
    pub(crate) async fn start_topic(&self, topic: &TopicRecord) {
        let config = self.config_of(topic);
        let starts = self.claim(topic).into_iter().map(|(index, partition, is_again)| {
            let config = config.clone();
            async move {
                let id = PartitionId { topic: topic.id, index };
                let slot = self.start_partition(id, topic, &partition, config).await;
                slot.report(id, topic, is_again);
                self.end_claim(id, slot).await;
            }
        });
        stream::iter(starts).buffer_unordered(limits::PARTITION_STARTS_MAX).collect::<()>().await;
    }

    /// Claims those partitions of a topic that are to be started; says of each whether that was tried before.
    fn claim(&self, topic: &TopicRecord) -> Vec<(PartitionIndex, PartitionRecord, bool)> {
        let mut topics = self.topics.write();
        let Some(hosted) = topics.get_mut(&topic.id) else { return Vec::new() };
        let mut claimed = Vec::new();
        for (index, partition) in (0u32..).map(PartitionIndex).zip(&topic.partitions) {
            let slot = hosted.partitions.get(&index);
            if !partition.is_held_by(self.node) || slot.is_some_and(|slot| !slot.is_to_start_again()) {
                continue;
            }
            let failure = slot.and_then(Slot::failure).cloned();
            claimed.push((index, partition.clone(), failure.is_some()));
            hosted.partitions.insert(index, Slot::Starting(failure));
        }
        claimed
    }

    /// Says what came of a claimed partition. When its topic was stopped meanwhile it is stopped too.
    pub(super) async fn end_claim(&self, id: PartitionId, slot: Slot) {
        let is_wanted = {
            let mut topics = self.topics.write();
            let claimed = topics.get_mut(&id.topic).and_then(|hosted| hosted.partitions.get_mut(&id.index));
            claimed.map(|claimed| *claimed = slot).is_some()
        };
        if !is_wanted {
            self.host.stop_group(GroupId::Partition(id)).await;
        }
    }

    /// The receiving end of a topic's configuration; the topic is hosted from then on.
    pub(super) fn config_of(&self, topic: &TopicRecord) -> watch::Receiver<Arc<TopicConfig>> {
        let mut topics = self.topics.write();
        let hosted = topics.entry(topic.id).or_insert_with(|| HostedTopic {
            config: watch::Sender::new(Arc::new(topic.config.clone())),
            partitions: BTreeMap::new(),
        });
        hosted.config.subscribe()
    }

    pub(super) async fn start_partition(
        &self,
        id: PartitionId,
        topic: &TopicRecord,
        placed: &PartitionRecord,
        config: watch::Receiver<Arc<TopicConfig>>,
    ) -> Slot {
        let started = if topic.name.as_str() == GROUPS_TOPIC {
            self.start_shard(id, placed).await
        } else {
            self.start_records(id, topic, placed, config).await
        };
        started.map_or_else(|error| Slot::Failed(StartFailure::new(&error)), Slot::Running)
    }

    async fn start_records(
        &self,
        id: PartitionId,
        topic: &TopicRecord,
        placed: &PartitionRecord,
        config: watch::Receiver<Arc<TopicConfig>>,
    ) -> Result<Hosted, ConsensusError> {
        let (applier, applied) = PartitionApplier::new();
        let group = self.start_group(id, placed, group_options(&topic.config), Box::new(applier)).await?;
        let partition = Partition::new(id, group.clone(), applied, config, Arc::clone(&self.clock));
        Ok(Hosted::Records(partition, group))
    }

    /// Starts a shard of consumer groups: a log of control entries, whose state is kept in snapshots.
    async fn start_shard(&self, id: PartitionId, placed: &PartitionRecord) -> Result<Hosted, ConsensusError> {
        let applied = AppliedGroups::default();
        let options = shard_options();
        let group = self.start_group(id, placed, options, applied.applier()).await?;
        let stopping = self.groups.stopping.child_token();
        let shard = Shard::start(ShardParts {
            replica: Arc::new(group.clone()),
            applied,
            topics: Arc::clone(&self.groups.topics),
            clock: Arc::clone(&self.clock),
            config: self.groups.config.clone(),
            stopping: stopping.clone(),
        });
        Ok(Hosted::Groups(HostedShard { shard, _ends: Arc::new(stopping.drop_guard()) }, group))
    }

    async fn start_group(
        &self,
        id: PartitionId,
        placed: &PartitionRecord,
        options: GroupOptions,
        applier: Box<dyn Applier>,
    ) -> Result<Group, ConsensusError> {
        let origin = origin(self.host.member(), placed);
        let is_new = matches!(origin, Origin::New(_));
        let group = self.host.start_group(GroupId::Partition(id), options, origin, applier).await?;
        wait_until_settled(id, &group, is_new).await;
        Ok(group)
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
        PartitionPhase::Ready if mutant!(InitializeTwice) => Origin::New(initial),
        PartitionPhase::Creating | PartitionPhase::Ready => Origin::Existing,
    }
}

/// Waits until a started group has a leader that serves, is quarantined or waits for room on the disk; not for ever: a group that takes
/// longer answers for itself. One that this replica is alone in is waited for because nobody else can lead it, and a new one so that not
/// all that are created together hold their elections together: under load none of them would win. No other is: its members may be
/// away for long, or have to take this replica in, and the partitions behind it have to start.
async fn wait_until_settled(id: PartitionId, group: &Group, is_new: bool) {
    if !is_new && !group.is_sole_voter() {
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

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use highwater_consensus::{GroupHost, HostParts, NoPeers};
    use highwater_groups::GroupsConfig;
    use highwater_storage::disk::SimDisk;
    use highwater_storage::journal::JournalOptions;
    use highwater_storage::{Store, StoreOptions};
    use highwater_types::{
        ConfigOverrides, ProcessEpoch, SystemClock, SystemRandom, TimestampMs, TopicId, TopicName,
    };
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::groups::{ClusterTopics, GroupsParts};
    use crate::metadata::Metadata;

    fn hosting() -> Hosting {
        let options = StoreOptions {
            journal: JournalOptions::default(),
            mapped_segments_max: 1,
            unreadable: Vec::new(),
            power_lost: false,
            on_failure: Arc::new(|_| ()),
        };
        let store = Store::open(Arc::new(SimDisk::new(1).for_process()), &options, &SystemRandom);
        let host = GroupHost::new(HostParts {
            member: Member { node: NodeId(3), incarnation: Incarnation(1) },
            epoch: ProcessEpoch(1),
            store: store.expect("an empty disk"),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            transport: Arc::new(NoPeers),
        });
        let groups = GroupsParts {
            topics: Arc::new(ClusterTopics { metadata: Metadata::new(), broker: Weak::new() }),
            config: GroupsConfig::default(),
            stopping: CancellationToken::new(),
        };
        Hosting::new(NodeId(3), host, Arc::new(SystemClock), groups)
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_that_have_no_data_here_do_not_hold_up_those_that_are_started_after_them() {
        let placed = PartitionRecord {
            replicas: Arc::from([NodeId(1), NodeId(2), NodeId(3)]),
            phase: PartitionPhase::Ready,
            initial: None,
            reassignment: None,
        };
        let topic = TopicRecord {
            id: TopicId::draw(&SystemRandom),
            name: TopicName::new("orders").expect("a name"),
            overrides: ConfigOverrides::new(),
            config: TopicConfig::default(),
            partitions: vec![placed; limits::PARTITION_STARTS_MAX + 1],
            created_at: TimestampMs(0),
        };
        let hosting = hosting();
        let began = Instant::now();
        hosting.start_topic(&topic).await;
        assert_eq!(hosting.running().len(), limits::PARTITION_STARTS_MAX + 1);
        // The clock of the test goes on only while all wait for it.
        assert!(began.elapsed() < SETTLE_DEADLINE, "it waited for {:?}", began.elapsed());
    }
}
