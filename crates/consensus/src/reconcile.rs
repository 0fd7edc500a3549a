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
//! - Replicas are never fewer than wanted on the way: the new ones have the log before an old one goes. A replica that lost its
//!   disk, or gave up who it was, is none.
//! - A leader never takes its own vote: it hands over first.
//! - A learner votes only when it has the leader's log but for what is on its way.

use std::collections::{BTreeMap, BTreeSet};

use highwater_types::{NodeId, RaftIndex};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, Precondition, Raft};

use crate::convert;
use crate::error::ConsensusError;
use crate::group::{Group, fatal_error};
use crate::membership::MemberInfo;
use crate::message::Member;
use crate::state_machine::StateMachine;
use crate::type_config::Types;

/// Entries that a learner may be behind when it is made a voter.
pub(crate) const PROMOTION_LAG_MAX: u64 = 1000;

/// Who should be in a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// Who should vote.
    pub voters: BTreeSet<Member>,
    /// Who should follow without a vote.
    pub learners: BTreeSet<Member>,
}

/// How far the membership is from what is desired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconciled {
    /// It is as desired.
    Done,
    /// One step was taken; there are more.
    Stepped,
    /// These learners still lack that many entries. None: this node is to leave, and another one has to lead before that.
    CatchingUp(BTreeMap<NodeId, u64>),
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Change(Vec<ChangeMembers<u64, MemberInfo>>, bool),
    Wait(BTreeMap<NodeId, u64>),
    Nothing,
}

/// The membership as it should be.
struct Wanted {
    voters: BTreeSet<u64>,
    members: BTreeMap<u64, MemberInfo>,
}

impl Wanted {
    /// What is desired, with what is known of each one's replica.
    fn new(desired: &Desired, info: impl Fn(&Member) -> MemberInfo) -> Self {
        let all = desired.voters.iter().chain(&desired.learners);
        Self {
            voters: desired.voters.iter().map(|member| member.node.0).collect(),
            members: all.map(|member| (member.node.0, info(member))).collect(),
        }
    }
}

