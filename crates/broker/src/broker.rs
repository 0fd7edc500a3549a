//! The broker of a node: takes typed requests, finds the partition that each is for, and
//! keeps the node's groups as the cluster's metadata wants them.
//!
//! It does not know who calls it: a listener of any protocol, or a test. One file per
//! concern adds its requests to [`Broker`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use highwater_consensus::{ConsensusError, Group, GroupHost, Origin};
use highwater_controller::{FeatureLevel, MetadataCommand, MetadataImage, MetadataResponse, NodeRegistration};
use highwater_storage::{Durability, GroupOptions};
use highwater_types::{Clock, ClusterId, ErrorCode, GroupId, Incarnation, NodeId, Random, limits};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::budget::{ByteBudget, BytesPermit};
use crate::error::BrokerError;
use crate::hosting::Hosting;
use crate::maintenance;
use crate::metadata::Metadata;
use crate::producer_ids::ProducerIds;
use crate::reconciler::Reconciler;

/// The name under which a node registers where clients reach it.
pub const CLIENT_LISTENER: &str = "grpc";

/// How long the metadata group may take to serve at the start.
const METADATA_START_DEADLINE: Duration = Duration::from_secs(60);

/// What a broker has to know about its node.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// The node.
    pub node: NodeId,
    /// The life of its data directory.
    pub incarnation: Incarnation,
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
    /// Where clients reach it, `host:port`.
    pub client_address: String,
    /// Whether this node may begin the cluster's metadata, if it has not begun yet.
    pub bootstrap: bool,
    /// Partitions of a topic that is created without saying how many.
    pub default_partitions: u32,
    /// Replicas of a topic that is created without saying how many.
    pub default_replication_factor: u32,
    /// How often retention and other upkeep look at every partition.
    pub maintenance_interval: Duration,
}

