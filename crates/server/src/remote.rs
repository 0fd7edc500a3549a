//! The other nodes, as this one reaches them: replication over connections of its own, everything else over their gRPC listener.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use highwater_broker::{BrokerError, LeadersUpdate, NodeReport, Remote, RemoteProposed};
use highwater_peer::PeerTransport;
use highwater_proto::internal::v1;
use highwater_proto::internal::v1::cluster_service_client::ClusterServiceClient;
use highwater_types::{
    ClusterId, ErrorCode, Incarnation, NodeId, PartitionId, PartitionIndex, Term, TopicId, limits,
};
use parking_lot::Mutex;
use tonic::transport::{Channel, Endpoint};

use crate::grpc::replica::node_report;
use crate::grpc::status::from_status;

/// How a channel to another node is made from where it is: by the machine's network, or a simulated one.
pub type Dial = Arc<dyn Fn(Endpoint) -> Channel + Send + Sync>;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a silent connection is asked whether the node is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// How long it has to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one attempt to change the metadata may take.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the leader of the metadata may take to say whether the cluster goes on without a node's data: it asks all others.
const SPARE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the question follows a hint to who leads.
const SPARE_HOPS_MAX: u32 = 2;

/// The channels to other nodes, by address.
pub(crate) struct Channels {
    dial: Dial,
    open: Mutex<BTreeMap<String, Channel>>,
}

impl Channels {
    pub(crate) fn new(dial: Dial) -> Self {
        Self { dial, open: Mutex::default() }
    }

    /// The channel to a node; it connects when it is first used, and again after it broke.
    pub(crate) fn to(&self, address: &str) -> Result<Channel, BrokerError> {
        let mut open = self.open.lock();
        if let Some(channel) = open.get(address) {
            return Ok(channel.clone());
        }
        let channel = (self.dial)(endpoint(address)?);
        open.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

/// How a connection to the node at this address is made.
pub(crate) fn endpoint(address: &str) -> Result<Endpoint, BrokerError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| {
        let message = format!("'{address}' is no address of a node: {error}; it must be host:port");
        BrokerError::new(ErrorCode::InvalidRequest, message)
    })?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

/// The other nodes of the cluster.
pub(crate) struct OtherNodes {
    transport: Arc<PeerTransport>,
    channels: Arc<Channels>,
}

impl OtherNodes {
    pub(crate) fn new(transport: Arc<PeerTransport>, channels: Arc<Channels>) -> Self {
        Self { transport, channels }
    }

    fn client(&self, address: &str) -> Result<ClusterServiceClient<Channel>, BrokerError> {
        client(&self.channels, address)
    }
}

fn client(channels: &Channels, address: &str) -> Result<ClusterServiceClient<Channel>, BrokerError> {
    channels.to(address).map(ClusterServiceClient::new)
}

/// Asks the node at `address` who it is.
///
/// # Errors
/// When nobody answers there.
pub(crate) async fn identify(channels: &Channels, address: &str) -> Result<v1::IdentifyResponse, BrokerError> {
    let mut client = client(channels, address)?;
    let asked = tokio::time::timeout(CONNECT_TIMEOUT, client.identify(v1::IdentifyRequest {})).await;
    Ok(asked.map_err(|_| silent(address))?.map_err(|status| from_status(&status))?.into_inner())
}

/// Asks the node at `address`, and whoever it names, whether the cluster goes on without what a node has stored.
///
/// # Errors
/// When it does not, or nobody can say so now.
pub(crate) async fn ask_to_spare(
    channels: &Channels,
    address: &str,
    cluster: ClusterId,
    node: NodeId,
    incarnation: Incarnation,
) -> Result<(), BrokerError> {
    let mut address = address.to_owned();
    let mut hops = SPARE_HOPS_MAX;
    loop {
        let request = v1::SpareDataRequest {
            cluster_id: cluster.to_string(),
            node_id: node.0,
            incarnation: incarnation.0,
        };
        let mut client = client(channels, &address)?;
        let asked = tokio::time::timeout(SPARE_TIMEOUT, client.spare_data(request)).await;
        let refused = match asked.map_err(|_| silent(&address))? {
            Ok(_) => return Ok(()),
            Err(status) => from_status(&status),
        };
        match &refused.leader {
            Some(leader) if refused.code == ErrorCode::NotLeader && hops > 0 => {
                address.clone_from(&leader.address);
                hops -= 1;
            }
            _ => return Err(refused),
        }
    }
}

fn silent(address: &str) -> BrokerError {
    BrokerError::new(ErrorCode::Unavailable, format!("the node at {address} does not answer"))
}

#[tonic::async_trait]
impl Remote for OtherNodes {
    fn meet(&self, node: NodeId, peer_address: &str) {
        self.transport.set(node, peer_address);
    }

    fn part_with(&self, node: NodeId) {
        self.transport.remove(node);
    }

    async fn propose(
        &self,
        address: &str,
        cluster: ClusterId,
        command: Bytes,
    ) -> Result<RemoteProposed, BrokerError> {
        let mut client = self.client(address)?;
        let request = v1::ProposeRequest { cluster_id: cluster.to_string(), command };
        let proposed = tokio::time::timeout(PROPOSE_TIMEOUT, client.propose(request)).await;
        let answer =
            proposed.map_err(|_| silent(address))?.map_err(|status| from_status(&status))?.into_inner();
        Ok(RemoteProposed { response: answer.response, metadata_version: answer.metadata_version })
    }

    async fn report(&self, node: NodeId, address: &str) -> Result<NodeReport, BrokerError> {
        let mut client = self.client(address)?.max_decoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX);
        let reported = client.report_node(v1::ReportNodeRequest {}).await;
        let report = reported.map_err(|status| from_status(&status))?.into_inner();
        if report.node_id != node.0 {
            let message = format!("node {} is at {address} now, not node {node}", report.node_id);
            return Err(BrokerError::new(ErrorCode::Unavailable, message));
        }
        Ok(node_report(report))
    }

    async fn follow_leaders(&self, address: &str) -> Result<BoxStream<'static, LeadersUpdate>, BrokerError> {
        let mut client = self.client(address)?;
        let following = client.follow_leaders(v1::FollowLeadersRequest {}).await;
        let updates = following.map_err(|status| from_status(&status))?.into_inner();
        let updates = stream::unfold(updates, |mut updates| async move {
            let update = updates.message().await.ok().flatten()?;
            Some((leaders_update(update), updates))
        });
        Ok(updates.boxed())
    }
}

fn leaders_update(update: v1::FollowLeadersResponse) -> LeadersUpdate {
    let partitions = |partitions: Vec<v1::LedPartition>| partitions.iter().filter_map(led_partition).collect();
    LeadersUpdate { is_first: update.is_first, led: partitions(update.led), left: partitions(update.left) }
}

/// None for what is no partition's id: a node of another version may know other kinds.
fn led_partition(led: &v1::LedPartition) -> Option<(PartitionId, Term)> {
    let topic = TopicId(uuid::Uuid::from_slice(&led.topic_id).ok()?);
    Some((PartitionId { topic, index: PartitionIndex(led.partition) }, Term(led.term)))
}
