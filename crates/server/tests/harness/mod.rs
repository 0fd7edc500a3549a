//! A node in this process on a temporary directory, and clients that speak to it as any
//! gRPC client would.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod cable;
pub(crate) mod clusters;
pub(crate) mod gated_disk;
pub(crate) mod over_store;
pub(crate) mod sessions;

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use highwater_proto::v1;
use highwater_proto::v1::admin_service_client::AdminServiceClient;
use highwater_proto::v1::log_service_client::LogServiceClient;
use highwater_records::{Batch, BatchBuilder};
use highwater_server::{Node, NodeConfig, NodeParts};
use highwater_types::{Clock as _, NodeId, ProducerEpoch, ProducerId, Sequence, SystemClock, TimestampMs};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// How long a condition may take before a test fails: far beyond what any needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running node and the directory that goes with it.
pub(crate) struct TestNode {
    pub(crate) node: Node,
    pub(crate) directory: TempDir,
}

/// The nodes' log, with `HIGHWATER_LOG=debug` and `--nocapture`, for whoever looks for a cause.
fn log_if_asked() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("HIGHWATER_LOG") {
        // Another node of the test may have begun it.
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).try_init();
    }
}

/// Three nodes: the first began the cluster, the others joined it.
pub(crate) async fn three_nodes() -> Vec<TestNode> {
    let first = TestNode::start().await;
    let seed = first.node.grpc_address().to_string();
    let mut nodes = vec![first];
    for id in 2..=3 {
        nodes.push(TestNode::join(id, &seed).await);
    }
    nodes
}

/// Upkeep that comes round while a test waits for it.
pub(crate) fn busy_upkeep(config: NodeConfig) -> NodeConfig {
    NodeConfig { maintenance_interval: Duration::from_millis(20), ..config }
}

impl TestNode {
    /// A node on an empty directory.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self::start_in(directory, |config| config).await
    }

    /// Another node of the cluster that the node at `seed` belongs to.
    pub(crate) async fn join(id: u64, seed: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let seeds = vec![seed.to_owned()];
        Self::start_in(directory, |config| NodeConfig { node: NodeId(id), seeds, ..config }).await
    }

    /// A node on a directory, with changes to its configuration.
    pub(crate) async fn start_in(directory: TempDir, change: impl FnOnce(NodeConfig) -> NodeConfig) -> Self {
        log_if_asked();
        let config = NodeConfig::local(directory.path().join("data")).on_free_ports();
        let node = Node::start(change(config)).await.expect("the node starts");
        Self { node, directory }
    }

    /// A node on an empty directory and on the machine's parts, of which the test replaces some.
    pub(crate) async fn start_on(
        change: impl FnOnce(NodeConfig) -> NodeConfig,
        replace: impl AsyncFnOnce(NodeParts) -> NodeParts,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = change(NodeConfig::local(directory.path().join("data")).on_free_ports());
        let parts = NodeParts::machine(&config).await.expect("there are free ports");
        let node = Node::start_with(config, replace(parts).await).await.expect("the node starts");
        Self { node, directory }
    }

    /// Shuts the node down and starts it again on the same data.
    pub(crate) async fn restart(self) -> Self {
        let Self { node, directory } = self;
        node.shutdown().await.expect("a clean shutdown");
        Self::start_in(directory, |config| config).await
    }

    /// Shuts the node down and gives its directory back.
    pub(crate) async fn stop(self) -> TempDir {
        let Self { node, directory } = self;
        node.shutdown().await.expect("a clean shutdown");
        directory
    }

    /// What a node killed at this moment would leave behind: a copy of its directory as it is.
    pub(crate) fn wreck(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a temporary directory");
        copy_directory(self.directory.path(), copy.path());
        copy
    }

    /// Where a partition's segments are.
    pub(crate) fn partition_directory(&self, topic_id: &str, partition: u32) -> PathBuf {
        partition_directory(&self.directory, topic_id, partition)
    }

    /// The answer to a GET of the HTTP listener: the status and the body.
    pub(crate) async fn http(&self, path: &str) -> (u16, String) {
        http_get(self.node.http_address(), path).await
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Channel {
        let address = self.node.grpc_address();
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        endpoint.connect().await.expect("the node listens")
    }

    pub(crate) async fn log(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.connect().await)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }

    pub(crate) async fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.connect().await)
    }

    /// Creates a topic with the settings given.
    pub(crate) async fn create(&self, name: &str, partitions: u32, configs: &[(&str, &str)]) -> String {
        self.create_replicated(name, partitions, 0, configs).await
    }

    /// The same with a number of replicas; 0 for the node's default.
    pub(crate) async fn create_replicated(
        &self,
        name: &str,
        partitions: u32,
        replication_factor: u32,
        configs: &[(&str, &str)],
    ) -> String {
        let configs = configs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let request = v1::CreateTopicRequest {
            name: name.to_owned(),
            partitions,
            replication_factor,
            configs,
            ..v1::CreateTopicRequest::default()
        };
        let created = self.admin().await.create_topic(request).await.expect("created");
        created.into_inner().topic_id
    }
}

