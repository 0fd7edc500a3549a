//! Members of a group, and what they see.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use highwater_benches::BenchError;
use highwater_client::{
    Client, GroupConsumer, GroupConsumerConfig, RebalanceListener, Revocation, TopicPartition,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// When which member got records of a partition.
type Arrivals = BTreeMap<u32, Vec<(Instant, usize)>>;

/// What all members saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    arrivals: Mutex<Arrivals>,
    owners: Mutex<BTreeMap<u32, usize>>,
    /// Partitions that were taken from members, one way or the other.
    taken: AtomicU64,
}

impl Seen {
    /// The partitions that a member owns.
    pub(crate) fn owned_by(&self, member: usize) -> Vec<u32> {
        let owners = self.owners.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        owners.iter().filter(|(_, owner)| **owner == member).map(|(partition, _)| *partition).collect()
    }

    /// How many partitions somebody owns.
    pub(crate) fn owned(&self) -> usize {
        self.owners.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).len()
    }

    /// How often a partition was taken from a member.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// What came of a partition, in order.
    pub(crate) fn arrivals(&self, partition: u32) -> Vec<(Instant, usize)> {
        let arrivals = self.arrivals.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        arrivals.get(&partition).cloned().unwrap_or_default()
    }

    fn came(&self, member: usize, partition: u32) {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        arrivals.entry(partition).or_default().push((Instant::now(), member));
    }

    fn gone(&self, member: usize, partitions: &[TopicPartition]) {
        let mut owners = self.owners.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for partition in partitions {
            self.taken.fetch_add(1, Ordering::Relaxed);
            if owners.get(&partition.partition.0) == Some(&member) {
                owners.remove(&partition.partition.0);
            }
        }
    }
}

struct Listener {
    member: usize,
    seen: Arc<Seen>,
}

impl RebalanceListener for Listener {
    async fn on_assigned(&mut self, partitions: &[TopicPartition]) {
        let mut owners = self.seen.owners.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        owners.extend(partitions.iter().map(|partition| (partition.partition.0, self.member)));
    }

    async fn on_revoked(&mut self, revocation: Revocation<'_>) {
        self.seen.gone(self.member, revocation.partitions);
    }

    async fn on_lost(&mut self, partitions: &[TopicPartition]) {
        self.seen.gone(self.member, partitions);
    }
}

/// A member that joins.
pub(crate) fn join(
    client: &Client,
    (group, topic): (&str, &str),
    member: usize,
    seen: &Arc<Seen>,
) -> Result<GroupConsumer, BenchError> {
    let config = GroupConsumerConfig { buffer_bytes: 1 << 20, ..GroupConsumerConfig::new(group, [topic]) };
    Ok(client.group_consumer(config, Listener { member, seen: Arc::clone(seen) })?)
}

/// Reads until told to leave; then it leaves in order.
pub(crate) async fn read(
    mut consumer: GroupConsumer,
    member: usize,
    seen: Arc<Seen>,
    mut leave: oneshot::Receiver<()>,
) -> Result<(), BenchError> {
    loop {
        tokio::select! {
            batch = consumer.next_batch() => seen.came(member, batch?.partition.0),
            // Whoever forgets it goes on reading.
            Ok(()) = &mut leave => return Ok(consumer.close().await?),
        }
    }
}
