//! What a node takes from outside besides its configuration. A process gives it the machine's; a simulation gives
//! it its own, and then nothing in the node touches the machine.

use std::sync::Arc;

use highwater_consensus::{NoPeers, Transport};
use highwater_storage::disk::Disk;
use highwater_types::{Clock, Random, SystemClock, SystemRandom};

use crate::config::NodeConfig;
use crate::error::StartError;
use crate::listener::Listener;

/// What a node runs on.
pub struct NodeParts {
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// What ids and elections are drawn from.
    pub random: Arc<dyn Random>,
    /// Where the data is.
    pub data: NodeData,
    /// Where gRPC calls come from. Its address is where the node says that clients reach it.
    pub grpc: Listener,
    /// Where HTTP requests come from.
    pub http: Listener,
    /// The way to the other nodes.
    pub transport: Arc<dyn Transport>,
}

/// Where a node's data is.
pub enum NodeData {
    /// In the directory that the configuration names, on the machine's disk, locked against other processes.
    Directory,
    /// At the root of this disk, without a lock. The configuration's path is only for messages.
    Disk(Arc<dyn Disk>),
}

impl NodeParts {
    /// The machine's, for a node that is alone. The listeners are bound on return.
    ///
    /// # Errors
    /// When a listener cannot be bound to its address, or must not be.
    pub async fn machine(config: &NodeConfig) -> Result<Self, StartError> {
        Ok(Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            data: NodeData::Directory,
            grpc: Listener::bind("gRPC", config.grpc, config.insecure).await?,
            http: Listener::bind("HTTP", config.http, config.insecure).await?,
            transport: Arc::new(NoPeers),
        })
    }
}
