//! Members come, stay and go.

use std::net::SocketAddr;
use std::time::Duration;

use highwater_broker::{BrokerError, MembershipChange};
use highwater_groups::{Epoch, HeartbeatRequest, JoinRequest, Leave, LeaveRequest, Revision};
use highwater_proto::v1;

use super::super::forward::{Caller, Effect, answered};
use super::super::status::hint;
use super::{Groups, convert, deadline};

impl Groups {
    /// A member joins; `host` is where the call comes from.
    pub(crate) async fn join(
        &self,
        host: Option<SocketAddr>,
        mut request: v1::JoinGroupRequest,
    ) -> Result<v1::JoinGroupResponse, BrokerError> {
        if request.client_host.is_empty() {
            request.client_host = host.map(|host| host.ip().to_string()).unwrap_or_default();
        }
        let join = join_request(request.clone())?;
        if let Some(coordinator) = self.elsewhere_or_begin(&join.group).await? {
            let Caller { mut client, slot: _slot } = self.forwarding.groups(&coordinator)?;
            let call = client.join_group(self.forwarding.request(request));
            let joined = answered(&coordinator, Effect::Change, deadline(Duration::ZERO), call).await?;
            return Ok(v1::JoinGroupResponse { coordinator: Some(hint(coordinator)), ..joined });
        }
        let joined = self.broker.join_group(join).await?;
        let membership = Some(convert::membership(&self.broker, &joined));
        Ok(v1::JoinGroupResponse { membership, coordinator: None })
    }

    /// A member is alive.
    pub(crate) async fn heartbeat(
        &self,
        request: v1::HeartbeatRequest,
    ) -> Result<v1::HeartbeatResponse, BrokerError> {
        let wait_max = Duration::from_millis(u64::from(request.max_wait_ms));
        let heartbeat = heartbeat_request(request.clone())?;
        if let Some(coordinator) = self.elsewhere(&heartbeat.group).await? {
            let wait = wait_max.min(self.broker.groups_config().session_timeout);
            let Caller { mut client, slot: _slot } = self.forwarding.groups(&coordinator)?;
            let call = client.heartbeat(self.forwarding.request(request));
            let heard = answered(&coordinator, Effect::Change, deadline(wait), call).await?;
            return Ok(v1::HeartbeatResponse { coordinator: Some(hint(coordinator)), ..heard });
        }
        let heard = self.broker.heartbeat(MembershipChange { heartbeat, wait_max }).await?;
        let membership = Some(convert::membership(&self.broker, &heard));
        Ok(v1::HeartbeatResponse { membership, coordinator: None })
    }

    /// A member goes.
    pub(crate) async fn leave(
        &self,
        request: v1::LeaveGroupRequest,
    ) -> Result<v1::LeaveGroupResponse, BrokerError> {
        let leave = if request.for_a_while { Leave::ForAWhile } else { Leave::ForGood };
        let group = convert::group(&request.group)?;
        let leave = LeaveRequest { group, member: convert::member(&request.member_id)?, leave };
        if let Some(coordinator) = self.elsewhere(&leave.group).await? {
            let Caller { mut client, slot: _slot } = self.forwarding.groups(&coordinator)?;
            let call = client.leave_group(self.forwarding.request(request));
            return answered(&coordinator, Effect::Change, deadline(Duration::ZERO), call).await;
        }
        self.broker.leave_group(leave).await?;
        Ok(v1::LeaveGroupResponse {})
    }
}

fn join_request(request: v1::JoinGroupRequest) -> Result<JoinRequest, BrokerError> {
    Ok(JoinRequest {
        group: convert::group(&request.group)?,
        member: convert::member(&request.member_id)?,
        instance: convert::instance(&request.instance_id)?,
        client_id: request.client_id,
        client_host: request.client_host,
        subscription: convert::subscription(request.topics)?,
        assignor: convert::assignor(request.assignor)?,
        rebalance_timeout: convert::rebalance_timeout(request.rebalance_timeout_ms),
    })
}

fn heartbeat_request(request: v1::HeartbeatRequest) -> Result<HeartbeatRequest, BrokerError> {
    let is_as_before = request.topics.is_empty();
    Ok(HeartbeatRequest {
        group: convert::group(&request.group)?,
        member: convert::member(&request.member_id)?,
        instance: convert::instance(&request.instance_id)?,
        epoch: Epoch(request.member_epoch),
        seen: Revision(request.revision),
        owned: request.owned.map(convert::owned).transpose()?,
        subscription: (!is_as_before).then(|| convert::subscription(request.topics)).transpose()?,
    })
}
