//! Finding offsets, at the leaders of the partitions.

use std::time::Duration;

use futures_util::future::join_all;
use highwater_broker::{Broker, BrokerError, FoundOffset, LeaderHint, OffsetQuery};
use highwater_proto::v1;
use highwater_types::{ErrorCode, PartitionIndex, TimestampMs, limits};

use super::convert;
use super::forward::{
    Caller, Effect, Forwarding, Origin, Share, answered, divide, incomplete, merge, with_grace,
};
use super::status::detail;

/// How long another node may take: by time it reads records, which may have to come from its disk.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(30);

/// Answers each query of the request, here or at the partition's leader.
pub(crate) async fn list_offsets(
    broker: &Broker,
    forwarding: &Forwarding,
    origin: Origin,
    request: v1::ListOffsetsRequest,
) -> Result<v1::ListOffsetsResponse, BrokerError> {
    let partitions: Vec<u32> = request.queries.iter().map(|query| query.partition).collect();
    if partitions.len() > limits::PARTITIONS_PER_REQUEST_MAX {
        return here(broker, request).await;
    }
    let target = |partition: &u32| Forwarding::target(broker, origin, &request.topic, *partition);
    let shares = divide(partitions.iter().map(target));
    if shares.iter().all(|share| share.leader.is_none()) {
        return here(broker, request).await;
    }
    let asked = shares.into_iter().map(|Share { leader, places }| {
        let queries = places.iter().map(|&place| request.queries[place]).collect();
        let part = v1::ListOffsetsRequest { queries, ..request.clone() };
        async move {
            let found = match &leader {
                None => here(broker, part).await,
                Some(leader) => there(forwarding, leader, part).await,
            };
            (places, found)
        }
    });
    let mut topic_id = String::new();
    let mut parts = Vec::new();
    for (places, found) in join_all(asked).await {
        let results = match found {
            Ok(found) => {
                topic_id = found.topic_id;
                found.results
            }
            // What is wrong with the whole request is wrong at every node.
            Err(error) if error.code == ErrorCode::InvalidRequest => return Err(error),
            Err(error) => places.iter().map(|&place| failed(partitions[place], error.clone())).collect(),
        };
        parts.push((places, results));
    }
    let results = merge(partitions.len(), parts, |place| failed(partitions[place], incomplete()));
    Ok(v1::ListOffsetsResponse { topic_id, results })
}

fn failed(partition: u32, error: BrokerError) -> v1::OffsetResult {
    let error = detail(error.with_partition(PartitionIndex(partition)));
    v1::OffsetResult { partition, result: Some(v1::offset_result::Result::Error(error)) }
}

async fn there(
    forwarding: &Forwarding,
    leader: &LeaderHint,
    request: v1::ListOffsetsRequest,
) -> Result<v1::ListOffsetsResponse, BrokerError> {
    let Caller { mut client, slot: _slot } = forwarding.log(leader)?;
    let call = client.list_offsets(forwarding.request(request));
    answered(leader, Effect::None, with_grace(FORWARD_TIMEOUT), call).await
}

async fn here(
    broker: &Broker,
    request: v1::ListOffsetsRequest,
) -> Result<v1::ListOffsetsResponse, BrokerError> {
    let topic = convert::topic_ref(request.topic, &request.topic_id)?;
    let queries = request.queries.into_iter().map(parse).collect::<Result<Vec<_>, BrokerError>>()?;
    let partitions: Vec<_> = queries.iter().map(|(partition, _)| *partition).collect();
    let listed = broker.list_offsets(&topic, queries).await?;
    let results = partitions.into_iter().zip(listed.results).map(|(partition, result)| {
        use v1::offset_result::Result as Outcome;
        let result = match result {
            Ok(found) => Outcome::Found(render(found)),
            Err(error) => Outcome::Error(detail(error)),
        };
        v1::OffsetResult { partition: partition.0, result: Some(result) }
    });
    let results = results.collect();
    Ok(v1::ListOffsetsResponse { topic_id: listed.topic_id.to_string(), results })
}

fn parse(query: v1::OffsetQuery) -> Result<(PartitionIndex, OffsetQuery), BrokerError> {
    use v1::offset_query::Query;
    let partition = PartitionIndex(query.partition);
    let wrong = |message: String| BrokerError::invalid_request(message).with_partition(partition);
    let what = match query.query {
        Some(Query::TimestampMs(time)) => OffsetQuery::AtTime(TimestampMs(time)),
        Some(Query::Place(place)) => match v1::OffsetPlace::try_from(place) {
            Ok(v1::OffsetPlace::Earliest) => OffsetQuery::Earliest,
            Ok(v1::OffsetPlace::Latest) => OffsetQuery::Latest,
            Ok(v1::OffsetPlace::MaxTimestamp) => OffsetQuery::MaxTimestamp,
            Ok(v1::OffsetPlace::Unspecified) | Err(_) => {
                return Err(wrong(format!("{place} is not a place that can be asked for")));
            }
        },
        None => return Err(wrong("neither place nor timestamp_ms is set".to_owned())),
    };
    Ok((partition, what))
}

fn render(found: FoundOffset) -> v1::FoundOffset {
    v1::FoundOffset {
        offset: found.offset.map(|offset| offset.0),
        timestamp_ms: found.timestamp.map(|time| time.0),
    }
}
