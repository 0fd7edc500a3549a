//! Keeps a member in its group, however slow the application is: a task that always has a heartbeat waiting at the coordinator. What
//! answers mean it leaves to [`Membership`]; what they change it writes down in [`Shared`] at once.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use highwater_groups::membership::{Ask, Change, MemberRequest, Sent, Verdict};
use highwater_groups::{Assignor, Epoch, MemberAnswer, Membership, PartitionSet, Revision, Uptime};
use highwater_proto::v1;
use highwater_types::{Backoff, ErrorCode, PartitionId, PartitionIndex, Random, TopicId};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::connections::Server;
use crate::error::ClientError;
use crate::group::shared::{Identity, Phase, Shared};

/// Heartbeats on their way: one that waits, and those that say what it did not.
const IN_FLIGHT_MAX: usize = 4;
/// How long an answer may take beside the time that it is to wait, at most.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a member that leaves tries to say so.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// An answer, and what it answers.
type Answered = (Sent, Result<v1::GroupMembership, ClientError>);

/// See the module.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    membership: Membership,
    member_id: String,
    /// What the member's time is counted from.
    origin: Instant,
    heartbeat_interval: Duration,
    session_timeout: Duration,
    in_flight: FuturesUnordered<Pin<Box<dyn Future<Output = Answered> + Send>>>,
    /// Nothing is sent before.
    retry_at: Option<Instant>,
    backoff: Backoff,
    failed: mpsc::Sender<ClientError>,
}

impl Keeper {
    /// The keeper of a new member, which says in `failed` why there never will be one.
    pub(crate) fn new(shared: Arc<Shared>, failed: mpsc::Sender<ClientError>) -> Self {
        let config = &shared.cluster.config;
        Self {
            membership: Membership::new(shared.config.rebalance_timeout),
            member_id: draw_id(&*config.random),
            origin: Instant::now(),
            heartbeat_interval: Duration::ZERO,
            session_timeout: ANSWER_MAX,
            in_flight: FuturesUnordered::new(),
            retry_at: None,
            backoff: config.backoff(),
            failed,
            shared,
        }
    }

