//! A node made of a few maps, for the client's tests: it speaks the API over a real connection, refuses duplicates and
//! gaps by sequence as a real one does, and misbehaves as the test tells it to.

#![allow(dead_code, reason = "each test file uses a part of it")]

mod admin;
mod log;
mod partition;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use highwater_client::{Client, ClientConfig};
use highwater_proto::v1::admin_service_server::AdminServiceServer;
use highwater_proto::v1::log_service_server::LogServiceServer;
use highwater_types::ErrorCode;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;

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
    /// The fault of each produce request, by its number since the start.
    pub(crate) produce_faults: BTreeMap<u64, Fault>,
    pub(crate) produce_requests: u64,
    pub(crate) produce_streams: u64,
    pub(crate) producers: i64,
    /// Subscriptions break after so many pushes each, as often as there are entries.
    pub(crate) subscribe_cuts: Vec<u64>,
    pub(crate) subscriptions: u64,
    pub(crate) pushed_bytes: u64,
}

/// The node. Its data survives [`FakeNode::stop`], as that of a real one survives a restart.
#[derive(Clone)]
pub(crate) struct FakeNode {
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
        let partitions = std::iter::repeat_with(Partition::default).take(partitions).collect();
        let topic_id = "11111111-2222-4333-8444-555555555555".to_owned();
        let state = State { partitions, topic_id, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), changed: Arc::new(Notify::new()) }
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
        let node = self.clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            tonic::transport::Server::builder()
                .add_service(LogServiceServer::new(node.clone()))
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

    pub(crate) fn client(&self) -> Client {
        let mut config = ClientConfig::new([self.address.to_string()]);
        config.backoff_min = Duration::from_millis(1);
        config.backoff_max = Duration::from_millis(20);
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

/// Fails a test that hangs instead of letting it hang.
pub(crate) async fn within_a_minute<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("done within a minute")
}
