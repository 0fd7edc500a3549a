//! Follows the cluster's metadata: starts, changes and stops the node's partitions as each
//! new image says. It removes no data; that is the upkeep's, by a tombstone.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use highwater_controller::{MetadataChange, MetadataCommand, MetadataDelta, MetadataImage, TopicRecord};
use highwater_types::{PartitionIndex, limits};
use tokio::sync::watch;

use crate::broker::Broker;

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
            while self.images.changed().await.is_ok() {
                self.catch_up().await;
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
                MetadataChange::TopicConfigChanged(topic) => {
                    if let Some(topic) = image.topic(topic) {
                        self.broker.hosting.reconfigure(topic);
                    }
                }
                MetadataChange::TopicDeleted(topic) => {
                    self.broker.hosting.stop_topic(topic).await;
                }
                MetadataChange::ClusterBorn
                | MetadataChange::NodeChanged(_)
                | MetadataChange::PartitionReady(_)
                | MetadataChange::TopicDataRemoved { .. }
                | MetadataChange::TopicForgotten(_)
                | MetadataChange::ProducerIdsAllocated => {}
            }
        }
        to_start.dedup();
        let broker = &self.broker;
        stream::iter(to_start.iter().filter_map(|topic| image.topic(*topic)))
            .for_each_concurrent(limits::PARTITION_STARTS_MAX, |topic| broker.start_topic(topic))
            .await;
        self.seen = image;
    }
}

impl Broker {
    /// Starts a topic's partitions and tells the cluster which of them were created.
    async fn start_topic(&self, topic: &TopicRecord) {
        let created = self.hosting.start_topic(topic).await;
        self.mark_ready(topic, created).await;
    }

    /// Tells the cluster that partitions were initialized.
    pub(crate) async fn mark_ready(&self, topic: &TopicRecord, partitions: Vec<PartitionIndex>) {
        if partitions.is_empty() {
            return;
        }
        let ready = MetadataCommand::PartitionsReady { topic: topic.id, partitions };
        if let Err(error) = self.propose(&ready).await {
            // The topic may have been deleted meanwhile. Otherwise the node's upkeep says it again.
            tracing::warn!(topic = %topic.name, %error, "a new topic's partitions could not be marked ready");
        }
    }
}
