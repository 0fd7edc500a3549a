//! What the client knows of its cluster, shared by all of its producers, consumers and admin calls: the nodes, who leads
//! what, and the newest metadata that it has seen.
//!
//! It is asked for on demand: at the first use of a topic, when an answer or a broken connection shows that it is wrong,
//! and again when it is old. Looks for a leader are shared ([`Looking`]): however many partitions lost theirs, one question
//! is on its way. Nothing runs while nobody asks.

mod looking;
mod view;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use highwater_proto::v1::{
    DescribeClusterRequest, DescribeClusterResponse, DescribeTopicsRequest, DescribeTopicsResponse,
    ErrorDetail, LeaderHint, describe_topics_result,
};
use highwater_types::ErrorCode;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::ClientConfig;
use crate::connections::{Connections, Server};
use crate::error::ClientError;
use crate::topic::{PartitionKey, TopicMetadata};

use looking::Looking;
use view::View;

pub(crate) use view::Whereabouts;

/// See the module.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) connections: Connections,
    pub(crate) config: ClientConfig,
    view: RwLock<View>,
    /// Counts what was learnt, and looks that ended without news: time to look at the view again.
    changed: watch::Sender<u64>,
    looking: Mutex<Looking>,
    /// The newest metadata that any answer spoke of.
    version_seen: AtomicU64,
}

