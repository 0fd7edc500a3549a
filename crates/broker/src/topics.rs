//! Topics and the cluster: every change is a metadata command; what is shown is the image.
//!
//! The rules for names, numbers and settings are `controller`'s and `types`'; here a request
//! becomes a command, with the ids, times and placement that commands carry.

use std::sync::Arc;
use std::time::Duration;

use highwater_controller::{
    ConfigChange, MetadataCommand, MetadataError, MetadataImage, NodeMode, PartitionPhase, Recovery,
    TopicRecord, place,
};
use highwater_types::limits::{PARTITIONS_PER_TOPIC_MAX, PARTITIONS_READY_WAIT_MS};
use highwater_types::{ErrorCode, NodeId, TopicId, TopicName};
use tokio::time::{Instant, timeout_at};

use crate::admin::{
    AddPartitions, AddedPartitions, AlterTopic, CreateTopic, CreatedTopic, ListTopics, ListedTopics,
    TopicSummary,
};
use crate::broker::{Broker, CLIENT_LISTENER, stopping};
use crate::error::BrokerError;
use crate::request::{ClusterDescription, ClusterRecovery, TopicRef};
use crate::routing::find_topic;

/// Most replicas of a topic when nobody says how many.
const FITTING_REPLICATION_FACTOR_MAX: u32 = 3;

impl Broker {
    /// Creates a topic. On return its partitions take records, but for those that the answer counts as pending.
    ///
    /// # Errors
    /// Why it was not created; after `TIMEOUT` that is unknown.
    pub async fn create_topic(&self, request: CreateTopic) -> Result<CreatedTopic, BrokerError> {
        let name = request.name.clone();
        let answer_by = answer_by(request.wait_max);
        let created = self.create_unnamed(request, false, answer_by).await;
        created.map_err(|error| error.with_topic(name))
    }

    /// The same of one of the cluster's own, which nobody but the cluster writes to.
    pub(crate) async fn create_internal_topic(
        &self,
        request: CreateTopic,
        answer_by: Instant,
    ) -> Result<CreatedTopic, BrokerError> {
        self.create_unnamed(request, true, answer_by).await
    }

    async fn create_unnamed(
        &self,
        request: CreateTopic,
        internal: bool,
        answer_by: Instant,
    ) -> Result<CreatedTopic, BrokerError> {
        TopicName::new(&request.name)?;
        let partitions = request.partitions.unwrap_or(self.options.default_partitions);
        let topic = TopicId::draw(&*self.random);
        let image = self.image();
        let replication_factor = request
            .replication_factor
            .or(self.options.default_replication_factor)
            .unwrap_or_else(|| fitting_replication_factor(&image));
        let create = MetadataCommand::CreateTopic {
            topic,
            name: request.name,
            placement: self.place(&image, partitions, replication_factor)?,
            overrides: request.configs,
            internal,
            at: self.clock.now(),
        };
        if request.validate_only {
            self.metadata.check(&create)?;
            let metadata_version = image.version().0;
            let id = None;
            return Ok(CreatedTopic { id, partitions, replication_factor, metadata_version, pending: 0 });
        }
        self.propose(&create).await?;
        let AddedPartitions { metadata_version, pending } = self.wait_until_ready(topic, answer_by).await?;
        Ok(CreatedTopic { id: Some(topic), partitions, replication_factor, metadata_version, pending })
    }

    /// Places new partitions on the cluster's nodes.
    fn place(
        &self,
        image: &MetadataImage,
        partitions: u32,
        replication_factor: u32,
    ) -> Result<Vec<Vec<NodeId>>, BrokerError> {
        if !(1..=PARTITIONS_PER_TOPIC_MAX).contains(&partitions) {
            return Err(refused(&MetadataError::PartitionCount { requested: u64::from(partitions) }));
        }
        let nodes = image.placement_nodes();
        place(&nodes, partitions, replication_factor, self.random.next_u64()).map_err(|error| refused(&error))
    }

