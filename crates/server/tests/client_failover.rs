//! The Rust client against three nodes of which the leader's goes away and comes back, twice: every record is
//! acknowledged, once and in order, and a consumer reads all of them.

mod harness;

use std::sync::atomic::{AtomicBool, Ordering};

use harness::{TestNode, describe, soon, three_nodes};
use highwater_client::{Client, ConsumerConfig, ProducerConfig, ProducerRecord, StartPosition};
use highwater_server::NodeConfig;
use highwater_types::{NodeId, Offset, PartitionIndex};

const TOPIC: &str = "orders";

fn record(number: usize) -> ProducerRecord {
    ProducerRecord { partition: Some(PartitionIndex(0)), ..ProducerRecord::value(format!("{number:08}")) }
}

/// The leader of the topic's partition, as any node says.
async fn leader(nodes: &[TestNode]) -> usize {
    soon("a leader is known", async {
        loop {
            for node in nodes {
                let leader = describe(node, TOPIC).await.partitions[0].leader_node_id;
                let at = nodes.iter().position(|node| Some(node.node.id().0) == leader);
                if let Some(at) = at {
                    return at;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Shuts the leader's node down, waits until `acked` grows without it, and starts it again on its data and ports.
async fn bounce_leader(nodes: &mut Vec<TestNode>, acked: &tokio::sync::watch::Receiver<usize>) {
    let gone = nodes.remove(leader(nodes).await);
    let (id, grpc, peer) = (gone.node.id(), gone.node.grpc_address(), gone.node.peer_address());
    let seeds: Vec<String> = nodes.iter().map(|node| node.node.grpc_address().to_string()).collect();
    let directory = soon("it stops", gone.stop()).await;
    let before = *acked.borrow();
    let mut acked = acked.clone();
    soon("records are acknowledged without it", acked.wait_for(|acked| *acked > before + 50))
        .await
        .expect("the producer runs");
    let change = |config: NodeConfig| NodeConfig { node: NodeId(id.0), seeds, grpc, peer, ..config };
    nodes.push(soon("it starts again", TestNode::start_in(directory, change)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_that_restart_under_an_idempotent_producer_lose_repeat_and_reorder_nothing() {
    let mut nodes = three_nodes().await;
    nodes[0].create_replicated(TOPIC, 1, 3, &[]).await;
    let client = Client::connect([nodes[0].node.grpc_address().to_string()]).expect("an address");
    let producer = client.producer(ProducerConfig::default()).expect("a producer");
    let (tell, acked) = tokio::sync::watch::channel(0);
    let is_over = AtomicBool::new(false);
    let produce = async {
        let mut sent = 0;
        while !is_over.load(Ordering::Relaxed) {
            let mut deliveries = Vec::new();
            for number in sent..sent + 10 {
                deliveries.push(producer.send(TOPIC, record(number)).await.expect("buffered"));
            }
            for (number, delivery) in (sent..).zip(deliveries) {
                let delivered = soon("an acknowledgement", delivery.wait()).await.expect("no error surfaces");
                assert_eq!(delivered.offset, Offset(i64::try_from(number).expect("small")));
            }
            sent += 10;
            tell.send_replace(sent);
        }
        sent
    };
    let bounce = async {
        for _ in 0..2 {
            bounce_leader(&mut nodes, &acked).await;
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let (sent, ()) = tokio::join!(produce, bounce);

    let config = ConsumerConfig::starting_at(StartPosition::Earliest);
    let mut consumer = client.consumer(TOPIC, &[], config).await.expect("a consumer");
    let mut read = 0;
    while read < sent {
        let batch =
            soon("the next batch", consumer.next_batch()).await.expect("no error").expect("not the end");
        for record in batch.records {
            assert_eq!(record.offset, Offset(i64::try_from(read).expect("small")));
            assert_eq!(record.value.as_deref(), Some(format!("{read:08}").as_bytes()));
            read += 1;
        }
    }
    drop((consumer, producer));
    for node in nodes {
        soon("it stops", node.stop()).await;
    }
}
