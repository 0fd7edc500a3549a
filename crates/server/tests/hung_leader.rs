//! Readers at a node that has to ask others, of which one hangs: it takes calls and never answers. The others' records are not kept
//! back by it.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use harness::clusters::leader;
use harness::sessions::{Session, groups, start};
use harness::{TestNode, append, at, data, soon};
use highwater_proto::v1;
use highwater_proto::v1::log_service_server::{LogService, LogServiceServer};
use highwater_server::NodeParts;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::Pending;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

/// Half of what a node may take to answer another one.
const BEFORE_A_CALL_TIMES_OUT: Duration = Duration::from_secs(15);

/// What hangs.
struct Hung;

#[tonic::async_trait]
impl LogService for Hung {
    type ProduceStreamStream = Pending<Result<v1::ProduceStreamResponse, Status>>;
    type SubscribeStream = Pending<Result<v1::SubscribeResponse, Status>>;

    async fn produce(&self, _: Request<v1::ProduceRequest>) -> Result<Response<v1::ProduceResponse>, Status> {
        pending().await
    }
    async fn produce_stream(
        &self,
        _: Request<Streaming<v1::ProduceStreamRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        pending().await
    }
    async fn fetch(&self, _: Request<v1::FetchRequest>) -> Result<Response<v1::FetchResponse>, Status> {
        pending().await
    }
    async fn subscribe(
        &self,
        _: Request<Streaming<v1::SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        pending().await
    }
    async fn list_offsets(
        &self,
        _: Request<v1::ListOffsetsRequest>,
    ) -> Result<Response<v1::ListOffsetsResponse>, Status> {
        pending().await
    }
    async fn init_producer(
        &self,
        _: Request<v1::InitProducerRequest>,
    ) -> Result<Response<v1::InitProducerResponse>, Status> {
        pending().await
    }
}

async fn hang() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = Server::builder().add_service(LogServiceServer::new(Hung));
    tokio::spawn(server.serve_with_incoming(highwater_peer::accepted(listener)));
    address
}

/// Three nodes, and a topic with a record in each of its partitions. To the first node the third hangs.
struct Scene {
    nodes: Vec<TestNode>,
    /// Partitions that the first node can read.
    within_reach: BTreeSet<u32>,
    hung: BTreeSet<u32>,
}

impl Scene {
    async fn begin() -> Self {
        let detours: Arc<Mutex<BTreeMap<String, SocketAddr>>> = Arc::default();
        let known = Arc::clone(&detours);
        let dial = move |endpoint: Endpoint| {
            let address = endpoint.uri().authority().map(ToString::to_string).unwrap_or_default();
            match known.lock().get(&address) {
                Some(detour) => {
                    Endpoint::from_shared(format!("http://{detour}")).expect("an address").connect_lazy()
                }
                None => endpoint.connect_lazy(),
            }
        };
        let replace = async move |parts: NodeParts| NodeParts { dial: Arc::new(dial), ..parts };
        let mut nodes = vec![TestNode::start_on(|config| config, replace).await];
        let seed = nodes[0].node.grpc_address().to_string();
        for id in 2..=3 {
            nodes.push(TestNode::join(id, &seed).await);
        }
        nodes[1].create_replicated("orders", 3, 1, &[]).await;
        let (mut within_reach, mut hung) = (BTreeSet::new(), BTreeSet::new());
        let mut log = nodes[1].log().await;
        for partition in 0..3u32 {
            // The first node is not asked: it would keep the connection on which it asks the third.
            let place = usize::try_from(partition).expect("small");
            let is_hung = leader(&nodes[1..], "orders", place).await == 3;
            if is_hung { &mut hung } else { &mut within_reach }.insert(partition);
            assert_eq!(append(&mut log, "orders", partition, b"news").await, 0);
        }
        assert!(!hung.is_empty() && within_reach.len() >= 2, "each node leads something");
        let hanging = hang().await;
        detours.lock().insert(nodes[2].node.grpc_address().to_string(), hanging);
        Self { nodes, within_reach, hung }
    }

    async fn end(self) {
        for node in self.nodes {
            soon("it stops", node.stop()).await;
        }
    }
}

