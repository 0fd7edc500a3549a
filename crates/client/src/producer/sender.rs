//! The task behind a producer: moves batches from the accumulator through the partitions' lanes onto the links to their
//! leaders, and their outcomes back. Every decision about order and retries is [`PartitionQueue`]'s, every one about where
//! to send [`Lane`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use highwater_proto::v1::{ProduceStreamResponse, produce_stream_response};
use highwater_types::Offset;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::{Cluster, Whereabouts};
use crate::error::ClientError;
use crate::producer::accumulator::{Accumulator, Taken};
use crate::producer::batch::BatchNumber;
use crate::producer::lane::Lane;
use crate::producer::ledger::{Ledger, is_topic_gone};
use crate::producer::link::{FromLink, LinkEvent, ended};
use crate::producer::links::Links;
use crate::producer::partition_queue::{CorrelationId, Finished, Identity, PartitionQueue};
use crate::producer::requests;
use crate::topic::PartitionKey;
use highwater_types::Backoff;

/// Beyond the request timeout, how much longer an answer may take before its stream counts as broken.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

type Identifying = Pin<Box<dyn Future<Output = Result<Identity, ClientError>> + Send>>;

/// See the module.
pub(crate) struct Sender {
    accumulator: Arc<Accumulator>,
    cluster: Arc<Cluster>,
    /// In order, so that every run sends in the same; each with where its leader was when the view was last looked at.
    lanes: BTreeMap<PartitionKey, (Lane, Whereabouts)>,
    links: Links,
    changes: watch::Receiver<u64>,
    /// As of which the lanes know where their leaders are.
    changes_seen: u64,
    /// What a partition starts with. Absent while there is no producer id.
    identity: Option<Identity>,
    identifying: Option<Identifying>,
    identify_at: Option<Instant>,
    backoff: Backoff,
    next_correlation: u64,
    ledger: Arc<Ledger>,
    /// Every batch below this has its outcome. It closes when the sender ends.
    done_below: watch::Sender<BatchNumber>,
}

impl Sender {
    pub(crate) fn new(
        accumulator: Arc<Accumulator>,
        cluster: Arc<Cluster>,
        idempotent: bool,
        ledger: Arc<Ledger>,
        done_below: watch::Sender<BatchNumber>,
    ) -> Self {
        Self {
            accumulator,
            lanes: BTreeMap::new(),
            links: Links::new(Arc::clone(&cluster)),
            changes: cluster.changes(),
            changes_seen: 0,
            identity: (!idempotent).then_some(Identity::NONE),
            identifying: None,
            identify_at: None,
            backoff: cluster.config.backoff(),
            cluster,
            next_correlation: 0,
            ledger,
            done_below,
        }
    }

