//! The data directory of a stopped node, open and locked: its groups, and the steps that make them its own.
//!
//! Order: the record is begun; every group gets its membership, the metadata the command with the new id too; the store is
//! checkpointed; the identity gets the new id; the record is finished. Cut short anywhere, no node starts on it until it is
//! done again, which it may be.

use std::path::Path;
use std::sync::Arc;

use highwater_controller::{MetadataCommand, MetadataImage, MetadataState, Recovery};
use highwater_server::{Member, Standing, make_sole_voter, standing};
use highwater_storage::directory::{
    DataDirectory, DirectoryError, DirectoryOptions, Identity, RecoveryRecord, Shutdown,
};
use highwater_storage::disk::{Disk, RealDisk};
use highwater_storage::journal::JournalOptions;
use highwater_storage::{GroupLog, Store, StoreOptions};
use highwater_types::{ClusterId, GroupId, SystemClock, SystemRandom, TimestampMs, limits};

use crate::error::CliError;

/// See the module.
pub(super) struct StoppedNode {
    directory: DataDirectory,
    store: Arc<Store>,
}

impl StoppedNode {
    /// Opens the directory as a start of the node would.
    ///
    /// # Errors
    /// When it is no data directory, in use, or cannot be opened.
    pub(super) fn open(root: &Path) -> Result<Self, CliError> {
        std::fs::read_dir(root).map_err(|cause| CliError::Input { name: root.display().to_string(), cause })?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(root.to_path_buf()));
        let Some(Identity { node, .. }) = Identity::read(&*disk, root)? else {
            return Err(highwater_storage::inspect::InspectError::NotADataDirectory(root.to_path_buf()).into());
        };
        let options = DirectoryOptions { recovers: true, ..DirectoryOptions::new(node, None) };
        let directory = DataDirectory::open(root, &options, &SystemClock, &SystemRandom)?;
        let failed = |source| DirectoryError::Io { path: root.to_path_buf(), source };
        let store_options = StoreOptions {
            journal: JournalOptions::default(),
            mapped_segments_max: limits::MAPPED_SEGMENTS_MAX,
            unreadable: directory.unreadable_files().map_err(failed)?,
            power_lost: directory.shutdown() == Shutdown::PowerLost,
            // Whoever waits for the journal is told.
            on_failure: Arc::new(|_| ()),
        };
        let store = Store::open(Arc::clone(directory.disk()), &store_options, &SystemRandom)
            .map_err(CliError::Store)?;
        Ok(Self { directory, store })
    }

    /// Whose it is.
    pub(super) fn identity(&self) -> Identity {
        self.directory.identity()
    }

    /// Its groups, the metadata first, each with where it stands or why it cannot be read.
    pub(super) fn groups(&self) -> Vec<(Arc<GroupLog>, Result<Standing, String>)> {
        let mut ids = self.store.groups();
        ids.sort_by_key(|id| (*id != GroupId::Metadata, *id));
        let logs = ids.into_iter().filter_map(|id| self.store.group(id));
        logs.map(|log| {
            let stands = match log.quarantine() {
                Some(reason) => Err(reason.to_owned()),
                None => standing(&log).map_err(|error| error.to_string()),
            };
            (log, stands)
        })
        .collect()
    }

    /// The cluster's metadata as all that the log has makes them.
    ///
    /// # Errors
    /// When they cannot be read by this version.
    pub(super) fn metadata(&self) -> Result<MetadataImage, CliError> {
        let unreadable = |reason: String| CliError::NotRecoverable { reason };
        let Some(log) = self.store.group(GroupId::Metadata) else {
            return Err(unreadable("it has none of the cluster's metadata".to_owned()));
        };
        let (_, state) = log.snapshot();
        let mut state = match state.is_empty() {
            true => MetadataState::default(),
            false => MetadataState::restore(&state).map_err(|error| unreadable(error.to_string()))?,
        };
        for command in standing(&log).map_err(|error| unreadable(error.to_string()))?.commands {
            state.apply_encoded(&command).map_err(|error| unreadable(error.to_string()))?;
        }
        Ok(state.image().clone())
    }

    /// Refuses what cannot be recovered, before anything is changed.
    pub(super) fn check(&self) -> Result<(), CliError> {
        if let Some(reason) = self.store.quarantine() {
            return Err(CliError::NotRecoverable { reason: reason.to_owned() });
        }
        let metadata = self.metadata()?;
        if metadata.cluster().is_none() {
            let reason = "it never got the cluster's metadata".to_owned();
            return Err(CliError::NotRecoverable { reason });
        }
        Ok(())
    }

    /// Makes the node the only voter of all its groups, under the cluster id `fresh`, or under that of a recovery that was cut short.
    pub(super) async fn recover(
        &mut self,
        fresh: ClusterId,
        now: TimestampMs,
    ) -> Result<RecoveryRecord, CliError> {
        let Identity { node, incarnation, cluster: was, .. } = self.identity();
        let metadata_id = self.metadata()?.cluster().map_or(was, |cluster| cluster.id);
        let root = self.directory.root().to_path_buf();
        let failed = |source| DirectoryError::Io { path: root.clone(), source };
        let record = self.directory.begin_recovery(fresh, now).map_err(failed)?;
        let recovery = Recovery { was: metadata_id, node, at: record.at };
        let command = MetadataCommand::ClusterRecovered { recovery, cluster: record.cluster }.encode();
        let member = Member { node, incarnation };
        for (log, stands) in self.groups() {
            // One that cannot be read stays as it is, out of service; one that never began has nothing to go on from.
            if stands.is_ok_and(|stands| stands.last.is_some()) {
                let commands = if log.id() == GroupId::Metadata { vec![command.clone()] } else { Vec::new() };
                make_sole_voter(&log, member, commands)
                    .await
                    .map_err(|error| CliError::NotRecoverable { reason: error.to_string() })?;
            }
        }
        let unsynced =
            |error: highwater_storage::StoreError| CliError::NotRecoverable { reason: error.to_string() };
        self.store.checkpoint().await.map_err(unsynced)?;
        self.directory.finish_recovery().map_err(failed)?;
        Ok(record)
    }

    /// Ends the use of the directory in good order.
    pub(super) async fn close(self) -> Result<(), CliError> {
        if self.store.quarantine().is_some() {
            return Ok(());
        }
        let closed = self.store.close().await;
        closed.map_err(|error| CliError::NotRecoverable { reason: error.to_string() })?;
        // After a power cut the node's own start has yet to draw its conclusions.
        if self.directory.shutdown() != Shutdown::PowerLost {
            let path = self.directory.root().to_path_buf();
            self.directory.mark_clean().map_err(|source| DirectoryError::Io { path, source })?;
        }
        Ok(())
    }
}
