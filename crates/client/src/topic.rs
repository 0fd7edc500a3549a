//! What producers and consumers need to know about a topic.

use std::sync::Arc;

use highwater_proto::v1::{DescribeTopicsRequest, describe_topics_result};
use highwater_types::PartitionIndex;

use crate::connections::Connections;
use crate::error::ClientError;

/// A topic, as the cluster described it at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicMetadata {
    pub(crate) name: Arc<str>,
    pub(crate) id: Arc<str>,
    /// At least 1.
    pub(crate) partitions: u32,
}

impl TopicMetadata {
    /// Asks the cluster, once.
    pub(crate) async fn load(connections: &Connections, name: &str) -> Result<Self, ClientError> {
        let request = || DescribeTopicsRequest { names: vec![name.to_owned()], include_offsets: false };
        let call =
            |server: crate::connections::Server| async move { server.admin().describe_topics(request()).await };
        let response = connections.call_any(call).await?;
        let protocol = |what| ClientError::Protocol { server: connections.current().address, what };
        let result = response.results.into_iter().next().and_then(|result| result.result);
        match result.ok_or_else(|| protocol("no result for a topic"))? {
            describe_topics_result::Result::Error(detail) => Err(detail.into()),
            describe_topics_result::Result::Topic(topic) => {
                let partitions = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
                if partitions == 0 {
                    return Err(protocol("a topic without partitions"));
                }
                Ok(Self { name: topic.name.into(), id: topic.topic_id.into(), partitions })
            }
        }
    }

    /// The partition, if there is one of that number.
    pub(crate) fn check(&self, partition: PartitionIndex) -> Result<PartitionIndex, ClientError> {
        if partition.0 < self.partitions {
            return Ok(partition);
        }
        Err(ClientError::NoSuchPartition {
            topic: self.name.to_string(),
            partition: partition.0,
            partitions: self.partitions,
        })
    }
}