    /// Waits until every partition of a topic has been initialized, which takes its leader and a majority of its replicas. What is not by
    /// then comes up by itself and is counted.
    async fn wait_until_ready(
        &self,
        topic: TopicId,
        answer_by: Instant,
    ) -> Result<AddedPartitions, BrokerError> {
        let mut images = self.metadata.watch();
        let settled = images.wait_for(|image| image.topic(topic).is_none_or(|topic| creating(topic) == 0));
        tokio::select! {
            biased;
            // Its sender lives as long as this broker. What is not settled in time is counted below.
            _ = timeout_at(answer_by, settled) => {}
            () = self.stopping.cancelled() => return Err(stopping()),
        }
        let image = self.image();
        match image.topic(topic) {
            Some(topic) => {
                Ok(AddedPartitions { metadata_version: image.version().0, pending: creating(topic) })
            }
            None => {
                let message = "the topic was deleted while its partitions came up";
                Err(BrokerError::new(ErrorCode::UnknownTopicOrPartition, message))
            }
        }
    }

    /// A page of the topics, by name.
    pub fn list_topics(&self, request: &ListTopics) -> ListedTopics {
        let image = self.image();
        let mut topics: Vec<&Arc<TopicRecord>> = image
            .topics()
            .filter(|topic| topic.name.as_str().starts_with(&request.name_prefix))
            .filter(|topic| request.include_internal || !topic.name.is_internal())
            .filter(|topic| request.after.as_deref().is_none_or(|after| topic.name.as_str() > after))
            .collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let more = topics.len() > request.limit;
        topics.truncate(request.limit);
        let topics = topics.into_iter().map(|topic| summary(topic)).collect();
        ListedTopics { topics, more, metadata_version: image.version().0 }
    }

    /// Changes a topic's configs: all of the change, or nothing. Returns the metadata version
    /// that shows it.
    ///
    /// # Errors
    /// Why nothing changed; after `TIMEOUT` that is unknown.
    pub async fn alter_topic(&self, request: AlterTopic) -> Result<u64, BrokerError> {
        let name = request.topic.name.clone();
        let about = |error: BrokerError| error.with_topic(&name);
        let image = self.image();
        let topic = of_clients(find_topic(&image, &request.topic)?)?.id;
        if let Some(both) = request.reset.iter().find(|name| request.set.contains_key(*name)) {
            let message = format!("'{both}' is both set and reset");
            return Err(about(BrokerError::invalid_request(message)));
        }
        let set = request.set.into_iter().map(|(name, value)| ConfigChange::Set { name, value });
        let reset = request.reset.into_iter().map(|name| ConfigChange::Delete { name });
        let changes = set.chain(reset).collect();
        let alter = MetadataCommand::AlterTopicConfigs { topic, changes };
        self.check_or_propose(&alter, request.validate_only).await.map_err(about)
    }

    /// Raises a topic's number of partitions. On return the new ones take records, but for those that the answer counts as pending.
    ///
    /// # Errors
    /// Why there are no more; after `TIMEOUT` that is unknown.
    pub async fn add_partitions(&self, request: AddPartitions) -> Result<AddedPartitions, BrokerError> {
        let answer_by = answer_by(request.wait_max);
        let name = request.topic.name.clone();
        let about = |error: BrokerError| error.with_topic(&name);
        let image = self.image();
        let topic = of_clients(find_topic(&image, &request.topic)?)?;
        let (before, total) = (topic.partition_count(), request.total);
        if total <= before || total > PARTITIONS_PER_TOPIC_MAX {
            let message = format!(
                "topic '{name}' has {before} partitions; it can get more, up to {PARTITIONS_PER_TOPIC_MAX}, not {total}"
            );
            return Err(about(BrokerError::new(ErrorCode::InvalidPartitions, message)));
        }
        let placement = self.place(&image, total - before, topic.replication_factor()).map_err(about)?;
        let id = topic.id;
        let add = MetadataCommand::AddPartitions { topic: id, partitions_before: before, placement };
        let version = self.check_or_propose(&add, request.validate_only).await.map_err(about)?;
        if request.validate_only {
            return Ok(AddedPartitions { metadata_version: version, pending: 0 });
        }
        self.wait_until_ready(id, answer_by).await.map_err(about)
    }

