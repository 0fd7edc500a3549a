//! What a node is started with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use highwater_groups::GroupsConfig;
use highwater_storage::journal::JournalOptions;
use highwater_types::{NodeId, limits};

/// The port for gRPC, unless another is chosen.
pub const GRPC_PORT: u16 = 7400;
/// The port for the other nodes of the cluster, unless another is chosen.
pub const PEER_PORT: u16 = 7401;
/// The port for HTTP, unless another is chosen.
pub const HTTP_PORT: u16 = 7402;

/// The configuration of a node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The node's id.
    pub node: NodeId,
    /// Where its data is.
    pub data: PathBuf,
    /// Where gRPC listens; port 0 lets the system choose.
    pub grpc: SocketAddr,
    /// Where HTTP listens; port 0 lets the system choose.
    pub http: SocketAddr,
    /// Where the other nodes of the cluster are listened for; port 0 lets the system choose.
    pub peer: SocketAddr,
    /// Where clients are told to find gRPC, as host:port; without it, where it listens.
    pub advertised_grpc: Option<String>,
    /// Where the other nodes find this one, as host:port; without it, where it listens for them.
    pub advertised_peer: Option<String>,
    /// Where the machine stands: replicas are spread over racks.
    pub rack: Option<String>,
    /// gRPC addresses of nodes of the cluster to join, as host:port.
    pub seeds: Vec<String>,
    /// The nodes that found the cluster, for a node without data: the first of them begins it, the others join.
    pub first_voters: Vec<FirstVoter>,
    /// Whether a node without data, seeds and first voters waits to be made part of a cluster by command. Otherwise it is a cluster of
    /// its own.
    pub awaits_init: bool,
    /// Whether listeners without TLS may be reachable from other machines.
    pub insecure: bool,
    /// Most connections of one listener.
    pub connections_max: usize,
    /// How long a shutdown waits for requests under way.
    pub shutdown_deadline: Duration,
    /// How often retention and other upkeep look at every partition.
    pub maintenance_interval: Duration,
    /// Partitions of a topic that is created without saying how many.
    pub default_partitions: u32,
    /// Replicas of a topic that is created without saying how many; without it as many as the cluster has nodes when the topic is
    /// created, three at most.
    pub default_replication_factor: Option<u32>,
    /// Shards that the cluster's consumer groups are divided into, if this node creates them.
    pub group_shards: u32,
    /// Times and sizes of the consumer groups that this node coordinates.
    pub groups: GroupsConfig,
    /// The journal's sizes.
    pub journal: JournalOptions,
    /// How many bytes a second the scrub reads; 0 for no scrub.
    pub scrub_bytes_per_second: u64,
    /// How many bytes a second replicas that catch up and repairs may take; 0 for as many as they can.
    pub catch_up_bytes_per_second: u64,
}

/// One of the nodes that found a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstVoter {
    /// Its id.
    pub node: NodeId,
    /// Its gRPC address, as host:port.
    pub address: String,
}

impl NodeConfig {
    /// A node on this machine alone, on the usual ports.
    pub fn local(data: PathBuf) -> Self {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            node: NodeId(1),
            data,
            grpc: SocketAddr::new(loopback, GRPC_PORT),
            http: SocketAddr::new(loopback, HTTP_PORT),
            peer: SocketAddr::new(loopback, PEER_PORT),
            advertised_grpc: None,
            advertised_peer: None,
            rack: None,
            seeds: Vec::new(),
            first_voters: Vec::new(),
            awaits_init: false,
            insecure: false,
            connections_max: limits::CONNECTIONS_MAX,
            shutdown_deadline: Duration::from_secs(10),
            maintenance_interval: Duration::from_secs(10),
            default_partitions: 1,
            default_replication_factor: None,
            group_shards: limits::GROUP_SHARDS,
            groups: GroupsConfig::default(),
            journal: JournalOptions::default(),
            scrub_bytes_per_second: limits::SCRUB_BYTES_PER_SECOND,
            catch_up_bytes_per_second: limits::CATCH_UP_BYTES_PER_SECOND,
        }
    }

    /// Whether a node without data begins the cluster, unless there is one already.
    pub(crate) fn founds(&self) -> bool {
        match self.first_voters.first() {
            Some(first) => first.node == self.node,
            None => self.seeds.is_empty() && !self.awaits_init,
        }
    }

    /// Whether it does so without asking anybody, for there is nobody to ask.
    pub(crate) fn founds_by_itself(&self) -> bool {
        self.founds() && self.addresses_to_join().is_empty()
    }

    /// Where a node without data asks for its cluster: the seeds and the other first voters, each once.
    pub(crate) fn addresses_to_join(&self) -> Vec<String> {
        let others = self.first_voters.iter().filter(|voter| voter.node != self.node);
        let mut addresses: Vec<String> = Vec::new();
        for address in self.seeds.iter().chain(others.map(|voter| &voter.address)) {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }

    /// The same on ports that the system chooses: for tests.
    #[must_use]
    pub fn on_free_ports(mut self) -> Self {
        self.grpc.set_port(0);
        self.http.set_port(0);
        self.peer.set_port(0);
        self
    }
}
