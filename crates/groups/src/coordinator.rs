//! The coordinator of the groups that it leads: requests and time in, records, answers and wakes out.
//!
//! It holds the replicated state as its own records will have made it, and what is not replicated: deadlines. A
//! node that comes to lead takes over what it applied so far; a node that ceases to lead drops its coordinator.
//!
//! ```text
//! request, now ─▶ Coordinator ─▶ Decision { records, answer, wakes }
//!                     │               │       └───────┴── given out when the records are durable
//!                     └─ applied at   └─▶ the log ─▶ every replica: GroupsState::apply_encoded
//!                        once here
//! ```

mod administration;
mod assigning;
mod instances;
mod membership;
mod offsets;
mod turn;
mod upkeep;

use std::collections::BTreeMap;

use turn::Turn;

use crate::config::GroupsConfig;
use crate::deadlines::{Deadlines, Due};
use crate::decision::{Decision, MemberAnswer};
use crate::error::GroupsError;
use crate::ids::{GroupName, MemberId};
use crate::record::GroupRecord;
use crate::request::{CommitRequest, HeartbeatRequest, JoinRequest, LeaveRequest};
use crate::state::GroupsState;
use crate::time::{Now, Uptime};
use crate::topics::{TopicCatalog, TopicsChange};
use highwater_types::{Offset, PartitionId};

/// The coordinator of some groups.
#[derive(Debug, Clone)]
pub struct Coordinator {
    state: GroupsState,
    config: GroupsConfig,
    deadlines: Deadlines,
    /// When each group's assignment was last computed here.
    assigned_at: BTreeMap<GroupName, Uptime>,
}

impl Coordinator {
    /// Begins to lead groups, as the records so far made them. Every member has a whole session from now on, and all
    /// the time that there is for what it gives up: nothing is known of when it was last heard, or of what it heard. Assignments that were due
    /// are computed at the first [`Coordinator::tick`].
    pub fn take_over(state: GroupsState, config: GroupsConfig, now: Uptime) -> Self {
        let mut deadlines = Deadlines::default();
        deadlines.set(Due::OffsetsCheck, now.plus(config.offsets_check_interval));
        for (name, group) in state.groups() {
            if group.members().len() > 0 || group.assignment_epoch() < group.epoch() {
                deadlines.set(Due::Assignment(name.clone()), now);
            }
            for member in group.members() {
                let id = &member.description.member;
                deadlines.set(Due::Session(name.clone(), id.clone()), now.plus(config.session_timeout));
                if !member.current.revoking.is_empty() {
                    let until = now.plus(member.description.rebalance_timeout.max(config.session_timeout));
                    deadlines.set(Due::Revocation(name.clone(), id.clone()), until);
                }
            }
        }
        Self { state, config, deadlines, assigned_at: BTreeMap::new() }
    }

    /// The groups, ahead of what is durable by the decisions whose records are not yet.
    pub fn state(&self) -> &GroupsState {
        &self.state
    }

    /// What the operator decided, for members to be told.
    pub fn config(&self) -> &GroupsConfig {
        &self.config
    }

    /// When [`Coordinator::tick`] has something to do, unless something else is decided before.
    pub fn next_deadline(&self) -> Option<Uptime> {
        self.deadlines.next()
    }

    /// A member joins, or asks again where it is.
    pub fn join(
        &mut self,
        now: Now,
        topics: &dyn TopicCatalog,
        request: &JoinRequest,
    ) -> Decision<MemberAnswer> {
        let mut turn = Turn::new(self, now, topics);
        let answer = turn.join(request);
        turn.answer_to(&request.group, &request.member, answer)
    }

    /// A member is alive.
    pub fn heartbeat(
        &mut self,
        now: Now,
        topics: &dyn TopicCatalog,
        request: &HeartbeatRequest,
    ) -> Decision<MemberAnswer> {
        let mut turn = Turn::new(self, now, topics);
        let answer = turn.heartbeat(request);
        turn.answer_to(&request.group, &request.member, answer)
    }

    /// A member goes.
    pub fn leave(&mut self, now: Now, topics: &dyn TopicCatalog, request: &LeaveRequest) -> Decision<()> {
        let mut turn = Turn::new(self, now, topics);
        let answer = turn.leave(request);
        turn.finish(answer)
    }

    /// Offsets are to be remembered. The answer has one result for each, in order.
    pub fn commit(
        &mut self,
        now: Now,
        topics: &dyn TopicCatalog,
        request: &CommitRequest,
    ) -> Decision<Vec<Result<(), GroupsError>>> {
        let mut turn = Turn::new(self, now, topics);
        let answer = turn.commit(request);
        turn.finish(answer)
    }

    /// Offsets are to be others, forward or back, for members to begin at. Only while the group has no members,
    /// which would go on where they are. The answer has one result for each, in order.
    pub fn reset_offsets(
        &mut self,
        now: Now,
        topics: &dyn TopicCatalog,
        group: &GroupName,
        offsets: &[(PartitionId, Offset)],
    ) -> Decision<Vec<Result<(), GroupsError>>> {
        let mut turn = Turn::new(self, now, topics);
        let answer = turn.reset_offsets(group, offsets);
        turn.finish(answer)
    }

    /// Offsets are to be forgotten: those of topics that no member subscribes to. The answer has one result for each, in
    /// order; a partition without an offset is no error.
    pub fn delete_offsets(
        &mut self,
        now: Now,
        topics: &dyn TopicCatalog,
        group: &GroupName,
        partitions: &[PartitionId],
    ) -> Decision<Vec<Result<(), GroupsError>>> {
        let mut turn = Turn::new(self, now, topics);
        let answer = turn.delete_offsets(group, partitions);
        turn.finish(answer)
    }

    /// A group is to be gone, with its offsets. Only while it has no members.
    pub fn delete_group(&mut self, now: Now, topics: &dyn TopicCatalog, group: &GroupName) -> Decision<()> {
        let mut turn = Turn::new(self, now, topics);
        let answer = turn.delete_group(group);
        turn.finish(answer)
    }

    /// Topics changed. The catalog must show the change already.
    pub fn topics_changed(
        &mut self,
        now: Now,
        topics: &dyn TopicCatalog,
        change: &TopicsChange,
    ) -> Decision<()> {
        let mut turn = Turn::new(self, now, topics);
        turn.topics_changed(change);
        turn.finish(Ok(()))
    }

    /// Does what is due: ends sessions, computes assignments that waited, forgets offsets.
    pub fn tick(&mut self, now: Now, topics: &dyn TopicCatalog) -> Decision<()> {
        let mut turn = Turn::new(self, now, topics);
        turn.do_what_is_due();
        turn.finish(Ok(()))
    }

    /// Makes a record true here, and keeps deadlines in step with it.
    fn apply(&mut self, record: &GroupRecord) {
        let applied = self.state.apply(record);
        assert!(applied.is_ok(), "a decision contradicts the state: {applied:?}");
    }

    /// Nothing is due for the member any more.
    fn forget_member(&mut self, group: &GroupName, member: &MemberId) {
        self.deadlines.clear(Due::Session(group.clone(), member.clone()));
        self.deadlines.clear(Due::Revocation(group.clone(), member.clone()));
    }
}
