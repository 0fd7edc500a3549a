//! Keeps a session's member in its group: joins, and always has a heartbeat waiting at the coordinator, here or at another node.
//!
//! What the member is to do follows from [`Membership`]; here are the clock, the calls and when to try again.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use highwater_broker::BrokerError;
use highwater_groups::membership::{Ask, Change, MemberRequest, Sent, Verdict};
use highwater_groups::{Epoch, MemberAnswer, MemberId, Membership, PartitionSet, Revision, Uptime};
use highwater_proto::v1;
use highwater_types::{Backoff, ErrorCode, Random};
use tokio::time::{Instant, sleep_until, timeout};

use super::topics::TopicNames;
use crate::grpc::forward::incomplete;
use crate::grpc::groups::Groups;

/// Most requests of one member that are under way: one that waits, one that says what it gave up, and one in the place of another whose
/// coordinator does not answer.
const ASKED_MAX: usize = 3;
/// How much longer than it may wait an answer is waited for before the coordinator, which may be another node by then, is asked again.
const OVERDUE: Duration = Duration::from_secs(1);
/// How long it is tried to be a member before the session is given up.
const JOIN_PATIENCE: Duration = Duration::from_secs(30);
/// The same for leaving: if it cannot be said, the member's session ends by itself.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);
/// The first and the longest wait after a request that could not be answered.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// So many answers that come at once and say nothing are followed by the next request at once, and then only after a wait: another session may go by
/// the same id, and each heartbeat of one answers the other's.
const EMPTY_ANSWERS_MAX: u32 = 3;
/// That wait, and what counts as at once.
const EMPTY_ANSWER_WAIT: Duration = Duration::from_millis(100);

/// What is new for a session.
pub(super) enum Kept {
    /// It is a member, under an id that was not told yet.
    Joined,
    /// Partitions come or go.
    Changed(Change),
    /// It cannot be a member.
    Failed(BrokerError),
}

type Answer = Result<v1::GroupMembership, BrokerError>;
type AnswerFuture = Pin<Box<dyn Future<Output = (Sent, Answer)> + Send>>;

/// See the module.
pub(super) struct Keeper {
    groups: Groups,
    host: Option<SocketAddr>,
    join: v1::JoinGroupRequest,
    random: Arc<dyn Random>,
    /// The origin of the member's time.
    began: Instant,
    membership: Membership,
    names: TopicNames,
    asked: FuturesUnordered<AnswerFuture>,
    /// When to ask, unless it is due before.
    next_at: Instant,
    heartbeat_interval: Duration,
    session_timeout: Duration,
    backoff: Backoff,
    empty_answers: u32,
    /// Since when it is no member.
    outside_since: Instant,
    told_id: bool,
    news: VecDeque<Kept>,
}

impl Keeper {
    /// Joins with this request; without a member's id in it, one is drawn.
    pub(super) fn new(
        groups: Groups,
        host: Option<SocketAddr>,
        mut join: v1::JoinGroupRequest,
        rebalance_timeout: Duration,
        random: Arc<dyn Random>,
    ) -> Self {
        if join.member_id.is_empty() {
            join.member_id = MemberId::draw(&*random).as_str().to_owned();
        }
        let now = Instant::now();
        Self {
            groups,
            host,
            join,
            began: now,
            membership: Membership::new(rebalance_timeout),
            names: TopicNames::default(),
            asked: FuturesUnordered::new(),
            next_at: now,
            heartbeat_interval: Duration::ZERO,
            session_timeout: Duration::ZERO,
            backoff: Backoff::new(RETRY.0, RETRY.1, Arc::clone(&random)),
            random,
            empty_answers: 0,
            outside_since: now,
            told_id: false,
            news: VecDeque::new(),
        }
    }

    /// The member's id.
    pub(super) fn member_id(&self) -> &str {
        &self.join.member_id
    }

