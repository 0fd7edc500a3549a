//! Three nodes in this process, over real sockets: they find each other, share topics, and go on without one of them.

mod harness;

use std::collections::BTreeSet;
use std::time::Duration;

use harness::{TestNode, batch, describe, produce, soon, three_nodes, until_healthy};
use highwater_proto::v1;
use highwater_server::NodeConfig;
use highwater_types::NodeId;
use tokio::time::sleep;

/// The node that leads the only partition of a topic, as all of these nodes say.
async fn leader(nodes: &[TestNode], topic: &str) -> u64 {
    soon("every node knows the same leader", async {
        loop {
            let mut leaders = BTreeSet::new();
            for node in nodes {
                leaders.insert(describe(node, topic).await.partitions[0].leader_node_id);
            }
            if let (1, Some(Some(leader))) = (leaders.len(), leaders.first()) {
                return *leader;
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

fn at(nodes: &[TestNode], id: u64) -> usize {
    nodes.iter().position(|node| node.node.id().0 == id).expect("it runs")
}

#[tokio::test]
async fn nodes_join_and_each_shows_the_same_cluster() {
    let nodes = three_nodes().await;
    for node in &nodes {
        soon("all three are known", async {
            loop {
                let described =
                    node.admin().await.describe_cluster(v1::DescribeClusterRequest::default()).await;
                if described.expect("described").into_inner().nodes.len() == 3 {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_topic_of_three_replicas_takes_records_at_its_leader_and_goes_on_without_it() {
    let mut nodes = three_nodes().await;
    nodes[1].create_replicated("orders", 1, 3, &[]).await;
    let first = leader(&nodes, "orders").await;
    let sent = batch(3, 100);
    let mut log = nodes[at(&nodes, first)].log().await;
    let acked = log.produce(produce("orders", 0, sent.bytes().clone())).await.expect("appended").into_inner();
    assert_eq!((acked.base_offset, acked.last_offset), (0, 2));

    let gone = nodes.remove(at(&nodes, first));
    gone.stop().await;
    soon("another leads and takes records", async {
        loop {
            let next = leader(&nodes, "orders").await;
            if let Some(node) = nodes.iter().find(|node| node.node.id().0 == next) {
                let again = node.log().await.produce(produce("orders", 0, sent.bytes().clone())).await;
                if again.is_ok_and(|acked| acked.into_inner().base_offset >= 3) {
                    return;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    for node in nodes {
        soon("it stops", node.stop()).await;
    }
}

#[tokio::test]
async fn a_creation_is_answered_in_its_callers_time_and_counts_the_partitions_that_lack_a_majority() {
    let mut nodes = three_nodes().await;
    let directory = nodes.pop().expect("node 3").stop().await;
    let create = v1::CreateTopicRequest {
        name: "orders".to_owned(),
        partitions: 6,
        replication_factor: 2,
        ..v1::CreateTopicRequest::default()
    };
    let mut request = tonic::Request::new(create);
    request.set_timeout(Duration::from_secs(10));
    let created = nodes[0].admin().await.create_topic(request).await.expect("created").into_inner();
    assert!((1..6).contains(&created.partitions_pending), "{created:?}");
    assert_eq!(describe(&nodes[0], "orders").await.topic_id, created.topic_id);
    let more =
        v1::AddPartitionsRequest { topic: "orders".to_owned(), total_partitions: 9, ..Default::default() };
    let mut request = tonic::Request::new(more);
    request.set_timeout(Duration::from_secs(10));
    let added = nodes[0].admin().await.add_partitions(request).await.expect("added").into_inner();
    assert!(added.partitions_pending > created.partitions_pending, "{added:?}");

    let seeds = vec![nodes[0].node.grpc_address().to_string()];
    let change = |config| NodeConfig { node: NodeId(3), seeds, ..config };
    nodes.push(soon("node 3 starts", TestNode::start_in(directory, change)).await);
    until_healthy(&nodes[0], 3).await;
    // Some may just be handed over to the node that came back.
    soon("all nine are led", async {
        loop {
            let led = describe(&nodes[0], "orders").await.partitions;
            if led.len() == 9 && led.iter().all(|partition| partition.leader_node_id.is_some()) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for node in nodes {
        soon("it stops", node.stop()).await;
    }
}
