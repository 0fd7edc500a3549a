//! One request being decided: what it logs is true at once, and who has something to hear is found in the end.
//!
//! Whoever decides checks everything before it logs anything, so a refusal leaves no trace.

use std::collections::BTreeSet;

use highwater_types::PartitionId;

use super::Coordinator;
use crate::current::{CurrentAssignment, MemberState};
use crate::deadlines::Due;
use crate::decision::{Decision, MemberAnswer, Wake};
use crate::error::GroupsError;
use crate::group::{Group, Member};
use crate::ids::{GroupName, MemberId};
use crate::reconcile::{Report, step};
use crate::record::{GroupChange, GroupRecord};
use crate::time::Now;
use crate::topics::TopicCatalog;

/// One request being decided.
pub(super) struct Turn<'a> {
    pub(super) coordinator: &'a mut Coordinator,
    pub(super) now: Now,
    pub(super) topics: &'a dyn TopicCatalog,
    records: Vec<GroupRecord>,
    /// Members whose target changed.
    retargeted: BTreeSet<Wake>,
    /// Partitions that somebody let go.
    freed: BTreeSet<(GroupName, PartitionId)>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(coordinator: &'a mut Coordinator, now: Now, topics: &'a dyn TopicCatalog) -> Self {
        let (records, retargeted, freed) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        Self { coordinator, now, topics, records, retargeted, freed }
    }

    pub(super) fn group(&self, name: &GroupName) -> Option<&Group> {
        self.coordinator.state.group(name)
    }

    pub(super) fn member(&self, group: &GroupName, member: &MemberId) -> Result<&Member, GroupsError> {
        let found = self.group(group).and_then(|found| found.member(member));
        found.ok_or_else(|| GroupsError::UnknownMember { group: group.clone(), member: member.clone() })
    }

    /// Logs a change and makes it true.
    pub(super) fn log(&mut self, group: &GroupName, change: GroupChange) {
        self.note(group, &change);
        let record = GroupRecord { group: group.clone(), change };
        self.coordinator.apply(&record);
        self.records.push(record);
    }

    /// What a change, which is not yet true, means for deadlines and for others.
    fn note(&mut self, group: &GroupName, change: &GroupChange) {
        match change {
            GroupChange::Target { member, .. } => {
                self.retargeted.insert(Wake { group: group.clone(), member: member.clone() });
            }
            GroupChange::MemberRemoved(member) => {
                self.note_freed(group, member, None);
                self.coordinator.forget_member(group, member);
            }
            GroupChange::Current { member, current } => {
                self.note_freed(group, member, Some(current));
                if current.state != MemberState::Unrevoked {
                    self.coordinator.deadlines.clear(Due::Revocation(group.clone(), member.clone()));
                }
            }
            GroupChange::Deleted => {
                self.coordinator.assigned_at.remove(group);
                self.coordinator.deadlines.clear(Due::Assignment(group.clone()));
            }
            _ => {}
        }
    }

    fn note_freed(&mut self, group: &GroupName, member: &MemberId, after: Option<&CurrentAssignment>) {
        let Ok(before) = self.member(group, member) else { return };
        let is_kept = |partition| after.is_some_and(|after| after.since(partition).is_some());
        let freed: Vec<_> = before.current.kept().filter(|partition| !is_kept(*partition)).collect();
        self.freed.extend(freed.into_iter().map(|partition| (group.clone(), partition)));
    }

    /// Takes a member as far as it can go from here, and logs where it is then.
    pub(super) fn advance(
        &mut self,
        group: &GroupName,
        member: &MemberId,
        from: &CurrentAssignment,
        report: Option<Report<'_>>,
    ) {
        let Some(found) = self.group(group) else { return };
        let Some(before) = found.member(member) else { return };
        let next = step(found, before, from, report);
        // That the member has heard of its epoch is worth a record only beside something else.
        let same = CurrentAssignment { stated_epoch: before.current.stated_epoch, ..next.clone() };
        if same != before.current {
            self.log(group, GroupChange::Current { member: member.clone(), current: next });
        }
    }

    /// The member was heard: its session begins anew.
    pub(super) fn heard(&mut self, group: &GroupName, member: &MemberId) {
        let until = self.now.uptime.plus(self.coordinator.config.session_timeout);
        self.coordinator.deadlines.set(Due::Session(group.clone(), member.clone()), until);
    }

    /// Sets the time in which a member that is to give up partitions has to. One that has heard of it has its rebalance
    /// timeout. One that is told now may not hear it, and then goes on for as long as a session: so it has the longer of
    /// the two. The member counts from when it sent what is answered here, so its time is over first.
    pub(super) fn limit_giving_up(&mut self, group: &GroupName, member: &MemberId, has_heard: bool) {
        let Ok(found) = self.member(group, member) else { return };
        if found.current.state != MemberState::Unrevoked {
            return;
        }
        let timeout = found.description.rebalance_timeout;
        let due = Due::Revocation(group.clone(), member.clone());
        let Coordinator { deadlines, config, .. } = &mut *self.coordinator;
        match has_heard {
            true => deadlines.bring_forward(due, self.now.uptime.plus(timeout)),
            false => deadlines.set(due, self.now.uptime.plus(timeout.max(config.session_timeout))),
        }
    }

    /// The decision, for a member that hears what is new to it with its answer.
    pub(super) fn answer_to(
        self,
        group: &GroupName,
        member: &MemberId,
        answer: Result<MemberAnswer, GroupsError>,
    ) -> Decision<MemberAnswer> {
        let asker = Wake { group: group.clone(), member: member.clone() };
        let mut decision = self.finish(answer);
        decision.wakes.retain(|wake| *wake != asker);
        decision
    }

    /// The decision.
    pub(super) fn finish<T>(self, answer: Result<T, GroupsError>) -> Decision<T> {
        assert!(answer.is_ok() || self.records.is_empty(), "a refusal changed something");
        let mut concerned = self.retargeted;
        for (group, partition) in self.freed {
            let next = self.coordinator.state.group(&group).and_then(|found| found.target(partition).cloned());
            concerned.extend(next.map(|member| Wake { group, member }));
        }
        concerned.retain(|wake| {
            self.coordinator.state.group(&wake.group).is_some_and(|g| has_news(g, &wake.member))
        });
        Decision { records: self.records, answer, wakes: concerned.into_iter().collect() }
    }
}

/// Whether a heartbeat of the member would change what it owns.
fn has_news(group: &Group, id: &MemberId) -> bool {
    let Some(member) = group.member(id) else { return false };
    let current = &member.current;
    let has_excess = || current.held.keys().any(|partition| !member.target.contains(*partition));
    let has_gain = || {
        let is_free = |partition| group.keeper(partition).is_none();
        member.target.iter().any(is_free)
    };
    match current.state {
        MemberState::Away | MemberState::Unrevoked => false,
        MemberState::Stable | MemberState::Unreleased => has_excess() || has_gain(),
    }
}
