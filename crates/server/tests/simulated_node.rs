//! A whole node on parts that the test owns: disk, clock, randomness and network. Nothing of the machine is used, so
//! the power can be cut, and one seed tells one story.
//!
//! `SEED=<n>` runs that seed alone.

use std::collections::BTreeMap;
use std::env;
use std::future::{Future, Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use highwater_client::v1::CreateTopicRequest;
use highwater_client::{
    Client, ClientConfig, ConsumerConfig, Delivered, ProducerConfig, ProducerRecord, StartPosition,
};
use highwater_peer::{Dialer, PeerStream};
use highwater_proto::v1::DescribeClusterRequest;
use highwater_proto::v1::admin_service_client::AdminServiceClient;
use highwater_records::Record;
use highwater_server::{Listener, Node, NodeConfig, NodeData, NodeParts};
use highwater_storage::disk::SimDisk;
use highwater_types::{Clock, Offset, PartitionIndex, Random, TimestampMs};
use http::Uri;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Endpoint;
use tower_service::Service;

/// Bytes that one direction of a connection holds.
const PIPE_BYTES: usize = 64 << 10;
const PARTITIONS: u32 = 3;
const RECORDS: usize = 300;
/// How long one life of the node may take, by its own time.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the wall clock shows in all of this: 14 November 2023.
const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
/// The same as HTTP writes it.
const NOW_IN_HTTP: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

/// Randomness from a seed (SplitMix64).
struct Seeded(Mutex<u64>);

impl Random for Seeded {
    fn fill(&self, out: &mut [u8]) {
        let mut state = self.0.lock();
        for chunk in out.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
    }
}

fn seeded(seed: u64) -> Arc<dyn Random> {
    Arc::new(Seeded(Mutex::new(seed)))
}

/// A clock that stands still.
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> TimestampMs {
        NOW
    }
}

/// A network without other nodes.
struct Nowhere;

#[tonic::async_trait]
impl Dialer for Nowhere {
    async fn connect(&self, _address: &str) -> io::Result<Box<dyn PeerStream>> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

/// A port in memory: what connects to it arrives at its listener.
#[derive(Clone)]
struct Port(mpsc::UnboundedSender<DuplexStream>);

impl Port {
    /// A port, and the listener behind it.
    fn open(address: SocketAddr) -> (Self, Listener) {
        let (sender, arrivals) = mpsc::unbounded_channel();
        (Self(sender), Listener::new(address, UnboundedReceiverStream::new(arrivals).map(Ok)))
    }
}

impl Service<Uri> for Port {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<DuplexStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let connected = self.0.send(far).map_err(|_| io::ErrorKind::ConnectionRefused.into());
        ready(connected.map(|()| TokioIo::new(near)))
    }
}

/// A node and the ways to it.
struct Simulated {
    node: Node,
    grpc: Port,
    /// Nobody connects to it, but a listener has to stay open.
    _http: Port,
}

impl Simulated {
    async fn start(disk: &SimDisk, random: Arc<dyn Random>) -> Self {
        let config = NodeConfig::local(PathBuf::from("simulated"));
        let (grpc, grpc_listener) = Port::open(config.grpc);
        let (http, http_listener) = Port::open(config.http);
        let parts = NodeParts {
            clock: Arc::new(Stopped),
            random,
            data: NodeData::Disk(Arc::new(disk.for_process())),
            grpc: grpc_listener,
            http: http_listener,
            peer: Listener::new(
                SocketAddr::from(([127, 0, 0, 1], 7401)),
                tokio_stream::pending::<io::Result<DuplexStream>>(),
            ),
            dialer: Arc::new(Nowhere),
            dial: Arc::new(|endpoint| endpoint.connect_lazy()),
            own_thread: false,
        };
        let node = Node::start_with(config, parts).await.expect("the node starts");
        Self { node, grpc, _http: http }
    }

    fn client(&self, random: Arc<dyn Random>) -> Client {
        let port = self.grpc.clone();
        let dial = move |endpoint: Endpoint| endpoint.connect_with_connector_lazy(port.clone());
        let servers = [self.node.grpc_address().to_string()];
        let config = ClientConfig {
            clock: Arc::new(Stopped),
            random,
            dial: Arc::new(dial),
            ..ClientConfig::new(servers)
        };
        Client::with_config(config).expect("an address")
    }
}

/// What can be seen of a run from outside.
#[derive(Debug, PartialEq, Eq)]
struct Story {
    cluster: String,
    topic: String,
    delivered: Vec<Delivered>,
    /// The next record after the power cut.
    next: Delivered,
}

