//! A node in this process on a temporary directory, and clients that speak to it as any
//! gRPC client would.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use highwater_proto::v1;
use highwater_proto::v1::admin_service_client::AdminServiceClient;
use highwater_proto::v1::log_service_client::LogServiceClient;
use highwater_records::{Batch, BatchBuilder};
use highwater_server::{Node, NodeConfig};
use highwater_types::{ProducerEpoch, ProducerId, Sequence, TimestampMs};
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// How long a condition may take before a test fails: far beyond what any needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running node and the directory that goes with it.
pub(crate) struct TestNode {
    pub(crate) node: Node,
    pub(crate) directory: TempDir,
}

impl TestNode {
    /// A node on an empty directory.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self::start_in(directory, |config| config).await
    }

    /// A node on a directory, with changes to its configuration.
    pub(crate) async fn start_in(directory: TempDir, change: impl FnOnce(NodeConfig) -> NodeConfig) -> Self {
        let config = NodeConfig::local(directory.path().join("data")).on_free_ports();
        let node = Node::start(change(config)).await.expect("the node starts");
        Self { node, directory }
    }

    /// Shuts the node down and starts it again on the same data.
    pub(crate) async fn restart(self) -> Self {
        let Self { node, directory } = self;
        node.shutdown().await.expect("a clean shutdown");
        Self::start_in(directory, |config| config).await
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
        let configs = configs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let request = v1::CreateTopicRequest {
            name: name.to_owned(),
            partitions,
            configs,
            ..v1::CreateTopicRequest::default()
        };
        let created = self.admin().await.create_topic(request).await.expect("created");
        created.into_inner().topic_id
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

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
