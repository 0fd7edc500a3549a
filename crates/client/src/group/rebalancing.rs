//! Begins what a member is given and gives up what goes to others: a task that finds where partitions start, commits what was
//! processed of those that go, and tells the listener, one thing after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use highwater_types::{Backoff, Offset, PartitionId};
use tokio::time::Instant;

use crate::consumer::StartPosition;
use crate::group::agenda::Step;
use crate::group::listener::Listed;
use crate::group::shared::{Inner, Phase, Shared};
use crate::group::{OffsetCommitter, RebalanceListener, Revocation};

/// What is left of the time to give something up for saying that it was: a part of it, and at most so long.
const MARGIN_PART: u32 = 5;
const MARGIN_MAX: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Rebalancing<L> {
    shared: Arc<Shared>,
    committer: OffsetCommitter,
    listener: L,
    backoff: Backoff,
}

impl<L: RebalanceListener> Rebalancing<L> {
    pub(crate) fn new(shared: Arc<Shared>, listener: L) -> Self {
        let backoff = shared.cluster.config.backoff();
        Self { committer: OffsetCommitter::new(Arc::clone(&shared)), shared, listener, backoff }
    }

    /// Runs until everything is given up at the consumer's end.
    pub(crate) async fn run(mut self) {
        loop {
            let shared = Arc::clone(&self.shared);
            let changed = shared.changed.notified();
            let step = {
                let mut inner = shared.inner();
                let busy = inner.progress.busy();
                inner.agenda.next(busy)
            };
            let phase = shared.phase();
            match (step, phase) {
                (Some(Step::Lost(partitions)), _) => self.lose(partitions).await,
                (_, Phase::Closing { for_a_while }) => {
                    self.give_all_up().await;
                    // The member may have failed meanwhile; then there is nothing to leave.
                    shared.phase.send_if_modified(|phase| {
                        let is_closing = *phase == Phase::Closing { for_a_while };
                        if is_closing {
                            *phase = Phase::Drained { for_a_while };
                        }
                        is_closing
                    });
                    shared.changed.notify_waiters();
                    return;
                }
                (_, Phase::Drained { .. } | Phase::Left) => return,
                (Some(Step::Revoked(partitions)), _) => self.give_up(partitions).await,
                (Some(Step::Assigned(partitions)), _) => self.begin(partitions).await,
                (None, _) => changed.await,
            }
        }
    }

    async fn lose(&mut self, partitions: BTreeSet<PartitionId>) {
        let named = self.shared.inner().named(&partitions);
        tracing::warn!(group = self.shared.config.group, partitions = %Listed(&named), "partitions are lost");
        self.listener.on_lost(&named).await;
        self.shared.inner().agenda.told_lost(&partitions);
    }

    async fn give_up(&mut self, partitions: BTreeSet<PartitionId>) {
        let release_by = self.shared.inner().release_by;
        let timeout = self.shared.config.rebalance_timeout;
        let end = release_by.unwrap_or_else(|| Instant::now() + timeout);
        let deadline = end - (timeout / MARGIN_PART).min(MARGIN_MAX);
        let is_lost = self.hand_over(&partitions, deadline).await.is_none();
        let mut inner = self.shared.inner();
        for partition in &partitions {
            if !is_lost {
                let reading = inner.progress.remove(*partition);
                self.shared.unread(reading);
            }
        }
        inner.agenda.gave_up(&partitions);
        drop(inner);
        self.shared.changed.notify_waiters();
    }

