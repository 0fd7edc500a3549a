//! From a group's name to its shard, and to who coordinates that.

use highwater_consensus::Group;
use highwater_controller::{FeatureLevel, MetadataImage, TopicRecord};
use highwater_coordinator::{CoordinatorError, Shard};
use highwater_groups::{GroupName, GroupsError};
use highwater_types::topic_name::GROUPS_TOPIC;
use highwater_types::{ErrorCode, PartitionId, PartitionIndex};

use crate::admin::CreateTopic;
use crate::broker::Broker;
use crate::error::{BrokerError, LeaderHint};
use crate::routing::leader_hint;
use crate::topics::answer_by;

impl Broker {
    /// The node that coordinates a group, when it is another one. `None` also when nobody is known to: a request then says so.
    /// Cancel-safe.
    ///
    /// # Errors
    /// When this node knows of no groups, and the cluster does not say whether there are any.
    pub async fn coordinator_elsewhere(&self, group: &GroupName) -> Result<Option<LeaderHint>, BrokerError> {
        self.know_shards().await?;
        let image = self.image();
        let shard = shard_of(&image, group).filter(|_| image.nodes().len() > 1);
        Ok(shard.and_then(|shard| self.leader_of_shard(&image, shard)))
    }

    /// The nodes other than this one that coordinate groups, each once. Cancel-safe.
    ///
    /// # Errors
    /// As [`Broker::coordinator_elsewhere`].
    pub async fn coordinators_elsewhere(&self) -> Result<Vec<LeaderHint>, BrokerError> {
        self.know_shards().await?;
        let image = self.image();
        let mut leaders: Vec<LeaderHint> =
            shards_of(&image).filter_map(|id| self.leader_of_shard(&image, id)).collect();
        leaders.sort_by_key(|leader| leader.node);
        leaders.dedup();
        Ok(leaders)
    }

    /// How many shards nobody is known to lead, so that their groups cannot be asked for.
    pub fn groups_without_coordinator(&self) -> usize {
        let image = self.image();
        let is_led = |id: &PartitionId| {
            self.hosting.group(*id).is_some_and(|group| group.status().is_leader)
                || self.leader_of_shard(&image, *id).is_some()
        };
        shards_of(&image).filter(|id| !is_led(id)).count()
    }

    /// Who leads a shard that this node does not lead, as far as it knows.
    fn leader_of_shard(&self, image: &MetadataImage, id: PartitionId) -> Option<LeaderHint> {
        let own = self.options.node;
        let status = self.hosting.group(id).map(|group| group.status());
        if status.as_ref().is_some_and(|status| status.is_leader) {
            return None;
        }
        // A damaged replica takes no part in its group any more, which goes on without it.
        let known = status.filter(|status| status.quarantined.is_none()).and_then(|status| status.leader);
        let leader = known.or_else(|| self.leaders.leader(id)).filter(|leader| *leader != own)?;
        leader_hint(image, leader)
    }

    /// Sees to it that the cluster has shards for groups: the first group that begins creates them. Cancel-safe in that it may be
    /// asked again.
    ///
    /// # Errors
    /// Why they could not be created; `UNSUPPORTED` while some node's version knows no groups.
    pub async fn begin_groups(&self) -> Result<(), BrokerError> {
        if self.image().topic_by_name(GROUPS_TOPIC).is_some() {
            return Ok(());
        }
        self.create_shards().await
    }

    /// Sees to it that this node knows of the shards, if there are any. A node that is behind must not take what it does not know for
    /// what is not there: a member that is told of no offsets starts elsewhere.
    async fn know_shards(&self) -> Result<(), BrokerError> {
        if self.image().topic_by_name(GROUPS_TOPIC).is_some() {
            return Ok(());
        }
        self.register().await
    }

    /// The shard of a group, on this node; none while the cluster has no groups.
    pub(crate) async fn shard(&self, group: &GroupName) -> Result<Option<Shard<Group>>, BrokerError> {
        self.know_shards().await?;
        let id = shard_of(&self.image(), group);
        id.map(|id| self.shard_here(group, id)).transpose()
    }

