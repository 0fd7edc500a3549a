//! The lanes of a produce stream: the order of requests and answers of each partition,
//! and what is in flight. It does no IO; futures go to the caller.
//!
//! Within a lane at most one request is being submitted at a time, so that the partition
//! gets them in order; any number of submitted ones wait for their outcome. An answer leaves only
//! after all earlier ones of its lane. A lane exists while it has requests.
//!
//! A lane goes one way at a time: here, or to the node that leads its partition. When the leader changes, what is on the
//! old way is waited for before anything takes the new one, so that nothing overtakes it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use highwater_broker::{Broker, BrokerError, BytesPermit, LeaderHint, PendingProduce};
use highwater_proto::v1;
use highwater_types::limits;
use tokio::time::Instant;

use super::EventFuture;
use crate::grpc::forward::{Outcome, ProducePaths};
use crate::grpc::status::detail;
use crate::grpc::{convert, produce};

/// A lane: the topic's name and the partition, as the client gave them.
pub(crate) type Key = (String, u32);

/// One request on its way.
pub(crate) struct Job {
    key: Key,
    correlation_id: u64,
    bytes: usize,
    deadline: Instant,
    work: Result<v1::ProduceRequest, BrokerError>,
    permit: Option<Arc<BytesPermit>>,
}

impl Job {
    pub(crate) fn new(
        key: Key,
        correlation_id: u64,
        bytes: usize,
        deadline: Instant,
        request: v1::ProduceRequest,
    ) -> Self {
        Self { key, correlation_id, bytes, deadline, work: Ok(request), permit: None }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn with_permit(self, permit: BytesPermit) -> Self {
        Self { permit: Some(Arc::new(permit)), ..self }
    }

    /// The same request, answered with an error when its turn comes. It holds no data any more.
    pub(crate) fn failed(self, error: BrokerError) -> Self {
        Self { bytes: 0, work: Err(error), permit: None, ..self }
    }
}

/// What happened to a request.
pub(crate) enum Event {
    /// It has its place in the partition's order.
    Submitted { key: Key, sequence: u64, pending: PendingProduce },
    /// Its outcome is known.
    Finished { key: Key, sequence: u64, outcome: Outcome },
}

impl Event {
    pub(crate) fn key(&self) -> &Key {
        match self {
            Self::Submitted { key, .. } | Self::Finished { key, .. } => key,
        }
    }
}

/// An answer that is due.
pub(crate) struct Answer {
    pub(crate) correlation_id: u64,
    pub(crate) result: Outcome,
}

/// All lanes of one stream.
#[derive(Default)]
pub(crate) struct Lanes {
    /// In order, so that a stream that ends lets go of what it holds in the same in every run.
    lanes: BTreeMap<Key, Lane>,
    bytes: usize,
    requests: usize,
}

#[derive(Default)]
struct Lane {
    /// Not submitted yet.
    waiting: VecDeque<Job>,
    /// Submitted or being submitted, not answered: in order, the first has `first_sequence`.
    unanswered: VecDeque<Unanswered>,
    first_sequence: u64,
    submitting: bool,
    /// Where the last request went; none is here.
    leader: Option<LeaderHint>,
    stalled: bool,
    bytes: usize,
}

struct Unanswered {
    correlation_id: u64,
    bytes: usize,
    outcome: Option<Outcome>,
    _permit: Option<Arc<BytesPermit>>,
}

impl Lane {
    fn len(&self) -> usize {
        self.waiting.len() + self.unanswered.len()
    }

    /// Whether the next request must wait for what went elsewhere.
    fn is_held_for(&self, leader: Option<&LeaderHint>) -> bool {
        self.leader.as_ref() != leader && self.unanswered.iter().any(|unanswered| unanswered.outcome.is_none())
    }
}

impl Lanes {
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Whether the stream may take another request.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes < limits::PRODUCE_STREAM_BYTES_MAX && self.requests < limits::PRODUCE_STREAM_REQUESTS_MAX
    }

    /// Whether the request's lane may take it: an empty one takes anything.
    pub(crate) fn lane_has_room(&self, job: &Job) -> bool {
        self.lanes.get(&job.key).is_none_or(|lane| {
            job.work.is_err()
                || (lane.bytes + job.bytes <= limits::PRODUCE_LANE_BYTES_MAX
                    && lane.len() < limits::PRODUCE_LANE_REQUESTS_MAX)
        })
    }

