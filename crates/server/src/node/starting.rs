//! The part of a node's start that takes time: the data is opened, the groups and the broker come up, and the other nodes are
//! found. Nothing is served meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;

use highwater_broker::{Broker, BrokerOptions, KnownNodes, NodeStanding};
use highwater_consensus::{GroupHost, HostParts};
use highwater_peer::{Admission, Dialer, PeerIdentity, PeerLimits, PeerOptions, PeerTransport};
use highwater_storage::directory::{DataDirectory, Identity};
use highwater_types::{Clock, ErrorCode, Random};
use tokio::sync::watch;

use super::entrance::Entrance;
use super::gatekeeper::Gatekeeper;
use super::open::{Opened, open};
use super::parts::NodeData;
use super::peers::PeerSide;
use super::renewal::Question;
use crate::config::NodeConfig;
use crate::error::{NodeFailure, StartError};
use crate::listener::Listener;
use crate::remote::{Channels, Dial, OtherNodes};

/// What a start needs; see [`super::NodeParts`].
pub(super) struct Starting<'a> {
    pub(super) config: &'a NodeConfig,
    pub(super) addresses: Addresses,
    pub(super) entrance: Entrance,
    /// Where a failure of the running node is told.
    pub(super) report: watch::Sender<Option<NodeFailure>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) data: NodeData,
    pub(super) peer: Listener,
    pub(super) dialer: Arc<dyn Dialer>,
    pub(super) dial: Dial,
    pub(super) own_thread: bool,
}

/// Where the node listens.
#[derive(Clone, Copy)]
pub(super) struct Addresses {
    pub(super) grpc: SocketAddr,
    pub(super) peer: SocketAddr,
}

/// What is there afterwards.
pub(super) struct Started {
    pub(super) directory: DataDirectory,
    pub(super) broker: Arc<Broker>,
    pub(super) peers: PeerSide,
}

impl Starting<'_> {
    /// Waits for the cluster for as long as it takes.
    pub(super) async fn start(mut self) -> Result<Started, StartError> {
        let (clock, random, report) = (self.clock, self.random, self.report);
        let channels = Arc::new(Channels::new(self.dial));
        let Opened { directory, store } =
            open(self.config, self.data, &channels, &mut self.entrance, report.clone(), &clock, &random)
                .await?;
        let question = store.quarantine().map(|_| Question::new(self.config, &directory));
        let identity = peer_identity(&directory);
        let known = KnownNodes::new();
        let gatekeeper: Arc<dyn Admission> =
            Arc::new(Gatekeeper::new(identity.cluster, directory.recovery(), known.clone(), report.clone()));
        let transport = PeerTransport::new(
            peer_options(identity, Arc::clone(&gatekeeper)),
            self.dialer,
            Arc::clone(&random),
        );
        let host = GroupHost::new(HostParts {
            member: identity.member(),
            epoch: identity.process,
            store,
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
            transport: transport.clone(),
        });
        let options = broker_options(self.config, &directory, self.addresses);
        // Before the broker: a group of several nodes comes up only when they reach each other.
        let peers = PeerSide::start(&host, identity, gatekeeper, self.peer, self.own_thread)
            .map_err(StartError::Thread)?;
        let remote = Arc::new(OtherNodes::new(transport, Arc::clone(&channels)));
        match Broker::start(options, Arc::clone(&host), remote, clock, random, known.clone()).await {
            Ok(broker) => {
                if let Some(question) = question {
                    tokio::spawn(end_when_spared(question, channels, report));
                }
                Ok(Started { directory, broker, peers })
            }
            Err(error) => {
                if let Err(error) = host.shutdown().await {
                    tracing::warn!(%error, "the store was not closed as it should");
                }
                let stands = known.standing(identity.node, identity.incarnation) == NodeStanding::Belongs;
                // What this node has of the metadata may be from before it was removed.
                Err(match stands && error.code != ErrorCode::NodeRemoved {
                    true => error.into(),
                    false => NodeFailure::ShutOut { reason: error.to_string() }.into(),
                })
            }
        }
    }
}

/// Ends a node that serves for reading only once the cluster goes on without what it has stored: its next start sets that aside.
async fn end_when_spared(
    question: Question,
    channels: Arc<Channels>,
    report: watch::Sender<Option<NodeFailure>>,
) {
    tokio::select! {
        () = report.closed() => {}
        () = question.until_spared(&channels) => drop(report.send_replace(Some(NodeFailure::Spared))),
    }
}

/// Who the node is to its peers.
fn peer_identity(directory: &DataDirectory) -> PeerIdentity {
    let Identity { cluster, node, incarnation, .. } = directory.identity();
    PeerIdentity { cluster, node, incarnation, process: directory.epoch() }
}

/// How the node dials its peers.
fn peer_options(identity: PeerIdentity, admission: Arc<dyn Admission>) -> PeerOptions {
    PeerOptions { identity, admission, limits: PeerLimits::default() }
}

fn broker_options(config: &NodeConfig, directory: &DataDirectory, addresses: Addresses) -> BrokerOptions {
    let Addresses { grpc, peer } = addresses;
    let identity = directory.identity();
    let told = directory.whom_to_ask().iter().cloned();
    BrokerOptions {
        node: config.node,
        incarnation: identity.incarnation,
        cluster: identity.cluster,
        client_address: config.advertised_grpc.clone().unwrap_or_else(|| grpc.to_string()),
        peer_address: Some(config.advertised_peer.clone().unwrap_or_else(|| peer.to_string())),
        rack: config.rack.clone(),
        seeds: config.addresses_to_join().into_iter().chain(told).collect(),
        founder: identity.founder,
        default_partitions: config.default_partitions,
        default_replication_factor: config.default_replication_factor,
        group_shards: config.group_shards,
        groups: config.groups.clone(),
        maintenance_interval: config.maintenance_interval,
        scrub_bytes_per_second: config.scrub_bytes_per_second,
        catch_up_bytes_per_second: config.catch_up_bytes_per_second,
    }
}
