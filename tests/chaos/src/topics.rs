//! The topics of a run, and what each of them promises.

use std::time::Duration;

use highwater_client::v1::CreateTopicRequest;
use highwater_client::{Client, ClientError};
use highwater_types::ErrorCode;
use tokio::time::Instant;

/// Replicas of every partition: all nodes have one.
const REPLICAS: u32 = 3;

/// One topic.
#[derive(Debug, Clone, Copy)]
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// How many partitions it has.
    pub partitions: u32,
    /// Whether its producers are idempotent, so that nothing may be there twice or out of order.
    pub idempotent: bool,
    /// Whether retention deletes its oldest records while the run goes on.
    pub retained: bool,
}

/// All topics of a run. A topic is known by its place here.
pub const TOPICS: [Topic; 3] = [
    Topic { name: "orders", partitions: 6, idempotent: true, retained: false },
    Topic { name: "plain", partitions: 3, idempotent: false, retained: false },
    Topic { name: "short", partitions: 3, idempotent: true, retained: true },
];

impl Topic {
    fn configs(&self) -> Vec<(&'static str, &'static str)> {
        // Clocks jump, and producers keep the true time: no record is too new or too old.
        let mut configs =
            vec![("retention.ms", "-1"), ("message.timestamp.after.max.ms", "9223372036854775807")];
        configs.push(("segment.bytes", if self.retained { "131072" } else { "1048576" }));
        if self.retained {
            configs.push(("retention.bytes", "524288"));
        }
        configs
    }
}

/// Creates the topics; the cluster may still be coming up.
///
/// # Errors
/// When one cannot be created in time.
pub async fn create(client: &Client, within: Duration) -> Result<(), ClientError> {
    let deadline = Instant::now() + within;
    for topic in TOPICS {
        let pairs = topic.configs().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let request = CreateTopicRequest {
            name: topic.name.to_owned(),
            partitions: topic.partitions,
            replication_factor: REPLICAS,
            configs: pairs.collect(),
            ..CreateTopicRequest::default()
        };
        loop {
            match client.admin().create_topic(request.clone()).await {
                Ok(_) => break,
                // An attempt whose answer was lost.
                Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => break,
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
    Ok(())
}
