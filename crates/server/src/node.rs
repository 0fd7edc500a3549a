//! One node: its data directory, its groups, its broker and its listeners, from start to
//! shutdown. It prints nothing and never ends the process: whoever started it does.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use highwater_broker::{Broker, BrokerOptions};
use highwater_consensus::{GroupHost, HostParts, NoPeers};
use highwater_storage::directory::{DataDirectory, DirectoryOptions, Shutdown};
use highwater_storage::{OpenError, Store, StoreOptions};
use highwater_types::{Clock, NodeId, Random, SystemClock, SystemRandom, limits};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::NodeConfig;
use crate::error::{NodeFailure, ShutdownError, StartError};
use crate::grpc::Grpc;
use crate::http::{self, Health, Readiness};
use crate::listener::{accepted, bind, limited};

/// A running node.
pub struct Node {
    config: NodeConfig,
    grpc: SocketAddr,
    http: SocketAddr,
    directory: DataDirectory,
    broker: Arc<Broker>,
    readiness: Readiness,
    /// Cancelled to end listeners and streams in good order.
    stopping: CancellationToken,
    /// Cancelled to end every connection at once.
    cut: CancellationToken,
    failure: watch::Receiver<Option<NodeFailure>>,
    listeners: Vec<JoinHandle<()>>,
}

/// What is open before there is a broker.
struct Opened {
    directory: DataDirectory,
    store: Arc<Store>,
}

impl Node {
    /// Starts a node on the machine's disk and clock. On return it serves: every partition
    /// was recovered and started. Over a damaged journal it serves for reading only, and is not ready.
    ///
    /// # Errors
    /// Why it does not start; whatever was begun has been undone.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let (report, failure) = watch::channel(None);
        let grpc_listener = bind("gRPC", config.grpc, config.insecure).await?;
        let http_listener = bind("HTTP", config.http, config.insecure).await?;
        let (grpc, http) =
            (local_address(&grpc_listener, config.grpc)?, local_address(&http_listener, config.http)?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let (stopping, cut) = (CancellationToken::new(), CancellationToken::new());
        let undo = cut.clone().drop_guard();

        // HTTP first: a node that recovers for long is alive, and not ready.
        let readiness = Readiness::default();
        let incoming = limited(accepted(http_listener), config.connections_max, cut.clone());
        let http_task = tokio::spawn(http::serve(incoming, readiness.clone(), stopping.clone()));
        let stop_http = stopping.clone().drop_guard();

        let Opened { directory, store } = open(&config, report.clone(), &clock, &random).await?;
        let host = GroupHost::new(HostParts {
            node: config.node,
            store,
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
            transport: Arc::new(NoPeers),
        });
        let options = broker_options(&config, &directory, grpc);
        let broker = match Broker::start(options, Arc::clone(&host), clock, random).await {
            Ok(broker) => broker,
            Err(error) => {
                if let Err(error) = host.shutdown().await {
                    tracing::warn!(%error, "the store was not closed as it should");
                }
                return Err(error.into());
            }
        };
        if directory.shutdown() == Shutdown::PowerLost {
            broker.warn_of_power_loss();
        }
        let health = broker.read_only().map_or(Health::Ready, Health::ReadOnly);
        let incoming = limited(accepted(grpc_listener), config.connections_max, cut.clone());
        let server = Grpc::build(Arc::clone(&broker), stopping.clone()).await?;
        let grpc_task = tokio::spawn(watch_listener(
            "gRPC",
            async move { server.serve(incoming).await.map_err(|error| error.to_string()) },
            report.clone(),
            stopping.clone(),
        ));
        tokio::spawn(watch_disk(Arc::clone(&broker), report, stopping.clone()));
        readiness.set(health);
        undo.disarm();
        stop_http.disarm();
        let listeners = vec![grpc_task, http_task];
        Ok(Self { config, grpc, http, directory, broker, readiness, stopping, cut, failure, listeners })
    }

    /// Where gRPC listens.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    /// Where HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http
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
        let mut failure = self.failure.clone();
        let failed = failure.wait_for(Option::is_some).await.map(|failure| failure.clone());
        match failed {
            Ok(Some(failure)) => failure,
            Ok(None) | Err(_) => std::future::pending().await,
        }
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
        self.broker.shutdown().await?;
        // What a damaged journal still holds was not made durable elsewhere.
        if self.failure.borrow().is_some() || self.broker.read_only().is_some() {
            return Ok(());
        }
        let directory = self.directory;
        let marked = tokio::task::spawn_blocking(move || directory.mark_clean()).await;
        let marked = marked.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
        marked.map_err(ShutdownError::MarkClean)
    }
}

fn local_address(listener: &TcpListener, wanted: SocketAddr) -> Result<SocketAddr, StartError> {
    let bind_failed = |source| StartError::Bind { listener: "a listener", address: wanted, source };
    listener.local_addr().map_err(bind_failed)
}

/// Opens the data directory and recovers the store, on a thread that may block.
async fn open(
    config: &NodeConfig,
    report: watch::Sender<Option<NodeFailure>>,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<Opened, StartError> {
    let (clock, random) = (Arc::clone(clock), Arc::clone(random));
    let directory_options = DirectoryOptions { node: config.node, cluster: None };
    let mut store_options = StoreOptions {
        journal: config.journal,
        mapped_segments_max: limits::MAPPED_SEGMENTS_MAX,
        unreadable: Vec::new(),
        on_failure: Arc::new(move |error| {
            let failure = NodeFailure::Disk { reason: error.to_string() };
            report.send_replace(Some(failure));
        }),
    };
    let root = config.data.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let directory = DataDirectory::open(&root, &directory_options, &*clock, &*random)?;
        let disk_failed = |doing| move |source| OpenError::Io { doing, source };
        store_options.unreadable =
            directory.unreadable_files().map_err(disk_failed("reading the quarantine markers"))?;
        let store = Store::open(Arc::clone(directory.disk()), &store_options, &*random)?;
        if directory.shutdown() == Shutdown::PowerLost && store.quarantine().is_none() {
            tracing::warn!("the machine went down while the node ran; all that was durable is recovered");
            directory.mark_recovered().map_err(disk_failed("recording the recovery"))?;
        }
        Ok(Opened { directory, store })
    });
    match opening.await {
        Ok(opened) => opened,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

fn broker_options(config: &NodeConfig, directory: &DataDirectory, grpc: SocketAddr) -> BrokerOptions {
    let identity = directory.identity();
    BrokerOptions {
        node: config.node,
        incarnation: identity.incarnation,
        cluster: identity.cluster,
        client_address: grpc.to_string(),
        bootstrap: true,
        default_partitions: config.default_partitions,
        default_replication_factor: 1,
        maintenance_interval: config.maintenance_interval,
    }
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
