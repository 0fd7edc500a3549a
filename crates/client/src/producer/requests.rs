//! What the sender asks of the cluster: a batch to be appended, a producer id.

use std::time::Duration;

use highwater_proto::v1::{InitProducerRequest, ProduceRequest, ProduceStreamRequest, produce_request};
use highwater_types::{ProducerEpoch, ProducerId};

use crate::cluster::Cluster;
use crate::connections::Server;
use crate::error::ClientError;
use crate::producer::partition_queue::{CorrelationId, Identity, ToSend};
use crate::topic::PartitionKey;

/// The request that appends a batch. It is encoded anew at each send: what waits costs its records once.
pub(crate) fn produce(
    key: &PartitionKey,
    correlation: CorrelationId,
    to_send: &ToSend<'_>,
    timeout: Duration,
) -> Result<ProduceStreamRequest, ClientError> {
    let Identity { id, epoch } = to_send.identity;
    let records = to_send.batch.records.clone().producer(id, epoch, to_send.sequence);
    let batch = records.build().map_err(ClientError::InvalidRecords)?;
    Ok(ProduceStreamRequest {
        correlation_id: correlation.0,
        request: Some(ProduceRequest {
            topic: key.topic.to_string(),
            topic_id: key.topic_id.to_string(),
            partition: key.partition.0,
            timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
            data: Some(produce_request::Data::Batch(batch.into_bytes())),
        }),
    })
}

/// A producer id that nobody else has, from any server. Cancel-safe: an id that is not used costs nothing.
pub(crate) async fn init_producer(cluster: &Cluster) -> Result<Identity, ClientError> {
    let call = |server: Server| async move { server.log().init_producer(InitProducerRequest {}).await };
    let response = cluster.connections.call_any(call).await?;
    let epoch = i16::try_from(response.producer_epoch).ok().filter(|epoch| *epoch >= 0);
    match epoch {
        Some(epoch) if response.producer_id >= 0 => {
            Ok(Identity { id: ProducerId(response.producer_id), epoch: ProducerEpoch(epoch) })
        }
        _ => Err(cluster.protocol("a producer id or epoch that is out of range")),
    }
}
