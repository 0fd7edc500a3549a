//! Finding offsets.

use highwater_broker::{Broker, BrokerError, FoundOffset, OffsetQuery};
use highwater_proto::v1;
use highwater_types::{PartitionIndex, TimestampMs};

use super::convert;
use super::status::detail;

/// Answers each query of the request.
pub(crate) async fn list_offsets(
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
