//! The time of a record at an offset: what tells for how long it has been waiting to be read.

use highwater_proto::v1::{
    ErrorDetail, FetchPartition, FetchRequest, FetchResult, RecordData, RecordFormat, fetch_result,
};
use highwater_records::{RecordsError, split_batches};
use highwater_types::{ErrorCode, Offset, PartitionIndex, TimestampMs};

use super::{Admin, by_leader};
use crate::connections::Server;
use crate::error::ClientError;

impl Admin {
    /// The timestamp of the first record at this offset or after it; `None` when there is none yet, or when it was stored without a
    /// timestamp. One batch is read, from the partition's leader. Cancel-safe.
    ///
    /// # Errors
    /// What the leader answers, such as `OFFSET_OUT_OF_RANGE`, or that it cannot be reached, or that the batch is damaged.
    pub async fn timestamp_at(
        &self,
        topic: &str,
        partition: PartitionIndex,
        offset: Offset,
    ) -> Result<Option<TimestampMs>, ClientError> {
        let topic = self.cluster.topic(topic).await?;
        let asked = FetchPartition {
            topic: topic.name.to_string(),
            topic_id: topic.id.to_string(),
            partition: topic.check(partition)?.0,
            offset: offset.0,
            max_bytes: 0,
        };
        // The first batch comes whole however little is asked for.
        let request = FetchRequest {
            partitions: vec![asked],
            max_bytes: 1,
            format: RecordFormat::Batches.into(),
            ..FetchRequest::default()
        };
        let call = |server: Server, _: Vec<Offset>| {
            let request = request.clone();
            async move {
                let response = server.log().fetch(request).await?;
                let outcome = |fetched: FetchResult| match fetched.result {
                    Some(fetch_result::Result::Data(data)) => Ok(data),
                    Some(fetch_result::Result::Error(detail)) => Err(ClientError::from(detail)),
                    None => Err(ErrorDetail::new(ErrorCode::Internal, "no result for a partition").into()),
                };
                Ok(response.map(|response| response.results.into_iter().map(outcome).collect()))
            }
        };
        let mut outcomes = by_leader(&self.cluster, &topic, vec![(partition, offset)], true, call).await?;
        let data = outcomes.pop().ok_or_else(|| self.protocol("no result for a partition"))??;
        first_timestamp(data, offset).map_err(|source| ClientError::CorruptBatch {
            partition: partition.0,
            offset,
            source,
        })
    }
}

/// The first batch may begin below the offset.
fn first_timestamp(data: RecordData, offset: Offset) -> Result<Option<TimestampMs>, RecordsError> {
    for batch in data.batches.into_iter().flat_map(split_batches) {
        let batch = batch?;
        batch.verify()?;
        if batch.is_control() {
            continue;
        }
        for record in batch.records() {
            let record = record?;
            if record.offset >= offset {
                return Ok(Some(record.timestamp).filter(|timestamp| *timestamp != TimestampMs::NONE));
            }
        }
    }
    Ok(None)
}
