//! Removes the replicas that moved to other nodes, and keeps those that are placed here again.
//!
//! ```text
//!   elsewhere by this node's image ─▶ elsewhere by the cluster's ─▶ retired ─▶ still elsewhere? ─▶ removed
//!                                                                       │ no
//!                                                                       ▼
//!                                                                 in service again, with its data
//! ```
//!
//! A replica that is placed here again while its data is here is the same member as before; one that is placed here after that is another.
//! Invariant: a replica whose data is removed has acknowledged nothing since the cluster last said that it is not here. So its group
//! is stopped first, the cluster is asked after that, and nobody starts it before the data is gone.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};
use highwater_types::{GroupId, PartitionId, limits};

use crate::broker::Broker;

impl Broker {
    /// Removes the replicas that moved to other nodes.
    pub(crate) async fn remove_left_partitions(&self) {
        // An image from before a restart may say that a replica is not here which has come back since. What follows a command of
        // this node's own is as new as the cluster was. So no replica is stopped that is needed.
        if self.left_partitions().is_empty() || !self.is_up_to_date().await {
            return;
        }
        let left = stream::iter(self.left_partitions());
        let retired = left.map(|id| async move { self.retire(id).await.then_some(id) });
        let retired: Vec<Option<PartitionId>> =
            retired.buffer_unordered(limits::PARTITION_STARTS_MAX).collect().await;
        let is_certain = self.is_up_to_date().await;
        stream::iter(retired.into_iter().flatten())
            .for_each_concurrent(limits::PARTITION_STARTS_MAX, |id| self.part_with(id, is_certain))
            .await;
    }

    /// Whether this node's metadata is as new as the cluster's was when this was called.
    async fn is_up_to_date(&self) -> bool {
        let registered = self.register().await;
        if let Err(error) = &registered {
            tracing::warn!(%error, "replicas that moved away are kept: the cluster's metadata did not answer");
        }
        registered.is_ok()
    }

    async fn retire(&self, id: PartitionId) -> bool {
        let image = self.image();
        let Some(topic) = image.topic(id.topic) else { return false };
        self.hosting.retire(id, topic).await
    }

    /// Removes a retired replica, if it is certain that it is placed elsewhere.
    async fn part_with(&self, id: PartitionId, is_certain: bool) {
        let image = self.image();
        let Some(topic) = image.topic(id.topic) else { return };
        let is_elsewhere =
            topic.partition(id.index).is_some_and(|placed| !placed.is_held_by(self.options.node));
        // A removal that was begun can only be finished.
        let is_whole = self.hosting.host().store().group(GroupId::Partition(id)).is_some();
        if is_whole && !(is_certain && is_elsewhere) {
            tracing::debug!(partition = %id, is_certain, "a replica that had moved away stays");
            return self.hosting.reinstate(id, topic).await;
        }
        match self.hosting.remove_retired(id).await {
            Ok(()) => tracing::info!(partition = %id, "removed a replica that moved to another node"),
            Err(error) => {
                return tracing::warn!(partition = %id, %error, "a replica that moved away could not be removed and will be tried again");
            }
        }
        // It may have been placed here again meanwhile, when it could not be started.
        if let Some(topic) = self.image().topic(id.topic) {
            self.hosting.start_topic(topic).await;
        }
    }

    /// The partitions that have data here and that the metadata place elsewhere for good, and those that were retired before.
    fn left_partitions(&self) -> BTreeSet<PartitionId> {
        let image = self.image();
        let groups = self.hosting.host().store().groups().into_iter();
        let held = groups.filter_map(|group| match group {
            GroupId::Partition(id) => Some(id),
            GroupId::Metadata => None,
        });
        held.filter(|id| image.partition(*id).is_some_and(|placed| !placed.is_held_by(self.options.node)))
            .chain(self.hosting.retired())
            .collect()
    }
}
