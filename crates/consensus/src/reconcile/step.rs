//! Which step towards the wanted membership comes next. It decides and does nothing.

use std::collections::{BTreeMap, BTreeSet};

use highwater_types::NodeId;
use openraft::ChangeMembers;

use super::Desired;
use crate::membership::MemberInfo;
use crate::message::Member;

/// Entries that a learner may be behind when it is made a voter.
pub(crate) const PROMOTION_LAG_MAX: u64 = 1000;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Change(Vec<ChangeMembers<u64, MemberInfo>>, bool),
    Wait(BTreeMap<NodeId, u64>),
    Nothing,
}

/// The membership as it should be.
pub(super) struct Wanted {
    voters: BTreeSet<u64>,
    members: BTreeMap<u64, MemberInfo>,
    /// Those of `members` of whom nobody knows who they are: they cannot join.
    strangers: BTreeSet<u64>,
}

impl Wanted {
    /// What is desired, with what is known of each one's replica.
    pub(super) fn new(desired: &Desired, info: impl Fn(&Member) -> Option<MemberInfo>) -> Self {
        let voters = desired.voters.iter().map(|member| member.node.0).collect();
        let mut wanted = Self { voters, members: BTreeMap::new(), strangers: BTreeSet::new() };
        for member in desired.all() {
            let known = info(member);
            if known.is_none() {
                wanted.strangers.insert(member.node.0);
            }
            let info = known.unwrap_or(MemberInfo::of_node(member.incarnation));
            wanted.members.insert(member.node.0, info);
        }
        wanted
    }
}

/// The membership as it is.
pub(super) struct Actual {
    pub(super) configs: Vec<BTreeSet<u64>>,
    pub(super) members: BTreeMap<u64, MemberInfo>,
}

/// The next step that the leader `own` may take. It never takes its own vote, nor removes itself: the others would go on taking it for the
/// leader for as long as its node lives. Who takes over from it takes that step.
pub(super) fn next_step_of_leader(
    own: u64,
    actual: &Actual,
    mut wanted: Wanted,
    lag: &BTreeMap<u64, u64>,
) -> Step {
    let votes = actual.configs.iter().any(|config| config.contains(&own));
    let is_leaving = match votes {
        true => !wanted.voters.contains(&own),
        false => !wanted.members.contains_key(&own),
    };
    let left_out_by = actual.configs.last().filter(|next| votes && !next.contains(&own));
    // Who leads is a member until another one leads, and the one that it was elected as.
    wanted.members.extend(actual.members.get(&own).map(|info| (own, *info)));
    match (is_leaving, left_out_by) {
        (false, None) => next_step(actual, &wanted, lag),
        // Whoever began the step that leaves it out did not know that it is wanted again. The others that are wanted may not be there yet.
        (false, Some(next)) => {
            let with_own = next.iter().copied().chain([own]).collect();
            Step::Change(vec![ChangeMembers::ReplaceAllVoters(with_own)], true)
        }
        (true, Some(_)) => Step::Wait(BTreeMap::new()),
        (true, None) => {
            wanted.voters.extend(votes.then_some(own));
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
    let Wanted { voters: wanted_voters, members: wanted, strangers } = wanted;
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
        .filter(|(node, _)| !actual.members.contains_key(node) && !strangers.contains(node))
        .map(|(node, info)| (*node, *info))
        .collect();
    if !missing.is_empty() {
        return Step::Change(vec![ChangeMembers::AddNodes(missing)], true);
    }
    if *wanted_voters != voters && !wanted_voters.is_empty() {
        let behind: BTreeMap<NodeId, u64> = wanted_voters
            .difference(&voters)
            .map(|node| (NodeId(*node), lag.get(node).copied().filter(|_| !strangers.contains(node))))
            .map(|(node, lag)| (node, lag.unwrap_or(u64::MAX)))
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
    if !surplus.is_empty() {
        return Step::Change(vec![ChangeMembers::RemoveNodes(surplus)], false);
    }
    match strangers.is_empty() {
        true => Step::Nothing,
        false => Step::Wait(strangers.iter().map(|node| (NodeId(*node), u64::MAX)).collect()),
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
        Wanted::new(&desired, |member| Some(MemberInfo::of_node(member.incarnation)))
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
        assert_eq!(next_step_of_leader(1, &joint, wanted(&[(1, 1), (2, 1), (3, 1)]), &lag), all);
        assert_eq!(next_step_of_leader(1, &joint, wanted(&[(1, 1), (2, 1), (5, 1)]), &lag), all);
    }

    #[test]
    fn a_leader_removes_itself_neither_as_a_learner_nor_as_one_that_its_node_was() {
        let lag = (1..=3).map(|node| (node, 0)).collect();
        let follows = actual(&[2, 3], &[(1, 1), (2, 1), (3, 1)]);
        let two = || wanted(&[(2, 1), (3, 1)]);
        assert_eq!(next_step_of_leader(1, &follows, two(), &lag), Step::Wait(BTreeMap::new()));
        let removed = Step::Change(vec![ChangeMembers::RemoveNodes(BTreeSet::from([1]))], false);
        assert_eq!(next_step_of_leader(2, &follows, two(), &lag), removed);
        // Its image of the metadata is from before its node had another disk.
        let three = actual(&[1, 2, 3], &[(1, 9), (2, 1), (3, 1)]);
        let before = wanted(&[(1, 1), (2, 1), (3, 1)]);
        assert_eq!(next_step_of_leader(1, &three, before, &lag), Step::Nothing);
    }

    #[test]
    fn a_learner_that_lags_is_waited_for() {
        let joined = actual(&[1, 2, 3], &[(1, 1), (2, 1), (3, 1), (4, 1)]);
        let lag = BTreeMap::from([(1, 0), (2, 0), (3, 0), (4, PROMOTION_LAG_MAX + 1)]);
        let step = next_step(&joined, &wanted(&[(1, 1), (2, 1), (4, 1)]), &lag);
        assert_eq!(step, Step::Wait(BTreeMap::from([(NodeId(4), PROMOTION_LAG_MAX + 1)])));
    }

    #[test]
    fn nobody_joins_before_it_is_known_who_it_is_and_the_others_do_not_wait_for_it() {
        let three = actual(&[1, 2, 3], &[(1, 1), (2, 1), (3, 1)]);
        let lag: BTreeMap<u64, u64> = (1..=5).map(|node| (node, 0)).collect();
        let mut unknown = wanted(&[(1, 1), (2, 1), (4, 1)]);
        unknown.strangers.insert(4);
        assert_eq!(next_step(&three, &unknown, &lag), Step::Wait(BTreeMap::from([(NodeId(4), u64::MAX)])));
        // One that is to follow only.
        let mut unknown = wanted(&[(1, 1), (2, 1), (5, 1)]);
        unknown.members.insert(4, info(1));
        unknown.strangers.insert(4);
        let joins = next_step(&three, &unknown, &lag);
        assert_eq!(joins, Step::Change(vec![ChangeMembers::AddNodes(BTreeMap::from([(5, info(1))]))], true));
        let joined = actual(&[1, 2, 5], &[(1, 1), (2, 1), (5, 1)]);
        assert_eq!(next_step(&joined, &unknown, &lag), Step::Wait(BTreeMap::from([(NodeId(4), u64::MAX)])));
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
