//! Calls about consumer groups, at the node that coordinates the group: this one, or another that the call is passed on to once. One file
//! for each concern.

mod convert;
mod describe;
pub(crate) mod lags;
mod list;
mod membership;
mod offsets;

use std::sync::Arc;
use std::time::Duration;

use highwater_broker::{Broker, BrokerError, LeaderHint};
use highwater_groups::GroupName;
use highwater_proto::v1;
use highwater_types::limits::GROUP_CALL_TIMEOUT_MS;
use tokio::time::Instant;

use super::forward::{Caller, Effect, Forwarding, Origin, answered, with_grace};

/// The way to the coordinators of groups. Clones share it.
#[derive(Clone)]
pub(crate) struct Groups {
    broker: Arc<Broker>,
    forwarding: Forwarding,
    origin: Origin,
}

impl Groups {
    /// For calls of that origin.
    pub(crate) fn new(broker: Arc<Broker>, forwarding: Forwarding, origin: Origin) -> Self {
        Self { broker, forwarding, origin }
    }

    /// The other node that coordinates the group, when the call may be passed on there.
    async fn elsewhere(&self, group: &GroupName) -> Result<Option<LeaderHint>, BrokerError> {
        match self.origin {
            Origin::Client => self.broker.coordinator_elsewhere(group).await,
            Origin::Node => Ok(None),
        }
    }

    /// The same for a call with which a group may begin.
    async fn elsewhere_or_begin(&self, group: &GroupName) -> Result<Option<LeaderHint>, BrokerError> {
        if self.origin == Origin::Client {
            self.broker.begin_groups().await?;
        }
        self.elsewhere(group).await
    }

    /// Deletes a group and its offsets.
    pub(crate) async fn delete(
        &self,
        request: v1::DeleteGroupRequest,
    ) -> Result<v1::DeleteGroupResponse, BrokerError> {
        let group = convert::group(&request.group)?;
        if let Some(coordinator) = self.elsewhere(&group).await? {
            let Caller { mut client, slot: _slot } = self.forwarding.groups(&coordinator)?;
            let call = client.delete_group(self.forwarding.request(request));
            return answered(&coordinator, Effect::Change, deadline(Duration::ZERO), call).await;
        }
        self.broker.delete_group(group).await?;
        Ok(v1::DeleteGroupResponse {})
    }
}

/// When a coordinator must have answered that may wait for so long.
fn deadline(wait: Duration) -> Instant {
    with_grace(Duration::from_millis(GROUP_CALL_TIMEOUT_MS).saturating_add(wait))
}