/// Where a partition's segments are in a stopped node's directory.
pub(crate) fn partition_directory(directory: &TempDir, topic_id: &str, partition: u32) -> PathBuf {
    directory.path().join("data/topics").join(topic_id).join(partition.to_string())
}

/// The segments' log files in a directory, in order; none when it does not exist.
pub(crate) fn log_files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut logs: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ext| ext == "log")).collect();
    logs.sort();
    logs
}

/// Every file below a directory with its bytes, but the lock, which names its process.
pub(crate) fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else if path.file_name().is_some_and(|name| name != "lock") {
            files.insert(path.clone(), fs::read(&path).expect("readable"));
        }
    }
    files
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("readable") {
        let path = entry.expect("readable").path();
        let copy = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_directory(&path, &copy);
        } else {
            fs::copy(&path, &copy).expect("copied");
        }
    }
}

async fn http_get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// Appends a batch of one record of now and returns its offset.
pub(crate) async fn append(
    log: &mut LogServiceClient<Channel>,
    topic: &str,
    partition: u32,
    value: &[u8],
) -> i64 {
    append_at(log, topic, partition, value, SystemClock.now()).await
}

/// The same, while the leadership may move: what was refused because the node does not lead is sent again.
pub(crate) async fn append_anywhere(
    log: &mut LogServiceClient<Channel>,
    topic: &str,
    partition: u32,
    value: &[u8],
) -> i64 {
    let mut builder = BatchBuilder::new();
    builder.append(None, Some(value), &[], SystemClock.now()).expect("fits");
    let batch = builder.build().expect("not empty").into_bytes();
    soon("the batch is appended", async {
        loop {
            match log.produce(produce(topic, partition, batch.clone())).await {
                Ok(answer) => return answer.into_inner().base_offset,
                Err(status) => {
                    let refused = ["NOT_LEADER", "LEADER_NOT_AVAILABLE"].contains(&code(&status).as_str());
                    assert!(refused, "{status:?}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    })
    .await
}

/// The same of another time.
pub(crate) async fn append_at(
    log: &mut LogServiceClient<Channel>,
    topic: &str,
    partition: u32,
    value: &[u8],
    time: TimestampMs,
) -> i64 {
    let mut builder = BatchBuilder::new();
    builder.append(None, Some(value), &[], time).expect("fits");
    let batch = builder.build().expect("not empty");
    let request = produce(topic, partition, batch.into_bytes());
    log.produce(request).await.expect("appended").into_inner().base_offset
}

/// The log start and the high watermark of a partition, as ListOffsets tells them.
pub(crate) async fn bounds(
    log: &mut LogServiceClient<Channel>,
    topic: &str,
    partition: u32,
) -> Result<(i64, i64), String> {
    let query = |place: v1::OffsetPlace| v1::OffsetQuery {
        partition,
        query: Some(v1::offset_query::Query::Place(place.into())),
    };
    let request = v1::ListOffsetsRequest {
        topic: topic.to_owned(),
        queries: vec![query(v1::OffsetPlace::Earliest), query(v1::OffsetPlace::Latest)],
        ..Default::default()
    };
    let answer = log.list_offsets(request).await.expect("answered").into_inner();
    let found = answer.results.into_iter().map(|result| match result.result.expect("always set") {
        v1::offset_result::Result::Found(found) => Ok(found.offset.expect("a bound")),
        v1::offset_result::Result::Error(error) => Err(error.code),
    });
    let found = found.collect::<Result<Vec<_>, _>>()?;
    Ok((found[0], found[1]))
}

/// The values of all records of a partition from an offset on.
pub(crate) async fn values(
    log: &mut LogServiceClient<Channel>,
    topic: &str,
    partition: u32,
    mut offset: i64,
) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    loop {
        let request =
            v1::FetchRequest { format: v1::RecordFormat::Records.into(), ..fetch(topic, partition, offset) };
        let answer = log.fetch(request).await.expect("answered").into_inner();
        let data = data(answer.results.into_iter().next().expect("one")).expect("records");
        if data.records.is_empty() {
            return values;
        }
        offset = data.next_offset;
        values.extend(data.records.into_iter().map(|record| record.value.unwrap_or_default().to_vec()));
    }
}

/// A topic as it is described, with its watermarks.
pub(crate) async fn describe(node: &TestNode, topic: &str) -> v1::TopicDescription {
    let request = v1::DescribeTopicsRequest {
        names: vec![topic.to_owned()],
        include_offsets: true,
        ..Default::default()
    };
    let answer = node.admin().await.describe_topics(request).await.expect("answered").into_inner();
    match answer.results.into_iter().next().and_then(|result| result.result).expect("one") {
        v1::describe_topics_result::Result::Topic(topic) => topic,
        v1::describe_topics_result::Result::Error(error) => panic!("{error:?}"),
    }
}

/// A batch of so many records of so many bytes each.
pub(crate) fn batch(records: usize, value_bytes: usize) -> Batch {
    let mut builder = BatchBuilder::new();
    for number in 0..records {
        let value = vec![u8::try_from(number % 251).expect("below 251"); value_bytes];
        builder.append(None, Some(&value), &[], TimestampMs::NONE).expect("fits");
    }
    builder.build().expect("not empty")
}

/// The same of an idempotent producer.
pub(crate) fn idempotent(id: i64, sequence: i32, records: usize) -> Batch {
    let mut builder = BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(0), Sequence(sequence));
    for number in 0..records {
        let value = format!("{}", usize::try_from(sequence).expect("from 0") + number);
        builder.append(None, Some(value.as_bytes()), &[], TimestampMs::NONE).expect("fits");
    }
    builder.build().expect("not empty")
}

/// A request that appends bytes that claim to be a batch.
pub(crate) fn produce(topic: &str, partition: u32, batch: impl Into<Bytes>) -> v1::ProduceRequest {
    v1::ProduceRequest {
        topic: topic.to_owned(),
        partition,
        data: Some(v1::produce_request::Data::Batch(batch.into())),
        ..v1::ProduceRequest::default()
    }
}

/// A fetch of one partition.
pub(crate) fn fetch(topic: &str, partition: u32, offset: i64) -> v1::FetchRequest {
    v1::FetchRequest { partitions: vec![at(topic, partition, offset)], ..Default::default() }
}

pub(crate) fn at(topic: &str, partition: u32, offset: i64) -> v1::FetchPartition {
    v1::FetchPartition { topic: topic.to_owned(), partition, offset, ..Default::default() }
}

/// The records of a result, or its error's code.
pub(crate) fn data(result: v1::FetchResult) -> Result<v1::RecordData, String> {
    match result.result.expect("a result says how it went") {
        v1::fetch_result::Result::Data(data) => Ok(data),
        v1::fetch_result::Result::Error(error) => Err(error.code),
    }
}

/// The code of a failed call.
pub(crate) fn code(status: &Status) -> String {
    v1::ErrorDetail::from_status(status).unwrap_or_else(|| panic!("{status:?} has no detail of ours")).code
}

/// Waits for a future that must complete.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not in time"))
}

/// Waits until a partition has a leader that serves, as a node knows it.
pub(crate) async fn until_led(node: &TestNode, topic: &str) {
    let mut log = node.log().await;
    soon("the partition is led", async {
        while bounds(&mut log, topic, 0).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Waits until a node says that all is well with the cluster, and as many nodes vote on its metadata.
pub(crate) async fn until_healthy(node: &TestNode, metadata_voters: usize) {
    let mut admin = node.admin().await;
    soon("the cluster is healthy", async {
        loop {
            let status = admin.get_cluster_status(v1::GetClusterStatusRequest::default()).await;
            let status = status.map(tonic::Response::into_inner);
            if status.is_ok_and(|now| now.is_healthy && now.metadata_voter_ids.len() == metadata_voters) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
