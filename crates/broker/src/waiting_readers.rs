//! Readers that wait where nothing may come: a leader that the other replicas do not stand by any more may be replaced by one that it
//! does not hear of, and whoever waits at it for the next record would wait as long as that lasts. They are woken, look again, and are
//! told.
//!
//! It never reads and never decides who leads: the partition says whether something is to be expected there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::broker::Broker;

/// How long what happens together is waited for: a node that is gone changes all of its groups.
const SETTLE: Duration = Duration::from_millis(20);

/// Wakes those who wait in vain, until the broker stops.
pub(crate) async fn wake_waiting_readers(broker: Arc<Broker>) {
    let stopping = broker.stopping.clone();
    let mut changes = broker.hosting.host().changes();
    loop {
        changes.borrow_and_update();
        for partition in broker.hosting.running() {
            partition.wake_waiters_unless_leading();
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
        sleep(SETTLE).await;
    }
}