    /// Runs until the member has left, or never will be one.
    pub(crate) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let changed = shared.changed.notified();
            if let Phase::Drained { for_a_while } = shared.phase() {
                self.leave(for_a_while).await;
                break;
            }
            let released = shared.inner().agenda.take_released();
            let change = self.membership.released(&released.into_iter().collect());
            self.apply(&change);
            let change = self.membership.tick(self.uptime());
            self.apply(&change);
            self.send_if_due();
            let wake = self.wake();
            tokio::select! {
                Some((sent, outcome)) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    if let Err(error) = self.on_outcome(sent, outcome) {
                        tracing::error!(group = shared.config.group, %error, "this consumer cannot be a member of its group");
                        // A consumer that is gone needs no news.
                        let _ = self.failed.try_send(error);
                        break;
                    }
                }
                () = changed => {}
                () = tokio::time::sleep_until(wake.unwrap_or(self.origin)), if wake.is_some() => {}
            }
        }
        shared.phase.send_replace(Phase::Left);
        shared.changed.notify_waiters();
    }

    fn uptime(&self) -> Uptime {
        Uptime(self.origin.elapsed())
    }

    fn wake(&self) -> Option<Instant> {
        let deadline = self.membership.deadline().map(|Uptime(at)| self.origin + at);
        deadline.into_iter().chain(self.retry_at).min()
    }

    fn send_if_due(&mut self) {
        let is_wanted =
            self.in_flight.is_empty() || (self.membership.is_due() && self.in_flight.len() < IN_FLIGHT_MAX);
        if is_wanted && self.retry_at.is_none_or(|at| at <= Instant::now()) {
            self.retry_at = None;
            let MemberRequest { sent, ask } = self.membership.request(self.uptime());
            let request = match ask {
                Ask::Join => self.join(sent),
                Ask::Heartbeat { epoch, seen, owned } => self.heartbeat(sent, epoch, seen, owned),
            };
            self.in_flight.push(request);
        }
    }

    fn join(&self, sent: Sent) -> Pin<Box<dyn Future<Output = Answered> + Send>> {
        let (shared, config) = (Arc::clone(&self.shared), &self.shared.config);
        let assignor = match config.assignor {
            None => v1::GroupAssignor::Unspecified,
            Some(Assignor::Uniform) => v1::GroupAssignor::Uniform,
            Some(Assignor::Range) => v1::GroupAssignor::Range,
        };
        let request = v1::JoinGroupRequest {
            group: config.group.clone(),
            member_id: self.member_id.clone(),
            instance_id: config.instance_id.clone().unwrap_or_default(),
            client_id: config.client_id.clone(),
            client_host: String::new(),
            topics: config.topics.clone(),
            assignor: assignor.into(),
            rebalance_timeout_ms: u32::try_from(config.rebalance_timeout.as_millis()).unwrap_or(u32::MAX),
        };
        Box::pin(async move {
            let call = |server: Server| {
                let request = request.clone();
                async move { server.groups().join_group(request).await }
            };
            let answer = shared.calls.once(ANSWER_MAX, call).await;
            (sent, answer.and_then(|answer| standing(&shared, answer.membership)))
        })
    }

    fn heartbeat(
        &self,
        sent: Sent,
        epoch: Epoch,
        seen: Revision,
        owned: Option<PartitionSet>,
    ) -> Pin<Box<dyn Future<Output = Answered> + Send>> {
        let (shared, config) = (Arc::clone(&self.shared), &self.shared.config);
        // What an answer waits is taken from the time to give up what it revokes.
        let wait = self.heartbeat_interval.min(config.rebalance_timeout / 2);
        let request = v1::HeartbeatRequest {
            group: config.group.clone(),
            member_id: self.member_id.clone(),
            instance_id: config.instance_id.clone().unwrap_or_default(),
            member_epoch: epoch.0,
            revision: seen.0,
            owned: owned.map(|owned| self.assignment(&owned)),
            topics: Vec::new(),
            max_wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        };
        let timeout = wait + ANSWER_MAX.min(self.session_timeout / 4);
        Box::pin(async move {
            let call = |server: Server| {
                let request = request.clone();
                async move { server.groups().heartbeat(request).await }
            };
            let answer = shared.calls.once(timeout, call).await;
            (sent, answer.and_then(|answer| standing(&shared, answer.membership)))
        })
    }

    fn assignment(&self, owned: &PartitionSet) -> v1::GroupAssignment {
        let inner = self.shared.inner();
        let topic = |run: &[PartitionId]| v1::TopicPartitions {
            topic: inner.key(run[0]).topic.to_string(),
            topic_id: run[0].topic.to_string(),
            partitions: run.iter().map(|partition| partition.index.0).collect(),
        };
        let runs = owned.as_slice().chunk_by(|a, b| a.topic == b.topic);
        v1::GroupAssignment { topics: runs.map(topic).collect() }
    }

    /// Takes in an answer or a refusal.
    ///
    /// # Errors
    /// Why this will never be a member.
    fn on_outcome(
        &mut self,
        sent: Sent,
        outcome: Result<v1::GroupMembership, ClientError>,
    ) -> Result<(), ClientError> {
        match outcome {
            Ok(standing) => self.on_answer(sent, &standing),
            Err(error) => self.on_refusal(sent, error),
        }
    }

    fn on_answer(&mut self, sent: Sent, standing: &v1::GroupMembership) -> Result<(), ClientError> {
        self.backoff.reset();
        self.heartbeat_interval = Duration::from_millis(standing.heartbeat_interval_ms.into());
        self.session_timeout = Duration::from_millis(standing.session_timeout_ms.into());
        let answer = MemberAnswer {
            epoch: Epoch(standing.member_epoch),
            revision: Revision(standing.revision),
            assignment: standing.assignment.as_ref().map(|told| self.take_assignment(told)).transpose()?,
            is_to_give_up: standing.is_to_give_up,
        };
        let now = self.uptime();
        let change = self.membership.answered(sent, now, &answer, self.session_timeout);
        self.apply(&change);
        Ok(())
    }

    /// Remembers the topics' names, and forgets those of which nothing is owned.
    fn take_assignment(&self, told: &v1::GroupAssignment) -> Result<PartitionSet, ClientError> {
        let mut partitions = Vec::new();
        let mut named = BTreeMap::new();
        for topic in &told.topics {
            let id = topic.topic_id.parse().map(TopicId);
            let id = id.map_err(|_| self.shared.cluster.protocol("an assignment without a topic's id"))?;
            named.insert(id, Arc::from(topic.topic.as_str()));
            let of = |index: &u32| PartitionId { topic: id, index: PartitionIndex(*index) };
            partitions.extend(topic.partitions.iter().map(of));
        }
        let owned: BTreeSet<TopicId> = self.membership.owned().iter().map(|owned| owned.topic).collect();
        let names = &mut self.shared.inner().names;
        names.retain(|id, _| owned.contains(id));
        // The name of a topic that is gone is not told any more.
        named.retain(|id, name: &mut Arc<str>| !name.is_empty() || !names.contains_key(id));
        names.append(&mut named);
        Ok(partitions.into())
    }

    fn on_refusal(&mut self, sent: Sent, error: ClientError) -> Result<(), ClientError> {
        let code = match &error {
            _ if error.is_retriable() => ErrorCode::Unavailable,
            error => error.code().unwrap_or(ErrorCode::Internal),
        };
        let now = Instant::now();
        match self.membership.refused(sent, code) {
            Verdict::Outdated => {}
            Verdict::Again => {
                tracing::debug!(group = self.shared.config.group, %error, "the group's coordinator did not answer");
                self.retry_at = Some(now + self.backoff.next_wait());
            }
            Verdict::JoinAs { is_new_id, lost } => {
                tracing::warn!(group = self.shared.config.group, member = self.member_id, %error, "joining again");
                if is_new_id {
                    self.member_id = draw_id(&*self.shared.cluster.config.random);
                }
                self.retry_at = Some(now + self.backoff.next_wait());
                self.apply(&Change { lost, ..Change::default() });
            }
            Verdict::PlaceTaken => {
                tracing::warn!(group = self.shared.config.group, %error, "waiting for the instance's place");
                self.retry_at = Some(now + self.backoff.longest_wait());
            }
            Verdict::Fatal => {
                let lost = self.membership.owned();
                self.apply(&Change { lost, ..Change::default() });
                self.shared.inner().identity = None;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes down what is different, and where the member stands.
    fn apply(&mut self, change: &Change) {
        if !change.lost.is_empty() {
            // Who does not own anything begins anew: nothing that is on its way matters.
            self.in_flight.clear();
        }
        let release_by = self.membership.release_by().map(|Uptime(at)| self.origin + at);
        let identity =
            self.membership.epoch().map(|Epoch(epoch)| Identity { member_id: self.member_id.clone(), epoch });
        {
            let mut inner = self.shared.inner();
            inner.release_by = release_by;
            inner.identity = identity;
        }
        self.shared.apply(change);
    }

    /// Says that the member is gone, as well as that goes: else its session ends it.
    async fn leave(&mut self, for_a_while: bool) {
        self.in_flight.clear();
        if !self.membership.is_member() {
            return;
        }
        let group = self.shared.config.group.clone();
        let request = v1::LeaveGroupRequest { group, member_id: self.member_id.clone(), for_a_while };
        let call = |server: Server| {
            let request = request.clone();
            async move { server.groups().leave_group(request).await }
        };
        if let Err(error) = self.shared.calls.until(Instant::now() + LEAVE_MAX, call).await {
            tracing::warn!(group = self.shared.config.group, %error, "could not leave; the session will end it");
        }
    }
}

fn standing(shared: &Shared, told: Option<v1::GroupMembership>) -> Result<v1::GroupMembership, ClientError> {
    told.ok_or_else(|| shared.cluster.protocol("an answer that does not say where the member stands"))
}

/// An id that nobody has used or will.
fn draw_id(random: &dyn Random) -> String {
    format!("{:016x}{:016x}", random.next_u64(), random.next_u64())
}
