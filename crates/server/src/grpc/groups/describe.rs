//! A group in full, with how far it lags behind the partitions' leaders.

use std::time::Duration;

use highwater_broker::{BrokerError, GroupDescription};
use highwater_groups::{Group, Member, MemberState};
use highwater_proto::v1;
use highwater_types::PartitionId;

use super::super::forward::{Caller, Effect, Origin, answered};
use super::{Groups, convert, deadline, lags};

impl Groups {
    /// Describes a group.
    pub(crate) async fn describe(
        &self,
        request: v1::DescribeGroupRequest,
    ) -> Result<v1::DescribeGroupResponse, BrokerError> {
        let group = convert::group(&request.group)?;
        let with_lag = request.include_lag && self.origin == Origin::Client;
        let mut described = if let Some(coordinator) = self.elsewhere(&group).await? {
            let Caller { mut client, slot: _slot } = self.forwarding.groups(&coordinator)?;
            let call = client.describe_group(self.forwarding.request(request));
            answered(&coordinator, Effect::None, deadline(Duration::ZERO), call).await?
        } else {
            self.render(&self.broker.describe_group(group).await?)
        };
        if with_lag {
            let bounds = self.bounds(&described.partitions).await;
            described.partitions.iter_mut().for_each(|partition| lags::put_in(partition, &bounds));
        }
        Ok(described)
    }

    /// The group as the API shows it, without lag.
    pub(super) fn render(&self, description: &GroupDescription) -> v1::DescribeGroupResponse {
        let GroupDescription { name, group, coordinator, partitions } = description;
        let mut partitions: Vec<_> = partitions.iter().map(|id| self.partition(group, *id)).collect();
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        v1::DescribeGroupResponse {
            group: name.as_str().to_owned(),
            state: convert::state(group.phase()).into(),
            group_epoch: group.epoch().0,
            assignment_epoch: group.assignment_epoch().0,
            coordinator_node_id: coordinator.0,
            members: group.members().map(|member| self.member(member)).collect(),
            partitions,
        }
    }

    fn member(&self, member: &Member) -> v1::GroupMember {
        let Member { description, target, current } = member;
        let instance = description.instance.as_ref();
        let assignment = |partitions: &mut dyn Iterator<Item = PartitionId>| {
            Some(convert::assignment(&self.broker, partitions))
        };
        v1::GroupMember {
            member_id: description.member.as_str().to_owned(),
            instance_id: instance.map(|instance| instance.as_str().to_owned()).unwrap_or_default(),
            client_id: description.client_id.clone(),
            client_host: description.client_host.clone(),
            member_epoch: current.epoch.0,
            topics: description.subscription.names().map(|name| name.as_str().to_owned()).collect(),
            assignment: assignment(&mut current.held.keys().copied()),
            giving_up: assignment(&mut current.revoking.keys().copied()),
            target: assignment(&mut target.iter()),
            is_away: current.state == MemberState::Away,
        }
    }

    fn partition(&self, group: &Group, id: PartitionId) -> v1::GroupPartition {
        let committed = group.offset(id);
        v1::GroupPartition {
            topic: self.broker.topic_name(id.topic).unwrap_or_default(),
            topic_id: id.topic.to_string(),
            partition: id.index.0,
            member_id: group.keeper(id).map(|member| member.as_str().to_owned()).unwrap_or_default(),
            committed_offset: committed.map(|committed| committed.offset.0),
            committed_at_ms: committed.map(|committed| committed.committed_at.0),
            metadata: committed.map(|committed| committed.metadata.clone()).unwrap_or_default(),
            ..v1::GroupPartition::default()
        }
    }
}
