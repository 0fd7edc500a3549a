//! The unary produce.

use std::sync::Arc;

use highwater_broker::{Broker, BrokerError, Produce};
use highwater_proto::v1;
use highwater_types::PartitionIndex;

use super::convert;

/// A request as the broker takes it, and its size in bytes.
pub(crate) fn parse(request: v1::ProduceRequest) -> Result<(Produce, usize), BrokerError> {
    let bytes = convert::produce_size(&request);
    let deadline = convert::produce_deadline(request.timeout_ms);
    let topic = convert::topic_ref(request.topic, &request.topic_id)?;
    let partition = PartitionIndex(request.partition);
    let data = convert::produce_data(request.data)
        .map_err(|error| error.with_topic(&topic.name).with_partition(partition))?;
    Ok((Produce { topic, partition, data, deadline }, bytes))
}

/// Appends one batch and answers when it is committed.
pub(crate) async fn produce(
    broker: &Arc<Broker>,
    request: v1::ProduceRequest,
) -> Result<v1::ProduceResponse, BrokerError> {
    let (produce, bytes) = parse(request)?;
    let _admitted = broker.admit(bytes, produce.deadline).await?;
    let produced = broker.produce(produce).await?;
    Ok(convert::produced(&produced))
}
