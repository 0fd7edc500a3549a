//! The long poll over several partitions.

use std::time::Duration;

use highwater_broker::{Broker, BrokerError, Fetch, FetchOutcome, FetchPartition};
use highwater_proto::v1;
use highwater_types::{Offset, PartitionIndex, limits};

use super::convert;
use super::format::Format;
use super::status::detail;

/// Carries out a fetch. Also says how many bytes of records the answer holds.
pub(crate) async fn fetch(
    broker: &Broker,
    request: v1::FetchRequest,
) -> Result<(v1::FetchResponse, usize), BrokerError> {
    let format = Format::parse(request.format)?;
    let asked: Vec<_> = request.partitions.iter().map(|p| (p.topic.clone(), p.partition, p.offset)).collect();
    let fetch = parse(request)?;
    let mut bytes_left = fetch.max_bytes;
    let outcomes = broker.fetch(fetch).await?;
    let mut results = Vec::with_capacity(outcomes.len());
    let mut bytes = 0;
    for ((topic, partition, offset), outcome) in asked.into_iter().zip(outcomes) {
        let (result, size) = render(format, topic, partition, Offset(offset), outcome, bytes_left);
        bytes += size;
        bytes_left = bytes_left.saturating_sub(size);
        results.push(result);
    }
    Ok((v1::FetchResponse { results }, bytes))
}

fn parse(request: v1::FetchRequest) -> Result<Fetch, BrokerError> {
    let max_bytes = convert::bytes_or(request.max_bytes, limits::FETCH_BYTES_MAX).min(limits::FETCH_BYTES_MAX);
    let partitions = request
        .partitions
        .into_iter()
        .map(|partition| {
            Ok(FetchPartition {
                topic: convert::topic_ref(partition.topic, &partition.topic_id)?,
                partition: PartitionIndex(partition.partition),
                offset: convert::offset(partition.offset)?,
                max_bytes: convert::bytes_or(partition.max_bytes, max_bytes).min(max_bytes),
            })
        })
        .collect::<Result<Vec<_>, BrokerError>>()?;
    let wait_ms = u64::from(request.max_wait_ms).min(limits::FETCH_WAIT_MS_MAX);
    Ok(Fetch {
        partitions,
        min_bytes: convert::bytes_or(request.min_bytes, 1),
        max_wait: Duration::from_millis(wait_ms),
        max_bytes,
    })
}

fn render(
    format: Format,
    topic: String,
    partition: u32,
    offset: Offset,
    outcome: FetchOutcome,
    max_bytes: usize,
) -> (v1::FetchResult, usize) {
    use v1::fetch_result::Result as Outcome;
    let rendered = outcome.result.and_then(|fetched| format.render(fetched, offset, max_bytes));
    let (result, bytes) = match rendered {
        Ok((data, bytes)) => (Outcome::Data(data), bytes),
        Err(error) => {
            let error = error.with_topic(&topic).with_partition(PartitionIndex(partition));
            (Outcome::Error(detail(error)), 0)
        }
    };
    let topic_id = outcome.topic_id.map(|id| id.to_string()).unwrap_or_default();
    (v1::FetchResult { topic, topic_id, partition, result: Some(result) }, bytes)
}
