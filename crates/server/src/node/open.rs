//! The first part of a node's start: its data directory is opened and the store in it recovered.

use std::sync::Arc;
use std::time::Duration;

use highwater_storage::directory::{DataDirectory, DirectoryOptions, Identity, Shutdown};
use highwater_storage::disk::{Disk, RealDisk, blocking};
use highwater_storage::{OpenError, Store, StoreOptions};
use highwater_types::{Clock, ClusterId, Random, limits};
use tokio::sync::watch;
use tokio::time::sleep;

use super::parts::NodeData;
use crate::config::NodeConfig;
use crate::error::{NodeFailure, StartError};
use crate::remote::{Channels, identify};

/// How long until the seeds are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Every how many times the log says so.
const SAY_AGAIN: u32 = 20;

/// What is open before there is a broker.
pub(super) struct Opened {
    pub(super) directory: DataDirectory,
    pub(super) store: Arc<Store>,
}

/// Opens the data directory and recovers the store, on a thread that may block when the disk does. A later
/// failure of the journal goes to `report`.
pub(super) async fn open(
    config: &NodeConfig,
    data: NodeData,
    channels: &Channels,
    report: watch::Sender<Option<NodeFailure>>,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<Opened, StartError> {
    let (clock, random) = (Arc::clone(clock), Arc::clone(random));
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
    let disk: Arc<dyn Disk> = match &data {
        NodeData::Directory => Arc::new(RealDisk::new(root.clone())),
        NodeData::Disk(disk) => Arc::clone(disk),
    };
    let cluster = cluster_to_join(config, &*disk, channels).await?;
    let options = DirectoryOptions { node: config.node, cluster };
    blocking(&*disk, move || {
        let directory = match data {
            NodeData::Directory => DataDirectory::open(&root, &options, &*clock, &*random)?,
            NodeData::Disk(disk) => DataDirectory::open_on(disk, &root, &options, &*clock, &*random)?,
        };
        let disk_failed = |doing| move |source| OpenError::Io { doing, source };
        store_options.unreadable =
            directory.unreadable_files().map_err(disk_failed("reading the quarantine markers"))?;
        let store = Store::open(Arc::clone(directory.disk()), &store_options, &*random)?;
        if directory.shutdown() == Shutdown::PowerLost && store.quarantine().is_none() {
            tracing::warn!("the machine went down while the node ran; all that was durable is recovered");
            directory.mark_recovered().map_err(disk_failed("recording the recovery"))?;
        }
        Ok(Opened { directory, store })
    })
    .await
}

/// The cluster that a directory without an identity is to be born into; none when it has one, or when the node begins a cluster. Asks
/// the seeds for as long as none of them answers: what a node without data must never do is to begin a second cluster.
async fn cluster_to_join(
    config: &NodeConfig,
    disk: &dyn Disk,
    channels: &Channels,
) -> Result<Option<ClusterId>, StartError> {
    let seeds = config.addresses_to_join();
    if seeds.is_empty() || Identity::read(disk, &config.data)?.is_some() {
        return Ok(None);
    }
    let mut attempt = 0_u32;
    loop {
        for seed in &seeds {
            match identify(channels, seed).await {
                Ok(cluster) => {
                    tracing::info!(%cluster, seed, "joining a cluster");
                    return Ok(Some(cluster));
                }
                Err(error) if attempt.is_multiple_of(SAY_AGAIN) => {
                    tracing::info!(seed, %error, "waiting for a node of the cluster to join");
                }
                Err(_) => {}
            }
        }
        attempt = attempt.wrapping_add(1);
        sleep(ASK_AGAIN).await;
    }
}
