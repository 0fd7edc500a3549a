//! What every gRPC tool relies on: reflection and health; and what is logged after a power cut.

mod harness;

use std::fs;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;
use harness::{TestNode, append, soon};
use highwater_server::NodeConfig;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{FileDescriptorResponse, ServerReflectionRequest};

const SERVICES: [&str; 2] = ["highwater.v1.LogService", "highwater.v1.AdminService"];

async fn reflect(node: &TestNode, question: MessageRequest) -> MessageResponse {
    let mut client = ServerReflectionClient::new(node.connect().await);
    let request = ServerReflectionRequest { message_request: Some(question), ..Default::default() };
    let answers = client.server_reflection_info(stream::iter([request])).await.expect("reflection is on");
    let answer = answers.into_inner().message().await.expect("answered").expect("one");
    answer.message_response.expect("always set")
}

#[tokio::test]
async fn reflection_lists_the_services_and_resolves_their_files() {
    let node = TestNode::start().await;
    let listed = reflect(&node, MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
    let names: Vec<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
    for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
        assert!(names.contains(&service), "{service} in {names:?}");
        let file = reflect(&node, MessageRequest::FileContainingSymbol(service.to_owned())).await;
        let MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto }) = file
        else {
            panic!("{file:?}")
        };
        assert!(!file_descriptor_proto.is_empty());
    }
    let file = reflect(&node, MessageRequest::FileByFilename("highwater/v1/records.proto".to_owned())).await;
    assert!(matches!(file, MessageResponse::FileDescriptorResponse(_)), "{file:?}");
}

#[tokio::test]
async fn health_is_serving_until_the_node_stops_and_watchers_are_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let brief = |config| NodeConfig { shutdown_deadline: Duration::from_millis(500), ..config };
    let node = TestNode::start_in(directory, brief).await;
    let mut health = HealthClient::new(node.connect().await);
    let mut watches = Vec::new();
    for service in SERVICES.into_iter().chain([""]) {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request.clone()).await.expect("known").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
        let mut watch = health.watch(request).await.expect("known").into_inner();
        let first = watch.message().await.expect("open").expect("the state now");
        assert_eq!(first.status(), ServingStatus::Serving, "{service}");
        watches.push(watch);
    }
    let stopping = tokio::spawn(node.stop());
    for mut watch in watches {
        let next = soon("the news", watch.message()).await.expect("open").expect("a change");
        assert_eq!(next.status(), ServingStatus::NotServing);
    }
    stopping.await.expect("a clean shutdown");
}

/// Collects what is logged on this thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn after_a_power_cut_each_topic_in_memory_is_named_with_where_its_log_goes_on() {
    let node = TestNode::start().await;
    node.create("risky", 2, &[("durability", "memory")]).await;
    node.create("safe", 1, &[]).await;
    let mut log = node.log().await;
    for _ in 0..3 {
        append(&mut log, "risky", 1, b"data").await;
        append(&mut log, "safe", 0, b"data").await;
    }
    let wreck = node.wreck();
    // Without the record of the boot a power cut cannot be ruled out.
    fs::remove_file(wreck.path().join("data/boot")).expect("removed");
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let survivor = TestNode::start_in(wreck, |config| config).await;
    let text = || String::from_utf8(logged.0.lock().expect("not poisoned").clone()).expect("text");
    let warnings: Vec<_> =
        text().lines().filter(|line| line.contains("may be gone")).map(str::to_owned).collect();
    assert_eq!(warnings.len(), 1, "{}", text());
    assert!(warnings[0].contains("WARN") && warnings[0].contains("'risky'"), "{warnings:?}");
    assert!(warnings[0].contains("offset 0 (partition 0), offset 3 (partition 1)"), "{warnings:?}");
    let directory = survivor.stop().await;
    let before = text().len();
    let _node = TestNode::start_in(directory, |config| config).await;
    assert!(!text()[before..].contains("may be gone"), "a clean stop loses nothing");
    drop(guard);
}
