//! Members come, say that they live, and go (KIP-848).

use highwater_types::limits::{GROUP_MEMBERS_MAX, GROUPS_MAX, MEMBER_TEXT_BYTES_MAX, REBALANCE_TIMEOUT_MS_MAX};

use super::turn::Turn;
use crate::current::{CurrentAssignment, MemberState};
use crate::decision::MemberAnswer;
use crate::error::GroupsError;
use crate::group::Member;
use crate::ids::{GroupName, MemberId, Revision};
use crate::reconcile::Report;
use crate::record::{GroupChange, MemberDescription};
use crate::request::{HeartbeatRequest, JoinRequest, Leave, LeaveRequest};

/// Which place in a group a join is for.
enum Place {
    /// One of its own.
    New,
    /// The one that it has: its process asks again, or static, is back.
    Its,
    /// That of a static member that left for a while.
    Of(MemberId),
}

impl Turn<'_> {
    pub(super) fn join(&mut self, request: &JoinRequest) -> Result<MemberAnswer, GroupsError> {
        let description = describe(request)?;
        let place = self.place_for(request)?;
        let (group, id) = (&request.group, &request.member);
        match place {
            Place::New => {
                if self.group(group).is_none() {
                    self.begin_group(group);
                }
                self.log(group, GroupChange::Member(description));
                self.members_changed(group);
                let epoch = self.group(group).map(|found| found.epoch()).unwrap_or_default();
                self.advance(group, id, &CurrentAssignment::joined(epoch), None);
            }
            Place::Its => self.join_again(group, description)?,
            Place::Of(before) => self.take_place(group, &before, description)?,
        }
        self.heard(group, id);
        self.answer(group, id, None)
    }

    fn place_for(&self, request: &JoinRequest) -> Result<Place, GroupsError> {
        let Some(group) = self.group(&request.group) else {
            return match self.coordinator.state.groups().len() >= GROUPS_MAX {
                true => Err(GroupsError::TooManyGroups { group: request.group.clone(), max: GROUPS_MAX }),
                false => Ok(Place::New),
            };
        };
        if let Some(member) = group.member(&request.member) {
            return match member.description.instance == request.instance {
                true => Ok(Place::Its),
                false => Err(GroupsError::OtherInstance { member: request.member.clone() }),
            };
        }
        let static_member =
            request.instance.as_ref().and_then(|instance| Some((instance, group.instance(instance)?)));
        if let Some((instance, member)) = static_member {
            let current = member.description.member.clone();
            return match member.current.state {
                MemberState::Away => Ok(Place::Of(current)),
                _ => Err(GroupsError::UnreleasedInstance { instance: instance.clone(), current }),
            };
        }
        let max = self.coordinator.config.members_max.min(GROUP_MEMBERS_MAX);
        match group.members().len() >= max {
            true => Err(GroupsError::GroupFull { group: request.group.clone(), max }),
            false => Ok(Place::New),
        }
    }

    /// A member that is there joins: its answer was lost, or its process begins anew. What it was told before may still
    /// be on its way to it, so it keeps what it holds until it says otherwise.
    fn join_again(&mut self, group: &GroupName, description: MemberDescription) -> Result<(), GroupsError> {
        let id = description.member.clone();
        let before = self.member(group, &id)?;
        let mut from = before.current.clone();
        if from.state == MemberState::Away {
            from.revision = from.revision.next();
        }
        self.redescribe(group, description)?;
        self.advance(group, &id, &from, None);
        Ok(())
    }

    /// The member says other things about itself, perhaps; only what it reads and how concerns the group.
    pub(super) fn redescribe(
        &mut self,
        group: &GroupName,
        description: MemberDescription,
    ) -> Result<(), GroupsError> {
        let before = &self.member(group, &description.member)?.description;
        let matters =
            before.subscription != description.subscription || before.assignor != description.assignor;
        if *before != description {
            self.log(group, GroupChange::Member(description));
        }
        if matters {
            self.members_changed(group);
        }
        Ok(())
    }

    pub(super) fn heartbeat(&mut self, request: &HeartbeatRequest) -> Result<MemberAnswer, GroupsError> {
        let (group, id) = (&request.group, &request.member);
        self.check_instance(request)?;
        let member = self.member(group, id)?;
        check_heartbeat(member, request)?;
        if let Some(subscription) = &request.subscription {
            let description =
                MemberDescription { subscription: subscription.clone(), ..member.description.clone() };
            self.redescribe(group, description)?;
        }
        let from = self.member(group, id)?.current.clone();
        let report = Report { epoch: request.epoch, seen: request.seen, owned: request.owned.as_ref() };
        self.advance(group, id, &from, Some(report));
        self.heard(group, id);
        self.answer(group, id, Some(request.seen))
    }

    /// Where the member is now.
    fn answer(
        &mut self,
        group: &GroupName,
        member: &MemberId,
        seen: Option<Revision>,
    ) -> Result<MemberAnswer, GroupsError> {
        let current = self.member(group, member)?.current.clone();
        let is_new = seen != Some(current.revision);
        self.limit_giving_up(group, member, !is_new);
        let assignment = is_new.then(|| current.assignment());
        let is_to_give_up = current.state == MemberState::Unrevoked;
        Ok(MemberAnswer { epoch: current.epoch, revision: current.revision, assignment, is_to_give_up })
    }

    pub(super) fn leave(&mut self, request: &LeaveRequest) -> Result<(), GroupsError> {
        let member = self.member(&request.group, &request.member)?;
        match request.leave {
            Leave::ForGood => self.remove(&request.group, &request.member),
            Leave::ForAWhile if member.description.instance.is_none() => {
                return Err(GroupsError::NotStatic { member: request.member.clone() });
            }
            Leave::ForAWhile => self.go_away(&request.group, &request.member)?,
        }
        Ok(())
    }

    /// A member is gone: it left, or it is fenced.
    pub(super) fn remove(&mut self, group: &GroupName, member: &MemberId) {
        self.log(group, GroupChange::MemberRemoved(member.clone()));
        self.members_changed(group);
    }
}

