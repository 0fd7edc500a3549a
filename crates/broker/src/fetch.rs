//! Reading several partitions, with a long poll. A fetch that finds too little registers one
//! waiter with all of its partitions and is woken once; nothing polls.

use std::collections::HashSet;

use highwater_partition::{DataWaiter, FetchSlices, PartitionError};
use highwater_types::limits;
use tokio::time::{Instant, sleep_until};

use crate::broker::{Broker, stopping};
use crate::error::BrokerError;
use crate::request::{Fetch, FetchOutcome, FetchPartition, Fetched};
use crate::routing::Route;

/// One reading of all partitions of a fetch.
struct Reading {
    outcomes: Vec<FetchOutcome>,
    bytes: usize,
    /// Whether there is nothing to wait for: an error, or a limit that was reached.
    is_final: bool,
}

impl Broker {
    /// Reads the partitions: answers as soon as the bytes are there that the request waits for, or
    /// any partition has an error, or its time has passed. One outcome for each partition, in the
    /// order of the request. Cancel-safe.
    ///
    /// # Errors
    /// When the request as a whole makes no sense, or the node is stopping.
    pub async fn fetch(&self, request: Fetch) -> Result<Vec<FetchOutcome>, BrokerError> {
        check(&request)?;
        let deadline = Instant::now() + request.max_wait;
        let min_bytes = request.min_bytes.max(1);
        loop {
            let routes: Vec<_> = request.partitions.iter().map(|p| self.route(&p.topic, p.partition)).collect();
            let reading = self.read_all(&request, &routes).await;
            if reading.is_final || reading.bytes >= min_bytes || Instant::now() >= deadline {
                return Ok(reading.outcomes);
            }
            let waiter = DataWaiter::new(min_bytes - reading.bytes);
            let read_up_to = reading.outcomes.iter().map(|outcome| outcome.result.as_ref());
            let registrations: Vec<_> = routes
                .iter()
                .zip(read_up_to)
                .filter_map(|(route, read)| Some((route.as_ref().ok()?, read.ok()?)))
                .map(|(route, read)| route.partition.register(&waiter, read.next_offset))
                .collect();
            drop(reading);
            let is_gone = |route: &Route| self.check_route(route).is_err();
            if routes.iter().flatten().any(is_gone) {
                continue;
            }
            let woken = tokio::select! {
                () = waiter.wait() => true,
                () = sleep_until(deadline) => false,
                () = self.stopping.cancelled() => return Err(stopping()),
            };
            drop(registrations);
            if !woken {
                return Ok(self.read_all(&request, &routes).await.outcomes);
            }
        }
    }

    async fn read_all(&self, request: &Fetch, routes: &[Result<Route, BrokerError>]) -> Reading {
        let mut reading = Reading { outcomes: Vec::with_capacity(routes.len()), bytes: 0, is_final: false };
        for (wanted, route) in request.partitions.iter().zip(routes) {
            let outcome = match route {
                Ok(route) => {
                    let left = request.max_bytes.saturating_sub(reading.bytes);
                    let result = self.read_one(wanted, route, left, reading.bytes == 0).await;
                    FetchOutcome { topic_id: Some(route.topic.id), result }
                }
                Err(error) => FetchOutcome { topic_id: None, result: Err(error.clone()) },
            };
            match &outcome.result {
                Ok(fetched) => {
                    reading.bytes += fetched.size_bytes();
                    // More is there than the limits let through: waiting brings nothing.
                    reading.is_final |= fetched.next_offset < fetched.high_watermark;
                }
                Err(_) => reading.is_final = true,
            }
            reading.outcomes.push(outcome);
        }
        reading
    }

    /// Reads one partition. Only the first batch of a whole fetch may be larger than the limits;
    /// of another, as much as does not fit is left out.
    async fn read_one(
        &self,
        wanted: &FetchPartition,
        route: &Route,
        bytes_left: usize,
        is_first: bool,
    ) -> Result<Fetched, BrokerError> {
        let max_bytes = wanted.max_bytes.min(bytes_left);
        let read = route.partition.fetch(wanted.offset, max_bytes).await;
        let slices = read.map_err(|error| {
            if matches!(error, PartitionError::Damaged { .. }) {
                self.damage.met.notify_one();
            }
            self.explain(&error, route)
        })?;
        let oversized = slices.bytes > max_bytes && !is_first;
        let mut fetched = fetched(slices);
        if oversized {
            fetched.batches.clear();
            fetched.next_offset = wanted.offset;
        }
        Ok(fetched)
    }
}

/// What a partition gave, as the broker answers it.
pub(crate) fn fetched(slices: FetchSlices) -> Fetched {
    Fetched {
        batches: slices.batches,
        next_offset: slices.next_offset,
        high_watermark: slices.high_watermark,
        log_start: slices.log_start,
    }
}

fn check(request: &Fetch) -> Result<(), BrokerError> {
    let count = request.partitions.len();
    let max = limits::PARTITIONS_PER_REQUEST_MAX;
    if count == 0 || count > max {
        let message = format!("a fetch reads 1 to {max} partitions, not {count}");
        return Err(BrokerError::invalid_request(message));
    }
    let mut seen = HashSet::with_capacity(count);
    for partition in &request.partitions {
        if !seen.insert((partition.topic.name.as_str(), partition.partition)) {
            let message = "the fetch names a partition twice";
            return Err(BrokerError::invalid_request(message)
                .with_topic(&partition.topic.name)
                .with_partition(partition.partition));
        }
    }
    Ok(())
}
