//! How a replica reaches its peers: a trait, so that the same consensus code runs over sockets, in one process, and
//! over a simulated network.

use std::time::Duration;

use async_trait::async_trait;
use highwater_types::{GroupId, NodeId};

use crate::liveness::{Ping, Pong};
use crate::message::{Member, PeerReply, PeerRequest};

/// Carries requests between the replicas of a group. Requests may be lost, late, repeated or out of order; consensus
/// stands all of it. What arrives must be what was sent.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends `request` to the replica of `group` at `to`, and returns its answer. It returns before `deadline` has passed,
    /// whatever the peer does. The receiver is told which incarnation the request is for, and refuses it for another. Cancel-safe:
    /// the request may or may not have been taken then.
    ///
    /// # Errors
    /// See [`TransportError`]; the request may have been taken all the same, except after `Unreachable`.
    async fn call(
        &self,
        to: Member,
        group: GroupId,
        request: PeerRequest,
        deadline: Duration,
    ) -> Result<PeerReply, TransportError>;

    /// Asks a node for its support, apart from all other traffic: nothing that is sent to it, however much, may delay a ping.
    /// Returns before `deadline` has passed. Cancel-safe.
    ///
    /// # Errors
    /// See [`TransportError`].
    async fn ping(&self, to: NodeId, ping: Ping, deadline: Duration) -> Result<Pong, TransportError>;
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// Nothing was sent: there is no connection, or no way to the node. Trying again soon will not help.
    #[error("node {node} is not reachable: {reason}")]
    Unreachable {
        /// The peer.
        node: NodeId,
        /// What is known.
        reason: String,
    },
    /// No answer came in time.
    #[error("node {node} did not answer within {waited_ms} ms")]
    Timeout {
        /// The peer.
        node: NodeId,
        /// The deadline, in milliseconds.
        waited_ms: u128,
    },
    /// The connection broke after the request was sent.
    #[error("the connection to node {node} broke: {reason}")]
    Broken {
        /// The peer.
        node: NodeId,
        /// What happened.
        reason: String,
    },
    /// The peer took nothing of the request, and says why: it does not run the group, or has no room.
    #[error("node {node} refused: {reason}")]
    Refused {
        /// The peer.
        node: NodeId,
        /// Its words.
        reason: String,
    },
}

/// The transport of a node that is alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

#[async_trait]
impl Transport for NoPeers {
    async fn call(
        &self,
        to: Member,
        _group: GroupId,
        _request: PeerRequest,
        _deadline: Duration,
    ) -> Result<PeerReply, TransportError> {
        Err(alone(to.node))
    }

    async fn ping(&self, to: NodeId, _ping: Ping, _deadline: Duration) -> Result<Pong, TransportError> {
        Err(alone(to))
    }
}

fn alone(node: NodeId) -> TransportError {
    TransportError::Unreachable { node, reason: "this node is alone".to_owned() }
}
