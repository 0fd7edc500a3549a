//! For how long the appender waits for what it proposed while this node does not serve the partition.
//!
//! A leader that is cut off keeps its proposals until it hears who leads now, which may take as long as the cut. Those who wait for
//! them could have gone on with the new leader long before; so they are told that the outcome is unknown.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::error::PartitionError;

/// How often it is looked whether this node serves, while something is outstanding and nothing happens.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// For how long it may not serve. A failed hand-over is over sooner, and so is an election that it wins again.
const UNSERVED_MAX: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Patience {
    look_at: Instant,
    unserved_since: Option<Instant>,
}

impl Patience {
    /// Anew.
    pub(super) fn new() -> Self {
        Self { look_at: Instant::now() + LOOK_EVERY, unserved_since: None }
    }

    /// Waits until it is time to look. Cancel-safe.
    pub(super) async fn until_look(&self) {
        sleep_until(self.look_at).await;
    }

    /// Takes in whether this node serves; gives the reason when it has not for too long.
    pub(super) fn look<T>(&mut self, serving: Result<T, PartitionError>) -> Option<PartitionError> {
        let now = Instant::now();
        self.look_at = now + LOOK_EVERY;
        let Err(error) = serving else {
            self.unserved_since = None;
            return None;
        };
        let since = *self.unserved_since.get_or_insert(now);
        (now - since >= UNSERVED_MAX).then_some(error)
    }
}