/// The membership as it is.
struct Actual {
    configs: Vec<BTreeSet<u64>>,
    members: BTreeMap<u64, MemberInfo>,
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
        let rejoining = &self.shared.rejoining;
        let info = |member: &Member| rejoining.wanted(*member, actual.members.get(&member.node.0));
        let wanted = Wanted::new(desired, info);
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

/// The next step that the leader `own` may take. It never takes its own vote: the others would go on taking it for the leader for as long as
/// its node lives. Who takes over from it takes that step.
fn next_step_of_leader(own: u64, actual: &Actual, mut wanted: Wanted, lag: &BTreeMap<u64, u64>) -> Step {
    let is_leaving = !wanted.voters.contains(&own) && actual.configs.iter().any(|config| config.contains(&own));
    let is_left_out =
        actual.configs.len() > 1 && actual.configs.last().is_some_and(|next| !next.contains(&own));
    match (is_leaving, is_left_out) {
        (false, false) => next_step(actual, &wanted, lag),
        // Whoever began the step that leaves it out did not know that it is wanted again.
        (false, true) => Step::Change(vec![ChangeMembers::ReplaceAllVoters(wanted.voters)], true),
        (true, true) => Step::Wait(BTreeMap::new()),
        (true, false) => {
            wanted.voters.insert(own);
            wanted.members.extend(actual.members.get(&own).map(|info| (own, *info)));
            match next_step(actual, &wanted, lag) {
                Step::Nothing => Step::Wait(BTreeMap::new()),
                step => step,
            }
        }
    }
}

fn next_step(actual: &Actual, wanted: &Wanted, lag: &BTreeMap<u64, u64>) -> Step {
    if actual.configs.len() > 1 {
        // A change that was cut short is finished before another one begins.
        return Step::Change(vec![ChangeMembers::AddVoterIds(BTreeSet::new())], true);
    }
    let voters = actual.configs.first().cloned().unwrap_or_default();
    let Wanted { voters: wanted_voters, members: wanted } = wanted;
    let reborn = |node: &u64| wanted.get(node).is_some_and(|info| actual.members.get(node) != Some(info));
    let lost: BTreeSet<u64> = actual.members.keys().copied().filter(reborn).collect();
    let (lost_voters, lost_learners): (BTreeSet<u64>, BTreeSet<u64>) =
        lost.into_iter().partition(|node| voters.contains(node));
    let is_on_its_way = |node: &u64| actual.members.get(node).is_none_or(|info| wanted.get(node) == Some(info));
    let is_coming_back = wanted_voters.iter().any(|node| !voters.contains(node) && is_on_its_way(node));
    // One after the other: what is acknowledged meanwhile shall be on as many as there can be. And somebody has to be left to vote.
    if let Some(first) = lost_voters.first().filter(|_| !is_coming_back && lost_voters.len() < voters.len()) {
        return Step::Change(vec![ChangeMembers::RemoveVoters(BTreeSet::from([*first]))], false);
    }
    if !lost_learners.is_empty() {
        return Step::Change(vec![ChangeMembers::RemoveNodes(lost_learners)], false);
    }
    let missing: BTreeMap<u64, MemberInfo> = wanted
        .iter()
        .filter(|(node, _)| !actual.members.contains_key(node))
        .map(|(node, info)| (*node, *info))
        .collect();
    if !missing.is_empty() {
        return Step::Change(vec![ChangeMembers::AddNodes(missing)], true);
    }
    if *wanted_voters != voters && !wanted_voters.is_empty() {
        let behind: BTreeMap<NodeId, u64> = wanted_voters
            .difference(&voters)
            .map(|node| (NodeId(*node), lag.get(node).copied().unwrap_or(u64::MAX)))
            .filter(|(_, lag)| *lag > PROMOTION_LAG_MAX)
            .collect();
        if !behind.is_empty() {
            return Step::Wait(behind);
        }
        // Who leaves the voters stays a learner until the next step, so that nobody who may still lead is cut off.
        return Step::Change(vec![ChangeMembers::ReplaceAllVoters(wanted_voters.clone())], true);
    }
    let surplus: BTreeSet<u64> =
        actual.members.keys().copied().filter(|node| !wanted.contains_key(node)).collect();
    match surplus.is_empty() {
        true => Step::Nothing,
        false => Step::Change(vec![ChangeMembers::RemoveNodes(surplus)], false),
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

#[cfg(test)]
mod tests {
    use highwater_types::Incarnation;

    use super::*;

    fn info(incarnation: u64) -> MemberInfo {
        MemberInfo::of_node(Incarnation(incarnation))
    }

    fn actual(voters: &[u64], members: &[(u64, u64)]) -> Actual {
        Actual {
            configs: vec![voters.iter().copied().collect()],
            members: members.iter().map(|(node, incarnation)| (*node, info(*incarnation))).collect(),
        }
    }

    fn wanted(voters: &[(u64, u64)]) -> Wanted {
        let member = |(node, incarnation): &(u64, u64)| Member {
            node: NodeId(*node),
            incarnation: Incarnation(*incarnation),
        };
        let desired = Desired { voters: voters.iter().map(member).collect(), learners: BTreeSet::new() };
        Wanted::new(&desired, |member| MemberInfo::of_node(member.incarnation))
    }

    /// Applies steps until nothing is left to do; every one keeps a voter, and never drops below what is wanted.
    fn settle(mut actual: Actual, wanted: &Wanted, whole: usize) -> Actual {
        for _ in 0..10 {
            let lag = actual.members.keys().map(|node| (*node, 0)).collect();
            let (changes, retain) = match next_step(&actual, wanted, &lag) {
                Step::Nothing => return actual,
                Step::Wait(lag) => panic!("waits for {lag:?}"),
                Step::Change(changes, retain) => (changes, retain),
            };
            for change in changes {
                let voters = &mut actual.configs[0];
                match change {
                    ChangeMembers::AddNodes(nodes) => actual.members.extend(nodes),
                    ChangeMembers::RemoveNodes(nodes) => actual.members.retain(|node, _| !nodes.contains(node)),
                    ChangeMembers::RemoveVoters(nodes) => voters.retain(|node| !nodes.contains(node)),
                    ChangeMembers::ReplaceAllVoters(nodes) => *voters = nodes,
                    other => panic!("{other:?}"),
                }
                let voters = voters.clone();
                if !retain {
                    let wanted = &wanted.voters;
                    actual.members.retain(|node, _| voters.contains(node) || wanted.contains(node) && retain);
                }
                assert!(voters.len() >= whole, "{voters:?}");
            }
        }
        panic!("it never settles");
    }

    #[test]
    fn a_replica_is_moved_through_a_learner_and_never_missing() {
        let three = actual(&[1, 2, 3], &[(1, 1), (2, 1), (3, 1)]);
        let moved = settle(three, &wanted(&[(1, 1), (2, 1), (4, 1)]), 3);
        assert_eq!(moved.configs, [BTreeSet::from([1, 2, 4])]);
        assert_eq!(moved.members.keys().copied().collect::<Vec<_>>(), [1, 2, 4]);
    }

    #[test]
    fn a_leader_that_is_to_leave_lets_the_others_vote_and_waits_until_one_of_them_leads() {
        let lag = (1..=4).map(|node| (node, 0)).collect();
        let to = || wanted(&[(2, 1), (3, 1), (4, 1)]);
        let three = actual(&[1, 2, 3], &[(1, 1), (2, 1), (3, 1), (4, 1)]);
        let all = Step::Change(vec![ChangeMembers::ReplaceAllVoters(BTreeSet::from([1, 2, 3, 4]))], true);
        assert_eq!(next_step_of_leader(1, &three, to(), &lag), all);
        let four = actual(&[1, 2, 3, 4], &[(1, 1), (2, 1), (3, 1), (4, 1)]);
        assert_eq!(next_step_of_leader(1, &four, to(), &lag), Step::Wait(BTreeMap::new()));
        let without = Step::Change(vec![ChangeMembers::ReplaceAllVoters(BTreeSet::from([2, 3, 4]))], true);
        assert_eq!(next_step_of_leader(4, &four, to(), &lag), without);
        // Begun by one who is gone.
        let configs = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])];
        let joint = Actual { configs, members: four.members };
        assert_eq!(next_step_of_leader(1, &joint, to(), &lag), Step::Wait(BTreeMap::new()));
        let back = Step::Change(vec![ChangeMembers::ReplaceAllVoters(BTreeSet::from([1, 2, 3]))], true);
        assert_eq!(next_step_of_leader(1, &joint, wanted(&[(1, 1), (2, 1), (3, 1)]), &lag), back);
    }