    /// Whether the request's lane was found to stand still and has not moved since.
    pub(crate) fn is_stalled(&self, job: &Job) -> bool {
        self.lanes.get(&job.key).is_some_and(|lane| lane.stalled)
    }

    pub(crate) fn mark_stalled(&mut self, job: &Job) {
        if let Some(lane) = self.lanes.get_mut(&job.key) {
            lane.stalled = true;
        }
    }

    /// Puts a request at the end of its lane.
    pub(crate) fn push(&mut self, job: Job) {
        self.bytes += job.bytes;
        self.requests += 1;
        let lane = self.lanes.entry(job.key.clone()).or_default();
        lane.bytes += job.bytes;
        lane.waiting.push_back(job);
    }

    /// Submits the lane's next request, unless one is being submitted. Those that go to another node follow each other.
    pub(crate) fn start_next(
        &mut self,
        key: &Key,
        broker: &Arc<Broker>,
        paths: &mut ProducePaths,
        events: &mut FuturesUnordered<EventFuture>,
    ) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        while !lane.submitting
            && let Some(job) = lane.waiting.front()
        {
            if job.work.is_ok() {
                let leader = paths.target(broker, &key.0, key.1);
                if lane.is_held_for(leader.as_ref()) {
                    return;
                }
                lane.leader = leader;
            }
            let Some(job) = lane.waiting.pop_front() else { return };
            let sequence = lane.first_sequence + lane.unanswered.len() as u64;
            let (outcome, request) = match job.work {
                Ok(request) => (None, Some(request)),
                Err(error) => (Some(Err(detail(error))), None),
            };
            lane.unanswered.push_back(Unanswered {
                correlation_id: job.correlation_id,
                bytes: job.bytes,
                outcome,
                _permit: job.permit.clone(),
            });
            let (Some(request), key) = (request, job.key) else { continue };
            match &lane.leader {
                Some(leader) => {
                    let outcome = paths.send(leader, request, job.deadline, job.permit);
                    events.push(Box::pin(
                        async move { Event::Finished { key, sequence, outcome: outcome.await } },
                    ));
                }
                None => {
                    lane.submitting = true;
                    events.push(Box::pin(submit(Arc::clone(broker), request, job.deadline, key, sequence)));
                }
            }
        }
    }

    /// Takes in what happened to a request.
    pub(crate) fn record(&mut self, event: Event, events: &mut FuturesUnordered<EventFuture>) {
        match event {
            Event::Submitted { key, sequence, pending } => {
                if let Some(lane) = self.lanes.get_mut(&key) {
                    lane.submitting = false;
                }
                events.push(Box::pin(async move {
                    let outcome = pending.await.map(|produced| convert::produced(&produced)).map_err(detail);
                    Event::Finished { key, sequence, outcome }
                }));
            }
            Event::Finished { key, sequence, outcome } => {
                let Some(lane) = self.lanes.get_mut(&key) else { return };
                lane.stalled = false;
                let place = usize::try_from(sequence - lane.first_sequence).unwrap_or(usize::MAX);
                // Only the last of the unanswered can still be in submission.
                if place + 1 == lane.unanswered.len() {
                    lane.submitting = false;
                }
                if let Some(unanswered) = lane.unanswered.get_mut(place) {
                    unanswered.outcome = Some(outcome);
                }
            }
        }
    }

    /// Takes the lane's next answer, if it is due. The lane goes with its last one.
    pub(crate) fn next_answer(&mut self, key: &Key) -> Option<Answer> {
        let lane = self.lanes.get_mut(key)?;
        let unanswered = match lane.unanswered.front() {
            Some(first) if first.outcome.is_some() => lane.unanswered.pop_front()?,
            _ => return None,
        };
        lane.first_sequence += 1;
        lane.bytes -= unanswered.bytes;
        self.bytes -= unanswered.bytes;
        self.requests -= 1;
        if lane.len() == 0 {
            self.lanes.remove(key);
        }
        let result = unanswered.outcome?;
        Some(Answer { correlation_id: unanswered.correlation_id, result })
    }
}

/// Gives a request its place in the order of a partition that this node leads.
async fn submit(
    broker: Arc<Broker>,
    request: v1::ProduceRequest,
    deadline: Instant,
    key: Key,
    sequence: u64,
) -> Event {
    let submitted = match produce::parse(request, deadline) {
        Ok(produce) => broker.submit(produce).await,
        Err(error) => Err(error),
    };
    match submitted {
        Ok(pending) => Event::Submitted { key, sequence, pending },
        Err(error) => Event::Finished { key, sequence, outcome: Err(detail(error)) },
    }
}
