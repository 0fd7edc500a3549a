//! What a node does whose journal or checkpoints cannot be proven whole. A vote, or what it acknowledged, may be gone, so it must not act as
//! the member that it was.
//!
//! It asks the cluster whether that goes on without all that is stored here. Then, and only then, the data is set aside and the node
//! comes back under a new incarnation, as a member that has nothing yet. Otherwise it keeps what it has: another copy of that may not
//! exist.

use std::time::Duration;

use highwater_storage::OpenError;
use highwater_storage::directory::{DataDirectory, Identity};
use highwater_types::{Clock, Random};
use tokio::time::{sleep, timeout};

use crate::config::NodeConfig;
use crate::error::StartError;
use crate::remote::{Channels, ask_to_spare};

/// How long a start asks before the node serves what it can prove, for reading only. The others may be starting too.
const START_ASKS_FOR: Duration = Duration::from_secs(10);
/// How long until it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Every how many times the log says what is missing.
const SAY_AGAIN: u32 = 20;

/// Whom to ask, and about whom.
pub(super) struct Question {
    identity: Identity,
    addresses: Vec<String>,
}

impl Question {
    /// That of a node with this directory.
    pub(super) fn new(config: &NodeConfig, directory: &DataDirectory) -> Self {
        let told = directory.whom_to_ask().iter().cloned();
        let addresses = config.addresses_to_join().into_iter().chain(told).collect();
        Self { identity: directory.identity(), addresses }
    }

    /// Whether the cluster spares what is stored here, asked for as long as a start may take.
    pub(super) async fn is_spared_now(&self, channels: &Channels) -> bool {
        if self.addresses.is_empty() {
            return false;
        }
        let asked = timeout(START_ASKS_FOR, self.until_spared(channels)).await;
        if asked.is_err() {
            tracing::error!(
                "the cluster does not go on without what this node has stored: nothing is given up, and what can be proven is served for \
                 reading only"
            );
        }
        asked.is_ok()
    }

    /// Waits until the cluster spares what is stored here; for ever when there is nobody to ask.
    pub(super) async fn until_spared(&self, channels: &Channels) {
        let Identity { cluster, node, incarnation, .. } = self.identity;
        if self.addresses.is_empty() {
            return std::future::pending().await;
        }
        let mut attempt = 0_u32;
        loop {
            for address in &self.addresses {
                match ask_to_spare(channels, address, cluster, node, incarnation).await {
                    Ok(()) => return,
                    Err(error) if attempt.is_multiple_of(SAY_AGAIN) => {
                        tracing::warn!(address, %error, "what this node has stored may still be needed");
                    }
                    Err(_) => {}
                }
            }
            attempt = attempt.wrapping_add(1);
            sleep(ASK_AGAIN).await;
        }
    }
}

/// Sets aside what is stored, which nobody may have open; the directory has a new life afterwards.
pub(super) fn set_aside(
    mut directory: DataDirectory,
    clock: &dyn Clock,
    random: &dyn Random,
) -> Result<DataDirectory, StartError> {
    let doing = "setting damaged data aside";
    let aside = directory.begin_anew(clock, random).map_err(|source| OpenError::Io { doing, source })?;
    tracing::error!(
        aside = %aside.display(),
        "the cluster goes on without what this node had stored: that was set aside, and the node comes back as a new member, which the \
         other nodes bring up; delete what was set aside when all partitions are whole again"
    );
    Ok(directory)
}
