//! What is due with time: sessions that end, members that do not give up what they should, assignments that waited,
//! and offsets that nobody has used for long.

use highwater_types::{PartitionId, TimestampMs};

use super::turn::Turn;
use crate::current::MemberState;
use crate::deadlines::Due;
use crate::group::Group;
use crate::ids::{GroupName, MemberId};
use crate::record::GroupChange;

impl Turn<'_> {
    pub(super) fn do_what_is_due(&mut self) {
        while let Some(due) = self.coordinator.deadlines.pop(self.now.uptime) {
            match due {
                Due::Session(group, member) => self.fence(&group, &member),
                Due::Revocation(group, member) => self.fence_if_unrevoked(&group, &member),
                Due::Assignment(group) => self.topics_may_have_changed(&group),
                Due::OffsetsCheck => self.check_offsets(),
            }
        }
    }

    fn fence(&mut self, group: &GroupName, member: &MemberId) {
        if self.member(group, member).is_ok() {
            self.remove(group, member);
        }
    }

    fn fence_if_unrevoked(&mut self, group: &GroupName, member: &MemberId) {
        let is_unrevoked =
            self.member(group, member).is_ok_and(|found| found.current.state == MemberState::Unrevoked);
        if is_unrevoked {
            self.remove(group, member);
        }
    }

    /// Forgets offsets whose time is over, and groups of which nothing else is left.
    fn check_offsets(&mut self) {
        let names: Vec<GroupName> = self.coordinator.state.groups().map(|(name, _)| name.clone()).collect();
        for name in names {
            let Some(group) = self.group(&name) else { continue };
            let expired = self.expired_offsets(group);
            let is_over = group.head().empty_since.is_some_and(|since| self.is_over(since))
                && expired.len() == group.offsets().len();
            match is_over {
                true => self.log(&name, GroupChange::Deleted),
                false => expired.into_iter().for_each(|partition| {
                    self.log(&name, GroupChange::OffsetDeleted(partition));
                }),
            }
        }
        let next = self.now.uptime.plus(self.coordinator.config.offsets_check_interval);
        self.coordinator.deadlines.set(Due::OffsetsCheck, next);
    }

    /// An offset's time runs from when it was committed, and from when the group became empty; it does not run
    /// while a member subscribes to the topic.
    fn expired_offsets(&self, group: &Group) -> Vec<PartitionId> {
        let empty_since = group.head().empty_since;
        let is_expired = |committed_at: TimestampMs| {
            self.is_over(empty_since.map_or(committed_at, |since| since.max(committed_at)))
        };
        let unused = group.offsets().filter(|(partition, _)| !group.reads(partition.topic));
        unused.filter(|(_, offset)| is_expired(offset.committed_at)).map(|(partition, _)| partition).collect()
    }

    fn is_over(&self, since: TimestampMs) -> bool {
        since <= self.now.wall.before(self.coordinator.config.offsets_retention)
    }
}
