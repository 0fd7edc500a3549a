//! A topic of one replica, for runs in which a disk is emptied: with its only replica gone it must be missing, never empty.

use std::time::Duration;

use highwater_client::v1::CreateTopicRequest;
use highwater_client::{Client, ClientError, ProducerConfig, ProducerRecord};
use tokio::time::{sleep, timeout};

use super::{CALL_WITHIN, Shared};

const TOPIC: &str = "lone";
/// How long a topic without a replica is asked to take a value.
const ASK_FOR: Duration = Duration::from_secs(3);

/// Makes the topic and writes to it. On return it is known on which node it is.
pub(super) async fn prepare(shared: &Shared, client: &Client) {
    loop {
        let request = CreateTopicRequest {
            name: TOPIC.to_owned(),
            partitions: 1,
            replication_factor: 1,
            ..CreateTopicRequest::default()
        };
        // Made before, perhaps.
        let _ = timeout(CALL_WITHIN, client.admin().create_topic(request)).await;
        if let Ok(Ok(())) = timeout(CALL_WITHIN, produce(client)).await
            && let Ok(Ok(topic)) = timeout(CALL_WITHIN, client.admin().describe_topic(TOPIC, false)).await
        {
            *shared.lone.lock() = topic.partitions.first().and_then(|p| p.replica_node_ids.first().copied());
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Holds the topic against what became of its node.
pub(super) async fn check(shared: &Shared, client: &Client) {
    let (lone, emptied) = (*shared.lone.lock(), *shared.emptied.lock());
    if lone.is_some() && lone == emptied && matches!(timeout(ASK_FOR, produce(client)).await, Ok(Ok(()))) {
        let what =
            format!("lost-write: the only replica of {TOPIC} is lost, and it takes values as if it were new");
        shared.history.violation(what);
    }
}

async fn produce(client: &Client) -> Result<(), ClientError> {
    let producer = client.producer(ProducerConfig::default())?;
    producer.send(TOPIC, ProducerRecord::value("one")).await?.wait().await.map(drop)
}
