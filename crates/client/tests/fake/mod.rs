//! Nodes made of a few maps, for the client's tests: they speak the API over real connections, refuse duplicates and
//! gaps by sequence as real ones do, and misbehave as the test tells them to. The nodes of a cluster share what is
//! committed; each serves the partitions that it leads.

#![allow(dead_code, reason = "each test file uses a part of it")]

mod admin;
pub(crate) mod coordination;
mod groups;
mod log;
mod partition;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use highwater_client::{Client, ClientConfig};
use highwater_proto::v1::admin_service_server::AdminServiceServer;
use highwater_proto::v1::group_service_server::GroupServiceServer;
use highwater_proto::v1::log_service_server::LogServiceServer;
use highwater_proto::v1::{ErrorDetail, LeaderHint};
use highwater_types::ErrorCode;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;

pub(crate) use coordination::Groups;
pub(crate) use partition::Partition;

/// What happens to one produce request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is appended and the stream breaks before the answer.
    LoseAck,
    /// The stream breaks before it is appended.
    LoseRequest,
    /// It is answered with this error, and not appended.
    Refuse(ErrorCode),
    /// It is appended and answered with TIMEOUT.
    AppendAndTimeOut,
    /// It is answered never.
    NoAnswer,
}

/// What the node holds and how it misbehaves.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) partitions: Vec<Partition>,
    pub(crate) topic_id: String,
    /// Who leads each partition, and since which epoch.
    pub(crate) leaders: Vec<(Option<u64>, u64)>,
    /// Where the nodes are that were started.
    pub(crate) addresses: BTreeMap<u64, String>,
    /// Nodes that take requests and do nothing about them.
    pub(crate) frozen: BTreeSet<u64>,
    /// Nodes that do not answer who asks about topics and nodes, though their connections live.
    pub(crate) silent: BTreeSet<u64>,
    /// Whether a node that does not lead a partition says who does.
    pub(crate) gives_no_hints: bool,
    /// How many produce requests were forwarded to the leader, if nodes that do not lead do that.
    pub(crate) forwarded: Option<u64>,
    /// How far each node is behind with the metadata; it catches up by one with each answer.
    pub(crate) metadata_lag: BTreeMap<u64, u64>,
    pub(crate) metadata_version: u64,
    /// Calls that each node was asked, other than for streams.
    pub(crate) calls: BTreeMap<u64, u64>,
    /// The fault of each produce request, by its number since the start.
    pub(crate) produce_faults: BTreeMap<u64, Fault>,
    pub(crate) produce_requests: u64,
    pub(crate) produce_streams: u64,
    pub(crate) producers: i64,
    /// Subscriptions break after so many pushes each, as often as there are entries.
    pub(crate) subscribe_cuts: Vec<u64>,
    pub(crate) subscriptions: u64,
    pub(crate) pushed_bytes: u64,
    pub(crate) groups: Groups,
}

/// A node. Its data survives [`FakeNode::stop`], as that of a real one survives a restart.
#[derive(Clone)]
pub(crate) struct FakeNode {
    pub(crate) id: u64,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) changed: Arc<Notify>,
}

