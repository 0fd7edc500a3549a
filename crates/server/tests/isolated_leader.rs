//! A leader that the other replicas do not reach, but that clients do: it hears nothing of the records that its successor takes. And what
//! nodes say of the metadata's leader that do not reach it.

mod harness;

use std::time::Duration;

use harness::cable::Cable;
use harness::clusters::leader;
use harness::{TestNode, append, data, fetch, produce, soon, values};
use highwater_proto::v1;
use highwater_server::NodeConfig;
use highwater_types::NodeId;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;

const POLL: Duration = Duration::from_millis(20);

/// What a reader is told that has to look for the leader.
const ELSEWHERE: [&str; 2] = ["LEADER_NOT_AVAILABLE", "NOT_LEADER"];

/// Three nodes with the cables to their peers.
async fn three_nodes() -> (Vec<TestNode>, Vec<Cable>) {
    let cables: Vec<Cable> = (0..3).map(|_| Cable::default()).collect();
    let mut nodes: Vec<TestNode> = Vec::new();
    for (id, cable) in (1..).zip(&cables) {
        let seeds = nodes.first().map(|first| first.node.grpc_address().to_string()).into_iter().collect();
        let change = |config| NodeConfig { node: NodeId(id), seeds, ..config };
        nodes.push(TestNode::start_on(change, async |parts| cable.clone().carry_all(parts).await).await);
    }
    (nodes, cables)
}

#[tokio::test]
async fn who_waits_for_records_at_a_leader_that_its_followers_do_not_reach_is_told_to_look_elsewhere() {
    let (mut nodes, cables) = three_nodes().await;
    nodes[0].create_replicated("orders", 1, 3, &[]).await;
    let led_by = leader(&nodes, "orders", 0).await;
    let place = nodes.iter().position(|node| node.node.id().0 == led_by).expect("it runs");
    let isolated = nodes.remove(place);
    let mut log = isolated.log().await;
    assert_eq!(append(&mut log, "orders", 0, b"before").await, 0);

    let position = v1::start_position::Position::Offset(1);
    let start = v1::SubscribeStart {
        topic: "orders".to_owned(),
        position: Some(v1::StartPosition { position: Some(position) }),
        credit_bytes: 1 << 20,
        ..v1::SubscribeStart::default()
    };
    let (requests, receiver) = mpsc::channel(1);
    let message = Some(v1::subscribe_request::Message::Start(start));
    requests.send(v1::SubscribeRequest { message }).await.expect("open");
    let subscribed = soon("it begins", log.subscribe(ReceiverStream::new(receiver))).await;
    let mut pushes = subscribed.expect("subscribed").into_inner();
    let begun = soon("its start", pushes.message()).await.expect("goes on").expect("a message");
    assert!(matches!(begun.message, Some(v1::subscribe_response::Message::Push(_))), "{begun:?}");
    let poll = v1::FetchRequest { max_wait_ms: 60_000, ..fetch("orders", 0, 1) };
    let mut polling = isolated.log().await;
    let polled = tokio::spawn(async move { polling.fetch(poll).await });

    cables[place].cut();
    let told = soon("the subscriber is told", pushes.message()).await.expect("goes on").expect("a message");
    match told.message {
        Some(v1::subscribe_response::Message::Error(error)) => {
            assert!(ELSEWHERE.contains(&error.code.as_str()) && error.retriable, "{error:?}");
        }
        other => panic!("{other:?}"),
    }
    let polled = soon("the poll is answered", polled).await.expect("no panic").expect("answered").into_inner();
    let refused = data(polled.results[0].clone()).expect_err("it must look elsewhere");
    assert!(ELSEWHERE.contains(&refused.as_str()), "{refused}");

    soon("another takes records", async {
        let mut other = nodes[0].log().await;
        let batch = harness::batch(1, 10).into_bytes();
        while other.produce(produce("orders", 0, batch.clone())).await.is_err() {
            sleep(POLL).await;
        }
    })
    .await;
    let again = log.fetch(fetch("orders", 0, 1)).await.expect("answered").into_inner();
    assert!(data(again.results[0].clone()).is_err(), "it does not know of the new record");
    let known = log.fetch(fetch("orders", 0, 0)).await.expect("answered").into_inner();
    assert_eq!(data(known.results[0].clone()).expect("it is committed").next_offset, 1);
    assert!(values(&mut nodes[1].log().await, "orders", 0, 0).await.len() >= 2);
    nodes.push(isolated);
    for node in nodes {
        soon("it stops", node.stop()).await;
    }
}

async fn status(node: &TestNode) -> v1::GetClusterStatusResponse {
    let asked = node.admin().await.get_cluster_status(v1::GetClusterStatusRequest::default()).await;
    asked.expect("told").into_inner()
}

/// Waits until a node says that nobody leads the metadata, and that the cluster is therefore not healthy.
async fn nobody_leads(node: &TestNode) {
    let told = soon("it says that nobody leads", async {
        loop {
            let told = status(node).await;
            if told.controller_node_id.is_none() {
                return told;
            }
            sleep(POLL).await;
        }
    })
    .await;
    assert!(!told.is_healthy);
    let described = node.admin().await.describe_cluster(v1::DescribeClusterRequest::default()).await;
    assert_eq!(described.expect("described").into_inner().controller_node_id, None);
}

#[tokio::test]
async fn nodes_without_the_metadata_s_leader_or_its_majority_say_that_nobody_leads_them() {
    let (nodes, cables) = three_nodes().await;
    let leader = soon("all vote", async {
        loop {
            let told = status(&nodes[0]).await;
            if let (Some(leader), 3) = (told.controller_node_id, told.metadata_voter_ids.len()) {
                return leader;
            }
            sleep(POLL).await;
        }
    })
    .await;
    let leads = |node: &TestNode| node.node.id().0 == leader;
    let cut_off = nodes.iter().position(|node| !leads(node)).expect("two follow");
    cables[cut_off].cut();
    nobody_leads(&nodes[cut_off]).await;
    for (place, node) in nodes.iter().enumerate().filter(|(place, _)| *place != cut_off) {
        let told = status(node).await;
        assert_eq!(told.controller_node_id, Some(leader), "node {} of the majority", place + 1);
    }
    let place = nodes.iter().position(leads).expect("it runs");
    cables[place].cut();
    for node in &nodes {
        nobody_leads(node).await;
    }
    for node in nodes {
        soon("it stops", node.stop()).await;
    }
}
