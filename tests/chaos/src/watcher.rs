//! Asks for the watermarks of every partition again and again: they never go back, and never lie below what was known to be
//! committed when it was asked. So a node that leads no more and does not know it is seen.

use std::sync::Arc;
use std::time::Duration;

use highwater_client::v1::OffsetPlace;
use highwater_client::{Client, ClientError};
use highwater_types::{Offset, PartitionIndex};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::cluster::{Cluster, NODES};
use crate::history::{Place, Reader};
use crate::topics::TOPICS;
use crate::workload::Shared;

/// Its number as a reader.
const WATCHER: Reader = Reader(300);
/// How often it asks.
const EVERY: Duration = Duration::from_millis(200);

/// See the module.
pub struct Watcher(JoinHandle<()>);

impl Watcher {
    /// Starts to watch.
    pub fn start(shared: &Arc<Shared>) -> Self {
        Self(tokio::spawn(watch(Arc::clone(shared))))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch(shared: Arc<Shared>) {
    let clients: Vec<Client> = NODES.iter().filter_map(|id| Cluster::client_of(*id).ok()).collect();
    for client in clients.iter().cycle() {
        for topic in 0..TOPICS.len() {
            // A partition without a leader says nothing about itself.
            let _ = look(client, topic, &shared).await;
        }
        sleep(EVERY).await;
    }
}

/// Asks for the watermarks of one topic.
///
/// # Errors
/// When nobody answers.
pub async fn look(client: &Client, topic: usize, shared: &Shared) -> Result<(), ClientError> {
    let name = TOPICS[topic].name;
    let partitions: Vec<_> = (0..TOPICS[topic].partitions).map(PartitionIndex).collect();
    let place = |partition: &PartitionIndex| Place { topic, partition: partition.0 };
    let floors: Vec<Offset> = {
        let history = shared.history.lock();
        partitions.iter().map(|partition| history.floor(place(partition))).collect()
    };
    // In this order: the start that is asked for last may only be newer.
    let ends = client.admin().offsets(name, &partitions, OffsetPlace::Latest).await?;
    let starts = client.admin().offsets(name, &partitions, OffsetPlace::Earliest).await?;
    let mut history = shared.history.lock();
    for (((partition, floor), end), start) in partitions.iter().zip(floors).zip(ends).zip(starts) {
        if let (Some(start), Some(end)) = (start, end) {
            history.bounds(WATCHER, place(partition), start, end, floor);
        }
    }
    Ok(())
}
