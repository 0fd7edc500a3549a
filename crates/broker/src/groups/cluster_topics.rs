//! The cluster's topics as coordinators ask for them.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use highwater_controller::{MetadataImage, TopicRecord};
use highwater_coordinator::{Catalog, CoordinatorError, Topics};
use highwater_groups::{TopicCatalog, TopicPartitions};
use highwater_types::{TopicId, TopicName};
use tokio::sync::watch;

use crate::broker::Broker;
use crate::metadata::Metadata;

/// The topics that this node's metadata show.
pub(crate) struct ClusterTopics {
    pub(crate) metadata: Metadata,
    /// Who asks the cluster how new they are.
    pub(crate) broker: Weak<Broker>,
}

#[async_trait]
impl Topics for ClusterTopics {
    fn catalog(&self) -> Catalog {
        Arc::new(ImageCatalog(self.metadata.image()))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.metadata.watch_topics()
    }

    async fn refresh(&self) -> Result<(), CoordinatorError> {
        let unknown = |reason: String| CoordinatorError::OutcomeUnknown { reason };
        let broker = self.broker.upgrade().ok_or_else(|| unknown("the node is being stopped".to_owned()))?;
        broker.register().await.map_err(|error| unknown(error.to_string()))
    }
}

/// The topics of one image. The cluster's own are none that a group could read.
#[derive(Debug)]
struct ImageCatalog(MetadataImage);

impl TopicCatalog for ImageCatalog {
    fn by_name(&self, name: &TopicName) -> Option<TopicPartitions> {
        self.0.topic_by_name(name.as_str()).and_then(|topic| partitions(topic))
    }

    fn by_id(&self, topic: TopicId) -> Option<TopicPartitions> {
        self.0.topic(topic).and_then(|topic| partitions(topic))
    }
}

fn partitions(topic: &TopicRecord) -> Option<TopicPartitions> {
    let partitions = TopicPartitions { topic: topic.id, count: topic.partition_count() };
    (!topic.name.is_internal()).then_some(partitions)
}
