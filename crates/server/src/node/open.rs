//! The first part of a node's start: its data directory is opened and the store in it recovered. Data that cannot be proven whole is set
//! aside when the cluster says that it goes on without it.

use std::sync::Arc;

use highwater_storage::checkpoint::CheckpointError;
use highwater_storage::directory::{DataDirectory, DirectoryOptions, Identity, Shutdown};
use highwater_storage::disk::{Disk, RealDisk, blocking};
use highwater_storage::{OpenError, Store, StoreOptions};
use highwater_types::{Clock, GroupId, Random, limits};
use tokio::sync::watch;

use super::entrance::{Birth, Entrance};
use super::parts::NodeData;
use super::renewal::{self, Question};
use crate::config::NodeConfig;
use crate::error::{NodeFailure, StartError};
use crate::introduction::Stage;
use crate::remote::Channels;

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
    entrance: &mut Entrance,
    report: watch::Sender<Option<NodeFailure>>,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<Opened, StartError> {
    let (clock, random) = (Arc::clone(clock), Arc::clone(random));
    let mut store_options = store_options(config, report);
    let root = config.data.clone();
    let disk: Arc<dyn Disk> = match &data {
        NodeData::Directory => Arc::new(RealDisk::new(root.clone())),
        NodeData::Disk(disk) => Arc::clone(disk),
    };
    let is_born = DataDirectory::exists(&*disk, &config.data)?;
    let Birth { options, ordered } = if is_born || config.founds_by_itself() {
        Birth { options: DirectoryOptions::new(config.node, None), ordered: None }
    } else {
        entrance.wait(config, channels).await
    };
    let introduction = entrance.introduction();
    let (clock_again, random_again) = (Arc::clone(&clock), Arc::clone(&random));
    let (directory, opened, store_options) = blocking(&*disk, move || {
        let directory = match data {
            NodeData::Directory => DataDirectory::open(&root, &options, &*clock, &*random)?,
            NodeData::Disk(disk) => DataDirectory::open_on(disk, &root, &options, &*clock, &*random)?,
        };
        let Identity { cluster, founder, .. } = directory.identity();
        warn_of_recovery(&directory);
        if let Some(ordered) = ordered {
            introduction.reach(Stage::Born { cluster, founder, is_member: false });
            // Whoever gave the order may have gone.
            let _ = ordered.send(());
        }
        store_options.unreadable =
            directory.unreadable_files().map_err(disk_failed("reading the quarantine markers"))?;
        store_options.power_lost = directory.shutdown() == Shutdown::PowerLost;
        let opened = Store::open(Arc::clone(directory.disk()), &store_options, &*random);
        Ok::<_, StartError>((directory, opened, store_options))
    })
    .await?;
    let is_given_up = match unproven(&opened) {
        Some(damage) => {
            tracing::error!(damage, "what this node has stored cannot be proven whole");
            Question::new(config, &directory).is_spared_now(channels).await
        }
        None => false,
    };
    let opened = blocking(&*disk, move || {
        if !is_given_up {
            return recovered(directory, opened?);
        }
        drop(opened);
        let directory = renewal::set_aside(directory, &*clock_again, &*random_again)?;
        let store_options = StoreOptions { unreadable: Vec::new(), power_lost: false, ..store_options };
        let store = Store::open(Arc::clone(directory.disk()), &store_options, &*random_again)?;
        recovered(directory, store)
    })
    .await?;
    let Identity { cluster, founder, .. } = opened.directory.identity();
    let metadata = opened.store.group(GroupId::Metadata);
    let is_member = metadata.is_some_and(|log| log.bounds() != (None, None));
    entrance.reach(Stage::Born { cluster, founder, is_member });
    Ok(opened)
}

/// How the store is opened, but for what the directory tells of its last process.
fn store_options(config: &NodeConfig, report: watch::Sender<Option<NodeFailure>>) -> StoreOptions {
    StoreOptions {
        journal: config.journal,
        mapped_segments_max: limits::MAPPED_SEGMENTS_MAX,
        unreadable: Vec::new(),
        power_lost: false,
        on_failure: Arc::new(move |error| {
            let failure = NodeFailure::Disk { reason: error.to_string() };
            report.send_replace(Some(failure));
        }),
    }
}

/// Notes that the recovery is over. A store for reading only is none.
fn recovered(directory: DataDirectory, store: Arc<Store>) -> Result<Opened, StartError> {
    if directory.shutdown() == Shutdown::PowerLost && store.quarantine().is_none() {
        tracing::warn!("the machine went down while the node ran; all that was durable is recovered");
        directory.mark_recovered().map_err(disk_failed("recording the recovery"))?;
    }
    Ok(Opened { directory, store })
}

fn disk_failed(doing: &'static str) -> impl FnOnce(std::io::Error) -> OpenError {
    move |source| OpenError::Io { doing, source }
}

fn warn_of_recovery(directory: &DataDirectory) {
    let Some(recovery) = directory.recovery() else { return };
    let cluster = directory.identity().cluster;
    let (was, at_ms) = (recovery.was.last().map(ToString::to_string), recovery.at.0);
    tracing::warn!(
        %cluster,
        was,
        at_ms,
        "the cluster lost its majority and went on from this node alone: records that only the others had are lost"
    );
}

/// Why what is stored cannot be proven whole, when it cannot: a vote, or what was acknowledged, may be gone.
fn unproven(opened: &Result<Arc<Store>, OpenError>) -> Option<String> {
    match opened {
        Ok(store) => store.quarantine().map(str::to_owned),
        Err(
            error @ (OpenError::Checkpoint(CheckpointError::Damaged { .. }) | OpenError::CheckpointMissing),
        ) => Some(error.to_string()),
        Err(_) => None,
    }
}
