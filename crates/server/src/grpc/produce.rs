//! The unary produce.

use std::sync::Arc;

use highwater_broker::{Broker, BrokerError, LeaderHint, Produce};
use highwater_proto::v1;
use highwater_types::PartitionIndex;
use tokio::time::Instant;

use super::forward::{Caller, Effect, Forwarding, Origin, answered, with_grace};
use super::{convert, status};

/// A request as the broker takes it.
pub(crate) fn parse(request: v1::ProduceRequest, deadline: Instant) -> Result<Produce, BrokerError> {
    let topic = convert::topic_ref(request.topic, &request.topic_id)?;
    let partition = PartitionIndex(request.partition);
    let data = convert::produce_data(request.data)
        .map_err(|error| error.with_topic(&topic.name).with_partition(partition))?;
    Ok(Produce { topic, partition, data, deadline })
}

/// Appends one batch, here or at its leader, and answers when it is committed.
pub(crate) async fn produce(
    broker: &Arc<Broker>,
    forwarding: &Forwarding,
    origin: Origin,
    request: v1::ProduceRequest,
) -> Result<v1::ProduceResponse, BrokerError> {
    let deadline = convert::produce_deadline(request.timeout_ms);
    let _admitted = broker.admit(convert::produce_size(&request), deadline).await?;
    match Forwarding::target(broker, origin, &request.topic, request.partition) {
        Some(leader) => forward(forwarding, &leader, request, deadline).await,
        None => {
            let produced = broker.produce(parse(request, deadline)?).await?;
            Ok(convert::produced(&produced))
        }
    }
}

async fn forward(
    forwarding: &Forwarding,
    leader: &LeaderHint,
    mut request: v1::ProduceRequest,
    deadline: Instant,
) -> Result<v1::ProduceResponse, BrokerError> {
    let Caller { mut client, slot: _slot } = forwarding.log(leader)?;
    let left = deadline.saturating_duration_since(Instant::now());
    request.timeout_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
    let call = client.produce(forwarding.request(request));
    let produced = answered(leader, Effect::Change, with_grace(left), call).await?;
    Ok(v1::ProduceResponse { leader: Some(status::hint(leader.clone())), ..produced })
}
