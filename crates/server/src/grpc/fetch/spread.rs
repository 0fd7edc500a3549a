//! A fetch over partitions of several leaders: each is asked at the same time, and the answers are put together.
//!
//! First everybody is asked for what is there. Whoever does not say in time has an error in the answer, so that one node which
//! hangs does not keep the others' records back. If what is there is too little, everybody is asked to wait for a share of what is
//! missing: the bytes cannot be there before one of them has its share of them. Whoever answers is asked again with what is missing
//! then, so that the number of calls grows with the logarithm of the bytes, and with nothing else.

use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use highwater_broker::{BrokerError, BytesPermit, LeaderHint};
use highwater_proto::v1;
use highwater_types::{ErrorCode, limits};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Fetcher, Share, convert, failed, here, incomplete, size_bytes, there};
use crate::grpc::forward::merge;

/// How much longer than the client's wait the last answers are waited for.
const LATE: Duration = Duration::from_millis(250);
/// How long everybody has at least to say what is there, also when the client does not want to wait or the others gave enough: cold records
/// come from a disk.
const FIRST_ANSWER: Duration = Duration::from_secs(1);

/// What one node gave last.
struct Reading {
    results: Vec<v1::FetchResult>,
    bytes: usize,
    /// For records of other nodes, which are in this one's memory.
    _permit: Option<BytesPermit>,
}

type ReadingFuture<'a> = Pin<Box<dyn Future<Output = (usize, Result<Reading, BrokerError>)> + Send + 'a>>;

/// A fetch that is asked of several nodes.
struct Spread<'a> {
    fetcher: Fetcher<'a>,
    request: &'a v1::FetchRequest,
    shares: &'a [Share],
    max_bytes: usize,
}

/// Asks all of them. Also says how many bytes of records the answer holds.
pub(super) async fn fetch(
    fetcher: Fetcher<'_>,
    request: v1::FetchRequest,
    shares: Vec<Share>,
) -> Result<(v1::FetchResponse, usize), BrokerError> {
    let wait = Duration::from_millis(u64::from(request.max_wait_ms).min(limits::FETCH_WAIT_MS_MAX));
    let deadline = Instant::now() + wait;
    let max_bytes = convert::bytes_or(request.max_bytes, limits::FORWARDED_FETCH_BYTES_MAX)
        .min(limits::FORWARDED_FETCH_BYTES_MAX);
    let spread = Spread { fetcher, request: &request, shares: &shares, max_bytes };
    let mut readings = spread.first(deadline).await?;
    if !wait.is_zero() {
        spread.wait(&mut readings, deadline).await?;
    }
    Ok(spread.answer(readings))
}

