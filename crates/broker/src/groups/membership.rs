//! Members come, stay and go.

use std::time::Duration;

use highwater_groups::{GroupsConfig, GroupsError, HeartbeatRequest, JoinRequest, LeaveRequest, MemberAnswer};
use highwater_types::ErrorCode;
use tokio::time::sleep;

use super::routing::{no_coordinator, refused};
use crate::broker::Broker;
use crate::error::BrokerError;

/// Where a member stands, and how often it is to be heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// What the coordinator answered.
    pub answer: MemberAnswer,
    /// How often it is to send a heartbeat at least.
    pub heartbeat_interval: Duration,
    /// After how much silence it is taken for dead.
    pub session_timeout: Duration,
}

/// A heartbeat, and how long its answer may wait for something new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipChange {
    /// What the member says.
    pub heartbeat: HeartbeatRequest,
    /// At most as long as heartbeats are apart.
    pub wait_max: Duration,
}

impl Broker {
    /// A member joins, or asks again where it is; [`Broker::begin_groups`] came before. On return that is durable on a majority. Dropping the future leaves open whether it
    /// takes effect; to ask again is safe.
    ///
    /// # Errors
    /// `NOT_LEADER` with a hint when another node coordinates the group; what else the group has against it.
    pub async fn join_group(&self, request: JoinRequest) -> Result<Membership, BrokerError> {
        let shard = self.shard(&request.group).await?.ok_or_else(|| no_coordinator(&request.group))?;
        let answer = shard.join(request).await.map_err(|error| self.explain_groups(error))?;
        Ok(self.membership(answer))
    }

    /// A member is alive. An answer that says nothing new waits for something new; so does none that answers what the member owns. When
    /// something is new it returns what was so before: the member asks again, and says by that that it is alive. Cancel-safe
    /// like [`Broker::join_group`].
    ///
    /// # Errors
    /// As [`Broker::join_group`].
    pub async fn heartbeat(&self, request: MembershipChange) -> Result<Membership, BrokerError> {
        let MembershipChange { heartbeat, wait_max } = request;
        let (group, member) = (heartbeat.group.clone(), heartbeat.member.clone());
        let Some(shard) = self.shard(&group).await? else {
            return Err(refused(&GroupsError::UnknownMember { group, member }));
        };
        let woken = shard.wait_for(group, member);
        let (epoch, seen, says_more) =
            (heartbeat.epoch, heartbeat.seen, heartbeat.owned.is_some() || heartbeat.subscription.is_some());
        let answer = shard.heartbeat(heartbeat).await.map_err(|error| self.explain_groups(error))?;
        let is_news = answer.epoch != epoch || answer.revision != seen || answer.assignment.is_some();
        let wait = wait_max.min(self.groups_config().heartbeat_interval);
        if !is_news && !says_more && !wait.is_zero() {
            tokio::select! {
                () = woken.woken() => {}
                () = sleep(wait) => {}
                () = self.stopping.cancelled() => {}
            }
        }
        Ok(self.membership(answer))
    }

    /// A member goes. That it is unknown is no error: it has gone.
    ///
    /// # Errors
    /// As [`Broker::join_group`].
    pub async fn leave_group(&self, request: LeaveRequest) -> Result<(), BrokerError> {
        let Some(shard) = self.shard(&request.group).await? else { return Ok(()) };
        match shard.leave(request).await.map_err(|error| self.explain_groups(error)) {
            Err(error) if matches!(error.code, ErrorCode::UnknownMember | ErrorCode::UnknownGroup) => Ok(()),
            outcome => outcome,
        }
    }

    /// What the operator decided about groups.
    pub fn groups_config(&self) -> &GroupsConfig {
        &self.options.groups
    }

    fn membership(&self, answer: MemberAnswer) -> Membership {
        let GroupsConfig { heartbeat_interval, session_timeout, .. } = *self.groups_config();
        Membership { answer, heartbeat_interval, session_timeout }
    }
}
