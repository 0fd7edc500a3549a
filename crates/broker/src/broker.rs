//! The broker of a node: takes typed requests, finds the partition that each is for, and
//! keeps the node's groups as the cluster's metadata wants them.
//!
//! It does not know who calls it: a listener of any protocol, or a test. One file per
//! concern adds its requests to [`Broker`].

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::stream::BoxStream;
use highwater_consensus::{ConsensusError, Group, GroupHost, Origin};
use highwater_controller::MetadataImage;
use highwater_groups::GroupsConfig;
use highwater_storage::{Durability, GroupOptions};
use highwater_types::{Clock, ClusterId, ErrorCode, GroupId, Incarnation, NodeId, Random, limits};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::budget::{ByteBudget, BytesPermit};
use crate::damage::Damage;
use crate::error::BrokerError;
use crate::groups::{ClusterTopics, GroupsParts};
use crate::hosting::Hosting;
use crate::known_nodes::KnownNodes;
use crate::leaders::Leaders;
use crate::metadata::Metadata;
use crate::producer_ids::ProducerIds;
use crate::reconciler::Reconciler;
use crate::remote::{LeadersUpdate, Remote};
use crate::{cluster, handing_over, maintenance, repairing, supervisor, waiting_readers};

/// The name under which a node registers where clients reach it.
pub const CLIENT_LISTENER: &str = "grpc";
/// The same for its peers.
pub const PEER_LISTENER: &str = "peer";

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
    /// Where its peers reach it, `host:port`; none for a node that is to stay alone.
    pub peer_address: Option<String>,
    /// Where it stands.
    pub rack: Option<String>,
    /// Where clients reach some nodes of the cluster, for one that knows nothing else of it yet.
    pub seeds: Vec<String>,
    /// Whether this node began the cluster: it begins the cluster's metadata, if they have not begun yet.
    pub founder: bool,
    /// Partitions of a topic that is created without saying how many.
    pub default_partitions: u32,
    /// Replicas of a topic that is created without saying how many. None: as many as the cluster has nodes, three at most.
    pub default_replication_factor: Option<u32>,
    /// Shards that the cluster's consumer groups are divided into, if this node creates them.
    pub group_shards: u32,
    /// Times and sizes of the consumer groups that this node coordinates.
    pub groups: GroupsConfig,
    /// How often retention and other upkeep look at every partition.
    pub maintenance_interval: Duration,
    /// How many bytes a second the scrub reads; 0 for no scrub.
    pub scrub_bytes_per_second: u64,
    /// How many bytes a second replicas that catch up and repairs may take; 0 for as many as they can.
    pub catch_up_bytes_per_second: u64,
}

