//! Records become the group. What contradicts the group is refused, since records come from a log or a
//! snapshot; a coordinator's own never do.

use std::collections::BTreeMap;

use highwater_types::PartitionId;
use highwater_types::limits::{GROUP_MEMBERS_MAX, GROUP_OFFSETS_MAX};

use super::{Group, Member};
use crate::current::{CurrentAssignment, MemberState};
use crate::error::GroupsError;
use crate::ids::{Epoch, MemberId};
use crate::partition_set::PartitionSet;
use crate::record::{CommittedOffset, GroupChange, GroupHead, MemberDescription};

impl Group {
    /// A group that begins.
    pub(crate) fn new(head: GroupHead) -> Self {
        Self {
            head,
            assignment_epoch: Epoch::default(),
            members: BTreeMap::new(),
            offsets: BTreeMap::new(),
            instances: BTreeMap::new(),
            keepers: BTreeMap::new(),
            targets: BTreeMap::new(),
            subscribers: BTreeMap::new(),
        }
    }

    /// Makes one record true, or refuses it and changes nothing.
    pub(crate) fn apply(&mut self, change: &GroupChange) -> Result<(), GroupsError> {
        match change {
            GroupChange::Group(head) => self.put_head(head),
            GroupChange::Deleted => Err(contradiction("a group is deleted within itself")),
            GroupChange::Member(description) => self.put_member(description),
            GroupChange::MemberRemoved(member) => self.remove_member(member),
            GroupChange::Target { member, partitions } => self.put_target(member, partitions),
            GroupChange::Assigned(epoch) => self.put_assignment_epoch(*epoch),
            GroupChange::Current { member, current } => self.put_current(member, current),
            GroupChange::Offset { partition, offset } => self.put_offset(*partition, offset),
            GroupChange::OffsetDeleted(partition) => {
                self.offsets.remove(partition);
                Ok(())
            }
            GroupChange::TopicForgotten(topic) => {
                self.offsets.retain(|partition, _| partition.topic != *topic);
                Ok(())
            }
        }
    }

    fn put_head(&mut self, head: &GroupHead) -> Result<(), GroupsError> {
        if head.epoch < self.head.epoch || head.kind != self.head.kind {
            let (epoch, current) = (head.epoch, self.head.epoch);
            return Err(contradiction(format!("a group of epoch {current} goes to epoch {epoch}")));
        }
        self.head = head.clone();
        Ok(())
    }

    fn put_member(&mut self, description: &MemberDescription) -> Result<(), GroupsError> {
        let id = &description.member;
        let before = self.members.get(id).map(|member| &member.description);
        if before.is_some_and(|before| before.instance != description.instance) {
            return Err(contradiction(format!("member {id} becomes another instance")));
        }
        if let Some(instance) = &description.instance {
            if self.instances.get(instance).is_some_and(|current| current != id) {
                return Err(contradiction(format!("instance {instance} is two members")));
            }
            self.instances.insert(instance.clone(), id.clone());
        }
        if before.is_none() && self.members.len() >= GROUP_MEMBERS_MAX {
            return Err(contradiction(format!("more than {GROUP_MEMBERS_MAX} members")));
        }
        if let Some(before) = before.map(|before| before.subscription.clone()) {
            before.names().for_each(|name| self.unname(name));
        }
        for name in description.subscription.names() {
            *self.subscribers.entry(name.clone()).or_default() += 1;
        }
        match self.members.get_mut(id) {
            Some(member) => member.description = description.clone(),
            None => {
                let current = CurrentAssignment::joined(Epoch::default());
                let member =
                    Member { description: description.clone(), target: PartitionSet::default(), current };
                self.members.insert(id.clone(), member);
            }
        }
        Ok(())
    }

    fn remove_member(&mut self, id: &MemberId) -> Result<(), GroupsError> {
        let member = self.members.remove(id).ok_or_else(|| unknown(id))?;
        member.current.kept().for_each(|partition| drop(self.keepers.remove(&partition)));
        self.retarget(id, &member.target, &PartitionSet::default());
        member.description.subscription.names().for_each(|name| self.unname(name));
        if let Some(instance) = &member.description.instance {
            self.instances.remove(instance);
        }
        Ok(())
    }

