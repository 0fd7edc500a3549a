//! A replica that moved away and is placed on its node again while that node still removes what it held: whatever it acknowledges
//! from then on stays.

mod harness;

use std::sync::Arc;
use std::time::Duration;

use harness::gated_disk::{Gate, GatedDisk};
use harness::{TestNode, busy_upkeep, soon, values};
use highwater_client::{Admin, Client, ProducerConfig, ProducerRecord};
use highwater_proto::v1;
use highwater_proto::v1::plan_reassignment_request::Goal;
use highwater_server::{Node, NodeConfig, NodeData, NodeParts};
use highwater_types::{NodeId, PartitionIndex};
use tokio::time::sleep;

/// The partition that comes back is its second one.
const TOPIC: &str = "orders";
/// Its first partition keeps the upkeep busy.
const OTHER: &str = "payments";
const LEFT: u64 = 2;
/// The producer goes on for so many records at most while the removals are held.
const RECORDS_MAX: usize = 1000;

/// A node whose removals of directories a test holds.
async fn start_gated(id: u64, seeds: Vec<String>) -> (TestNode, Arc<Gate>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (disk, gate) = GatedDisk::with_gated_removals(&directory.path().join("data"));
    let config = NodeConfig::local(directory.path().join("data")).on_free_ports();
    let config = busy_upkeep(NodeConfig { node: NodeId(id), seeds, ..config });
    let parts = NodeParts::machine(&config).await.expect("free ports");
    let parts = NodeParts { data: NodeData::Disk(Arc::new(disk)), ..parts };
    let node = soon("it starts", Node::start_with(config, parts)).await.expect("the node starts");
    (TestNode { node, directory }, gate)
}

async fn wait_for(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !holds().await {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Begins to bring partitions of a topic to one node.
async fn bring(admin: &Admin, topic: &str, partitions: &[u32], node: u64) {
    let assignment = |partition: &u32| v1::PartitionAssignment {
        topic: topic.to_owned(),
        partition: *partition,
        replica_node_ids: vec![node],
        ..Default::default()
    };
    let goal = Goal::Assignment(v1::AssignmentGoal { partitions: partitions.iter().map(assignment).collect() });
    let plan = admin.plan_reassignment(goal).await.expect("planned").plan;
    if plan.as_ref().is_some_and(|plan| !plan.moves.is_empty()) {
        let apply = v1::ApplyReassignmentRequest { plan, validate_only: false };
        admin.apply_reassignment(apply).await.expect("applied");
    }
}

async fn is_settled(admin: &Admin) -> bool {
    admin.list_reassignments().await.is_ok_and(|listed| listed.reassignments.is_empty())
}

async fn settled(admin: &Admin) {
    wait_for("no replica moves any more", async || is_settled(admin).await).await;
}

/// Produces one record after the other to a partition until `is_enough`; each is acknowledged.
async fn produce(
    client: &Client,
    topic: &str,
    partition: u32,
    sent: &mut Vec<Vec<u8>>,
    mut is_enough: impl AsyncFnMut(usize) -> bool,
) {
    let producer = client.producer(ProducerConfig::default()).expect("a producer");
    let before = sent.len();
    while !is_enough(sent.len() - before).await {
        let value = format!("{topic}-{partition}-{}", sent.len());
        let record = ProducerRecord {
            partition: Some(PartitionIndex(partition)),
            ..ProducerRecord::value(value.clone())
        };
        let delivery = producer.send(topic, record).await.expect("buffered");
        soon("an acknowledgement", delivery.wait()).await.expect("no error surfaces");
        sent.push(value.into_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_placed_on_its_node_again_before_its_removal_loses_nothing_that_it_acknowledges() {
    let first = TestNode::start().await;
    let (second, removals) = start_gated(LEFT, vec![first.node.grpc_address().to_string()]).await;
    let client = Client::connect([first.node.grpc_address().to_string()]).expect("an address");
    let admin = client.admin();
    let mut sent = Vec::new();
    for topic in [OTHER, TOPIC] {
        first.create_replicated(topic, 2, 1, &[]).await;
        bring(&admin, topic, &[0, 1], LEFT).await;
        settled(&admin).await;
        // There are files to be removed.
        produce(&client, topic, 0, &mut Vec::new(), async |count| count == 5).await;
        let mut written = Vec::new();
        produce(&client, topic, 1, &mut written, async |count| count == 5).await;
        sent = written;
    }

    // While the upkeep waits for one removal, two more replicas leave, so that it finds them both at its next round.
    removals.close();
    bring(&admin, OTHER, &[0], 1).await;
    soon("a removal", removals.holds_one()).await;
    bring(&admin, TOPIC, &[0, 1], 1).await;
    settled(&admin).await;
    removals.let_one_through();
    soon("the next removal", removals.holds_one()).await;

    // Its turn has not come, and it is wanted here again.
    bring(&admin, TOPIC, &[1], LEFT).await;
    produce(&client, TOPIC, 1, &mut sent, async |count| count >= RECORDS_MAX || is_settled(&admin).await).await;
    // Where it came back these are on that node alone.
    produce(&client, TOPIC, 1, &mut sent, async |count| count == 20).await;
    removals.let_one_through();
    soon("the last removal", removals.holds_one()).await;
    removals.open();

    settled(&admin).await;
    wait_for("the cluster is healthy", async || {
        admin.cluster_status().await.is_ok_and(|status| status.is_healthy)
    })
    .await;
    let described = admin.describe_topic(TOPIC, true).await.expect("described").partitions;
    assert_eq!(described[1].replica_node_ids, [LEFT]);
    assert_eq!(values(&mut first.log().await, TOPIC, 1, 0).await, sent);
    for node in [second, first] {
        soon("it stops", node.stop()).await;
    }
}
