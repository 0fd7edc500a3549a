//! What the user has taken of each partition since the last look: the consumer adds to it, the subscription gives it back
//! to the nodes as credit.

use std::collections::BTreeMap;

use highwater_types::PartitionIndex;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    bytes: Mutex<BTreeMap<PartitionIndex, u64>>,
    changed: Notify,
}

impl Taken {
    pub(crate) fn add(&self, partition: PartitionIndex, bytes: u64) {
        *self.bytes.lock().entry(partition).or_default() += bytes;
        self.changed.notify_one();
    }

    /// What was taken since the last call.
    pub(crate) fn drain(&self) -> BTreeMap<PartitionIndex, u64> {
        std::mem::take(&mut *self.bytes.lock())
    }

    /// Waits until something was taken. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
