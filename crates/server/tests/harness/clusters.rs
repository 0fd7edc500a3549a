//! Clusters of nodes in this process, and who leads what in them.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::sleep;

use highwater_proto::v1;

use super::{TestNode, append_anywhere, data, describe, fetch, soon, three_nodes, until_led};

/// Three nodes with one partition "orders" on all of them, in many segments, and its topic's id. Record n has 2000 bytes n.
pub(crate) async fn with_segments(records: i64) -> (Vec<TestNode>, String) {
    let nodes = three_nodes().await;
    let topic = nodes[0].create_replicated("orders", 1, 3, &[("segment.bytes", "8192")]).await;
    until_led(&nodes[0], "orders").await;
    let mut log = nodes[0].log().await;
    for number in 0..records {
        assert_eq!(append_anywhere(&mut log, "orders", 0, &[number as u8; 2000]).await, number);
    }
    (nodes, topic)
}

/// Reads every one of these records through a node, which may have to ask the leader.
pub(crate) async fn reads_all(node: &TestNode, records: i64) {
    let mut log = node.log().await;
    let mut offset = 0;
    soon("every record is read", async {
        while offset < records {
            let request =
                v1::FetchRequest { format: v1::RecordFormat::Records.into(), ..fetch("orders", 0, offset) };
            let answer = log.fetch(request).await.expect("in band").into_inner();
            let Ok(data) = data(answer.results.into_iter().next().expect("one")) else {
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            for record in &data.records {
                let offset = record.offset.expect("each has one");
                assert_eq!(record.value.as_deref(), Some(&[offset as u8; 2000][..]));
            }
            offset = data.next_offset;
        }
    })
    .await;
}

/// The node that leads a partition and is to lead it, when all of these nodes agree and get its watermarks from it.
pub(crate) async fn leader(nodes: &[TestNode], topic: &str, partition: usize) -> u64 {
    soon("every node knows the same leader", async {
        loop {
            let mut leaders = BTreeSet::new();
            for node in nodes {
                let described = describe(node, topic).await.partitions.swap_remove(partition);
                // From any other replica the leadership is on its way to the preferred one.
                let leader = described.leader_node_id.filter(|node| described.replica_node_ids[0] == *node);
                leaders.insert(described.offsets.and(leader));
            }
            if let (1, Some(Some(leader))) = (leaders.len(), leaders.first()) {
                return *leader;
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}
