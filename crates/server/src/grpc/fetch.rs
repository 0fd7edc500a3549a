//! The long poll over several partitions: of this node, of another, or of several ([`spread`]).

mod spread;

use std::time::Duration;

use highwater_broker::{Broker, BrokerError, ByteBudget, Fetch, FetchOutcome, FetchPartition, LeaderHint};
use highwater_proto::v1;
use highwater_types::{ErrorCode, Offset, PartitionIndex, limits};

use super::convert;
use super::format::{self, Format};
use super::forward::{Caller, Effect, Forwarding, Origin, Share, answered, divide, incomplete, with_grace};
use super::status::detail;

/// How long another node may take besides the wait that was asked for: cold records have to come from its disk.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(30);

/// What a fetch needs besides the request.
#[derive(Clone, Copy)]
pub(crate) struct Fetcher<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) forwarding: &'a Forwarding,
    pub(crate) origin: Origin,
    /// What records count against that wait for more to come.
    pub(crate) outbound: &'a ByteBudget,
}

impl Fetcher<'_> {
    /// Carries out a fetch. Also says how many bytes of records the answer holds.
    pub(crate) async fn fetch(
        self,
        request: v1::FetchRequest,
    ) -> Result<(v1::FetchResponse, usize), BrokerError> {
        if request.partitions.len() > limits::PARTITIONS_PER_REQUEST_MAX {
            return here(self.broker, request).await;
        }
        let target = |asked: &v1::FetchPartition| {
            Forwarding::target(self.broker, self.origin, &asked.topic, asked.partition)
        };
        let shares = divide(request.partitions.iter().map(target));
        match &shares[..] {
            [] => here(self.broker, request).await,
            [Share { leader, .. }] => fetch_from(leader.as_ref(), self.broker, self.forwarding, request).await,
            _ => spread::fetch(self, request, shares).await,
        }
    }
}

/// Reads partitions that all have this leader: another node, or this one. Also says how many bytes of records the answer holds.
pub(crate) async fn fetch_from(
    leader: Option<&LeaderHint>,
    broker: &Broker,
    forwarding: &Forwarding,
    request: v1::FetchRequest,
) -> Result<(v1::FetchResponse, usize), BrokerError> {
    match leader {
        None => here(broker, request).await,
        Some(leader) => there(forwarding, leader, request).await,
    }
}

/// Reads partitions that this leader has. What keeps it from answering is told of each partition.
async fn there(
    forwarding: &Forwarding,
    leader: &LeaderHint,
    mut request: v1::FetchRequest,
) -> Result<(v1::FetchResponse, usize), BrokerError> {
    let asked = request.partitions.clone();
    let max = u32::try_from(limits::FORWARDED_FETCH_BYTES_MAX).unwrap_or(u32::MAX);
    request.max_bytes = if request.max_bytes == 0 { max } else { request.max_bytes.min(max) };
    let wait = Duration::from_millis(u64::from(request.max_wait_ms).min(limits::FETCH_WAIT_MS_MAX));
    let fetched = async {
        let Caller { mut client, slot: _slot } = forwarding.records(leader)?;
        let call = client.fetch(forwarding.request(request));
        answered(leader, Effect::None, with_grace(wait + FORWARD_TIMEOUT), call).await
    };
    let answer = match fetched.await {
        Ok(answer) if answer.results.len() == asked.len() => answer,
        // What is wrong with the request itself is the client's to know as such.
        Err(error) if error.code == ErrorCode::InvalidRequest => return Err(error),
        other => {
            let error = other.err().unwrap_or_else(incomplete);
            v1::FetchResponse { results: asked.iter().map(|asked| failed(asked, &error)).collect() }
        }
    };
    let bytes = answer.results.iter().map(size_bytes).sum();
    Ok((answer, bytes))
}

fn failed(asked: &v1::FetchPartition, error: &BrokerError) -> v1::FetchResult {
    let error = error.clone().with_topic(&asked.topic).with_partition(PartitionIndex(asked.partition));
    v1::FetchResult {
        topic: asked.topic.clone(),
        topic_id: String::new(),
        partition: asked.partition,
        result: Some(v1::fetch_result::Result::Error(detail(error))),
    }
}

/// Bytes of the records in a result.
fn size_bytes(result: &v1::FetchResult) -> usize {
    match &result.result {
        Some(v1::fetch_result::Result::Data(data)) => format::size_bytes(data),
        _ => 0,
    }
}

/// Reads partitions of this node.
async fn here(broker: &Broker, request: v1::FetchRequest) -> Result<(v1::FetchResponse, usize), BrokerError> {
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
