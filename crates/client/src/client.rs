//! The way in: one [`Client`] for any number of producers, consumers and admin calls.

use std::sync::Arc;

use crate::admin::Admin;
use crate::cluster::Cluster;
use crate::config::ClientConfig;
use crate::consumer::{Consumer, ConsumerConfig};
use crate::error::ClientError;
use crate::group::{GroupConsumer, GroupConsumerConfig, RebalanceListener};
use crate::handler::{GroupHandler, GroupHandlerConfig, RecordHandler};
use crate::producer::{Producer, ProducerConfig};

/// A client of one cluster. Cheap to clone; clones share their connections and what they
/// learnt of the cluster.
#[derive(Debug, Clone)]
pub struct Client {
    cluster: Arc<Cluster>,
}

impl Client {
    /// A client of the cluster that these servers (`host:port`) belong to; one that is up is enough to find the others.
    /// Connects at the first call.
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When an address is malformed, or there is none.
    pub fn connect(servers: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, ClientError> {
        Self::with_config(ClientConfig::new(servers))
    }

    /// A client with settings of the caller's.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn with_config(config: ClientConfig) -> Result<Self, ClientError> {
        Ok(Self { cluster: Arc::new(Cluster::new(&config)?) })
    }

    /// Topics and the cluster.
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.cluster))
    }

    /// A producer of its own, with its own buffer, streams and producer id.
    ///
    /// # Errors
    /// When a setting is impossible.
    pub fn producer(&self, config: ProducerConfig) -> Result<Producer, ClientError> {
        Producer::new(Arc::clone(&self.cluster), config)
    }

    /// A consumer of some partitions of a topic, or of all if `partitions` is empty. It starts at once.
    ///
    /// # Errors
    /// When the topic or a partition does not exist, or no server can be reached. Cancel-safe.
    pub async fn consumer(
        &self,
        topic: &str,
        partitions: &[highwater_types::PartitionIndex],
        config: ConsumerConfig,
    ) -> Result<Consumer, ClientError> {
        Consumer::start(Arc::clone(&self.cluster), topic, partitions, config).await
    }

    /// A member of a consumer group, which begins to join at once and goes on trying in the background. The listener is told which
    /// partitions it is given; `()` is one that does not listen.
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When a setting is impossible.
    pub fn group_consumer(
        &self,
        config: GroupConsumerConfig,
        listener: impl RebalanceListener,
    ) -> Result<GroupConsumer, ClientError> {
        GroupConsumer::start(Arc::clone(&self.cluster), config, listener)
    }

    /// A member of a consumer group whose records a function handles, which begins at once and goes on in the background.
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When a setting is impossible.
    pub fn group_handler(
        &self,
        config: GroupHandlerConfig,
        handler: impl RecordHandler,
    ) -> Result<GroupHandler, ClientError> {
        GroupHandler::start(Arc::clone(&self.cluster), config, handler)
    }
}
