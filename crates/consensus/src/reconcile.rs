//! Brings a group's membership to what the metadata wants, one safe step at a time.
//!
//! ```text
//! a replica lost its data   ─▶ the member that it was leaves
//! a member is missing       ─▶ it joins as a learner
//! all learners caught up    ─▶ the voters change, in one joint step, to the wanted ones
//! members are left over     ─▶ they go
//! ```
//!
//! Invariants:
//! - Each step is one committed change that starts from the membership it was decided on; whoever leads takes the next one, after
//!   a crash as well.
//! - Who joins has said who it is.
//! - Replicas are never fewer than wanted on the way: the new ones have the log before an old one goes. A replica that lost its
//!   disk, or gave up who it was, is none.
//! - A leader never takes its own vote, nor removes itself: it hands over first.
//! - A learner votes only when it has the leader's log but for what is on its way.

mod step;

use std::collections::{BTreeMap, BTreeSet};

use highwater_types::{NodeId, RaftIndex};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{Precondition, Raft};

use crate::convert;
use crate::error::ConsensusError;
use crate::group::{Group, fatal_error};
use crate::message::Member;
use crate::state_machine::StateMachine;
use crate::type_config::Types;
use step::{Actual, Step, Wanted, next_step_of_leader};

pub(crate) use step::PROMOTION_LAG_MAX;

/// Who should be in a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// Who should vote.
    pub voters: BTreeSet<Member>,
    /// Who should follow without a vote.
    pub learners: BTreeSet<Member>,
}

impl Desired {
    fn all(&self) -> impl Iterator<Item = &Member> {
        self.voters.iter().chain(&self.learners)
    }
}

/// How far the membership is from what is desired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconciled {
    /// It is as desired.
    Done,
    /// One step was taken; there are more.
    Stepped,
    /// These members still lack that many entries; those that did not join yet, for they do not answer, lack all. None: this node is to
    /// leave, and another one has to lead before that.
    CatchingUp(BTreeMap<NodeId, u64>),
}

impl Group {
    /// Takes the next step towards the desired membership. To be called by the leader, again and again until it is done.
    ///
    /// Cancel-safe: a step that was begun goes on or is taken again.
    ///
    /// # Errors
    /// When this node does not lead, or the step could not be committed; it is taken again by the next call.
    pub async fn reconcile(&self, desired: &Desired) -> Result<Reconciled, ConsensusError> {
        let status = self.status();
        let Some(raft) = self.raft().filter(|_| status.is_serving) else {
            return Err(ConsensusError::NotLeader { leader: status.leader.filter(|_| !status.is_leader) });
        };
        let (actual, based_on) = {
            let metrics = raft.server_metrics();
            let metrics = metrics.borrow_watched();
            let membership = metrics.membership_config.membership();
            let members = membership.nodes().map(|(node, info)| (*node, *info)).collect();
            (
                Actual { configs: membership.get_joint_config().clone(), members },
                *metrics.membership_config.log_id(),
            )
        };
        let mut lag = self.lag(raft);
        lag.extend(self.never_heard(raft).into_iter().map(|node| (node, u64::MAX)));
        let is_missing = |member: &&Member| !actual.members.contains_key(&member.node.0);
        let joining = desired.all().filter(is_missing).filter(|member| !self.is_silent(member.node));
        let known = self.identify(joining.copied().collect()).await;
        let rejoining = &self.shared.rejoining;
        let wanted = Wanted::new(desired, |member| match actual.members.get(&member.node.0) {
            Some(info) => Some(rejoining.wanted(*member, info)),
            None => known.get(&member.node).copied(),
        });
        match next_step_of_leader(self.shared.node.0, &actual, wanted, &lag) {
            Step::Nothing => Ok(Reconciled::Done),
            Step::Wait(lag) => {
                self.shared.driver.attend(self.id());
                Ok(Reconciled::CatchingUp(lag))
            }
            Step::Change(changes, retain) => {
                self.unpark(raft).await?;
                let _turn = self.shared.members.lock().await;
                for change in changes {
                    let base = Precondition::LastMembershipLogId { last_membership_log_id: based_on };
                    let changed = raft.change_membership_if(change, retain, [base]).await;
                    changed.map_err(|error| change_error(&error))?;
                }
                Ok(Reconciled::Stepped)
            }
        }
    }

    /// Members that acknowledged nothing yet. However short the log is, such a one is not made a voter: it may be gone, and a change of
    /// voters that needs it could then neither be finished nor taken back.
    pub(crate) fn never_heard(&self, raft: &Raft<Types, StateMachine>) -> Vec<u64> {
        let metrics = raft.data_metrics();
        let metrics = metrics.borrow_watched();
        let replication = metrics.replication.iter().flatten();
        let silent = replication.filter(|(node, matching)| matching.is_none() && **node != self.shared.node.0);
        silent.map(|(node, _)| *node).collect()
    }

    /// How many entries each other member lacks.
    pub(crate) fn lag(&self, raft: &Raft<Types, StateMachine>) -> BTreeMap<u64, u64> {
        let metrics = raft.data_metrics();
        let metrics = metrics.borrow_watched();
        let end = |id: Option<RaftIndex>| id.map_or(0, |index| index.0 + 1);
        let last = end(metrics.last_log.as_ref().map(|id| convert::log_id(id).index));
        let replication = metrics.replication.iter().flatten();
        let mut lag: BTreeMap<u64, u64> = replication
            .map(|(node, matching)| {
                let stored = end(matching.as_ref().map(|id| convert::log_id(id).index));
                (*node, last.saturating_sub(stored))
            })
            .collect();
        lag.insert(self.shared.node.0, 0);
        lag
    }
}

fn change_error(error: &RaftError<Types, ClientWriteError<Types>>) -> ConsensusError {
    match error {
        RaftError::Fatal(fatal) => fatal_error(fatal),
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            ConsensusError::NotLeader { leader: forward.leader_id.map(NodeId) }
        }
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => ConsensusError::Discarded,
        RaftError::APIError(error) => ConsensusError::Failed { reason: error.to_string() },
    }
}
