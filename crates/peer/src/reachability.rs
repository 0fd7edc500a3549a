//! Whether one node can be reached, as its lanes find out, and what the log says of it: when it becomes unreachable and when
//! it is back, once each, however many attempts fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use highwater_types::NodeId;
use parking_lot::Mutex;

use crate::error::PeerError;

/// What the lanes to one node share.
#[derive(Default)]
pub(crate) struct Reachability {
    said: Mutex<Said>,
    connections: AtomicU64,
}

#[derive(Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    /// That it cannot be reached, which may pass.
    Unreachable,
    /// That something stands between the nodes which does not pass by itself.
    Lasting(String),
}

impl Reachability {
    /// How many connections to the node have come up, on all lanes.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn connected(&self, node: NodeId, address: &Arc<str>) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        if std::mem::take(&mut *self.said.lock()) != Said::Nothing {
            tracing::info!(%node, %address, "the node is reachable again");
        }
    }

    pub(crate) fn failed(&self, node: NodeId, address: &Arc<str>, error: &PeerError) {
        let mut said = self.said.lock();
        let news = match (&*said, error.is_lasting()) {
            (Said::Nothing, false) => Some(Said::Unreachable),
            (Said::Lasting(before), true) if *before == error.to_string() => None,
            (_, true) => Some(Said::Lasting(error.to_string())),
            (_, false) => None,
        };
        match news {
            Some(news) => {
                *said = news;
                tracing::warn!(%node, %address, %error, "the node cannot be reached");
            }
            None => tracing::debug!(%node, %address, %error, "the node still cannot be reached"),
        }
    }
}
