//! Hands the partitions that this node leads to whom they belong: to the preferred replica once that can lead, and to any other while
//! this node is about to stop.
//!
//! ```text
//! a look at all that is led ─▶ waiting ─▶ under way ─▶ handed over
//!                                 ▲          │ nobody could take over
//!                                 └── rests ◀┘
//! ```
//!
//! Invariants:
//! - Nothing else waits for a hand-over: a successor may take seconds to catch up, or never do so.
//! - Of each partition there is one at a time, of all a few, so that what waits for one that is slow is little.
//! - Who lacks more than what may be on its way is not asked; of several that could take over, the next is when one fails.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use highwater_consensus::{Group, MemberStanding};
use highwater_controller::{MetadataImage, NodeMode};
use highwater_types::{NodeId, PartitionId};
use tokio::time::{Instant, sleep_until};

use crate::broker::Broker;

/// Partitions that are handed over at one time.
const AT_ONCE: usize = 16;
/// How long what happens together is waited for.
const SETTLE: Duration = Duration::from_millis(20);
/// How far looks are apart at least: each hand-over changes a group's status, which asks for one.
const LOOKS_APART: Duration = Duration::from_millis(100);
/// How long until the next look while something belongs elsewhere: nobody tells that a replica has caught up.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long until the next look when nothing happens: nobody tells either that a node can be reached again.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);
/// How long a partition rests that nobody could take over.
const REST: Duration = Duration::from_secs(2);

/// Hands partitions over until the broker stops. What is under way then goes on or is given up; either leaves one leader.
pub(crate) async fn hand_over_partitions(broker: Arc<Broker>) {
    let stopping = broker.stopping.clone();
    let hands_over = HandingOver {
        broker,
        waiting: VecDeque::new(),
        under_way: BTreeSet::new(),
        rests_until: BTreeMap::new(),
    };
    stopping.run_until_cancelled(hands_over.run()).await;
}

/// What is to be handed over, by how far that is.
struct HandingOver {
    broker: Arc<Broker>,
    waiting: VecDeque<PartitionId>,
    under_way: BTreeSet<PartitionId>,
    rests_until: BTreeMap<PartitionId, Instant>,
}

impl HandingOver {
    async fn run(mut self) {
        let mut images = self.broker.metadata.watch();
        let mut changes = self.broker.hosting.host().changes();
        let mut working = FuturesUnordered::new();
        let mut looked_at = Instant::now();
        let mut look_at = looked_at;
        loop {
            while working.len() < AT_ONCE
                && let Some(partition) = self.waiting.pop_front()
            {
                working.extend(self.begin(partition));
            }
            let changed = tokio::select! {
                Some((partition, is_done)) = working.next() => {
                    self.end(partition, is_done);
                    continue;
                }
                () = sleep_until(look_at) => {
                    looked_at = Instant::now();
                    look_at = looked_at + self.look();
                    continue;
                }
                changed = images.changed() => changed,
                changed = changes.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            look_at = look_at.min((Instant::now() + SETTLE).max(looked_at + LOOKS_APART));
        }
    }

    /// Finds what belongs elsewhere. Returns how long until the next look.
    fn look(&mut self) -> Duration {
        let (image, now) = (self.broker.image(), Instant::now());
        self.rests_until.retain(|_, until| *until > now);
        self.waiting.clear();
        let mut next = LOOK_ANYWAY;
        for (partition, group) in self.broker.hosting.groups() {
            if self.broker.heirs(&image, partition).is_empty() || !group.status().is_serving {
                continue;
            }
            next = LOOK_AGAIN;
            if !self.under_way.contains(&partition) && !self.rests_until.contains_key(&partition) {
                self.waiting.push_back(partition);
            }
        }
        next
    }

    /// Hands a partition over, if it still belongs elsewhere and somebody can take over.
    fn begin(
        &mut self,
        partition: PartitionId,
    ) -> Option<impl Future<Output = (PartitionId, bool)> + Send + use<>> {
        let group = self.broker.hosting.group(partition)?;
        let heirs = self.broker.heirs(&self.broker.image(), partition);
        let standing = group.standing()?;
        let is_in_sync = |heir: &NodeId| standing.get(heir).is_some_and(MemberStanding::is_in_sync);
        let heirs: Vec<NodeId> = heirs.into_iter().filter(is_in_sync).collect();
        if heirs.is_empty() {
            return None;
        }
        self.under_way.insert(partition);
        Some(async move { (partition, hand_over(partition, &group, &heirs).await) })
    }

    fn end(&mut self, partition: PartitionId, is_done: bool) {
        self.under_way.remove(&partition);
        if !is_done {
            self.rests_until.insert(partition, Instant::now() + REST);
        }
    }
}

impl Broker {
    /// Who is to lead a partition in this node's place and seems to be there, in order; nobody when this node may.
    fn heirs(&self, image: &MetadataImage, partition: PartitionId) -> Vec<NodeId> {
        let own = self.options.node;
        let serves = |node: NodeId| image.node(node).is_some_and(|record| record.mode == NodeMode::Serving);
        let Some(record) = image.partition(partition) else { return Vec::new() };
        // While this node serves, the leadership only moves back to where it belongs; of a partition that leaves the node, to whoever can.
        let stays = serves(own) && record.replicas.contains(&own);
        let count = if stays { 1 } else { record.replicas.len() };
        let others = record.replicas.iter().copied().take(count).filter(|node| *node != own);
        others.filter(|node| serves(*node) && self.is_there(*node)).collect()
    }
}

/// Has the first of them take over that can. Returns whether one did.
async fn hand_over(partition: PartitionId, group: &Group, heirs: &[NodeId]) -> bool {
    for successor in heirs {
        match group.hand_over(*successor).await {
            Ok(()) => {
                tracing::debug!(%partition, %successor, "handed the leadership over");
                return true;
            }
            Err(error) => {
                tracing::debug!(%partition, %successor, %error, "the leadership was not handed over");
            }
        }
        if !group.status().is_leader {
            return false;
        }
    }
    false
}