/// A running broker.
pub struct Broker {
    pub(crate) options: BrokerOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) metadata: Metadata,
    pub(crate) metadata_group: Group,
    pub(crate) hosting: Arc<Hosting>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) stopping: CancellationToken,
    /// Whether records were deleted whose segments a checkpoint can free.
    pub(crate) log_starts_moved: AtomicBool,
    budget: ByteBudget,
    failure: watch::Sender<Option<String>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Broker {
    /// Starts the metadata group, then every partition that the metadata places here, and what
    /// keeps both in step from then on. On return all of them have been started.
    ///
    /// # Errors
    /// When the metadata group does not start or serve, or belongs to another cluster. A
    /// partition that does not start is no reason: its requests say why. Nor is a damaged journal, as long as
    /// the last checkpoint tells the metadata: the broker is for reading only then ([`Broker::read_only`]).
    pub async fn start(
        options: BrokerOptions,
        host: Arc<GroupHost>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Arc<Self>, BrokerError> {
        let metadata = Metadata::new();
        let metadata_group = start_metadata(&host, &metadata, options.bootstrap).await?;
        let hosting = Arc::new(Hosting::new(options.node, host, Arc::clone(&clock)));
        let broker = Arc::new(Self {
            options,
            clock,
            random,
            metadata,
            metadata_group,
            hosting,
            producer_ids: ProducerIds::default(),
            stopping: CancellationToken::new(),
            log_starts_moved: AtomicBool::new(false),
            budget: ByteBudget::new(limits::NODE_IN_FLIGHT_BYTES_MAX),
            failure: watch::Sender::new(None),
            tasks: Mutex::default(),
        });
        let read_only = broker.read_only().is_some();
        if !read_only {
            broker.join_cluster().await?;
        }
        let images = broker.metadata.watch();
        let mut reconciler = Reconciler::new(Arc::clone(&broker), images);
        reconciler.catch_up().await;
        let mut tasks = broker.tasks.lock().await;
        tasks.push(tokio::spawn(reconciler.run()));
        if !read_only {
            tasks.push(tokio::spawn(maintenance::upkeep(Arc::clone(&broker))));
            tasks.push(tokio::spawn(maintenance::checkpoints(Arc::clone(&broker))));
        }
        drop(tasks);
        Ok(broker)
    }

    /// Makes sure that the cluster has its identity and knows this node.
    async fn join_cluster(&self) -> Result<(), BrokerError> {
        let at = self.clock.now();
        let feature_level = FeatureLevel::NEWEST;
        let cluster = self.options.cluster;
        if self.image().cluster().is_none() {
            let born = MetadataCommand::ClusterBorn { cluster, feature_level, at };
            self.propose(&born).await?;
        }
        let address = self.options.client_address.clone();
        let node = NodeRegistration {
            id: self.options.node,
            incarnation: self.options.incarnation,
            addresses: BTreeMap::from([(CLIENT_LISTENER.to_owned(), address)]),
            rack: None,
            feature_level_newest: feature_level,
            registered_at: at,
        };
        self.propose(&MetadataCommand::RegisterNode { cluster, node }).await?;
        Ok(())
    }

    /// Why the node serves for reading only what its last checkpoint proves whole, when it does.
    pub fn read_only(&self) -> Option<String> {
        self.metadata_group.status().quarantined
    }

    /// Stops taking requests: what waits for data or room is answered with `UNAVAILABLE`. Appends
    /// under way go on.
    pub fn stop_requests(&self) {
        self.stopping.cancel();
    }

    /// Waits until the disk fails under a checkpoint or a group's core fails, and says how. The node must end then (R2): a
    /// sync that is tried again may succeed over pages that were lost, and a restart applies a group's log again.
    pub async fn disk_failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        let failed = async {
            match failure.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
                Ok(Some(reason)) => reason,
                // The sender lives as long as this broker.
                Ok(None) | Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            reason = failed => reason,
            reason = self.hosting.host().failed() => reason,
        }
    }

    pub(crate) fn report_disk_failure(&self, reason: String) {
        self.failure.send_replace(Some(reason));
    }

    /// Stops taking requests, stops every group, takes a last checkpoint and closes the store. What
    /// waits is answered with an error.
    ///
    /// # Errors
    /// When the last checkpoint fails, with `NO_SPACE` on a full disk; nothing is lost, the next start replays the journal.
    pub async fn shutdown(&self) -> Result<(), BrokerError> {
        self.stopping.cancel();
        for task in self.tasks.lock().await.drain(..) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the broker failed");
            }
        }
        self.hosting.shutdown().await.map_err(|error| {
            let full = matches!(&error, ConsensusError::Store(error) if error.is_no_space());
            let code = if full { ErrorCode::NoSpace } else { ErrorCode::Internal };
            BrokerError::new(code, format!("the last checkpoint failed: {error}"))
        })
    }

    /// Takes a request's bytes from the node's budget, waiting for others to finish while there
    /// is none. The listener keeps the permit until it has answered. Cancel-safe.
    ///
    /// # Errors
    /// `THROTTLED` when the budget has no room until the deadline.
    pub async fn admit(&self, bytes: usize, deadline: Instant) -> Result<BytesPermit, BrokerError> {
        tokio::select! {
            biased;
            permit = self.budget.acquire(bytes) => Ok(permit),
            () = self.stopping.cancelled() => Err(stopping()),
            () = tokio::time::sleep_until(deadline) => {
                let capacity = self.budget.capacity_bytes();
                Err(BrokerError::new(
                    ErrorCode::Throttled,
                    format!("{bytes} bytes found no room among the {capacity} that the node holds in flight; nothing was written, send it again later"),
                ))
            }
        }
    }

    /// [`Broker::admit`] without waiting.
    pub fn try_admit(&self, bytes: usize) -> Option<BytesPermit> {
        self.budget.try_acquire(bytes)
    }

    /// Bytes of requests that were admitted and not yet answered.
    pub fn in_flight_bytes(&self) -> usize {
        self.budget.capacity_bytes() - self.budget.free_bytes()
    }

    /// The version of the metadata that this node has applied.
    pub fn metadata_version(&self) -> u64 {
        self.image().version().0
    }

    /// The node's wall clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn image(&self) -> MetadataImage {
        self.metadata.image()
    }

    /// Commits a metadata command within the deadline for admin requests.
    pub(crate) async fn propose(&self, command: &MetadataCommand) -> Result<MetadataResponse, BrokerError> {
        let deadline = Duration::from_millis(limits::ADMIN_TIMEOUT_MS);
        let proposed = timeout(deadline, self.metadata.propose(&self.metadata_group, command));
        proposed.await.unwrap_or_else(|_| {
            let ms = limits::ADMIN_TIMEOUT_MS;
            let message =
                format!("the cluster's metadata did not answer within {ms} ms; the change may yet take place");
            Err(BrokerError::new(ErrorCode::Timeout, message))
        })
    }
}

/// The answer of a broker that is shutting down.
pub(crate) fn stopping() -> BrokerError {
    BrokerError::new(ErrorCode::Unavailable, "the node is shutting down")
}

/// Starts the metadata group and waits until it has applied all that is committed.
async fn start_metadata(
    host: &Arc<GroupHost>,
    metadata: &Metadata,
    bootstrap: bool,
) -> Result<Group, BrokerError> {
    let failed = |reason: String| {
        let message = format!("the cluster's metadata cannot be served: {reason}");
        BrokerError::new(ErrorCode::Unavailable, message)
    };
    let options = GroupOptions { durability: Durability::Fsync, segments: None };
    let origin = if bootstrap { Origin::New([host.member()].into()) } else { Origin::Existing };
    let group = host
        .start_group(GroupId::Metadata, options, origin, metadata.applier())
        .await
        .map_err(|error| failed(error.to_string()))?;
    match group.wait_serving(METADATA_START_DEADLINE).await {
        Ok(()) => {}
        // What the last checkpoint knew of the cluster still tells which records can be read.
        Err(ConsensusError::Quarantined { reason }) if metadata.image().cluster().is_some() => {
            tracing::error!(
                reason,
                "the node serves for reading only what its last checkpoint proves whole: copy what you need, then restore the data directory from a backup"
            );
        }
        Err(ConsensusError::Quarantined { reason }) => {
            let message = format!(
                "the stored metadata of the cluster is damaged: {reason}; nothing was changed: restore the data directory from a backup"
            );
            return Err(BrokerError::new(ErrorCode::Quarantined, message));
        }
        Err(error) => return Err(failed(error.to_string())),
    }
    Ok(group)
}
