//! Where the partitions start that a member is given: behind what its group has committed.

use std::collections::{BTreeMap, BTreeSet};

use highwater_proto::v1::{FetchOffsetsRequest, FetchOffsetsResponse, TopicPartitions};
use highwater_types::{Offset, PartitionId};
use tokio::time::Instant;

use crate::connections::Server;
use crate::error::ClientError;
use crate::group::shared::Shared;

/// What is committed of each partition of which the coordinator could tell, and why it could not of the others.
pub(super) type Starts = (BTreeMap<PartitionId, Option<Offset>>, Option<ClientError>);

impl Shared {
    /// Says also why not all can be told. A topic that the coordinator does not know may be one that it has not heard of yet.
    pub(super) async fn ask_for_starts(
        &self,
        partitions: &BTreeSet<PartitionId>,
    ) -> Result<Starts, ClientError> {
        let listed: Vec<PartitionId> = partitions.iter().copied().collect();
        let topics: Vec<TopicPartitions> = {
            let inner = self.inner();
            let topic = |run: &[PartitionId]| TopicPartitions {
                topic: inner.key(run[0]).topic.to_string(),
                topic_id: run[0].topic.to_string(),
                partitions: run.iter().map(|partition| partition.index.0).collect(),
            };
            listed.chunk_by(|a, b| a.topic == b.topic).map(topic).collect()
        };
        // Who leads what: else the first look at each partition goes a detour. Without it that is all that happens.
        for topic in &topics {
            let _ = self.cluster.topic(&topic.topic).await;
        }
        let request = FetchOffsetsRequest { group: self.config.group.clone(), topics };
        let call = |server: Server| {
            let request = request.clone();
            async move { server.groups().fetch_offsets(request).await }
        };
        let deadline = Instant::now() + self.cluster.config.request_timeout;
        let FetchOffsetsResponse { offsets } = self.calls.until(deadline, call).await?;
        if offsets.len() != listed.len() {
            return Err(self.cluster.protocol("not one offset for each partition"));
        }
        let mut failed = None;
        let mut starts = BTreeMap::new();
        for (partition, told) in listed.into_iter().zip(offsets) {
            match told.error {
                None => _ = starts.insert(partition, told.offset.map(Offset)),
                Some(detail) => failed = Some(ClientError::from(detail)),
            }
        }
        Ok((starts, failed))
    }
}
