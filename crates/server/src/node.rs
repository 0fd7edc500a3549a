//! One node: its data directory, its groups, its broker and its listeners, from start to
//! shutdown. It prints nothing and never ends the process: whoever started it does. It takes nothing
//! from the machine but what [`NodeParts`] has.

mod entrance;
mod gatekeeper;
mod open;
mod parts;
mod peers;
mod renewal;
mod search;
mod starting;
mod startup;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use futures_util::{FutureExt as _, StreamExt as _};
use highwater_broker::Broker;
use highwater_storage::directory::{DataDirectory, Shutdown};
use highwater_storage::disk::blocking;
use highwater_types::NodeId;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::NodeConfig;
use crate::error::{NodeFailure, ShutdownError, StartError};
use crate::grpc::{Forwarding, Groups, Grpc, Origin};
use crate::http::{self, Health, Readiness};
use crate::introduction::{Introduction, Stage};
use crate::metrics;
use entrance::Entrance;
use peers::PeerSide;
use starting::{Addresses, Started, Starting};

pub use parts::{NodeData, NodeParts};

/// A running node.
pub struct Node {
    config: NodeConfig,
    grpc: SocketAddr,
    http: SocketAddr,
    peer: SocketAddr,
    directory: DataDirectory,
    broker: Arc<Broker>,
    readiness: Readiness,
    /// Cancelled to end listeners and streams in good order.
    stopping: CancellationToken,
    /// Cancelled to end every connection at once.
    cut: CancellationToken,
    failure: watch::Receiver<Option<NodeFailure>>,
    listeners: Vec<JoinHandle<()>>,
    /// Serving the other nodes goes on until the groups have stopped.
    peers: PeerSide,
}

impl Node {
    /// Starts a node on the machine's disk, clock and network. On return it serves: every partition
    /// was recovered and started. Over a damaged journal it serves for reading only, and is not ready.
    ///
    /// # Errors
    /// Why it does not start; whatever was begun has been undone.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let parts = NodeParts::machine(&config).await?;
        Self::start_with(config, parts).await
    }

    /// Starts a node on what it is given. What the configuration says of listeners does not count then.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_with(config: NodeConfig, parts: NodeParts) -> Result<Self, StartError> {
        let (grpc, http, peer) = (parts.grpc.address(), parts.http.address(), parts.peer.address());
        let (report, failure) = watch::channel(None);
        let (stopping, cut) = (CancellationToken::new(), CancellationToken::new());
        let undo = cut.clone().drop_guard();

        // HTTP first: a node that recovers for long is alive, and not ready.
        let readiness = Readiness::default();
        let incoming = parts.http.limited(config.connections_max, cut.clone());
        let http_task = tokio::spawn(http::serve(incoming, readiness.clone(), stopping.clone()));
        let stop_http = stopping.clone().drop_guard();

        let address = config.advertised_grpc.clone().unwrap_or_else(|| grpc.to_string());
        let (introduction, orders) = Introduction::new(&config, address, &*parts.random);
        let clock = Arc::clone(&parts.clock);
        let forwarding = Forwarding::new(config.node, Arc::clone(&parts.dial));
        let mut incoming = parts.grpc.limited(config.connections_max, cut.clone()).boxed();
        let starting = Starting {
            config: &config,
            addresses: Addresses { grpc, peer },
            entrance: Entrance::new(Arc::clone(&introduction), readiness.clone(), orders),
            report: report.clone(),
            clock: parts.clock,
            random: parts.random,
            data: parts.data,
            peer: parts.peer,
            dialer: parts.dialer,
            dial: parts.dial,
            own_thread: parts.own_thread,
        };
        // On the heap: whoever awaits a start would have all of its state, and its type, in their own.
        let started = Box::pin(starting.start());
        let started = startup::serve_until(&mut incoming, Arc::clone(&introduction), clock, started);
        let Started { directory, broker, peers } = tokio::select! {
            started = started => started?,
            // Such as a node that was removed: it would wait for ever for a cluster that does not talk to it.
            failure = first_failure(failure.clone()) => return Err(failure.into()),
        };
        let (cluster, founder) = (directory.identity().cluster, directory.identity().founder);
        introduction.reach(Stage::Born { cluster, founder, is_member: true });
        if directory.shutdown() == Shutdown::PowerLost {
            broker.warn_of_power_loss();
        }
        let health = broker.read_only().map_or(Health::Ready, Health::ReadOnly);
        let calls = forwarding.clone();
        let server = Grpc::build(Arc::clone(&broker), introduction, calls, stopping.clone()).await?;
        let grpc_task = tokio::spawn(watch_listener(
            "gRPC",
            async move { server.serve(incoming).await.map_err(|error| error.to_string()) },
            report.clone(),
            stopping.clone(),
        ));
        watch(&broker, &report, &stopping);
        show_figures(&broker, forwarding, &readiness);
        readiness.set(health);
        undo.disarm();
        stop_http.disarm();
        let listeners = vec![grpc_task, http_task];
        Ok(Self {
            config,
            grpc,
            http,
            peer,
            directory,
            broker,
            readiness,
            stopping,
            cut,
            failure,
            listeners,
            peers,
        })
    }

    /// Where gRPC listens.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    /// Where HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Where the other nodes are listened for.
    pub fn peer_address(&self) -> SocketAddr {
        self.peer
    }

    /// Where the data is.
    pub fn data(&self) -> &Path {
        self.directory.root()
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.config.node
    }

    /// The broker behind the listeners.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Waits until the node cannot go on, and says why. The process must then end without
    /// [`Node::shutdown`] when the disk is what failed.
    pub async fn failed(&self) -> NodeFailure {
        first_failure(self.failure.clone()).await
    }

    /// Ends the node in good order: no new requests, those under way are finished within the
    /// configured deadline, then a last checkpoint, and the directory is marked as cleanly closed.
    ///
    /// # Errors
    /// What could not be done. Nothing that was acknowledged is lost.
    pub async fn shutdown(self) -> Result<(), ShutdownError> {
        self.readiness.set(Health::NotServing);
        self.stopping.cancel();
        self.broker.stop_requests();
        for listener in self.listeners {
            let mut listener = listener;
            if timeout(self.config.shutdown_deadline, &mut listener).await.is_err() {
                tracing::warn!("connections did not end in time, cutting them off");
                self.cut.cancel();
                listener.abort();
            }
        }
        self.cut.cancel();
        let shut_down = self.broker.shutdown().await;
        self.peers.stop().await;
        shut_down?;
        // What a damaged journal still holds was not made durable elsewhere.
        if self.failure.borrow().is_some() || self.broker.read_only().is_some() {
            return Ok(());
        }
        let disk = Arc::clone(self.directory.disk());
        let marked = blocking(&*disk, move || self.directory.mark_clean()).await;
        marked.map_err(ShutdownError::MarkClean)
    }
}