impl Spread<'_> {
    /// Asks one node for its partitions.
    fn ask(&self, share: usize, min_bytes: usize, wait: Duration) -> ReadingFuture<'_> {
        let Share { leader, places } = &self.shares[share];
        let part = v1::FetchRequest {
            partitions: places.iter().map(|&place| self.request.partitions[place].clone()).collect(),
            max_wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
            min_bytes: u32::try_from(min_bytes).unwrap_or(u32::MAX),
            max_bytes: u32::try_from(self.max_bytes / self.shares.len()).unwrap_or(u32::MAX).max(1),
            format: self.request.format,
        };
        let fetcher = self.fetcher;
        Box::pin(async move {
            let read = async {
                match leader {
                    None => {
                        let (answer, bytes) = here(fetcher.broker, part).await?;
                        Ok(Reading { results: answer.results, bytes, _permit: None })
                    }
                    Some(leader) => {
                        let (answer, bytes) = there(fetcher.forwarding, leader, part).await?;
                        let limit = Duration::from_millis(limits::SEND_DEADLINE_MS);
                        let permit = timeout(limit, fetcher.outbound.acquire(bytes)).await;
                        let permit = permit.map_err(|_| no_room(bytes))?;
                        Ok(Reading { results: answer.results, bytes, _permit: Some(permit) })
                    }
                }
            };
            (share, read.await)
        })
    }

    /// What everybody has now.
    async fn first(&self, deadline: Instant) -> Result<Vec<Reading>, BrokerError> {
        let min_bytes = convert::bytes_or(self.request.min_bytes, 1);
        let count = self.shares.len();
        let mut readings: Vec<Option<Reading>> = (0..count).map(|_| None).collect();
        let mut asked: FuturesUnordered<_> =
            (0..count).map(|share| self.ask(share, 1, Duration::ZERO)).collect();
        let mut limit = deadline.max(Instant::now() + FIRST_ANSWER) + LATE;
        loop {
            let answered = tokio::select! {
                biased;
                answered = asked.next() => answered,
                () = sleep_until(limit) => None,
            };
            let Some((share, reading)) = answered else { break };
            readings[share] = Some(reading?);
            if missing(readings.iter().flatten(), min_bytes).is_none() {
                limit = limit.min(Instant::now() + FIRST_ANSWER);
            }
        }
        let readings = readings.into_iter().zip(self.shares);
        Ok(readings.map(|(reading, share)| reading.unwrap_or_else(|| self.late(share))).collect())
    }

    /// What is said of the partitions of a node that did not answer in time.
    fn late(&self, share: &Share) -> Reading {
        let message = match &share.leader {
            Some(LeaderHint { node, address }) => {
                format!("node {node} at {address}, which leads it, did not answer in time")
            }
            None => "this node, which leads it, could not read it in time".to_owned(),
        };
        let error = BrokerError::new(ErrorCode::Unavailable, message);
        let results = share.places.iter().map(|&place| failed(&self.request.partitions[place], &error));
        Reading { results: results.collect(), bytes: 0, _permit: None }
    }

    /// Waits until all readings together are enough.
    async fn wait(&self, readings: &mut [Reading], deadline: Instant) -> Result<(), BrokerError> {
        let min_bytes = convert::bytes_or(self.request.min_bytes, 1);
        let ask_again = |readings: &[Reading], share: usize, missing: usize| {
            let own = readings[share].bytes;
            let left = deadline.saturating_duration_since(Instant::now());
            self.ask(share, own.saturating_add(missing.div_ceil(readings.len())), left)
        };
        let mut asked = FuturesUnordered::new();
        let Some(missing) = missing(readings.iter(), min_bytes) else { return Ok(()) };
        asked.extend((0..readings.len()).map(|share| ask_again(readings, share, missing)));
        loop {
            let answered = tokio::select! {
                answered = asked.next() => answered,
                () = sleep_until(deadline + LATE) => None,
            };
            let Some((share, reading)) = answered else { return Ok(()) };
            readings[share] = reading?;
            let Some(missing) = self::missing(readings.iter(), min_bytes) else { return Ok(()) };
            if Instant::now() < deadline {
                asked.push(ask_again(readings, share, missing));
            }
        }
    }

    /// The results in the order of the request. Only the first batch of all may be larger than the limit; of another
    /// partition, what does not fit is left out.
    fn answer(&self, readings: Vec<Reading>) -> (v1::FetchResponse, usize) {
        let asked = &self.request.partitions;
        let parts = self.shares.iter().map(|share| share.places.clone());
        let parts = parts.zip(readings.into_iter().map(|reading| reading.results));
        let mut results = merge(asked.len(), parts, |place| failed(&asked[place], &incomplete()));
        let mut bytes = 0;
        for (result, asked) in results.iter_mut().zip(asked) {
            let size = size_bytes(result);
            if bytes > 0 && bytes + size > self.max_bytes {
                if let Some(v1::fetch_result::Result::Data(data)) = &mut result.result {
                    data.batches.clear();
                    data.records.clear();
                    data.next_offset = asked.offset;
                }
            } else {
                bytes += size;
            }
        }
        (v1::FetchResponse { results }, bytes)
    }
}

/// Bytes that are still to come; none when there is nothing to wait for: enough, an error, or a limit that was reached.
fn missing<'a>(readings: impl Iterator<Item = &'a Reading> + Clone, min_bytes: usize) -> Option<usize> {
    use v1::fetch_result::Result as Outcome;
    let bytes: usize = readings.clone().map(|reading| reading.bytes).sum();
    let mut results = readings.flat_map(|reading| &reading.results);
    let is_final = results.any(|result| match &result.result {
        Some(Outcome::Data(data)) => data.next_offset < data.high_watermark,
        Some(Outcome::Error(_)) | None => true,
    });
    min_bytes.checked_sub(bytes).filter(|&missing| missing > 0 && !is_final)
}

fn no_room(bytes: usize) -> BrokerError {
    let max = limits::NODE_OUTBOUND_BYTES_MAX;
    let message = format!(
        "{bytes} bytes of other nodes found no room among the {max} that the node holds for readers; try again later"
    );
    BrokerError::new(ErrorCode::Throttled, message)
}