    fn put_target(&mut self, id: &MemberId, partitions: &PartitionSet) -> Result<(), GroupsError> {
        let member = self.members.get_mut(id).ok_or_else(|| unknown(id))?;
        let before = std::mem::replace(&mut member.target, partitions.clone());
        self.retarget(id, &before, partitions);
        Ok(())
    }

    /// Targets change one by one: a partition may come to its next member before it leaves the last.
    fn retarget(&mut self, id: &MemberId, before: &PartitionSet, after: &PartitionSet) {
        for partition in before.iter().filter(|partition| !after.contains(*partition)) {
            if self.targets.get(&partition) == Some(id) {
                self.targets.remove(&partition);
            }
        }
        for partition in after.iter() {
            self.targets.insert(partition, id.clone());
        }
    }

    fn put_assignment_epoch(&mut self, epoch: Epoch) -> Result<(), GroupsError> {
        if epoch < self.assignment_epoch || epoch > self.head.epoch {
            let (current, group) = (self.assignment_epoch, self.head.epoch);
            let detail = format!("targets of epoch {current} go to epoch {epoch} in a group of epoch {group}");
            return Err(contradiction(detail));
        }
        self.assignment_epoch = epoch;
        Ok(())
    }

    fn put_current(&mut self, id: &MemberId, current: &CurrentAssignment) -> Result<(), GroupsError> {
        let before = self.members.get(id).ok_or_else(|| unknown(id))?.current.clone();
        check(id, &before, current, self.head.epoch)?;
        let taken = |partition: &PartitionId| self.keepers.get(partition).is_some_and(|keeper| keeper != id);
        if let Some(partition) = current.kept().find(taken) {
            return Err(contradiction(format!("{partition} is kept by {id} and another member")));
        }
        before.kept().for_each(|partition| drop(self.keepers.remove(&partition)));
        for partition in current.kept() {
            self.keepers.insert(partition, id.clone());
        }
        if let Some(member) = self.members.get_mut(id) {
            member.current = current.clone();
        }
        Ok(())
    }

    fn put_offset(&mut self, partition: PartitionId, offset: &CommittedOffset) -> Result<(), GroupsError> {
        if !self.offsets.contains_key(&partition) && self.offsets.len() >= GROUP_OFFSETS_MAX {
            return Err(contradiction(format!("offsets of more than {GROUP_OFFSETS_MAX} partitions")));
        }
        self.offsets.insert(partition, offset.clone());
        Ok(())
    }

    fn unname(&mut self, name: &highwater_types::TopicName) {
        if let Some(count) = self.subscribers.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.subscribers.remove(name);
            }
        }
    }
}

/// The invariants of one member's assignment, and that nothing of it goes back.
fn check(
    id: &MemberId,
    before: &CurrentAssignment,
    after: &CurrentAssignment,
    group: Epoch,
) -> Result<(), GroupsError> {
    let goes_back = after.epoch < before.epoch || after.revision < before.revision;
    if goes_back || after.stated_epoch > after.epoch || after.epoch > group {
        return Err(contradiction(format!("member {id} goes from epoch {} to {}", before.epoch, after.epoch)));
    }
    if !after.revoking.is_empty() && after.state != MemberState::Unrevoked {
        return Err(contradiction(format!("member {id} gives up partitions in the wrong state")));
    }
    let is_wrong = |(partition, since): (&PartitionId, &Epoch)| {
        *since > after.epoch || (after.held.contains_key(partition) && after.revoking.contains_key(partition))
    };
    match after.held.iter().chain(&after.revoking).any(is_wrong) {
        true => Err(contradiction(format!("member {id} holds a partition twice or from a later epoch"))),
        false => Ok(()),
    }
}

fn unknown(member: &MemberId) -> GroupsError {
    contradiction(format!("there is no member {member}"))
}

fn contradiction(detail: impl Into<String>) -> GroupsError {
    GroupsError::Malformed { what: "record", detail: detail.into() }
}