impl Cluster {
    /// Checks the addresses; connects to none.
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        Ok(Self {
            connections: Connections::new(config)?,
            config: config.clone(),
            view: RwLock::default(),
            changed: watch::Sender::new(0),
            looking: Mutex::default(),
            version_seen: AtomicU64::new(0),
        })
    }

    pub(crate) fn whereabouts(&self, key: &PartitionKey) -> Whereabouts {
        self.view.read().whereabouts(key)
    }

    /// Where to send what belongs to this partition: its leader if that is known, else the server that has its turn.
    pub(crate) fn best_address(&self, key: &PartitionKey) -> Arc<str> {
        match self.whereabouts(key) {
            Whereabouts::At(address) => address,
            Whereabouts::Nobody | Whereabouts::Unknown => self.connections.current(),
        }
    }

    /// Wakes whoever waits for a leader.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The version that this client's next reads of the metadata have to show: it has seen its effects.
    pub(crate) fn metadata_version_min(&self) -> u64 {
        self.version_seen.load(Ordering::Relaxed)
    }

    /// An answer spoke of this version of the metadata.
    pub(crate) fn saw_metadata_version(&self, version: u64) {
        self.version_seen.fetch_max(version, Ordering::Relaxed);
    }

    /// The node at `address` refused a request for a partition, or could not serve it for now. Returns whether the
    /// partition's leader is believed to be elsewhere from now on.
    pub(crate) fn on_refusal(
        self: &Arc<Self>,
        key: &PartitionKey,
        address: &str,
        detail: &ErrorDetail,
    ) -> bool {
        let has_moved = match (detail.error_code(), &detail.leader) {
            (Some(ErrorCode::NotLeader), Some(hint)) => self.view.write().take_hint(key, hint),
            (Some(ErrorCode::NotLeader), None) => {
                self.view.write().deny(key, address);
                false
            }
            (Some(ErrorCode::LeaderNotAvailable | ErrorCode::Unavailable), _) => false,
            _ => return false,
        };
        if has_moved {
            self.announce();
        } else {
            self.look_again(&key.topic);
        }
        has_moved
    }

    /// A node that does not lead the partition took a request for it to the one that does.
    pub(crate) fn on_forwarded(&self, key: &PartitionKey, leader: &LeaderHint) {
        if self.view.write().take_hint(key, leader) {
            self.announce();
        }
    }

    /// What the cluster says about a topic now. Cancel-safe.
    pub(crate) async fn topic(&self, name: &str) -> Result<TopicMetadata, ClientError> {
        let request = DescribeTopicsRequest { names: vec![name.to_owned()], ..Default::default() };
        let response = self.describe_topics(request).await?;
        if self.view.read().misses_nodes() {
            // Without them requests go to any server, which is worse and no failure.
            let _ = self.describe_cluster().await;
        }
        let result = response.results.into_iter().next().and_then(|result| result.result);
        match result.ok_or_else(|| self.protocol("no result for a topic"))? {
            describe_topics_result::Result::Error(detail) => Err(detail.into()),
            describe_topics_result::Result::Topic(topic) => {
                TopicMetadata::of(&topic).ok_or_else(|| self.protocol("a topic without partitions"))
            }
        }
    }

    /// Gives a server its turn that is up, if there is a choice: what is sent once only had better find one. Cancel-safe.
    ///
    /// # Errors
    /// When none can be reached; nothing was sent then.
    pub(crate) async fn find_live(&self) -> Result<(), ClientError> {
        if self.connections.count() == 1 {
            return Ok(());
        }
        match self.describe_cluster().await {
            Err(error @ ClientError::Connection { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    /// Topics as some server describes them, which knows at least what this client has seen. Cancel-safe.
    pub(crate) async fn describe_topics(
        &self,
        request: DescribeTopicsRequest,
    ) -> Result<DescribeTopicsResponse, ClientError> {
        let ask = || async {
            let call = |server: Server| {
                let request = request.clone();
                async move { server.admin().describe_topics(request).await }
            };
            self.connections.read_any(call).await
        };
        let response = self.new_enough(ask, |response| response.metadata_version).await?;
        self.take_topics(&response);
        Ok(response)
    }

    /// The nodes, as some server describes them. Cancel-safe.
    pub(crate) async fn describe_cluster(&self) -> Result<DescribeClusterResponse, ClientError> {
        let call = |server: Server| async move {
            server.admin().describe_cluster(DescribeClusterRequest::default()).await
        };
        let ask = || self.connections.read_any(call);
        let response = self.new_enough(ask, |response| response.metadata_version).await?;
        self.take_nodes(&response);
        Ok(response)
    }

    /// Asks again, and somebody else, until the answer is not older than what this client has seen before.
    async fn new_enough<T, F>(&self, ask: impl Fn() -> F, version: fn(&T) -> u64) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let wanted = self.metadata_version_min();
        let deadline = Instant::now() + self.config.request_timeout;
        let mut backoff = self.config.leader_backoff();
        loop {
            let answer = ask().await?;
            let has = version(&answer);
            if has >= wanted {
                self.saw_metadata_version(has);
                return Ok(answer);
            }
            let retry_at = Instant::now() + backoff.next_wait();
            if retry_at >= deadline {
                return Err(ClientError::StaleMetadata { version: has, wanted });
            }
            self.connections.rotate();
            tokio::time::sleep_until(retry_at).await;
        }
    }

    fn take_topics(&self, response: &DescribeTopicsResponse) {
        let mut is_news = false;
        let mut view = self.view.write();
        for result in &response.results {
            is_news |= match &result.result {
                Some(describe_topics_result::Result::Topic(topic)) => view.take_topic(topic),
                Some(describe_topics_result::Result::Error(detail)) => {
                    detail.error_code() == Some(ErrorCode::UnknownTopicOrPartition)
                        && view.forget_topic(&result.name)
                }
                None => false,
            };
        }
        drop(view);
        if is_news {
            self.announce();
        }
    }

    fn take_nodes(&self, response: &DescribeClusterResponse) {
        let mut view = self.view.write();
        if view.take_nodes(&response.nodes) {
            let addresses = view.addresses();
            drop(view);
            self.connections.learn(addresses);
            self.announce();
        }
    }

    fn announce(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn protocol(&self, what: &'static str) -> ClientError {
        ClientError::Protocol { server: self.connections.current().to_string(), what }
    }
}

/// Between half of the wait and all of it.
fn jittered(wait: Duration, config: &ClientConfig) -> Duration {
    highwater_types::Backoff::new(wait, wait, Arc::clone(&config.random)).next_wait()
}
