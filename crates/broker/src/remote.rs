//! The other nodes of the cluster, as a broker reaches them: a trait, so that the broker knows no protocol.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use highwater_types::{ClusterId, ErrorCode, NodeId, PartitionId, Term};

use crate::error::BrokerError;
use crate::report::NodeReport;

/// What a node asks of another beside replication.
#[async_trait]
pub trait Remote: Send + Sync + 'static {
    /// Says where a node takes requests from its peers. Said again when that changes.
    fn meet(&self, node: NodeId, peer_address: &str);

    /// Says that a node is no part of the cluster any more.
    fn part_with(&self, node: NodeId);

    /// Proposes a command to the cluster's metadata at the node at `address`, which must lead it. Cancel-safe in that a
    /// dropped call may still take effect.
    ///
    /// # Errors
    /// `NOT_LEADER` with a hint from another node; otherwise the command may have taken effect.
    async fn propose(
        &self,
        address: &str,
        cluster: ClusterId,
        command: Bytes,
    ) -> Result<RemoteProposed, BrokerError>;

    /// Asks a node, which is at `address`, how it is. Cancel-safe.
    ///
    /// # Errors
    /// When it does not answer, or another node does.
    async fn report(&self, node: NodeId, address: &str) -> Result<NodeReport, BrokerError>;

    /// Follows which partitions the node at `address` leads, until the connection breaks.
    ///
    /// # Errors
    /// When it cannot be reached.
    async fn follow_leaders(&self, address: &str) -> Result<BoxStream<'static, LeadersUpdate>, BrokerError>;
}

/// A command that another node has proposed.
#[derive(Debug, Clone)]
pub struct RemoteProposed {
    /// The state machine's encoded answer, which may be a refusal.
    pub response: Bytes,
    /// A version of the metadata in which the command has taken effect.
    pub metadata_version: u64,
}

/// What changed about the partitions that a node leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeadersUpdate {
    /// Whether this begins the list anew.
    pub is_first: bool,
    /// Partitions that it leads, with the term.
    pub led: Vec<(PartitionId, Term)>,
    /// Partitions that it leads no more, with the term in which it did.
    pub left: Vec<(PartitionId, Term)>,
}

/// The remote of a node that is alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

#[async_trait]
impl Remote for Alone {
    fn meet(&self, _node: NodeId, _peer_address: &str) {}

    fn part_with(&self, _node: NodeId) {}

    async fn propose(
        &self,
        address: &str,
        _cluster: ClusterId,
        _command: Bytes,
    ) -> Result<RemoteProposed, BrokerError> {
        Err(unreachable_node(address))
    }

    async fn report(&self, _node: NodeId, address: &str) -> Result<NodeReport, BrokerError> {
        Err(unreachable_node(address))
    }

    async fn follow_leaders(&self, address: &str) -> Result<BoxStream<'static, LeadersUpdate>, BrokerError> {
        Err(unreachable_node(address))
    }
}

fn unreachable_node(address: &str) -> BrokerError {
    let message = format!("this node is alone and reaches no other at {address}");
    BrokerError::new(ErrorCode::Unavailable, message)
}
