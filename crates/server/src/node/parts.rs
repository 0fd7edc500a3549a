//! What a node takes from outside besides its configuration. A process gives it the machine's; a simulation gives
//! it its own, and then nothing in the node touches the machine.

use std::sync::Arc;

use highwater_peer::{Dialer, TcpDialer};
use highwater_storage::disk::Disk;
use highwater_types::{Clock, Random, SystemClock, SystemRandom};

use crate::config::NodeConfig;
use crate::error::StartError;
use crate::listener::Listener;
use crate::remote::Dial;

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
    /// Where the other nodes of the cluster connect.
    pub peer: Listener,
    /// How this node connects to theirs.
    pub dialer: Arc<dyn Dialer>,
    /// How it makes a channel to their gRPC listeners.
    pub dial: Dial,
    /// Whether what must not wait, such as telling the others that this node is alive, gets a thread of its own.
    pub own_thread: bool,
}

/// Where a node's data is.
pub enum NodeData {
    /// In the directory that the configuration names, on the machine's disk, locked against other processes.
    Directory,
    /// At the root of this disk, without a lock. The configuration's path is only for messages.
    Disk(Arc<dyn Disk>),
}

impl NodeParts {
    /// The machine's. The listeners are bound on return.
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
            peer: Listener::bind("the peers' listener", config.peer, config.insecure).await?,
            dialer: Arc::new(TcpDialer),
            dial: Arc::new(|endpoint| endpoint.connect_lazy()),
            own_thread: true,
        })
    }
}