    /// Commits what was processed of partitions and lets the listener do what it does. None when they were lost meanwhile.
    async fn hand_over(&mut self, partitions: &BTreeSet<PartitionId>, deadline: Instant) -> Option<()> {
        let named = self.shared.inner().named(partitions);
        tracing::debug!(group = self.shared.config.group, partitions = %Listed(&named), "giving partitions up");
        let (shared, committer, listener) = (&self.shared, &self.committer, &mut self.listener);
        // Half of the time, so that a coordinator that does not answer leaves the listener some.
        let commit_by = Instant::now() + (deadline - Instant::now()) / 2;
        let outcome = tokio::select! {
            outcome = shared.commit_processed(Some(partitions), commit_by) => outcome,
            () = until_lost(shared, partitions) => return None,
        };
        if let Err(error) = &outcome {
            tracing::warn!(group = shared.config.group, %error, "not all that was processed could be committed; it is processed again");
        }
        shared.inner().last_commit = outcome;
        tokio::select! {
            // It is told, however late it is.
            biased;
            () = listener.on_revoked(Revocation { partitions: &named, deadline, committer }) => Some(()),
            () = tokio::time::sleep_until(deadline) => Some(()),
            () = until_lost(shared, partitions) => None,
        }
    }

    async fn give_all_up(&mut self) {
        let (told, named) = {
            let inner = self.shared.inner();
            let told = inner.agenda.told().clone();
            let named = inner.named(&told);
            (told, named)
        };
        if !told.is_empty() {
            let deadline = Instant::now() + self.shared.config.rebalance_timeout;
            if self.hand_over(&told, deadline).await.is_none() {
                self.listener.on_lost(&named).await;
            }
        }
    }

    async fn begin(&mut self, partitions: BTreeSet<PartitionId>) {
        let shared = Arc::clone(&self.shared);
        let starts = tokio::select! {
            starts = self.starts(&partitions) => starts,
            () = until_pressing(&shared) => BTreeMap::new(),
        };
        let (told, named) = {
            let mut inner = self.shared.inner();
            let told = inner.agenda.tell_assigned(|partition| starts.contains_key(&partition));
            let named = inner.named(&told);
            (told, named)
        };
        if told.is_empty() {
            return;
        }
        tracing::debug!(group = self.shared.config.group, partitions = %Listed(&named), "partitions are assigned");
        tokio::select! {
            () = self.listener.on_assigned(&named) => {}
            () = until_lost(&self.shared, &told) => {}
        }
        let mut inner = self.shared.inner();
        for partition in told {
            if inner.agenda.is_to_begin(partition) {
                self.begin_one(&mut inner, partition, starts.get(&partition).copied().flatten());
            }
        }
    }

    fn begin_one(&self, inner: &mut Inner, partition: PartitionId, committed: Option<Offset>) {
        let start = committed.map_or(self.shared.config.start, StartPosition::Offset);
        let key = inner.key(partition);
        inner.progress.begin(partition, key, start, committed);
        if self.shared.phase() == Phase::Running {
            self.shared.read(inner, partition);
        }
    }

    /// What is committed of these partitions, as far as the coordinator can say. When it cannot, this waits for a moment.
    async fn starts(&mut self, partitions: &BTreeSet<PartitionId>) -> BTreeMap<PartitionId, Option<Offset>> {
        let (starts, error) = match self.shared.ask_for_starts(partitions).await {
            Ok((starts, error)) => (starts, error),
            Err(error) => (BTreeMap::new(), Some(error)),
        };
        if !starts.is_empty() {
            self.backoff.reset();
        } else if let Some(error) = error {
            tracing::warn!(group = self.shared.config.group, %error, "cannot learn where partitions start; trying again");
            tokio::time::sleep(self.backoff.next_wait()).await;
        }
        starts
    }
}

/// Waits until some of these are lost.
async fn until_lost(shared: &Shared, partitions: &BTreeSet<PartitionId>) {
    loop {
        let changed = shared.changed.notified();
        if shared.inner().agenda.has_lost(partitions) {
            return;
        }
        changed.await;
    }
}

/// Waits until something is to be told before what is new, or the consumer is to end.
async fn until_pressing(shared: &Shared) {
    loop {
        let changed = shared.changed.notified();
        let is_pressing = {
            let inner = shared.inner();
            inner.agenda.is_pressing(inner.progress.busy())
        };
        if is_pressing || shared.phase() != Phase::Running {
            return;
        }
        changed.await;
    }
}