/// Runs one life of a node on one thread, whose time passes when there is nothing left to do. It ends as suddenly as
/// the power: what still runs is dropped.
fn live<T>(life: impl Future<Output = T>) -> T {
    let has_threads = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&has_threads);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .on_thread_start(move || seen.store(true, Ordering::Relaxed))
        .build()
        .expect("a runtime");
    let told = runtime.block_on(async { tokio::time::timeout(PATIENCE, life).await.expect("in time") });
    drop(runtime);
    assert!(!has_threads.load(Ordering::Relaxed), "work went to another thread");
    told
}

/// A value that tells its number; a few of them fill a segment.
fn value(number: usize) -> String {
    format!("{number:>200}")
}

async fn create_topic(client: &Client) -> String {
    let configs = [("segment.bytes".to_owned(), "4096".to_owned())];
    let create = CreateTopicRequest {
        name: "orders".into(),
        partitions: PARTITIONS,
        configs: configs.into(),
        ..CreateTopicRequest::default()
    };
    client.admin().create_topic(create).await.expect("created").topic_id
}

/// Sends these records and waits for all of them.
async fn send(client: &Client, numbers: Range<usize>) -> Vec<Delivered> {
    let config = ProducerConfig { batch_bytes: 1 << 10, ..ProducerConfig::default() };
    let producer = client.producer(config).expect("a producer");
    let mut deliveries = Vec::new();
    for number in numbers {
        deliveries.push(producer.send("orders", ProducerRecord::value(value(number))).await.expect("taken"));
    }
    let mut delivered = Vec::new();
    for delivery in deliveries {
        delivered.push(delivery.await.expect("acknowledged"));
    }
    delivered
}

/// Reads so many records, and where each is.
async fn read(client: &Client, count: usize) -> BTreeMap<(PartitionIndex, Offset), Record> {
    let config = ConsumerConfig::starting_at(StartPosition::Earliest);
    let mut consumer = client.consumer("orders", &[], config).await.expect("a consumer");
    let mut records = BTreeMap::new();
    while records.len() < count {
        let batch = consumer.next_batch().await.expect("no error").expect("not the end");
        records.extend(batch.records.into_iter().map(|record| ((batch.partition, record.offset), record)));
    }
    records
}

/// Two lives of a node on one disk, with a power cut between them.
fn story(seed: u64) -> Story {
    let disk = SimDisk::new(seed);
    let (of_node, of_client) = (seeded(seed), seeded(!seed));
    let (cluster, topic, delivered) = live(async {
        let simulated = Simulated::start(&disk, Arc::clone(&of_node)).await;
        let client = simulated.client(Arc::clone(&of_client));
        let topic = create_topic(&client).await;
        let cluster = client.admin().describe_cluster().await.expect("answered").cluster_id;
        let delivered = send(&client, 0..RECORDS).await;
        disk.crash();
        (cluster, topic, delivered)
    });
    live(async {
        let simulated = Simulated::start(&disk, of_node).await;
        let client = simulated.client(of_client);
        assert_eq!(client.admin().describe_cluster().await.expect("answered").cluster_id, cluster);
        let described = client.admin().describe_topic("orders", true).await.expect("it is there");
        assert_eq!(described.topic_id, topic);
        let records = read(&client, RECORDS).await;
        assert_eq!(records.len(), RECORDS, "nothing more than what was sent");
        for (number, delivered) in delivered.iter().enumerate() {
            let record = &records[&(delivered.partition, delivered.offset)];
            assert_eq!(record.value.as_deref(), Some(value(number).as_bytes()));
            assert_eq!(record.timestamp, NOW);
        }
        let next = send(&client, RECORDS..RECORDS + 1).await[0];
        simulated.node.shutdown().await.expect("a clean end");
        Story { cluster, topic, delivered, next }
    })
}

#[test]
fn a_whole_node_on_parts_of_the_tests_loses_no_acked_record_to_a_power_cut_and_repeats_itself_by_its_seed() {
    let seed = match env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) => 20,
    };
    println!("SEED={seed}");
    let told = story(seed);
    assert_eq!(told.delivered.len(), RECORDS);
    assert_eq!(story(seed), told);
    let other = story(seed + 1);
    assert!(
        other.cluster != told.cluster && other.topic != told.topic,
        "ids are drawn from what was passed in"
    );
}

#[test]
fn an_answer_has_the_date_of_the_nodes_clock() {
    live(async {
        let simulated = Simulated::start(&SimDisk::new(1), seeded(1)).await;
        let channel =
            Endpoint::from_static("http://simulated").connect_with_connector_lazy(simulated.grpc.clone());
        let answer = AdminServiceClient::new(channel).describe_cluster(DescribeClusterRequest::default()).await;
        let answer = answer.expect("answered");
        assert_eq!(answer.metadata().get("date").expect("dated"), NOW_IN_HTTP);
    });
}