    #[test]
    fn a_learner_that_lags_is_waited_for() {
        let joined = actual(&[1, 2, 3], &[(1, 1), (2, 1), (3, 1), (4, 1)]);
        let lag = BTreeMap::from([(1, 0), (2, 0), (3, 0), (4, PROMOTION_LAG_MAX + 1)]);
        let step = next_step(&joined, &wanted(&[(1, 1), (2, 1), (4, 1)]), &lag);
        assert_eq!(step, Step::Wait(BTreeMap::from([(NodeId(4), PROMOTION_LAG_MAX + 1)])));
    }

    #[test]
    fn a_node_whose_disk_was_lost_leaves_and_comes_back_as_a_learner() {
        let three = actual(&[1, 2, 3], &[(1, 1), (2, 1), (3, 1)]);
        let back = settle(three, &wanted(&[(1, 1), (2, 1), (3, 9)]), 2);
        assert_eq!(back.configs, [BTreeSet::from([1, 2, 3])]);
        assert_eq!(back.members[&3], info(9));
    }

    #[test]
    fn a_replica_that_gave_up_who_it_was_leaves_and_comes_back_as_a_learner() {
        let three = actual(&[1, 2, 3], &[(1, 1), (2, 1), (3, 1)]);
        let mut renewed = wanted(&[(1, 1), (2, 1), (3, 1)]);
        let info = MemberInfo { replica: Some(Incarnation(5)), ..info(1) };
        renewed.members.insert(3, info);
        let back = settle(three, &renewed, 2);
        assert_eq!(back.configs, [BTreeSet::from([1, 2, 3])]);
        assert_eq!(back.members[&3], info);
    }

    #[test]
    fn two_that_come_back_do_so_one_after_the_other() {
        let three = actual(&[1, 2, 3], &[(1, 1), (2, 1), (3, 1)]);
        let back = settle(three, &wanted(&[(1, 1), (2, 9), (3, 9)]), 2);
        assert_eq!(back.configs, [BTreeSet::from([1, 2, 3])]);
        assert_eq!((back.members[&2], back.members[&3]), (info(9), info(9)));
    }

    #[test]
    fn a_change_that_was_cut_short_is_finished_first() {
        let joint = Actual {
            configs: vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([1, 2, 4])],
            members: (1..=4).map(|node| (node, info(1))).collect(),
        };
        let step = next_step(&joint, &wanted(&[(1, 1), (2, 1), (4, 1)]), &BTreeMap::new());
        assert_eq!(step, Step::Change(vec![ChangeMembers::AddVoterIds(BTreeSet::new())], true));
    }
}
