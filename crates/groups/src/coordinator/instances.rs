//! Static members (KIP-345): a place in the group that outlives the process that fills it, so that a restart
//! moves no partition.

use super::turn::Turn;
use crate::current::{CurrentAssignment, MemberState};
use crate::error::GroupsError;
use crate::ids::{GroupName, MemberId};
use crate::record::{GroupChange, MemberDescription};
use crate::request::HeartbeatRequest;

impl Turn<'_> {
    /// Whether the instance is still this member's.
    pub(super) fn check_instance(&self, request: &HeartbeatRequest) -> Result<(), GroupsError> {
        let Some(instance) = &request.instance else { return Ok(()) };
        let filled_by = self.group(&request.group).and_then(|group| group.instance(instance));
        match filled_by.map(|member| &member.description.member) {
            Some(current) if *current != request.member => Err(GroupsError::FencedInstance {
                instance: instance.clone(),
                member: request.member.clone(),
                current: current.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// A static member's process ends: it owns nothing any more, and its place with what it holds is kept for the
    /// next one for as long as a session.
    pub(super) fn go_away(&mut self, group: &GroupName, member: &MemberId) -> Result<(), GroupsError> {
        let mut current = self.member(group, member)?.current.clone();
        current.state = MemberState::Away;
        current.revoking.clear();
        if current != self.member(group, member)?.current {
            self.log(group, GroupChange::Current { member: member.clone(), current });
        }
        self.heard(group, member);
        Ok(())
    }

    /// The next process of an instance takes the place of the one that left: it holds what that one held, and
    /// nobody else notices, unless it reads something else.
    pub(super) fn take_place(
        &mut self,
        group: &GroupName,
        before: &MemberId,
        description: MemberDescription,
    ) -> Result<(), GroupsError> {
        let gone = self.member(group, before)?.clone();
        let id = description.member.clone();
        self.log(group, GroupChange::MemberRemoved(before.clone()));
        let as_before = MemberDescription {
            subscription: gone.description.subscription,
            assignor: gone.description.assignor,
            ..description.clone()
        };
        self.log(group, GroupChange::Member(as_before));
        self.log(group, GroupChange::Target { member: id.clone(), partitions: gone.target });
        let current = CurrentAssignment {
            stated_epoch: gone.current.epoch,
            revision: gone.current.revision.next(),
            state: MemberState::Unreleased,
            ..gone.current
        };
        self.log(group, GroupChange::Current { member: id.clone(), current: current.clone() });
        self.redescribe(group, description)?;
        self.advance(group, &id, &current, None);
        Ok(())
    }
}
