//! What a node does about its partitions by itself: one task for all of them, and one that
//! takes checkpoints when the journal has grown.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use highwater_consensus::ConsensusError;
use highwater_controller::MetadataCommand;
use highwater_partition::PartitionError;
use highwater_types::limits;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::broker::Broker;
use crate::hosting::HostedPartition;

/// How long checkpoints rest after one has failed, such as on a full disk.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(5);

/// Looks at every partition at every interval, until the broker stops.
pub(crate) async fn upkeep(broker: Arc<Broker>) {
    let mut ticks = interval(broker.options.maintenance_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopping = broker.stopping.clone();
    let work = async {
        loop {
            ticks.tick().await;
            broker.keep_up().await;
        }
    };
    tokio::select! {
        () = stopping.cancelled() => {}
        () = work => {}
    }
}

/// Takes a checkpoint whenever the journal asks for one, until the broker stops.
pub(crate) async fn checkpoints(broker: Arc<Broker>) {
    let stopping = broker.stopping.clone();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = broker.hosting.host().store().checkpoint_due() => {}
        }
        // A checkpoint that has begun is finished, also when the broker stops.
        if !broker.checkpoint().await {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(CHECKPOINT_PAUSE) => {}
            }
        }
    }
}

impl Broker {
    /// One round of upkeep.
    async fn keep_up(&self) {
        for partition in self.hosting.running() {
            self.enforce_retention(&partition).await;
        }
        // One checkpoint takes a log start in, so that the segments below it may leave the log; then
        // another, at the latest in the next round, is without them, so that their files may go.
        if self.log_starts_moved.swap(false, Ordering::Relaxed) && !self.checkpoint().await {
            self.log_starts_moved.store(true, Ordering::Relaxed);
        } else if self.hosting.awaits_checkpoint() {
            self.checkpoint().await;
        }
        self.remove_deleted_topics().await;
        self.remove_left_partitions().await;
    }

    /// Takes a checkpoint; says whether it succeeded.
    async fn checkpoint(&self) -> bool {
        match self.hosting.host().checkpoint().await {
            Ok(()) => true,
            Err(ConsensusError::Store(error)) if !error.is_no_space() => {
                tracing::error!(%error, "a checkpoint failed: the node must end");
                self.report_disk_failure(error.to_string());
                false
            }
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed and will be tried again");
                false
            }
        }
    }

    async fn enforce_retention(&self, partition: &HostedPartition) {
        let deadline = Instant::now() + Duration::from_millis(limits::ADMIN_TIMEOUT_MS);
        match partition.enforce_retention(self.clock.now(), deadline).await {
            Ok(pass) => {
                if let Some((log_start, reason)) = pass.moved {
                    tracing::info!(partition = %partition.id(), %log_start, ?reason, "retention moved the log start");
                    self.log_starts_moved.store(true, Ordering::Relaxed);
                }
            }
            Err(PartitionError::Stopped | PartitionError::NotLeader { .. }) => {}
            Err(error) => {
                tracing::warn!(partition = %partition.id(), %error, "retention failed and will be tried again");
            }
        }
    }

    /// Removes the data of deleted topics whose grace period is over, and says so to the cluster (R10).
    async fn remove_deleted_topics(&self) {
        let now = self.clock.now();
        let node = self.options.node;
        let image = self.image();
        let due = image
            .tombstones()
            .filter(|tombstone| tombstone.data_kept_until <= now && tombstone.holders.contains(&node));
        for tombstone in due {
            let (topic, name) = (tombstone.topic, &tombstone.name);
            if let Err(error) = self.hosting.remove_data(topic, tombstone.partition_count).await {
                tracing::warn!(%topic, %name, %error, "a deleted topic's data could not be removed and will be tried again");
                continue;
            }
            let forget = MetadataCommand::ForgetTopic { topic, node, at: now };
            match self.propose(&forget).await {
                Ok(_) => tracing::info!(%topic, %name, "removed a deleted topic's data"),
                Err(error) => {
                    tracing::warn!(%topic, %name, %error, "the cluster was not told that a deleted topic's data is gone")
                }
            }
        }
    }
}
