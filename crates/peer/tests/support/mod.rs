//! Two nodes for the tests: a transport on one, a served fake on the other, and between them TCP or streams in memory whose
//! bytes the test can hold up, cut and keep.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test file uses a part; helpers of tests are tests too.

pub mod messages;
pub mod network;
pub mod receiver;

use std::sync::Arc;
use std::time::Duration;

use highwater_consensus::{Member, PeerReply, PeerRequest, Transport as _, TransportError};
use highwater_peer::{
    Admission, AdmitAll, Dialer, PeerIdentity, PeerLimits, PeerOptions, PeerTransport, ServeOptions, serve,
};
use highwater_types::{ClusterId, GroupId, Incarnation, NodeId, ProcessEpoch, SystemRandom};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use network::MemoryNetwork;
use receiver::Receiver;

/// The node that asks, and the one that is asked.
pub const ASKS: NodeId = NodeId(1);
pub const ASKED: NodeId = NodeId(2);
/// Long enough for anything that goes well.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn identity(node: NodeId) -> PeerIdentity {
    PeerIdentity {
        cluster: ClusterId(Uuid::from_u128(1)),
        node,
        incarnation: Incarnation(node.0 * 100),
        process: ProcessEpoch(7),
    }
}

pub fn member(node: NodeId) -> Member {
    identity(node).member()
}

pub fn transport(dialer: Arc<dyn Dialer>, limits: PeerLimits) -> Arc<PeerTransport> {
    transport_as(identity(ASKS), dialer, limits, Arc::new(AdmitAll))
}

pub fn transport_as(
    identity: PeerIdentity,
    dialer: Arc<dyn Dialer>,
    limits: PeerLimits,
    admission: Arc<dyn Admission>,
) -> Arc<PeerTransport> {
    PeerTransport::new(PeerOptions { identity, admission, limits }, dialer, Arc::new(SystemRandom))
}

/// The asked node, served until it is dropped.
pub struct Served {
    pub shutdown: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Serves the asked node on a network in memory.
pub fn served(network: &MemoryNetwork, receiver: &Arc<Receiver>, limits: PeerLimits) -> Served {
    let options = ServeOptions { identity: identity(ASKED), admission: Arc::new(AdmitAll), limits };
    served_as(network, receiver, options)
}

pub fn served_as(network: &MemoryNetwork, receiver: &Arc<Receiver>, options: ServeOptions) -> Served {
    let (incoming, shutdown) = (network.listen(), CancellationToken::new());
    let receive = Arc::clone(receiver);
    let token = shutdown.clone();
    let task = tokio::spawn(async move { serve(incoming, receive, options, token).await });
    Served { shutdown, task }
}

/// Two nodes that can talk.
pub struct Pair {
    pub network: Arc<MemoryNetwork>,
    pub receiver: Arc<Receiver>,
    pub transport: Arc<PeerTransport>,
    pub served: Served,
}

impl Pair {
    pub fn new() -> Self {
        Self::with(PeerLimits::default(), Receiver::default())
    }

    pub fn with(limits: PeerLimits, receiver: Receiver) -> Self {
        let (network, receiver) = (MemoryNetwork::new(), Arc::new(receiver));
        let served = served(&network, &receiver, limits);
        let transport = transport(Arc::clone(&network) as Arc<dyn Dialer>, limits);
        transport.set(ASKED, "memory");
        Self { network, receiver, transport, served }
    }

    /// Asks with more patience than any test needs.
    pub async fn call(&self, group: GroupId, request: PeerRequest) -> Result<PeerReply, TransportError> {
        self.transport.call(member(ASKED), group, request, PATIENCE).await
    }
}