/// A running node.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl FakeNode {
    pub(crate) fn new(partitions: usize) -> Self {
        let leaders = vec![(Some(1), 1); partitions];
        let partitions = std::iter::repeat_with(Partition::default).take(partitions).collect();
        let topic_id = "11111111-2222-4333-8444-555555555555".to_owned();
        let state = State { partitions, topic_id, leaders, metadata_version: 1, ..State::default() };
        Self { id: 1, state: Arc::new(Mutex::new(state)), changed: Arc::new(Notify::new()) }
    }

    /// The first node of a cluster of so many, of which it leads every partition, and the others; all running.
    pub(crate) async fn cluster(nodes: u64, partitions: usize) -> (Self, BTreeMap<u64, Running>) {
        let first = Self::new(partitions);
        let mut running = BTreeMap::new();
        for id in 1..=nodes {
            running.insert(id, first.with_id(id).start().await);
        }
        (first, running)
    }

    /// Another node of the same cluster.
    pub(crate) fn with_id(&self, id: u64) -> Self {
        Self { id, ..self.clone() }
    }

    /// Another node leads a partition from now on, or none does.
    pub(crate) fn lead(&self, partition: usize, leader: Option<u64>) {
        let mut state = self.state();
        let epoch = state.leaders[partition].1 + 1;
        state.leaders[partition] = (leader, epoch);
        drop(state);
        self.changed.notify_waiters();
    }

    pub(crate) fn with_faults(partitions: usize, faults: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        let node = Self::new(partitions);
        node.state().produce_faults.extend(faults);
        node
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the state")
    }

    pub(crate) async fn start(&self) -> Running {
        self.start_at("127.0.0.1:0".parse().expect("an address")).await
    }

    /// Starts on a runtime of its own, so that stopping it breaks every connection as the end of a process does.
    pub(crate) async fn start_at(&self, address: SocketAddr) -> Running {
        let listener = within_a_minute(async {
            loop {
                match TcpListener::bind(address).await {
                    Ok(listener) => return listener.into_std().expect("a listener"),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
        let address = listener.local_addr().expect("a bound port");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        self.state().addresses.insert(self.id, address.to_string());
        let node = self.clone();
        runtime.spawn(self.clone().tick());
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            tonic::transport::Server::builder()
                .add_service(LogServiceServer::new(node.clone()))
                .add_service(GroupServiceServer::new(node.clone()))
                .add_service(AdminServiceServer::new(node))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .expect("the fake node serves");
        });
        Running { address, runtime: Some(runtime) }
    }

    /// The values in a partition, in order.
    pub(crate) fn values(&self, partition: usize) -> Vec<String> {
        self.state().partitions[partition].values()
    }

    pub(crate) fn all_values(&self) -> Vec<String> {
        let state = self.state();
        state.partitions.iter().flat_map(Partition::values).collect()
    }
}

impl Running {
    /// Ends it at once, with all its connections.
    pub(crate) fn stop(self) -> SocketAddr {
        self.address
    }

    /// A client that knows this node to begin with.
    pub(crate) fn client(&self) -> Client {
        let mut config = ClientConfig::new([self.address.to_string()]);
        config.backoff_min = Duration::from_millis(1);
        config.backoff_max = Duration::from_millis(20);
        config.leader_retry = Duration::from_millis(5);
        config.stall_timeout = Duration::from_millis(50);
        Client::with_config(config).expect("a client")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl State {
    pub(crate) fn leads(&self, id: u64, partition: u32) -> bool {
        self.leaders[usize::try_from(partition).expect("small")].0 == Some(id)
    }

    /// What a node says that does not lead the partition.
    pub(crate) fn not_leader(&self, partition: u32) -> ErrorDetail {
        let leader = self.leaders[usize::try_from(partition).expect("small")].0;
        let code = if leader.is_some() { ErrorCode::NotLeader } else { ErrorCode::LeaderNotAvailable };
        let mut detail = ErrorDetail::new(code, "another one does").with_partition(partition);
        let address = |node_id: u64| self.addresses.get(&node_id).cloned().unwrap_or_default();
        detail.leader = leader
            .filter(|_| !self.gives_no_hints)
            .map(|node_id| LeaderHint { node_id, address: address(node_id) });
        detail
    }

    /// The metadata that this node shows.
    pub(crate) fn version_at(&mut self, id: u64) -> u64 {
        let lag = self.metadata_lag.entry(id).or_default();
        let version = self.metadata_version - (*lag).min(self.metadata_version);
        *lag = lag.saturating_sub(1);
        version
    }
}

impl FakeNode {
    /// Never, of a node that is silent.
    pub(crate) async fn until_not_silent(&self) {
        if self.state().silent.contains(&self.id) {
            std::future::pending::<()>().await;
        }
    }
}

/// Fails a test that hangs instead of letting it hang.
pub(crate) async fn within_a_minute<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("done within a minute")
}