    /// The epoch to commit in, while it is a member.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.membership.epoch()
    }

    /// After how much silence it is taken for dead.
    pub(super) fn session_timeout(&self) -> Duration {
        self.session_timeout
    }

    /// How long it has to give up what was revoked.
    pub(super) fn release_within(&self) -> Duration {
        let until = self.membership.release_by().map_or(Duration::ZERO, |until| until.0);
        until.saturating_sub(self.began.elapsed())
    }

    /// The names of the topics that it was told of.
    pub(super) fn names(&self) -> &TopicNames {
        &self.names
    }

    /// These were given up, which is said at once. What was assigned again meanwhile is begun anew.
    pub(super) fn released(&mut self, partitions: &PartitionSet) -> Change {
        self.membership.released(partitions)
    }

    /// What is new. Cancel-safe.
    pub(super) async fn next(&mut self) -> Kept {
        loop {
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            let may_ask = self.asked.len() < ASKED_MAX;
            if may_ask && (self.membership.is_due() || self.next_at <= Instant::now()) {
                self.ask();
                continue;
            }
            let deadline = self.membership.deadline().map(|deadline| self.began + deadline.0);
            tokio::select! {
                biased;
                Some((sent, answer)) = self.asked.next() => self.hear(sent, answer),
                () = sleep_until(deadline.unwrap_or(self.next_at)), if deadline.is_some() => {
                    let change = self.membership.tick(self.uptime());
                    self.begin_anew();
                    self.note(change);
                }
                () = sleep_until(self.next_at), if may_ask => {}
            }
        }
    }

    /// The member goes, for a while if its place outlives it.
    pub(super) async fn leave(mut self) {
        if !self.membership.is_member() && !self.asked.is_empty() {
            // A join that is decided after the member left would be one of nobody.
            let _ = timeout(LEAVE_PATIENCE, self.asked.next()).await;
        }
        self.asked.clear();
        let request = v1::LeaveGroupRequest {
            group: self.join.group.clone(),
            member_id: self.join.member_id.clone(),
            for_a_while: !self.join.instance_id.is_empty(),
        };
        let leave = async {
            while let Err(error) = self.groups.leave(request.clone()).await {
                if !error.code.is_retriable() {
                    tracing::debug!(%error, group = self.join.group, "a member could not leave");
                    return;
                }
                tokio::time::sleep(self.backoff.next_wait()).await;
            }
        };
        if timeout(LEAVE_PATIENCE, leave).await.is_err() {
            let (group, member) = (&self.join.group, &self.join.member_id);
            tracing::info!(
                group,
                member,
                "nobody took a member's leave: its partitions move when its session ends"
            );
        }
    }

    fn uptime(&self) -> Uptime {
        Uptime(self.began.elapsed())
    }

    fn wait_max(&self) -> Duration {
        self.membership.wait_max(self.heartbeat_interval)
    }

    fn ask(&mut self) {
        let MemberRequest { sent, ask } = self.membership.request(self.uptime());
        self.next_at = Instant::now() + self.wait_max() + OVERDUE;
        let groups = self.groups.clone();
        let future: AnswerFuture = match ask {
            Ask::Join => {
                let (host, join) = (self.host, self.join.clone());
                Box::pin(async move {
                    let joined = groups.join(host, join).await;
                    (sent, joined.and_then(|joined| joined.membership.ok_or_else(incomplete)))
                })
            }
            Ask::Heartbeat { epoch, seen, owned } => {
                let heartbeat = self.heartbeat(epoch, seen, owned);
                Box::pin(async move {
                    let heard = groups.heartbeat(heartbeat).await;
                    (sent, heard.and_then(|heard| heard.membership.ok_or_else(incomplete)))
                })
            }
        };
        self.asked.push(future);
    }

    fn heartbeat(&self, epoch: Epoch, seen: Revision, owned: Option<PartitionSet>) -> v1::HeartbeatRequest {
        v1::HeartbeatRequest {
            group: self.join.group.clone(),
            member_id: self.join.member_id.clone(),
            instance_id: self.join.instance_id.clone(),
            member_epoch: epoch.0,
            revision: seen.0,
            owned: owned.map(|owned| v1::GroupAssignment { topics: self.names.group(&owned) }),
            topics: Vec::new(),
            max_wait_ms: u32::try_from(self.wait_max().as_millis()).unwrap_or(u32::MAX),
        }
    }

    fn hear(&mut self, sent: Sent, answer: Answer) {
        match answer.and_then(|membership| self.take_in(sent, membership)) {
            Ok(()) => {}
            Err(error) => match self.membership.refused(sent, error.code) {
                Verdict::Outdated => {}
                Verdict::Again => self.again(error),
                Verdict::JoinAs { is_new_id, lost } => {
                    if is_new_id {
                        self.join.member_id = MemberId::draw(&*self.random).as_str().to_owned();
                        self.told_id = false;
                    }
                    self.begin_anew();
                    self.note(Change { lost, ..Change::default() });
                }
                Verdict::PlaceTaken | Verdict::Fatal => self.news.push_back(Kept::Failed(error)),
            },
        }
    }

    fn again(&mut self, error: BrokerError) {
        self.next_at = Instant::now() + self.backoff.next_wait();
        let has_waited_enough =
            error.code == ErrorCode::Throttled || self.outside_since.elapsed() > JOIN_PATIENCE;
        if !self.membership.is_member() && has_waited_enough {
            self.news.push_back(Kept::Failed(error));
        }
    }

    fn take_in(&mut self, sent: Sent, membership: v1::GroupMembership) -> Result<(), BrokerError> {
        let says_nothing = membership.assignment.is_none();
        let assignment = membership.assignment.map(|assignment| self.names.learn(assignment)).transpose()?;
        let answer = MemberAnswer {
            epoch: Epoch(membership.member_epoch),
            revision: Revision(membership.revision),
            assignment,
            is_to_give_up: membership.is_to_give_up,
        };
        self.heartbeat_interval = Duration::from_millis(membership.heartbeat_interval_ms.into());
        self.session_timeout = Duration::from_millis(membership.session_timeout_ms.into());
        let now = self.uptime();
        let was_member = self.membership.is_member();
        let change = self.membership.answered(sent, now, &answer, self.session_timeout);
        self.backoff.reset();
        let came_at_once = now.0.saturating_sub(sent.at.0) < EMPTY_ANSWER_WAIT;
        self.empty_answers = if says_nothing && came_at_once { self.empty_answers + 1 } else { 0 };
        if was_member && !self.membership.is_member() {
            self.begin_anew();
        } else if self.asked.is_empty() {
            let pause = if self.empty_answers > EMPTY_ANSWERS_MAX { EMPTY_ANSWER_WAIT } else { Duration::ZERO };
            self.next_at = Instant::now() + pause;
        }
        if self.membership.is_member() && !self.told_id {
            self.told_id = true;
            self.news.push_back(Kept::Joined);
        }
        self.note(change);
        self.names.keep(&self.membership.owned());
        Ok(())
    }

    /// Has the session told what is different.
    fn note(&mut self, change: Change) {
        if !change.is_empty() {
            self.news.push_back(Kept::Changed(change));
        }
    }

    /// It is no member any more, and joins at once.
    fn begin_anew(&mut self) {
        self.outside_since = Instant::now();
        self.next_at = self.outside_since;
        self.empty_answers = 0;
    }
}
