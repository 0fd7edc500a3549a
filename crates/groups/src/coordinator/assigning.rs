//! When assignments are computed, and what becomes of them.
//!
//! A change to a group's members or topics moves the group epoch, and the targets for it are computed at once, unless the
//! last computation is less than the assignment interval ago. Then it waits for the interval to end, and all changes
//! until then share that epoch and its computation (the idea of KIP-1263). So one member that goes has its
//! partitions handed over without delay, while a thousand that come within a second cause some twenty
//! computations and not a thousand.

use std::collections::BTreeMap;

use highwater_types::mutant;

use super::turn::Turn;
use crate::assignor::{Assignor, Roster};
use crate::deadlines::Due;
use crate::group::Group;
use crate::ids::{Epoch, GroupName, MemberId};
use crate::partition_set::PartitionSet;
use crate::record::{GroupChange, GroupHead, GroupKind};

impl Turn<'_> {
    /// A group begins, without members.
    pub(super) fn begin_group(&mut self, name: &GroupName) {
        let head = GroupHead {
            kind: GroupKind::Consumer,
            epoch: Epoch::default(),
            topics: Vec::new(),
            empty_since: Some(self.now.wall),
        };
        self.log(name, GroupChange::Group(head));
    }

    /// The group's members changed: it is in another epoch, and is to be assigned.
    pub(super) fn members_changed(&mut self, name: &GroupName) {
        self.regroup(name, true);
        self.assign_when_due(name);
    }

    /// The group's topics may have changed.
    pub(super) fn topics_may_have_changed(&mut self, name: &GroupName) {
        self.regroup(name, false);
        self.assign_when_due(name);
    }

    /// Brings the head to what it should be. While an assignment waits to be computed, its epoch is shared.
    fn regroup(&mut self, name: &GroupName, members_changed: bool) {
        let Some(group) = self.group(name) else { return };
        let head = group.head();
        let topics = group.topics_now(self.topics);
        if !members_changed && topics == head.topics {
            return;
        }
        let epoch = match group.assignment_epoch() == head.epoch {
            true => head.epoch.next(),
            false => head.epoch,
        };
        let empty_since = match group.members().len() {
            0 => head.empty_since.or(Some(self.now.wall)),
            _ => None,
        };
        let next = GroupHead { kind: head.kind, epoch, topics, empty_since };
        if next != *head {
            self.log(name, GroupChange::Group(next));
        }
    }

    /// Computes the assignment if one is wanted, now or when the interval since the last has passed.
    pub(super) fn assign_when_due(&mut self, name: &GroupName) {
        let Some(group) = self.group(name) else { return };
        if group.assignment_epoch() == group.epoch() {
            return;
        }
        let interval = self.coordinator.config.assignment_interval;
        let last = self.coordinator.assigned_at.get(name);
        match last.map(|last| last.plus(interval)).filter(|due| *due > self.now.uptime) {
            Some(due) => self.coordinator.deadlines.set_if_none(Due::Assignment(name.clone()), due),
            None => self.assign(name),
        }
    }

    fn assign(&mut self, name: &GroupName) {
        let Some(group) = self.group(name) else { return };
        let epoch = group.epoch();
        let forgets = mutant!(StickinessForgotten) && !self.coordinator.assigned_at.contains_key(name);
        let roster = if forgets { Roster::of(group).without_history() } else { Roster::of(group) };
        for (member, partitions) in changed_targets(group, &roster) {
            self.log(name, GroupChange::Target { member, partitions });
        }
        self.log(name, GroupChange::Assigned(epoch));
        self.coordinator.assigned_at.insert(name.clone(), self.now.uptime);
        self.coordinator.deadlines.clear(Due::Assignment(name.clone()));
    }
}

/// The members whose targets are to be others, with those.
fn changed_targets(group: &Group, roster: &Roster<'_>) -> Vec<(MemberId, PartitionSet)> {
    let dealt = assignor_of(group).assign(roster);
    let changed =
        roster.candidates().iter().zip(dealt).filter(|(candidate, target)| candidate.before != target);
    changed.map(|(candidate, target)| (candidate.id.clone(), target)).collect()
}

/// The assignor that most members name; the first of those that equally many name, and the default when none does.
fn assignor_of(group: &Group) -> Assignor {
    let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
    for assignor in group.members().filter_map(|member| member.description.assignor) {
        *votes.entry(assignor).or_default() += 1;
    }
    let most = votes.values().max().copied();
    let winner = votes.into_iter().find(|(_, count)| Some(*count) == most);
    winner.map_or_else(Assignor::default, |(assignor, _)| assignor)
}
