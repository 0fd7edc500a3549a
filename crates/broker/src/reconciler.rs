//! Follows the cluster's metadata: starts, changes and stops the node's partitions as each
//! new image says, and starts again what could not be started. It removes no data; that is the upkeep's, by a tombstone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use highwater_controller::{MetadataChange, MetadataCommand, MetadataDelta, MetadataImage, TopicRecord};
use highwater_types::{PartitionIndex, TopicId, limits};
use tokio::sync::watch;

use crate::broker::Broker;

/// How long a partition that could not be started rests before it is tried again.
const START_AGAIN_AFTER: Duration = Duration::from_secs(3);

/// Brings the node's groups in step with each new image.
pub(crate) struct Reconciler {
    broker: Arc<Broker>,
    images: watch::Receiver<MetadataImage>,
    seen: MetadataImage,
}

impl Reconciler {
    pub(crate) fn new(broker: Arc<Broker>, images: watch::Receiver<MetadataImage>) -> Self {
        Self { broker, images, seen: MetadataImage::default() }
    }

    /// Follows the metadata until the broker stops.
    pub(crate) async fn run(mut self) {
        let stopping = self.broker.stopping.clone();
        let follow = async {
            loop {
                let has_failed = !self.broker.hosting.to_start_again().is_empty();
                tokio::select! {
                    changed = self.images.changed() => match changed {
                        Ok(()) => self.catch_up().await,
                        Err(_) => break,
                    },
                    () = tokio::time::sleep(START_AGAIN_AFTER), if has_failed => self.start_again().await,
                }
            }
        };
        tokio::select! {
            () = stopping.cancelled() => {}
            () = follow => {}
        }
    }

    /// Does what the newest image asks for.
    pub(crate) async fn catch_up(&mut self) {
        let image = self.images.borrow_and_update().clone();
        let delta = MetadataDelta::between(&self.seen, &image);
        let mut to_start = Vec::new();
        for change in delta.changes {
            match change {
                MetadataChange::TopicCreated(topic) | MetadataChange::PartitionsAdded { topic, .. } => {
                    to_start.push(topic)
                }
                // Perhaps to this node. Whom it moved away from removes its data in the upkeep.
                MetadataChange::PartitionReassigned(partition) => to_start.push(partition.topic),
                MetadataChange::TopicConfigChanged(topic) => {
                    if let Some(topic) = image.topic(topic) {
                        self.broker.hosting.reconfigure(topic);
                    }
                }
                MetadataChange::TopicDeleted(topic) => {
                    self.broker.hosting.stop_topic(topic).await;
                }
                MetadataChange::ClusterBorn
                | MetadataChange::ClusterRecovered
                | MetadataChange::FeatureLevelRaised
                | MetadataChange::NodeChanged(_)
                | MetadataChange::NodeReborn(_)
                | MetadataChange::NodeModeChanged(_)
                | MetadataChange::NodeRemoved(_)
                | MetadataChange::PartitionReady(_)
                | MetadataChange::PartitionSettled(_)
                | MetadataChange::PartitionLeft { .. }
                | MetadataChange::TopicDataRemoved { .. }
                | MetadataChange::TopicForgotten(_)
                | MetadataChange::ProducerIdsAllocated => {}
            }
        }
        to_start.dedup();
        self.start_topics(&image, &to_start).await;
        self.seen = image;
    }

    /// Starts what could not be started before for a reason that may have passed. Here, and not in the upkeep, so that it
    /// never meets a topic that is being stopped.
    async fn start_again(&self) {
        self.start_topics(&self.seen, &self.broker.hosting.to_start_again()).await;
    }

    async fn start_topics(&self, image: &MetadataImage, topics: &[TopicId]) {
        let broker = &self.broker;
        stream::iter(topics.iter().filter_map(|topic| image.topic(*topic)))
            .for_each_concurrent(limits::PARTITION_STARTS_MAX, |topic| broker.hosting.start_topic(topic))
            .await;
    }
}

impl Broker {
    /// Tells the cluster that partitions were initialized.
    pub(crate) async fn mark_ready(&self, topic: &TopicRecord, partitions: Vec<PartitionIndex>) {
        if partitions.is_empty() {
            return;
        }
        let ready = MetadataCommand::PartitionsReady { topic: topic.id, partitions };
        if let Err(error) = self.propose(&ready).await {
            // The topic may have been deleted meanwhile. Otherwise it is said again.
            tracing::warn!(topic = %topic.name, %error, "a new topic's partitions could not be marked ready");
        }
    }
}
