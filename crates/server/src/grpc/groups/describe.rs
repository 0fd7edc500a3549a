//! A group in full, with how far it lags behind the partitions' leaders.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater_broker::{BrokerError, GroupDescription};
use highwater_groups::{Group, Member, MemberState};
use highwater_proto::v1;
use highwater_proto::v1::offset_query::Query;
use highwater_proto::v1::offset_result::Result as Found;
use highwater_types::{PartitionId, limits};

use super::super::forward::{Caller, Effect, Origin, answered, incomplete};
use super::super::list_offsets::list_offsets;
use super::super::status::detail;
use super::{Groups, convert, deadline};

/// Where a partition begins and ends, or why that is not known.
type Bounds = Result<(i64, i64), Box<v1::ErrorDetail>>;

impl Groups {
    /// Describes a group.
    pub(crate) async fn describe(
        &self,
        request: v1::DescribeGroupRequest,
    ) -> Result<v1::DescribeGroupResponse, BrokerError> {
        let group = convert::group(&request.group)?;
        let with_lag = request.include_lag && self.origin == Origin::Client;
        let mut described = if let Some(coordinator) = self.elsewhere(&group) {
            let Caller { mut client, slot: _slot } = self.forwarding.groups(&coordinator)?;
            let call = client.describe_group(self.forwarding.request(request));
            answered(&coordinator, Effect::None, deadline(Duration::ZERO), call).await?
        } else {
            self.render(&self.broker.describe_group(group).await?)
        };
        if with_lag {
            self.fill_lag(&mut described.partitions).await;
        }
        Ok(described)
    }

    fn render(&self, description: &GroupDescription) -> v1::DescribeGroupResponse {
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

    /// Puts in where the partitions end and how far behind that the group is, or why that is not known.
    async fn fill_lag(&self, partitions: &mut [v1::GroupPartition]) {
        let mut topics: BTreeMap<(String, String), Vec<u32>> = BTreeMap::new();
        for partition in partitions.iter().filter(|partition| !partition.topic.is_empty()) {
            let topic = (partition.topic.clone(), partition.topic_id.clone());
            topics.entry(topic).or_default().push(partition.partition);
        }
        let mut bounds: BTreeMap<(String, u32), Bounds> = BTreeMap::new();
        for ((topic, topic_id), indexes) in topics {
            // Two queries for each partition.
            for indexes in indexes.chunks(limits::PARTITIONS_PER_REQUEST_MAX / 2) {
                let found = self.bounds(&topic, &topic_id, indexes).await;
                bounds.extend(found.into_iter().map(|(index, found)| ((topic_id.clone(), index), found)));
            }
        }
        for partition in partitions {
            match bounds.remove(&(partition.topic_id.clone(), partition.partition)) {
                Some(Ok((start, end))) => {
                    partition.log_start_offset = Some(start);
                    partition.high_watermark = Some(end);
                    partition.lag = Some(lag(partition.committed_offset, start, end));
                }
                Some(Err(error)) => partition.error = Some(*error),
                None => {}
            }
        }
    }

    async fn bounds(&self, topic: &str, topic_id: &str, partitions: &[u32]) -> Vec<(u32, Bounds)> {
        let places = [v1::OffsetPlace::Earliest, v1::OffsetPlace::Latest];
        let queries = partitions.iter().flat_map(|partition| {
            places
                .map(|place| v1::OffsetQuery { partition: *partition, query: Some(Query::Place(place.into())) })
        });
        let request = v1::ListOffsetsRequest {
            topic: topic.to_owned(),
            topic_id: topic_id.to_owned(),
            queries: queries.collect(),
        };
        match list_offsets(&self.broker, &self.forwarding, self.origin, request).await {
            Ok(listed) => listed
                .results
                .chunks_exact(places.len())
                .map(|pair| {
                    (pair[0].partition, found(&pair[0]).and_then(|start| Ok((start, found(&pair[1])?))))
                })
                .collect(),
            Err(error) => {
                let error = Box::new(detail(error));
                partitions.iter().map(|partition| (*partition, Err(error.clone()))).collect()
            }
        }
    }
}

fn found(result: &v1::OffsetResult) -> Result<i64, Box<v1::ErrorDetail>> {
    match &result.result {
        Some(Found::Found(found)) => Ok(found.offset.unwrap_or_default()),
        Some(Found::Error(error)) => Err(Box::new(error.clone())),
        None => Err(Box::new(detail(incomplete()))),
    }
}

/// Records from what is committed, or the log's start where that is higher or nothing is committed, to the end.
fn lag(committed: Option<i64>, start: i64, end: i64) -> u64 {
    let from = committed.map_or(start, |committed| committed.max(start));
    u64::try_from(end - from).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_what_exists_and_is_not_committed() {
        assert_eq!(lag(None, 10, 25), 15, "nothing is committed");
        assert_eq!(lag(Some(20), 10, 25), 5);
        assert_eq!(lag(Some(5), 10, 25), 15, "retention took what was not read");
        assert_eq!(lag(Some(30), 10, 25), 0, "what was reset beyond the end");
    }
}
