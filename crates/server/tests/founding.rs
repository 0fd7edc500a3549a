//! The first voters of a configuration, in this process, over real sockets: the first of them founds the cluster, once.

mod harness;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use harness::{batch, produce, soon};
use highwater_proto::internal::v1::{IdentifyRequest, NodeState, cluster_service_client::ClusterServiceClient};
use highwater_proto::v1;
use highwater_server::{FirstVoter, Node, NodeConfig};
use highwater_types::NodeId;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tonic::transport::{Channel, Endpoint};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The machines of three first voters: where each listens, and its disk.
struct Voters {
    grpc: Vec<SocketAddr>,
    disks: Vec<TempDir>,
    seeds: Vec<String>,
}

impl Voters {
    fn new() -> Self {
        // All are held until all are known, so that no two are the same.
        let held: Vec<TcpListener> =
            (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let grpc = held.iter().map(|listener| listener.local_addr().expect("bound")).collect();
        let disks = (0..3).map(|_| tempfile::tempdir().expect("a temporary directory")).collect();
        Self { grpc, disks, seeds: Vec::new() }
    }

    /// Starts a node, which serves only when there is a cluster.
    fn start(&self, id: u64) -> JoinHandle<Node> {
        let (place, addresses) = (usize::try_from(id - 1).expect("small"), self.grpc.iter().zip(1..));
        let voters =
            addresses.map(|(address, id)| FirstVoter { node: NodeId(id), address: address.to_string() });
        let config = NodeConfig {
            node: NodeId(id),
            first_voters: voters.collect(),
            seeds: self.seeds.clone(),
            ..NodeConfig::local(self.disks[place].path().join("data")).on_free_ports()
        };
        let config = NodeConfig { grpc: self.grpc[place], ..config };
        tokio::spawn(async move { Node::start(config).await.expect("the node starts") })
    }

    /// As if a node's disk had been replaced.
    fn empty(&mut self, id: u64) {
        let place = usize::try_from(id - 1).expect("small");
        self.disks[place] = tempfile::tempdir().expect("a temporary directory");
    }

    async fn state(&self, id: u64) -> Option<NodeState> {
        let channel = channel(self.grpc[usize::try_from(id - 1).expect("small")]).await?;
        let answer = ClusterServiceClient::new(channel).identify(IdentifyRequest {}).await.ok()?;
        Some(answer.into_inner().state())
    }

    /// Waits until a node that found nobody else says so.
    async fn until_waiting(&self, id: u64) {
        soon("the node waits", async {
            while self.state(id).await != Some(NodeState::Unborn) {
                sleep(LOOK_EVERY).await;
            }
        })
        .await;
    }
}

async fn channel(address: SocketAddr) -> Option<Channel> {
    Endpoint::from_shared(format!("http://{address}")).expect("an address").connect().await.ok()
}

async fn running(starting: Vec<JoinHandle<Node>>) -> Vec<Node> {
    let mut nodes = Vec::new();
    for node in starting {
        nodes.push(soon("the node serves", node).await.expect("it started"));
    }
    nodes
}

/// The cluster as a node shows it: its id and its nodes.
async fn cluster_of(node: &Node) -> (String, BTreeSet<u64>) {
    let channel = channel(node.grpc_address()).await.expect("it listens");
    let mut admin = v1::admin_service_client::AdminServiceClient::new(channel);
    let described = admin.describe_cluster(v1::DescribeClusterRequest::default()).await.expect("described");
    let described = described.into_inner();
    (described.cluster_id, described.nodes.iter().map(|node| node.node_id).collect())
}

/// Waits until every node shows the same cluster of these nodes, and says which.
async fn one_cluster(nodes: &[Node], members: &[u64]) -> String {
    let members: BTreeSet<u64> = members.iter().copied().collect();
    soon("all show one cluster", async {
        loop {
            let mut seen = BTreeSet::new();
            for node in nodes {
                seen.insert(cluster_of(node).await);
            }
            match seen.first() {
                Some((id, shown)) if seen.len() == 1 && *shown == members => return id.clone(),
                _ => sleep(LOOK_EVERY).await,
            }
        }
    })
    .await
}

/// A topic with a replica on each node takes a record, and says so.
async fn takes_records(nodes: &[Node], topic: &str) {
    let channel = channel(nodes[0].grpc_address()).await.expect("it listens");
    let mut admin = v1::admin_service_client::AdminServiceClient::new(channel.clone());
    let request = v1::CreateTopicRequest {
        name: topic.to_owned(),
        partitions: 1,
        replication_factor: 3,
        ..v1::CreateTopicRequest::default()
    };
    admin.create_topic(request).await.expect("created");
    let mut log = v1::log_service_client::LogServiceClient::new(channel);
    let value = batch(1, 10);
    soon("the topic takes a record", async {
        while log.produce(produce(topic, 0, value.bytes().clone())).await.is_err() {
            sleep(LOOK_EVERY).await;
        }
    })
    .await;
}

async fn stop(nodes: Vec<Node>) {
    for node in nodes {
        soon("it stops", node.shutdown()).await.expect("a clean shutdown");
    }
}

#[tokio::test]
async fn the_first_voter_founds_when_all_the_others_are_there_and_new_and_they_join_it() {
    let voters = Voters::new();
    let first = voters.start(1);
    voters.until_waiting(1).await;
    let second = voters.start(2);
    voters.until_waiting(2).await;
    // The third may belong to a cluster, for all that the first can know.
    assert_eq!(voters.state(1).await, Some(NodeState::Unborn));
    let nodes = running(vec![first, second, voters.start(3)]).await;
    one_cluster(&nodes, &[1, 2, 3]).await;
    stop(nodes).await;
}

#[tokio::test]
async fn a_first_voter_whose_disk_was_emptied_joins_the_cluster_that_it_founded() {
    let mut voters = Voters::new();
    let mut nodes = running((1..=3).map(|id| voters.start(id)).collect()).await;
    let founded = one_cluster(&nodes, &[1, 2, 3]).await;
    takes_records(&nodes, "before").await;

    stop(vec![nodes.remove(0)]).await;
    voters.empty(1);
    nodes.extend(running(vec![voters.start(1)]).await);
    assert_eq!(one_cluster(&nodes, &[1, 2, 3]).await, founded);
    takes_records(&nodes, "after").await;
    stop(nodes).await;
}

#[tokio::test]
async fn a_first_voter_with_an_empty_disk_waits_for_a_seed_that_may_belong_to_its_cluster() {
    let mut voters = Voters::new();
    let later = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let nodes = running((1..=3).map(|id| voters.start(id)).collect()).await;
    let founded = one_cluster(&nodes, &[1, 2, 3]).await;
    // A fourth node joins; then all of the first are gone, and the founder is the first to come back, with nothing.
    let (disk, seeds) = (tempfile::tempdir().expect("a temporary directory"), vec![voters.grpc[0].to_string()]);
    let config =
        NodeConfig { node: NodeId(4), seeds, ..NodeConfig::local(disk.path().join("data")).on_free_ports() };
    let fourth = NodeConfig { grpc: later, ..config };
    let joined = soon("it joins", Node::start(fourth.clone())).await.expect("it starts");
    one_cluster(&nodes, &[1, 2, 3, 4]).await;
    stop(vec![joined]).await;
    stop(nodes).await;
    for id in 1..=3 {
        voters.empty(id);
    }
    voters.seeds = vec![later.to_string()];
    let starting: Vec<_> = (1..=3).map(|id| voters.start(id)).collect();
    voters.until_waiting(1).await;
    voters.until_waiting(2).await;
    voters.until_waiting(3).await;
    // The cluster has lost its majority; what matters is that no second one is founded beside it.
    let fourth = tokio::spawn(Node::start(fourth));
    soon("the first knows its cluster", async {
        while voters.state(1).await != Some(NodeState::Awaiting) {
            sleep(LOOK_EVERY).await;
        }
    })
    .await;
    let channel = channel(voters.grpc[0]).await.expect("it listens");
    let said = ClusterServiceClient::new(channel).identify(IdentifyRequest {}).await.expect("answered");
    assert_eq!(said.into_inner().cluster_id, founded);
    starting.into_iter().for_each(|node| node.abort());
    fourth.abort();
}
