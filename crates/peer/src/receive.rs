//! Where the requests of peers go.

use async_trait::async_trait;
use highwater_consensus::{GroupHost, PeerReply, PeerRequest, Ping, Pong, RefusedRequest};
use highwater_types::{GroupId, Incarnation};

use crate::identity::PeerIdentity;

/// Handles what peers ask of this node.
#[async_trait]
pub trait Receive: Send + Sync + 'static {
    /// Handles a request of `from` to the replica of `group` here, meant for incarnation `to` of this node. It is dropped when
    /// the caller's deadline has passed or the connection has ended, so it must be cancel-safe.
    ///
    /// # Errors
    /// When nothing was taken of the request.
    async fn receive(
        &self,
        from: &PeerIdentity,
        to: Incarnation,
        group: GroupId,
        request: PeerRequest,
    ) -> Result<PeerReply, RefusedRequest>;

    /// Answers a ping, at once.
    ///
    /// # Errors
    /// When the sender gets no support.
    fn receive_ping(&self, from: &PeerIdentity, ping: Ping) -> Result<Pong, RefusedRequest>;
}

#[async_trait]
impl Receive for GroupHost {
    async fn receive(
        &self,
        from: &PeerIdentity,
        to: Incarnation,
        group: GroupId,
        request: PeerRequest,
    ) -> Result<PeerReply, RefusedRequest> {
        Self::receive(self, from.sender(), to, group, request).await
    }

    fn receive_ping(&self, from: &PeerIdentity, ping: Ping) -> Result<Pong, RefusedRequest> {
        Self::receive_ping(self, from.node, ping)
    }
}
