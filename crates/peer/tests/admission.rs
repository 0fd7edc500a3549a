//! Who is let in: every refusal says why on both ends, and is not asked about in a loop.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use highwater_consensus::{Transport as _, TransportError};
use highwater_peer::{
    Admission, AdmitAll, Dialer, NotAdmitted, PeerIdentity, PeerLimits, RefusalCode, ServeOptions,
};
use highwater_types::{ClusterId, Incarnation, NodeId};
use support::messages::{group, heartbeat};
use support::network::MemoryNetwork;
use support::receiver::Receiver;
use support::{ASKED, ASKS, PATIENCE, Served, identity, member, served_as, transport_as};
use uuid::Uuid;

/// Knows the incarnation of one node.
struct Knows(NodeId, Incarnation);

impl Admission for Knows {
    fn check(&self, peer: &PeerIdentity) -> Result<(), NotAdmitted> {
        let (node, known, found) = (self.0, self.1, peer.incarnation);
        if peer.node == node && found != known {
            return Err(NotAdmitted::StaleIncarnation { node, known, found });
        }
        Ok(())
    }
}

/// Asks the first and serves the second; `dialled` is the node that the first expects there.
async fn refusal(
    asks: (PeerIdentity, Arc<dyn Admission>),
    asked: (PeerIdentity, Arc<dyn Admission>),
    dialled: NodeId,
) -> String {
    let limits = PeerLimits::default();
    let (network, receiver) = (MemoryNetwork::new(), Arc::new(Receiver::default()));
    let options = ServeOptions { identity: asked.0, admission: asked.1, limits };
    let _served: Served = served_as(&network, &receiver, options);
    let transport = transport_as(asks.0, Arc::clone(&network) as Arc<dyn Dialer>, limits, asks.1);
    transport.set(dialled, "memory");
    let mut reasons = Vec::new();
    for _ in 0..100 {
        let error = transport.call(member(dialled), group(1), heartbeat(), PATIENCE).await.unwrap_err();
        let TransportError::Unreachable { reason, .. } = error else { panic!("{error}") };
        reasons.push(reason);
        tokio::time::advance(Duration::from_millis(5)).await;
    }
    assert_eq!(network.attempts(), 1, "what a person has to put right is not tried in a loop");
    assert!(reasons.iter().all(|reason| *reason == reasons[0]));
    assert!(receiver.seen().is_empty());
    assert_eq!(transport.connected_to(dialled), None);
    reasons.swap_remove(0)
}

fn all() -> Arc<dyn Admission> {
    Arc::new(AdmitAll)
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_cluster_is_refused_by_name() {
    let stranger = PeerIdentity { cluster: ClusterId(Uuid::from_u128(99)), ..identity(ASKS) };
    let reason = refusal((stranger, all()), (identity(ASKED), all()), ASKED).await;
    assert!(reason.contains("other cluster") && reason.contains(&stranger.cluster.to_string()), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn an_address_of_another_node_is_refused_by_name() {
    let reason = refusal((identity(ASKS), all()), (identity(NodeId(3)), all()), ASKED).await;
    assert!(reason.contains("other node") && reason.contains("node 3 is there, not node 2"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_stale_incarnation_is_refused_by_either_end() {
    let known = Incarnation(0xabc);
    let asks: Arc<dyn Admission> = Arc::new(Knows(ASKS, known));
    let reason = refusal((identity(ASKS), all()), (identity(ASKED), asks), ASKED).await;
    assert!(reason.contains("stale incarnation") && reason.contains(&known.to_string()), "{reason}");

    let asked: Arc<dyn Admission> = Arc::new(Knows(ASKED, known));
    let reason = refusal((identity(ASKS), asked), (identity(ASKED), all()), ASKED).await;
    assert!(reason.contains(&known.to_string()), "{reason}");
}

/// Of a cluster that went on under another id.
struct WentOn {
    was: ClusterId,
    told: std::sync::Mutex<Vec<RefusalCode>>,
}

impl Admission for WentOn {
    fn check(&self, _peer: &PeerIdentity) -> Result<(), NotAdmitted> {
        Ok(())
    }

    fn check_stranger(&self, peer: &PeerIdentity) -> Result<(), NotAdmitted> {
        let PeerIdentity { node, cluster: was, .. } = *peer;
        if was == self.was {
            Err(NotAdmitted::LeftBehind { node, was, cluster: ClusterId(Uuid::nil()) })
        } else {
            Ok(())
        }
    }

    fn refused(&self, code: RefusalCode, _reason: &str) {
        self.told.lock().unwrap().push(code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_its_cluster_left_behind_is_told_so_and_hears_it() {
    let left = PeerIdentity { cluster: ClusterId(Uuid::from_u128(99)), ..identity(ASKS) };
    let went_on = |was| Arc::new(WentOn { was, told: std::sync::Mutex::default() });
    let hears = went_on(ClusterId(Uuid::nil()));
    let asks = (left, Arc::clone(&hears) as Arc<dyn Admission>);
    let asked: Arc<dyn Admission> = went_on(left.cluster);
    let reason = refusal(asks, (identity(ASKED), asked), ASKED).await;
    assert!(reason.contains("left behind") && reason.contains("empty its data directory"), "{reason}");
    assert_eq!(*hears.told.lock().unwrap(), [RefusalCode::LeftBehind]);
}

/// Lets everybody in until it is told not to.
#[derive(Default)]
struct Expels(AtomicBool);

impl Admission for Expels {
    fn check(&self, peer: &PeerIdentity) -> Result<(), NotAdmitted> {
        if self.0.load(Ordering::Relaxed) { Err(NotAdmitted::Removed { node: peer.node }) } else { Ok(()) }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_removed_while_it_is_connected_is_cut_off_and_then_told_why() {
    let limits = PeerLimits::default();
    let (network, receiver) = (MemoryNetwork::new(), Arc::new(Receiver::default()));
    let expels = Arc::new(Expels::default());
    let admission = Arc::clone(&expels) as Arc<dyn Admission>;
    let options = ServeOptions { identity: identity(ASKED), admission, limits };
    let _served: Served = served_as(&network, &receiver, options);
    let transport = transport_as(identity(ASKS), Arc::clone(&network) as Arc<dyn Dialer>, limits, all());
    transport.set(ASKED, "memory");
    transport.call(member(ASKED), group(1), heartbeat(), PATIENCE).await.unwrap();
    expels.0.store(true, Ordering::Relaxed);
    let refused = async {
        loop {
            match transport.call(member(ASKED), group(1), heartbeat(), PATIENCE).await {
                Err(TransportError::Unreachable { reason, .. }) if reason.contains("was removed") => {
                    return reason;
                }
                Ok(_) | Err(_) => tokio::time::advance(Duration::from_millis(50)).await,
            }
        }
    };
    let reason = tokio::time::timeout(PATIENCE, refused).await.expect("it is cut off");
    assert!(reason.contains("node 1 was removed from the cluster") && reason.contains("empty"), "{reason}");
}