    /// Deletes a topic. Its name is free on return; its data goes after the grace period. Returns
    /// the metadata version that shows it.
    ///
    /// # Errors
    /// Why it was not deleted; after `TIMEOUT` that is unknown.
    pub async fn delete_topic(&self, topic: &TopicRef) -> Result<u64, BrokerError> {
        let image = self.image();
        let record = of_clients(find_topic(&image, topic)?)?;
        let delete = MetadataCommand::DeleteTopic { topic: record.id, at: self.clock.now() };
        let deleted = self.check_or_propose(&delete, false).await;
        deleted.map_err(|error| error.with_topic(&topic.name))
    }

    pub(crate) async fn check_or_propose(
        &self,
        command: &MetadataCommand,
        check_only: bool,
    ) -> Result<u64, BrokerError> {
        if check_only {
            self.metadata.check(command)?;
            return Ok(self.metadata_version());
        }
        Ok(self.propose(command).await?.version.0)
    }

    /// The cluster and its nodes.
    ///
    /// # Errors
    /// While the cluster has no identity yet.
    pub fn describe_cluster(&self) -> Result<ClusterDescription, BrokerError> {
        let image = self.image();
        let cluster = image.cluster().ok_or_else(|| refused(&MetadataError::NotBorn))?;
        let nodes = image
            .nodes()
            .map(|node| (node.id, node.addresses.get(CLIENT_LISTENER).cloned().unwrap_or_default()));
        Ok(ClusterDescription {
            cluster_id: cluster.id,
            nodes: nodes.collect(),
            controller: self.metadata_group.present_leader(),
            metadata_version: image.version().0,
            answering_node: self.options.node,
            recoveries: cluster.recoveries.iter().map(recovery).collect(),
        })
    }
}

/// The topic, unless it is the cluster's own: which shard a group belongs to must not change, nor what it is stored with.
fn of_clients(topic: &Arc<TopicRecord>) -> Result<&Arc<TopicRecord>, BrokerError> {
    if topic.name.is_internal() {
        let message = format!("'{}' is the cluster's own topic and stays as it is", topic.name);
        return Err(BrokerError::invalid_request(message).with_topic(topic.name.as_str()));
    }
    Ok(topic)
}

/// When a creation is answered, whatever is pending then.
pub(crate) fn answer_by(wait_max: Option<Duration>) -> Instant {
    let wait = Duration::from_millis(PARTITIONS_READY_WAIT_MS);
    Instant::now() + wait_max.map_or(wait, |max| wait.min(max))
}

/// Partitions of a topic that do not take records yet.
fn creating(topic: &TopicRecord) -> u32 {
    let creating = topic.partitions.iter().filter(|partition| partition.phase == PartitionPhase::Creating);
    u32::try_from(creating.count()).unwrap_or(u32::MAX)
}

/// Replicas of a topic when nobody says how many: what loses one node without losing anything, as far as there are nodes.
fn fitting_replication_factor(image: &MetadataImage) -> u32 {
    let usable = image.nodes().filter(|node| node.mode != NodeMode::Draining).count();
    u32::try_from(usable).unwrap_or(u32::MAX).clamp(1, FITTING_REPLICATION_FACTOR_MAX)
}

fn recovery(recovery: &Recovery) -> ClusterRecovery {
    let Recovery { was, node, at } = *recovery;
    ClusterRecovery { was, node, at }
}

fn refused(error: &MetadataError) -> BrokerError {
    BrokerError::new(error.code(), error.to_string())
}

/// A topic in short.
pub(crate) fn summary(topic: &TopicRecord) -> TopicSummary {
    TopicSummary {
        name: topic.name.as_str().to_owned(),
        id: topic.id,
        partitions: topic.partition_count(),
        replication_factor: topic.replication_factor(),
        internal: topic.name.is_internal(),
    }
}