    fn shard_here(&self, group: &GroupName, id: PartitionId) -> Result<Shard<Group>, BrokerError> {
        let image = self.image();
        let is_here = image.partition(id).is_some_and(|placed| placed.is_held_by(self.options.node));
        if is_here {
            return self.hosting.shard(id);
        }
        let Some(leader) = self.leader_of_shard(&image, id) else { return Err(no_coordinator(group)) };
        let message = format!("node {} coordinates group '{group}'", leader.node);
        let mut error = BrokerError::new(ErrorCode::NotLeader, message);
        error.leader = Some(leader);
        Err(error)
    }

    /// Creates the topic whose partitions are the shards, unless somebody else did.
    async fn create_shards(&self) -> Result<(), BrokerError> {
        let _one_at_a_time = self.creating_shards.lock().await;
        let image = self.image();
        if image.topic_by_name(GROUPS_TOPIC).is_some() {
            return Ok(());
        }
        let level = image.cluster().map_or(FeatureLevel(0), |cluster| cluster.feature_level);
        if level < FeatureLevel::CONSUMER_GROUPS {
            let message = format!(
                "consumer groups need feature level {}, and the cluster is at {level}: it rises by itself when every node has a version with groups",
                FeatureLevel::CONSUMER_GROUPS
            );
            return Err(BrokerError::new(ErrorCode::Unsupported, message));
        }
        let request = CreateTopic {
            name: GROUPS_TOPIC.to_owned(),
            partitions: Some(self.options.group_shards),
            replication_factor: None,
            configs: highwater_types::ConfigOverrides::new(),
            validate_only: false,
            wait_max: None,
        };
        match self.create_internal_topic(request, answer_by(None)).await {
            Ok(created) => {
                tracing::info!(
                    shards = created.partitions,
                    replication_factor = created.replication_factor,
                    "created the shards of the cluster's consumer groups"
                );
                Ok(())
            }
            // Another node was first. Its change is shown here soon.
            Err(error) if error.code == ErrorCode::TopicAlreadyExists => {
                self.wait_for_metadata(error.metadata_version).await
            }
            Err(error) => Err(error),
        }
    }

    /// What a coordinator says, as a client is told.
    pub(crate) fn explain_groups(&self, error: CoordinatorError) -> BrokerError {
        let text = error.to_string();
        match error {
            CoordinatorError::NotLeader { leader } => {
                let leader = leader.and_then(|leader| self.hint(leader));
                let code = if leader.is_some() { ErrorCode::NotLeader } else { ErrorCode::LeaderNotAvailable };
                let mut error = BrokerError::new(code, text);
                error.leader = leader;
                error
            }
            CoordinatorError::OutcomeUnknown { .. } => BrokerError::new(ErrorCode::Timeout, text),
            CoordinatorError::Overloaded => BrokerError::new(ErrorCode::Throttled, text),
            CoordinatorError::Refused(refusal) => refused(&refusal),
        }
    }
}

/// What the state machine refused, as a client is told.
pub(crate) fn refused(refusal: &GroupsError) -> BrokerError {
    BrokerError::new(refusal.code(), refusal.to_string())
}

pub(crate) fn no_coordinator(group: &GroupName) -> BrokerError {
    let message = format!("nobody coordinates group '{group}' now, try again");
    BrokerError::new(ErrorCode::LeaderNotAvailable, message)
}

fn shards_of(image: &MetadataImage) -> impl Iterator<Item = PartitionId> {
    let topic = image.topic_by_name(GROUPS_TOPIC).map(|topic| (topic.id, topic.partition_count()));
    topic.into_iter().flat_map(|(topic, count)| {
        (0..count).map(move |index| PartitionId { topic, index: PartitionIndex(index) })
    })
}

/// The shard of a group: by the CRC-32C of its name, which never changes, nor does the number of shards.
fn shard_of(image: &MetadataImage, group: &GroupName) -> Option<PartitionId> {
    let topic = image.topic_by_name(GROUPS_TOPIC)?;
    Some(PartitionId { topic: topic.id, index: index_of(group, topic) })
}

fn index_of(group: &GroupName, topic: &TopicRecord) -> PartitionIndex {
    PartitionIndex(crc32c::crc32c(group.as_str().as_bytes()) % topic.partition_count().max(1))
}
