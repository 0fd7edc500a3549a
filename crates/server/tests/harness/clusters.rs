//! Who leads what in a cluster of nodes in this process.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::sleep;

use super::{TestNode, describe, soon};

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