/// Whether the member can be where it says it is. A member that does not hear an answer goes on stating the epoch
/// before, so every epoch counts that it may not know to be over.
fn check_heartbeat(member: &Member, request: &HeartbeatRequest) -> Result<(), GroupsError> {
    let (id, current) = (request.member.clone(), &member.current);
    if current.state == MemberState::Away {
        return Err(GroupsError::MemberAway { member: id });
    }
    if request.epoch < current.stated_epoch || request.epoch > current.epoch {
        return Err(GroupsError::FencedEpoch { member: id, stated: request.epoch, current: current.epoch });
    }
    let mut owned = request.owned.iter().flat_map(|owned| owned.iter());
    match owned.find(|partition| current.since(*partition).is_none()) {
        Some(partition) => Err(GroupsError::NotGiven { member: id, partition }),
        None => Ok(()),
    }
}

fn describe(request: &JoinRequest) -> Result<MemberDescription, GroupsError> {
    let requested = request.rebalance_timeout.as_millis();
    if requested == 0 || requested > u128::from(REBALANCE_TIMEOUT_MS_MAX) {
        return Err(GroupsError::RebalanceTimeout { requested, max: REBALANCE_TIMEOUT_MS_MAX });
    }
    let cut = |text: &str| text[..text.floor_char_boundary(MEMBER_TEXT_BYTES_MAX)].to_owned();
    Ok(MemberDescription {
        member: request.member.clone(),
        instance: request.instance.clone(),
        client_id: cut(&request.client_id),
        client_host: cut(&request.client_host),
        subscription: request.subscription.clone(),
        assignor: request.assignor,
        rebalance_timeout: std::time::Duration::from_millis(requested as u64),
    })
}
