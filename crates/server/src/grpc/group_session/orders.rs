//! What the client says of its partitions, carried out in the order in which it says it: offsets to remember, and partitions that it
//! gave up. So a commit that was sent before a release counts.
//!
//! Commits that wait go to the coordinator together. While it moves they are sent again, for it does no harm to commit twice.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use highwater_broker::BrokerError;
use highwater_groups::{Epoch, PartitionSet};
use highwater_proto::v1;
use highwater_types::{Backoff, ErrorCode, PartitionIndex, Random, limits};
use tokio::time::{Instant, sleep};

use crate::grpc::forward::{incomplete, merge};
use crate::grpc::groups::Groups;
use crate::grpc::status::detail;

/// How long it is tried to have offsets remembered.
const COMMIT_PATIENCE: Duration = Duration::from_secs(30);
/// The first and the longest wait in between.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// One thing to do.
pub(super) enum Order {
    Commit(Commit),
    /// These were given up.
    Release(PartitionSet),
}

/// Who commits: a member, in an epoch.
pub(super) type Committer = (String, Epoch);

/// Offsets that the client wants to be remembered.
pub(super) struct Commit {
    pub(super) correlation_id: u64,
    /// In whose name. None while the session is no member.
    pub(super) committer: Option<Committer>,
    pub(super) offsets: Vec<NewOffset>,
}

/// One of them.
pub(super) struct NewOffset {
    pub(super) commit: v1::OffsetCommit,
    /// Whether the partition is the client's. Otherwise the offset is refused.
    pub(super) is_its: bool,
}

/// What was done.
pub(super) enum Done {
    Committed(Vec<v1::GroupSessionCommitted>),
    /// These are to be given up now: what was to be committed before has been.
    Released(PartitionSet),
}

/// See the module.
pub(super) struct Orders {
    groups: Groups,
    group: String,
    random: Arc<dyn Random>,
    waiting: VecDeque<Order>,
    under_way: Option<Pin<Box<dyn Future<Output = Vec<v1::GroupSessionCommitted>> + Send>>>,
}

impl Orders {
    pub(super) fn new(groups: Groups, group: String, random: Arc<dyn Random>) -> Self {
        Self { groups, group, random, waiting: VecDeque::new(), under_way: None }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.under_way.is_some())
    }

    pub(super) fn push(&mut self, order: Order) {
        self.waiting.push_back(order);
    }

    /// Does what is next. Never, when nothing is. Cancel-safe.
    pub(super) async fn next(&mut self) -> Done {
        if self.under_way.is_none() {
            let commits = self.next_commits();
            if commits.is_empty() {
                return match self.waiting.pop_front() {
                    Some(Order::Release(partitions)) => Done::Released(partitions),
                    _ => pending().await,
                };
            }
            let backoff = Backoff::new(RETRY.0, RETRY.1, Arc::clone(&self.random));
            let (groups, group) = (self.groups.clone(), self.group.clone());
            self.under_way = Some(Box::pin(carry_out(groups, group, commits, backoff)));
        }
        match &mut self.under_way {
            Some(under_way) => {
                let committed = under_way.await;
                self.under_way = None;
                Done::Committed(committed)
            }
            None => pending().await,
        }
    }

    /// The commits before the next release that are in one name, as many as fit into a request.
    fn next_commits(&mut self) -> Vec<Commit> {
        let mut commits: Vec<Commit> = Vec::new();
        let mut offsets = 0;
        while let Some(Order::Commit(commit)) = self.waiting.front() {
            let is_other = commits.first().is_some_and(|first| first.committer != commit.committer);
            offsets += commit.offsets.len();
            if !commits.is_empty() && (is_other || offsets > limits::PARTITIONS_PER_REQUEST_MAX) {
                break;
            }
            let Some(Order::Commit(commit)) = self.waiting.pop_front() else { break };
            commits.push(commit);
        }
        commits
    }
}

async fn carry_out(
    groups: Groups,
    group: String,
    commits: Vec<Commit>,
    backoff: Backoff,
) -> Vec<v1::GroupSessionCommitted> {
    let committer = commits.first().and_then(|first| first.committer.clone());
    let all = commits.iter().flat_map(|commit| &commit.offsets);
    let offsets = all.filter(|offset| offset.is_its).map(|offset| offset.commit.clone()).collect();
    let mut results = send(&groups, group, committer, offsets, backoff).await.into_iter();
    let mut result = |NewOffset { commit, is_its }| match is_its {
        true => results.next().unwrap_or_else(|| failed(&commit, incomplete())),
        false => failed(&commit, not_its()),
    };
    let answer = |commit: Commit| v1::GroupSessionCommitted {
        correlation_id: commit.correlation_id,
        results: commit.offsets.into_iter().map(&mut result).collect(),
    };
    commits.into_iter().map(answer).collect()
}

/// One result for each offset.
async fn send(
    groups: &Groups,
    group: String,
    committer: Option<Committer>,
    offsets: Vec<v1::OffsetCommit>,
    mut backoff: Backoff,
) -> Vec<v1::GroupOffsetResult> {
    let Some((member_id, epoch)) = committer.filter(|_| !offsets.is_empty()) else { return Vec::new() };
    let request =
        v1::CommitOffsetsRequest { group, member_id, member_epoch: epoch.0, offsets: offsets.clone() };
    let give_up_at = Instant::now() + COMMIT_PATIENCE;
    let outcome = loop {
        match groups.commit(request.clone()).await {
            Err(error) if error.code.is_retriable() && Instant::now() < give_up_at => {
                sleep(backoff.next_wait()).await;
            }
            outcome => break outcome,
        }
    };
    let all_failed = |error: &BrokerError| offsets.iter().map(|offset| failed(offset, error.clone())).collect();
    match outcome {
        Ok(answer) => {
            let places = (0..offsets.len()).collect();
            merge(offsets.len(), [(places, answer.results)], |place| failed(&offsets[place], incomplete()))
        }
        Err(error) => all_failed(&error),
    }
}

fn not_its() -> BrokerError {
    let message = "the session was not assigned the partition, or has released it";
    BrokerError::new(ErrorCode::StaleMember, message)
}

/// Why an offset is not remembered.
fn failed(offset: &v1::OffsetCommit, error: BrokerError) -> v1::GroupOffsetResult {
    let error = error.with_topic(&offset.topic);
    v1::GroupOffsetResult {
        topic: offset.topic.clone(),
        partition: offset.partition,
        error: Some(detail(error.with_partition(PartitionIndex(offset.partition)))),
    }
}
