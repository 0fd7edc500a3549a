//! The address book, and consensus' transport on top of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use highwater_consensus::{Member, PeerReply, PeerRequest, Ping, Pong, Transport, TransportError};
use highwater_types::{GroupId, NodeId, Random};
use parking_lot::RwLock;

use crate::admission::Admission;
use crate::identity::PeerIdentity;
use crate::lane::Lane;
use crate::limits::PeerLimits;
use crate::link::{Context, Link};
use crate::question::{Question, Reply};
use crate::reachability::Reachability;
use crate::stream::Dialer;

/// Who a node is to the peers that it dials, and whom it talks to.
#[derive(Clone)]
pub struct PeerOptions {
    /// This node.
    pub identity: PeerIdentity,
    /// Who decides about the others.
    pub admission: Arc<dyn Admission>,
    /// The bounds.
    pub limits: PeerLimits,
}

/// A node's requests to its peers. It has no task and no connection until a request wants one; dropping it ends all of them.
pub struct PeerTransport {
    context: Arc<Context>,
    peers: RwLock<BTreeMap<NodeId, Peer>>,
}

struct Peer {
    address: Arc<str>,
    links: [Arc<Link>; Lane::ALL.len()],
}

impl PeerTransport {
    /// A transport that knows no peer yet.
    pub fn new(options: PeerOptions, dialer: Arc<dyn Dialer>, random: Arc<dyn Random>) -> Arc<Self> {
        let PeerOptions { identity, admission, limits } = options;
        let context = Arc::new(Context { identity, admission, limits, dialer, random });
        Arc::new(Self { context, peers: RwLock::default() })
    }

    /// From here on `node` is at `address`, as the dialer understands it. With another address than before, connections to
    /// the old one end, and their calls fail.
    pub fn set(&self, node: NodeId, address: &str) {
        let mut peers = self.peers.write();
        if peers.get(&node).is_some_and(|peer| *peer.address == *address) {
            return;
        }
        let address: Arc<str> = address.into();
        let reachability = Arc::new(Reachability::default());
        let link = |lane| {
            let (context, address) = (Arc::clone(&self.context), Arc::clone(&address));
            Link::new(context, node, lane, address, Arc::clone(&reachability))
        };
        let links = Lane::ALL.map(link);
        if let Some(before) = peers.insert(node, Peer { address, links }) {
            before.close();
        }
    }

    /// From here on `node` cannot be reached: connections to it end, and their calls fail.
    pub fn remove(&self, node: NodeId) {
        if let Some(peer) = self.peers.write().remove(&node) {
            peer.close();
        }
    }

    /// Who is at the other end of a connection to `node`; `None` while there is none.
    pub fn connected_to(&self, node: NodeId) -> Option<PeerIdentity> {
        self.peers.read().get(&node)?.links.iter().find_map(|link| link.peer())
    }

    async fn ask(&self, node: NodeId, question: Question, deadline: Duration) -> Result<Reply, TransportError> {
        let lane = Lane::of(&question);
        let link = self.peers.read().get(&node).map(|peer| Arc::clone(&peer.links[lane.index()]));
        match link {
            Some(link) => link.call(question, deadline).await,
            None => Err(TransportError::Unreachable { node, reason: "its address is not known".to_owned() }),
        }
    }
}

#[async_trait]
impl Transport for PeerTransport {
    async fn call(
        &self,
        to: Member,
        group: GroupId,
        request: PeerRequest,
        deadline: Duration,
    ) -> Result<PeerReply, TransportError> {
        let question = Question::Replica { to: to.incarnation, group, request };
        match self.ask(to.node, question, deadline).await? {
            Reply::Replica(reply) => Ok(reply),
            Reply::Support(_) => Err(other_kind(to.node)),
        }
    }

    async fn ping(&self, to: NodeId, ping: Ping, deadline: Duration) -> Result<Pong, TransportError> {
        match self.ask(to, Question::Support(ping), deadline).await? {
            Reply::Support(pong) => Ok(pong),
            Reply::Replica(_) => Err(other_kind(to)),
        }
    }
}

fn other_kind(node: NodeId) -> TransportError {
    TransportError::Broken { node, reason: "its answer is of another kind than the request".to_owned() }
}

impl Peer {
    fn close(&self) {
        self.links.iter().for_each(|link| link.close());
    }
}

impl Drop for PeerTransport {
    fn drop(&mut self) {
        self.peers.get_mut().values().for_each(Peer::close);
    }
}