/// A running broker.
pub struct Broker {
    pub(crate) options: BrokerOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) remote: Arc<dyn Remote>,
    pub(crate) leaders: Leaders,
    pub(crate) metadata: Metadata,
    pub(crate) metadata_group: Group,
    pub(crate) hosting: Arc<Hosting>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) stopping: CancellationToken,
    /// When the node started, by the clock that never jumps.
    pub(crate) started_at: Instant,
    /// Whether records were deleted whose segments a checkpoint can free.
    pub(crate) log_starts_moved: AtomicBool,
    pub(crate) damage: Damage,
    /// Held while the shards of consumer groups are created.
    pub(crate) creating_shards: Mutex<()>,
    budget: ByteBudget,
    /// Why the cluster does not take this node back, once it said so.
    pub(crate) refused: watch::Sender<Option<String>>,
    failure: watch::Sender<Option<String>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Broker {
    /// Starts the metadata group, then every partition that the metadata places here, and what
    /// keeps both in step from then on. On return all of them have been started. `known` sees the metadata as soon as there are some.
    ///
    /// # Errors
    /// When the metadata group does not start or serve, or belongs to another cluster. A
    /// partition that does not start is no reason: its requests say why. Nor is a damaged journal, as long as
    /// the last checkpoint tells the metadata: the broker is for reading only then ([`Broker::read_only`]).
    pub async fn start(
        options: BrokerOptions,
        host: Arc<GroupHost>,
        remote: Arc<dyn Remote>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        known: KnownNodes,
    ) -> Result<Arc<Self>, BrokerError> {
        let metadata = known.metadata;
        host.catch_up().set(options.catch_up_bytes_per_second);
        let metadata_group = start_metadata(&host, &metadata, options.founder).await?;
        let stopping = CancellationToken::new();
        let broker = Arc::new_cyclic(|broker| Self {
            hosting: {
                let topics = ClusterTopics { metadata: metadata.clone(), broker: broker.clone() };
                let groups = GroupsParts {
                    topics: Arc::new(topics),
                    config: options.groups.clone(),
                    stopping: stopping.clone(),
                };
                Arc::new(Hosting::new(options.node, host, Arc::clone(&clock), groups))
            },
            options,
            clock,
            random,
            remote,
            leaders: Leaders::new(),
            metadata,
            metadata_group,
            producer_ids: ProducerIds::default(),
            stopping,
            started_at: Instant::now(),
            log_starts_moved: AtomicBool::new(false),
            damage: Damage::default(),
            creating_shards: Mutex::default(),
            budget: ByteBudget::new(limits::NODE_IN_FLIGHT_BYTES_MAX),
            refused: watch::Sender::new(None),
            failure: watch::Sender::new(None),
            tasks: Mutex::default(),
        });
        let read_only = broker.read_only().is_some();
        let mut tasks = broker.tasks.lock().await;
        if !read_only {
            tasks.push(tokio::spawn(cluster::follow_nodes(Arc::clone(&broker))));
            tasks.push(tokio::spawn(supervisor::supervise_metadata(Arc::clone(&broker))));
            if let Err(error) = broker.join_cluster().await {
                broker.stopping.cancel();
                return Err(error);
            }
        }
        let images = broker.metadata.watch();
        let mut reconciler = Reconciler::new(Arc::clone(&broker), images);
        reconciler.catch_up().await;
        tasks.push(tokio::spawn(reconciler.run()));
        if !read_only {
            tasks.push(tokio::spawn(supervisor::supervise_partitions(Arc::clone(&broker))));
            tasks.push(tokio::spawn(handing_over::hand_over_partitions(Arc::clone(&broker))));
            tasks.push(tokio::spawn(waiting_readers::wake_waiting_readers(Arc::clone(&broker))));
            tasks.push(tokio::spawn(maintenance::upkeep(Arc::clone(&broker))));
            tasks.push(tokio::spawn(maintenance::checkpoints(Arc::clone(&broker))));
            tasks.push(tokio::spawn(repairing::repair(Arc::clone(&broker))));
            if broker.options.scrub_bytes_per_second > 0 {
                tasks.push(tokio::spawn(repairing::scrub(Arc::clone(&broker))));
            }
        }
        drop(tasks);
        Ok(broker)
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

    /// The node's randomness.
    pub fn random(&self) -> &Arc<dyn Random> {
        &self.random
    }

    /// Which partitions this node leads: all at first, then each change.
    pub fn follow_led(&self) -> BoxStream<'static, LeadersUpdate> {
        self.leaders.follow_own()
    }

    /// The cluster that the node belongs to, and the node.
    pub fn identity(&self) -> (ClusterId, NodeId) {
        (self.options.cluster, self.options.node)
    }

    pub(crate) fn image(&self) -> MetadataImage {
        self.metadata.image()
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
    founder: bool,
) -> Result<Group, BrokerError> {
    let failed = |reason: String| {
        let message = format!("the cluster's metadata cannot be served: {reason}");
        BrokerError::new(ErrorCode::Unavailable, message)
    };
    let options = GroupOptions { durability: Durability::Fsync, segments: None };
    let origin = if founder { Origin::New([host.member()].into()) } else { Origin::Existing };
    let group = host
        .start_group(GroupId::Metadata, options, origin, metadata.applier())
        .await
        .map_err(|error| failed(error.to_string()))?;
    // Of several voters this node need not lead, and one that joins has yet to learn of the cluster. A group that a founder has just
    // begun shows no voters yet.
    let is_alone = group.is_sole_voter() || (founder && group.status().voters.is_empty());
    let wait = if is_alone { METADATA_START_DEADLINE } else { Duration::ZERO };
    match group.wait_serving(wait).await {
        Ok(()) => {}
        Err(ConsensusError::NoLeader { .. }) if wait.is_zero() => {}
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
