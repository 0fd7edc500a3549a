//! The connections that peers have made to this node: one for each peer and lane, the newest.
//!
//! A peer makes a new one only when it has given up the old, which this end may not have noticed yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_types::{NodeId, ProcessEpoch};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::identity::PeerIdentity;
use crate::lane::Lane;

/// Who is connected.
#[derive(Default)]
pub(crate) struct Sessions {
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    last_serial: u64,
    places: BTreeMap<(NodeId, Lane), Taken>,
}

struct Taken {
    process: ProcessEpoch,
    serial: u64,
    replaced: CancellationToken,
}

impl Sessions {
    /// A peer has connected: its older connection on the lane ends. `None` when it is this one that is older, because a later
    /// process of the peer has connected.
    pub(crate) fn enter(self: &Arc<Self>, peer: &PeerIdentity, lane: Lane) -> Option<Place> {
        let (key, process, replaced) = ((peer.node, lane), peer.process, CancellationToken::new());
        let mut current = self.current.lock();
        if current.places.get(&key).is_some_and(|taken| taken.process > process) {
            return None;
        }
        current.last_serial += 1;
        let serial = current.last_serial;
        let taken = Taken { process, serial, replaced: replaced.clone() };
        if let Some(older) = current.places.insert(key, taken) {
            older.replaced.cancel();
        }
        Some(Place { sessions: Arc::clone(self), key, serial, replaced })
    }
}

/// A connection's place among the others, given up by dropping it.
pub(crate) struct Place {
    sessions: Arc<Sessions>,
    key: (NodeId, Lane),
    serial: u64,
    replaced: CancellationToken,
}

impl Place {
    /// Returns when a newer connection stands in this one's place.
    pub(crate) async fn replaced(&self) {
        self.replaced.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut current = self.sessions.current.lock();
        if current.places.get(&self.key).is_some_and(|taken| taken.serial == self.serial) {
            current.places.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use highwater_types::{ClusterId, Incarnation};
    use uuid::Uuid;

    use super::*;

    fn process(epoch: u64) -> PeerIdentity {
        let (cluster, node) = (ClusterId(Uuid::nil()), NodeId(2));
        PeerIdentity { cluster, node, incarnation: Incarnation(1), process: ProcessEpoch(epoch) }
    }

    #[test]
    fn the_newest_connection_of_a_peer_and_lane_stays() {
        let sessions = Arc::new(Sessions::default());
        let enter = |lane| sessions.enter(&process(1), lane).unwrap();
        let (first, control, second) = (enter(Lane::Bulk), enter(Lane::Control), enter(Lane::Bulk));
        assert!(first.replaced.is_cancelled());
        assert!(!control.replaced.is_cancelled() && !second.replaced.is_cancelled());
        drop(first);
        let third = enter(Lane::Bulk);
        assert!(second.replaced.is_cancelled(), "the first one's end did not take the second's place");
        drop((control, second, third));
        assert!(sessions.current.lock().places.is_empty());
    }

    #[test]
    fn a_late_connection_of_an_earlier_process_replaces_nothing() {
        let sessions = Arc::new(Sessions::default());
        let later = sessions.enter(&process(2), Lane::Control).unwrap();
        assert!(sessions.enter(&process(1), Lane::Control).is_none());
        assert!(!later.replaced.is_cancelled());
        assert!(sessions.enter(&process(3), Lane::Control).is_some());
    }
}
