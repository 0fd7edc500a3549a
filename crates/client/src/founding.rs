//! Founding a cluster: one node at a time is asked who it is, and told to be part of a cluster. It decides nothing; whoever founds does.

use std::sync::Arc;

use highwater_proto::internal::v1;
use highwater_types::{ClusterId, NodeId};

use crate::config::ClientConfig;
use crate::connections::{Connections, Server};
use crate::error::ClientError;

/// One node, by its address, whether it belongs to a cluster or not.
#[derive(Debug)]
pub struct Contact {
    address: Arc<str>,
    connections: Connections,
}

/// How far a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It looks at its data: ask again.
    Opening,
    /// It has no data, and belongs to no cluster.
    Unborn,
    /// It belongs to the cluster, and knows nothing of it but the id.
    Awaiting(ClusterId),
    /// It belongs to the cluster and has its metadata.
    Member(ClusterId),
}

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduced {
    /// The node.
    pub node: NodeId,
    /// How far it is.
    pub state: NodeState,
    /// Whether it began its cluster.
    pub is_founder: bool,
    /// The life of its process: two addresses with the same are the same node.
    pub process: u64,
    /// The cluster that it would begin, if it was told to.
    pub would_found: ClusterId,
    /// Where its configuration says that nodes of its cluster are.
    pub seeds: Vec<String>,
    /// The oldest and the newest version of the protocol between nodes that it speaks.
    pub peer_versions: (u32, u32),
    /// The newest level of features that it knows.
    pub feature_level_newest: u32,
    /// Its software's version.
    pub server_version: String,
}

impl Contact {
    /// The node at an address, `host:port`. Connects at the first call. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When it is no address.
    pub fn new(address: &str) -> Result<Self, ClientError> {
        let connections = Connections::new(&ClientConfig::new([address]))?;
        Ok(Self { address: address.into(), connections })
    }

    /// Where the node is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks the node who it is. Cancel-safe.
    ///
    /// # Errors
    /// When it cannot be reached, or what answers is no node, or one that cannot be told to found.
    pub async fn identify(&self) -> Result<Introduced, ClientError> {
        let call = |server: Server| async move { server.cluster().identify(v1::IdentifyRequest {}).await };
        introduced(self.connections.call_once(call).await?).ok_or_else(|| ClientError::Protocol {
            server: self.address.to_string(),
            what: "it does not say who it is",
        })
    }

    /// Makes the node, which is as it introduced itself, part of a cluster. On return it is, durably. `founds`: it begins the
    /// cluster, which must be the one that it would found. Otherwise it finds the others at `addresses`.
    ///
    /// Safe to repeat. Not cancel-safe: when it is dropped, the node may be part of the cluster or not.
    ///
    /// # Errors
    /// When it belongs to another cluster, is another process by now, or cannot be reached.
    pub async fn give_birth(
        &self,
        who: &Introduced,
        cluster: ClusterId,
        founds: bool,
        addresses: &[String],
    ) -> Result<(), ClientError> {
        let request = v1::BirthRequest {
            node_id: who.node.0,
            process: who.process,
            cluster_id: cluster.to_string(),
            founds,
            addresses: addresses.to_vec(),
        };
        let call = |server: Server| {
            let request = request.clone();
            async move { server.cluster().birth(request).await }
        };
        self.connections.call_once(call).await.map(drop)
    }
}

fn introduced(said: v1::IdentifyResponse) -> Option<Introduced> {
    let cluster = || said.cluster_id.parse().ok();
    let state = match said.state() {
        v1::NodeState::Unspecified => return None,
        v1::NodeState::Opening => NodeState::Opening,
        v1::NodeState::Unborn => NodeState::Unborn,
        v1::NodeState::Awaiting => NodeState::Awaiting(cluster()?),
        v1::NodeState::Member => NodeState::Member(cluster()?),
    };
    Some(Introduced {
        node: NodeId(said.node_id),
        state,
        is_founder: said.founder,
        process: said.process,
        would_found: said.would_found.parse().ok()?,
        peer_versions: (said.peer_version_min, said.peer_version_max),
        feature_level_newest: said.feature_level_newest,
        server_version: said.server_version,
        seeds: said.seeds,
    })
}
