//! What a client is told once, for all of its producers and consumers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use highwater_types::{Clock, Random, SystemClock, SystemRandom};
use tonic::transport::{Channel, Endpoint};

/// Makes the channel to a server. The endpoint has its address and every setting of a connection to it; the
/// channel is to connect at its first call, and again after it broke.
pub type Dial = Arc<dyn Fn(Endpoint) -> Channel + Send + Sync>;

/// How a [`crate::Client`] connects.
#[derive(Clone)]
pub struct ClientConfig {
    /// Addresses as `host:port` of some nodes, to begin with; the others are learnt from the cluster.
    pub servers: Vec<String>,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long a call may go without an answer before its connection counts as broken.
    pub request_timeout: Duration,
    /// How often a connection is probed while calls are in progress on it; producers and consumers that have something
    /// to do always have one.
    pub keep_alive_interval: Duration,
    /// How long a probe may go without an answer before the connection counts as broken.
    pub keep_alive_timeout: Duration,
    /// A batch that has no answer for so long, or a subscription to which nothing comes, makes the client look whether the partition's
    /// leader has changed.
    pub stall_timeout: Duration,
    /// The longest wait between two looks for a leader that is not found; the shortest is half of it.
    pub leader_retry: Duration,
    /// The first wait before a reconnect or a retry; it doubles from there.
    pub backoff_min: Duration,
    /// The longest wait before a reconnect or a retry.
    pub backoff_max: Duration,
    /// Where timestamps of records come from that have none.
    pub clock: Arc<dyn Clock>,
    /// What jitter and the choice of partitions for keyless records come from.
    pub random: Arc<dyn Random>,
    /// The way to the servers: TCP, or a network of the caller's.
    pub dial: Dial,
}

impl ClientConfig {
    /// The defaults, for these servers.
    pub fn new(servers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            servers: servers.into_iter().map(Into::into).collect(),
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(30),
            keep_alive_interval: Duration::from_secs(2),
            keep_alive_timeout: Duration::from_secs(2),
            stall_timeout: Duration::from_millis(500),
            leader_retry: Duration::from_millis(100),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_secs(1),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            dial: Arc::new(|endpoint: Endpoint| endpoint.connect_lazy()),
        }
    }

    pub(crate) fn backoff(&self) -> highwater_types::Backoff {
        highwater_types::Backoff::new(self.backoff_min, self.backoff_max, Arc::clone(&self.random))
    }

    /// Waits for what ends when a leader is found: they stay short.
    pub(crate) fn leader_backoff(&self) -> highwater_types::Backoff {
        let max = self.leader_retry.min(self.backoff_max);
        highwater_types::Backoff::new(self.backoff_min.min(max), max, Arc::clone(&self.random))
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig").field("servers", &self.servers).finish_non_exhaustive()
    }
}