/// Waits for the first failure that is reported.
async fn first_failure(mut failure: watch::Receiver<Option<NodeFailure>>) -> NodeFailure {
    let failed = failure.wait_for(Option::is_some).await.map(|failure| failure.clone());
    match failed {
        Ok(Some(failure)) => failure,
        Ok(None) | Err(_) => std::future::pending().await,
    }
}

/// Has failures of the running node reported.
fn watch(broker: &Arc<Broker>, report: &watch::Sender<Option<NodeFailure>>, stopping: &CancellationToken) {
    tokio::spawn(watch_standing(Arc::clone(broker), report.clone(), stopping.clone()));
    tokio::spawn(watch_disk(Arc::clone(broker), report.clone(), stopping.clone()));
}

/// Has the figures of the running node told.
fn show_figures(broker: &Arc<Broker>, forwarding: Forwarding, readiness: &Readiness) {
    let watched = Arc::downgrade(broker);
    readiness.set_figures(move || {
        let (watched, forwarding) = (watched.clone(), forwarding.clone());
        async move {
            let Some(broker) = watched.upgrade() else { return String::new() };
            let groups = Groups::new(Arc::clone(&broker), forwarding, Origin::Client);
            metrics::of(&broker, &groups).await
        }
        .boxed()
    });
}

/// Runs a listener, and reports when it ends before it was told to.
async fn watch_listener(
    listener: &'static str,
    serving: impl Future<Output = Result<(), String>>,
    report: watch::Sender<Option<NodeFailure>>,
    stopping: CancellationToken,
) {
    let served = serving.await;
    if !stopping.is_cancelled() {
        let reason = served.err().unwrap_or_else(|| "it ended by itself".to_owned());
        tracing::error!(listener, reason, "a listener failed");
        report.send_replace(Some(NodeFailure::Listener { listener, reason }));
    }
}

/// Reports when the cluster goes on without this node, and this node knows it.
async fn watch_standing(
    broker: Arc<Broker>,
    report: watch::Sender<Option<NodeFailure>>,
    stopping: CancellationToken,
) {
    tokio::select! {
        reason = broker.shut_out() => {
            report.send_replace(Some(NodeFailure::ShutOut { reason }));
        }
        () = stopping.cancelled() => {}
    }
}

/// Reports when the disk fails under a checkpoint.
async fn watch_disk(
    broker: Arc<Broker>,
    report: watch::Sender<Option<NodeFailure>>,
    stopping: CancellationToken,
) {
    tokio::select! {
        reason = broker.disk_failed() => {
            report.send_replace(Some(NodeFailure::Disk { reason }));
        }
        () = stopping.cancelled() => {}
    }
}