    /// Runs until the producer is closed and everything has its outcome.
    pub(crate) async fn run(mut self) {
        let mut events = Vec::new();
        loop {
            let now = Instant::now();
            let wake = self.advance(now);
            let is_idle = self.lanes.values().all(|(lane, _)| lane.queue.is_empty());
            if self.accumulator.is_closed_and_empty() && is_idle {
                return;
            }
            let accumulator = Arc::clone(&self.accumulator);
            tokio::select! {
                () = accumulator.changed() => {}
                () = self.links.receive(&mut events) => self.on_events(&mut events),
                identified = identify(&mut self.identifying) => self.on_identified(identified),
                // The cluster lives as long as this, so it always is a change.
                _ = self.changes.changed() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Does all that can be done now; returns when to look again though nothing happened.
    fn advance(&mut self, now: Instant) -> Option<Instant> {
        let expires = self.expire(now);
        let lingers = self.take_ready(now);
        self.break_silent_links(now);
        let turns = self.turn_lanes(now);
        self.send_ready(now);
        self.start_identifying(now);
        self.report_progress();
        let queues = self.lanes.values().filter_map(|(lane, _)| lane.queue.next_wake()).min();
        let identifies = self.identify_at.filter(|_| self.identifying.is_none() && self.wants_identity());
        let links = self.links.next_wake(self.silence_max());
        // What is due was done above, as far as it can be without news; looking at it again would only spin.
        let wakes = [expires, lingers, turns, queues, identifies, links];
        wakes.into_iter().flatten().filter(|wake| *wake > now).min()
    }

    fn expire(&mut self, now: Instant) -> Option<Instant> {
        let (expired, next) = self.accumulator.expire(now);
        let mut finished: Vec<Finished> = Vec::new();
        for batch in expired {
            let error = ClientError::DeliveryTimeout {
                timeout_ms: u64::try_from((batch.deadline - batch.created).as_millis()).unwrap_or(u64::MAX),
                outcome_unknown: false,
                last_error: self.ledger.last_error().map(Box::new),
            };
            finished.push((batch, Err(error)));
        }
        finished.extend(self.lanes.values_mut().flat_map(|(lane, _)| lane.queue.expire(now)));
        self.finish(finished);
        next
    }

    fn take_ready(&mut self, now: Instant) -> Option<Instant> {
        let mut wake = None;
        for key in self.accumulator.partitions() {
            let (identity, cluster) = (self.identity, &self.cluster);
            let (lane, _) = self.lanes.entry(key.clone()).or_insert_with(|| {
                let (backoff, leader_backoff) = (cluster.config.backoff(), cluster.config.leader_backoff());
                let queue = PartitionQueue::new(identity, backoff, leader_backoff);
                (Lane::new(queue), cluster.whereabouts(&key))
            });
            while lane.queue.has_room() {
                match self.accumulator.take(&key, now) {
                    Taken::Batch(batch) => lane.queue.push(batch),
                    Taken::NotBefore(then) => {
                        wake = wake.into_iter().chain([then]).min();
                        break;
                    }
                    Taken::Nothing => break,
                }
            }
        }
        wake
    }

    /// Points each lane that has something to send at its leader, and sees to it that there is a link.
    fn turn_lanes(&mut self, now: Instant) -> Option<Instant> {
        let changes = *self.changes.borrow();
        let is_news = std::mem::replace(&mut self.changes_seen, changes) != changes;
        let (stall, any) = (self.cluster.config.stall_timeout, self.cluster.connections.current());
        let mut wake: Option<Instant> = None;
        let mut looks = BTreeSet::new();
        for (key, (lane, whereabouts)) in &mut self.lanes {
            if is_news {
                *whereabouts = self.cluster.whereabouts(key);
            }
            if lane.queue.is_empty() {
                continue;
            }
            let mut failing_for = None;
            if let Whereabouts::At(leader) = &*whereabouts {
                failing_for = self.links.failing_for(leader, now);
                // Also while there is a detour, so that it ends. What is no address is found out below.
                let _ = self.links.want(leader, now);
            }
            let wanted = lane.turn(whereabouts, failing_for, &any, stall, now);
            if wanted.look {
                looks.insert(Arc::clone(&key.topic));
                // Whoever lets a batch wait is not the one to ask why.
                lane.route().into_iter().for_each(|route| self.cluster.connections.avoid(route));
            }
            wake = wake.into_iter().chain(wanted.wake).min();
            let Some(route) = lane.route() else { continue };
            if wanted.moved {
                self.links.hurry(route, now);
            }
            if let Err(error) = self.links.want(route, now) {
                lane.queue.note_error(&error);
                looks.insert(Arc::clone(&key.topic));
            }
        }
        for topic in looks {
            self.cluster.look_again(&topic);
        }
        wake
    }

    fn send_ready(&mut self, now: Instant) {
        let mut finished = Vec::new();
        let mut broken: BTreeSet<Arc<str>> = BTreeSet::new();
        for (key, (lane, _)) in &mut self.lanes {
            if lane.queue.needs_identity() {
                match self.identity {
                    Some(identity) if lane.queue.takes_identity(identity) => lane.queue.set_identity(identity),
                    // Partitions share a producer id until one of them has used up its epochs.
                    _ => self.identity = None,
                }
            }
            let Some(route) = lane.route().filter(|_| !lane.is_leaving()).cloned() else { continue };
            while let Some(link) = self.links.ready(&route) {
                let correlation = CorrelationId(self.next_correlation);
                let Some(to_send) = lane.queue.next_to_send(now, correlation) else { break };
                self.next_correlation += 1;
                match requests::produce(key, correlation, &to_send, self.cluster.config.request_timeout) {
                    Ok(request) => {
                        let is_sent = link.send(key, request, now);
                        lane.on_sent(now);
                        if !is_sent {
                            broken.insert(route);
                            break;
                        }
                    }
                    Err(error) => finished.extend(lane.queue.on_unsendable(correlation, error)),
                }
            }
        }
        self.finish(finished);
        for address in broken {
            self.on_link_lost(&address, &ended(&address));
        }
    }

    /// A link that owes an answer for too long is given up.
    fn break_silent_links(&mut self, now: Instant) {
        let silence_max = self.silence_max();
        for address in self.links.silent(silence_max, now) {
            let error = crate::connections::no_answer(&address, silence_max);
            self.on_link_lost(&address, &error);
        }
    }

    fn silence_max(&self) -> Duration {
        self.cluster.config.request_timeout + ANSWER_GRACE
    }

    fn wants_identity(&self) -> bool {
        self.identity.is_none() && self.lanes.values().any(|(lane, _)| lane.queue.needs_identity())
    }

    fn start_identifying(&mut self, now: Instant) {
        let is_due = self.identify_at.is_none_or(|identify_at| identify_at <= now);
        if self.identifying.is_none() && is_due && self.wants_identity() {
            let cluster = Arc::clone(&self.cluster);
            self.identifying = Some(Box::pin(async move { requests::init_producer(&cluster).await }));
        }
    }

    fn on_identified(&mut self, identified: Result<Identity, ClientError>) {
        self.identifying = None;
        match identified {
            Ok(identity) => {
                self.identify_at = None;
                self.backoff.reset();
                self.identity = Some(identity);
            }
            Err(error) if error.is_retriable() => {
                tracing::debug!(%error, "no producer id; will ask again");
                self.note_error(&error);
                self.identify_at = Some(Instant::now() + self.backoff.next_wait());
            }
            Err(error) => self.fail_everything(&error),
        }
    }

    fn on_events(&mut self, events: &mut Vec<FromLink>) {
        let mut finished = Vec::new();
        for (id, address, event) in events.drain(..) {
            if self.links.get(id, &address).is_none() {
                continue;
            }
            match event {
                LinkEvent::Opened => self.links.on_opened(id, &address),
                LinkEvent::Answer(response) => finished.extend(self.on_answer(&address, response)),
                LinkEvent::Lost(error) => {
                    self.on_link_lost(&address, &error);
                    if !error.is_retriable() && self.cluster.connections.count() == 1 {
                        self.fail_everything(&error);
                    }
                }
            }
        }
        if finished.iter().any(|(_, outcome)| outcome.as_ref().is_err_and(is_topic_gone)) {
            self.lanes.retain(|_, (lane, _)| !lane.queue.is_empty());
        }
        self.finish(finished);
    }

    fn on_answer(&mut self, address: &Arc<str>, response: ProduceStreamResponse) -> Option<Finished> {
        let now = Instant::now();
        let correlation = CorrelationId(response.correlation_id);
        self.links.on_answered(address);
        let key = self.links.answered(address, correlation)?;
        // What is answered by a node that the lane has turned away from is not waited for.
        let lane = self.lanes.get_mut(&key).map(|(lane, _)| lane);
        let lane = lane.filter(|lane| lane.route() == Some(address))?;
        let is_ack = matches!(response.result, Some(produce_stream_response::Result::Ack(_)));
        let finished = match response.result {
            Some(produce_stream_response::Result::Ack(ack)) => {
                if let Some(leader) = &ack.leader {
                    self.cluster.on_forwarded(&key, leader);
                }
                lane.queue.on_ack(correlation, Offset(ack.base_offset))
            }
            Some(produce_stream_response::Result::Error(detail)) => {
                if detail.retriable {
                    self.ledger.note_error(&ClientError::from(detail.clone()));
                }
                self.cluster.on_refusal(&key, address, &detail);
                lane.queue.on_error(correlation, detail, now)
            }
            None => {
                let what = "an answer with neither ack nor error";
                self.on_link_lost(address, &ClientError::Protocol { server: address.to_string(), what });
                return None;
            }
        };
        lane.on_answer(is_ack, now);
        finished
    }

    fn on_link_lost(&mut self, address: &Arc<str>, error: &ClientError) {
        if !self.links.lose(address, Instant::now()) {
            return;
        }
        tracing::debug!(%address, %error, "produce stream lost");
        let mut topics = BTreeSet::new();
        for (key, (lane, _)) in &mut self.lanes {
            if lane.route() == Some(address) {
                lane.on_link_lost(error);
                lane.queue.note_error(error);
                if !lane.queue.is_empty() {
                    topics.insert(Arc::clone(&key.topic));
                }
            }
        }
        for topic in topics {
            self.cluster.look_again(&topic);
        }
        self.ledger.note_error(error);
    }

    fn note_error(&mut self, error: &ClientError) {
        for (lane, _) in self.lanes.values_mut() {
            lane.queue.note_error(error);
        }
        self.ledger.note_error(error);
    }

    fn fail_everything(&mut self, error: &ClientError) {
        let mut finished: Vec<Finished> =
            self.lanes.values_mut().flat_map(|(lane, _)| lane.queue.fail_all(error)).collect();
        finished.extend(self.accumulator.drain().into_iter().map(|batch| (batch, Err(error.clone()))));
        self.finish(finished);
    }

    fn finish(&mut self, finished: Vec<Finished>) {
        for (batch, outcome) in finished {
            self.ledger.count(&batch, &outcome);
            batch.complete(outcome);
        }
    }

    /// Tells those who wait for a flush how far it is.
    fn report_progress(&mut self) {
        let queued = self.lanes.values().filter_map(|(lane, _)| lane.queue.oldest()).min();
        let done_below: BatchNumber =
            queued.into_iter().chain([self.accumulator.oldest()]).min().unwrap_or(BatchNumber(0));
        self.done_below.send_if_modified(|done| {
            let is_news = done_below > *done;
            *done = done_below.max(*done);
            is_news
        });
    }
}

async fn identify(identifying: &mut Option<Identifying>) -> Result<Identity, ClientError> {
    match identifying {
        Some(identifying) => identifying.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