#[tokio::test]
async fn a_fetch_of_several_leaders_gives_the_records_of_those_that_answer() {
    let scene = Scene::begin().await;
    let request = v1::FetchRequest {
        partitions: (0..3).map(|partition| at("orders", partition, 0)).collect(),
        max_wait_ms: 100,
        ..v1::FetchRequest::default()
    };
    let mut log = scene.nodes[0].log().await;
    let fetched = timeout(BEFORE_A_CALL_TIMES_OUT, log.fetch(request)).await.expect("no other holds it up");
    for result in fetched.expect("answered").into_inner().results {
        let partition = result.partition;
        match data(result) {
            Ok(records) => {
                assert!(scene.within_reach.contains(&partition) && records.next_offset == 1, "{records:?}");
            }
            Err(code) => {
                assert!(scene.hung.contains(&partition), "{partition}: {code}");
                assert_eq!(code, "UNAVAILABLE");
            }
        }
    }
    scene.end().await;
}

#[tokio::test]
async fn a_subscription_begins_where_it_can_and_needs_no_credit_for_that() {
    let scene = Scene::begin().await;
    let start = v1::SubscribeStart { topic: "orders".to_owned(), ..v1::SubscribeStart::default() };
    let (requests, receiver) = mpsc::channel(2);
    let message = Some(v1::subscribe_request::Message::Start(start));
    requests.send(v1::SubscribeRequest { message }).await.expect("open");
    let mut log = scene.nodes[0].log().await;
    let subscribed = soon("it begins", log.subscribe(ReceiverStream::new(receiver))).await;
    let mut pushes = subscribed.expect("subscribed").into_inner();
    let mut next = async || {
        let message = timeout(BEFORE_A_CALL_TIMES_OUT, pushes.message()).await.expect("no other holds it up");
        match message.expect("goes on").expect("a message").message.expect("always set") {
            v1::subscribe_response::Message::Push(push) => push,
            v1::subscribe_response::Message::Error(error) => panic!("{error:?}"),
        }
    };
    let mut started = BTreeSet::new();
    while started != scene.within_reach {
        let push = next().await;
        assert_eq!((push.charged_bytes, push.data.expect("where it starts").next_offset), (0, 0));
        assert!(started.insert(push.partition), "each starts once");
    }
    let credit = v1::SubscribeCredit { bytes: 1 << 20 };
    let message = Some(v1::subscribe_request::Message::Credit(credit));
    requests.send(v1::SubscribeRequest { message }).await.expect("open");
    let mut read = BTreeSet::new();
    while read != scene.within_reach {
        let push = next().await;
        assert_eq!(push.data.expect("records").next_offset, 1);
        assert!(read.insert(push.partition));
    }
    drop(requests);
    scene.end().await;
}

/// A group that the third node does not coordinate.
async fn group_within_reach(scene: &Scene) -> String {
    let mut client = groups(&scene.nodes[1]).await;
    for number in 0.. {
        let group = format!("g{number}");
        let begun = v1::OffsetCommit { topic: "orders".to_owned(), ..Default::default() };
        let begin =
            v1::CommitOffsetsRequest { group: group.clone(), offsets: vec![begun], ..Default::default() };
        client.commit_offsets(begin).await.expect("it begins");
        let describe = v1::DescribeGroupRequest { group: group.clone(), include_lag: false };
        let described = client.describe_group(describe).await.expect("known").into_inner();
        if described.coordinator_node_id != 3 {
            return group;
        }
    }
    unreachable!("some group is coordinated by another node")
}

#[tokio::test]
async fn a_group_session_reads_what_it_can() {
    let scene = Scene::begin().await;
    let group = group_within_reach(&scene).await;
    let session = Session::open(&scene.nodes[0], start(&group, &["orders"]));
    let mut session = timeout(BEFORE_A_CALL_TIMES_OUT, session).await.expect("no other holds it up");
    let all = session.until("its records come", |session| {
        session.records.iter().map(|(partition, _, _)| *partition).collect::<BTreeSet<_>>()
            == scene.within_reach
    });
    timeout(BEFORE_A_CALL_TIMES_OUT, all).await.expect("no other holds it up");
    session.commit_all().await;
    drop(session);
    scene.end().await;
}
