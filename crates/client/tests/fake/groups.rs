//! The fake node's GroupService, over the coordinator that all nodes share.

use std::time::Duration;

use highwater_groups::{
    Committer, Epoch, GroupName, HeartbeatRequest as Heartbeat, InstanceId, JoinRequest, Leave, LeaveRequest,
    MemberId, OffsetCommit as Commit, Revision, Subscription, TopicPartitions as Topic, Wake,
};
use highwater_proto::v1::group_service_server::GroupService;
use highwater_proto::v1::*;
use highwater_types::{ErrorCode, Offset, PartitionId, PartitionIndex, TopicId, TopicName};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::FakeNode;
use super::coordination::{Catalog, Groups, Out, detail, no_coordinator, partitions};

type Answer<T> = Result<Response<T>, Status>;

impl FakeNode {
    pub(crate) fn topic_id(&self) -> TopicId {
        TopicId(self.state().topic_id.parse().expect("an id"))
    }

    pub(crate) fn catalog(&self) -> Catalog {
        let count = u32::try_from(self.state().partitions.len()).expect("few");
        Catalog(Topic { topic: self.topic_id(), count })
    }

    /// Waits until the coordinator answers, or says why it does not.
    async fn coordinator(&self) -> Result<(), Status> {
        loop {
            let changed = self.changed.notified();
            match self.state().groups.out {
                None => return Ok(()),
                Some(Out::NoCoordinator) => return Err(no_coordinator().into_status()),
                Some(Out::Silent) => {}
            }
            changed.await;
        }
    }

    fn decide<T>(
        &self,
        decide: impl FnOnce(&mut Groups, &Catalog) -> Result<T, Box<ErrorDetail>>,
    ) -> Answer<T> {
        let catalog = self.catalog();
        let answer = decide(&mut self.state().groups, &catalog);
        self.changed.notify_waiters();
        answer.map(Response::new).map_err(|detail| detail.into_status())
    }

    /// Does what is due in the groups, for as long as the node runs.
    pub(crate) async fn tick(self) {
        loop {
            let changed = self.changed.notified();
            let catalog = self.catalog();
            let (due, is_news) = {
                let groups = &mut self.state().groups;
                let now = groups.now();
                let decision = groups.coordinator.tick(now, &catalog);
                let is_news = !decision.wakes.is_empty() || !decision.records.is_empty();
                groups.decided(decision).expect("a tick is not refused");
                let next = groups.coordinator.next_deadline();
                (next.map(|next| next.0.saturating_sub(groups.now().uptime.0)), is_news)
            };
            if is_news {
                self.changed.notify_waiters();
                continue;
            }
            let due = due.unwrap_or(Duration::from_secs(1)).max(Duration::from_millis(1));
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(due) => {}
            }
        }
    }
}

fn group(name: &str) -> GroupName {
    GroupName::new(name).expect("a name")
}

fn member(id: &str) -> MemberId {
    MemberId::new(id).expect("an id")
}

fn instance(id: &str) -> Option<InstanceId> {
    (!id.is_empty()).then(|| InstanceId::new(id).expect("an id"))
}

fn subscription(topics: &[String]) -> Option<Subscription> {
    let names = topics.iter().map(|topic| TopicName::new(topic).expect("a name"));
    (!topics.is_empty()).then(|| Subscription::new(names).expect("some topics"))
}

fn results(
    asked: &[(String, u32)],
    outcomes: Vec<Result<(), highwater_groups::GroupsError>>,
) -> Vec<GroupOffsetResult> {
    let result = |((topic, partition), outcome): (&(String, u32), Result<(), _>)| GroupOffsetResult {
        topic: topic.clone(),
        partition: *partition,
        error: outcome.err().map(|error| detail(&error)),
    };
    asked.iter().zip(outcomes).map(result).collect()
}

#[tonic::async_trait]
impl GroupService for FakeNode {
    type GroupSessionStream = ReceiverStream<Result<GroupSessionResponse, Status>>;

    async fn group_session(
        &self,
        _: Request<Streaming<GroupSessionRequest>>,
    ) -> Answer<Self::GroupSessionStream> {
        Err(Status::unimplemented("the fake node has no such call"))
    }

    async fn join_group(&self, request: Request<JoinGroupRequest>) -> Answer<JoinGroupResponse> {
        let request = request.into_inner();
        self.until_heard(&request.client_id).await;
        self.coordinator().await?;
        self.decide(|groups, catalog| {
            let topic = request.topics[0].clone();
            let join = JoinRequest {
                group: GroupName::new(&request.group).map_err(|error| Box::new(detail(&error)))?,
                member: member(&request.member_id),
                instance: instance(&request.instance_id),
                client_id: request.client_id,
                client_host: request.client_host,
                subscription: subscription(&request.topics).expect("some topics"),
                assignor: None,
                rebalance_timeout: Duration::from_millis(request.rebalance_timeout_ms.into()),
            };
            let decision = groups.coordinator.join(groups.now(), catalog, &join);
            let answer = groups.decided(decision)?;
            Ok(JoinGroupResponse { membership: Some(groups.standing(answer, &topic)), coordinator: None })
        })
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Answer<HeartbeatResponse> {
        let request = request.into_inner();
        let (name, id) = (group(&request.group), member(&request.member_id));
        let client = self.state().groups.client_of(&name, &id).unwrap_or_default();
        let heartbeat = Heartbeat {
            group: name.clone(),
            member: id.clone(),
            instance: instance(&request.instance_id),
            epoch: Epoch(request.member_epoch),
            seen: Revision(request.revision),
            owned: request.owned.map(partitions),
            subscription: subscription(&request.topics),
        };
        let until = Instant::now() + Duration::from_millis(request.max_wait_ms.into());
        let wake = Wake { group: name, member: id };
        self.state().groups.wakes.remove(&wake);
        loop {
            self.until_heard(&client).await;
            self.coordinator().await?;
            let answer = self.decide(|groups, catalog| {
                let decision = groups.coordinator.heartbeat(groups.now(), catalog, &heartbeat);
                let answer = groups.decided(decision)?;
                let is_news = answer.assignment.is_some() || answer.epoch != heartbeat.epoch;
                groups.heartbeats += 1;
                let membership = Some(groups.standing(answer, "t"));
                Ok((is_news, HeartbeatResponse { membership, coordinator: None }))
            })?;
            let (is_news, response) = answer.into_inner();
            let is_said = heartbeat.owned.is_some() || heartbeat.subscription.is_some();
            if is_news || is_said || Instant::now() >= until {
                return Ok(Response::new(response));
            }
            self.until_woken(&wake, until).await;
        }
    }

    async fn leave_group(&self, request: Request<LeaveGroupRequest>) -> Answer<LeaveGroupResponse> {
        let request = request.into_inner();
        self.coordinator().await?;
        self.decide(|groups, catalog| {
            let leave = if request.for_a_while { Leave::ForAWhile } else { Leave::ForGood };
            let leave =
                LeaveRequest { group: group(&request.group), member: member(&request.member_id), leave };
            let decision = groups.coordinator.leave(groups.now(), catalog, &leave);
            groups.decided(decision)?;
            Ok(LeaveGroupResponse {})
        })
    }

    async fn commit_offsets(&self, request: Request<CommitOffsetsRequest>) -> Answer<CommitOffsetsResponse> {
        let request = request.into_inner();
        self.coordinator().await?;
        self.decide(|groups, catalog| {
            let asked: Vec<_> = request.offsets.iter().map(|o| (o.topic.clone(), o.partition)).collect();
            let committer = match request.member_id.as_str() {
                "" => Committer::Outsider,
                id => Committer::Member { member: member(id), epoch: Epoch(request.member_epoch) },
            };
            let name = group(&request.group);
            let who =
                groups.client_of(&name, &MemberId::new(&request.member_id).unwrap_or_else(|_| member("-")));
            let offsets = request.offsets.iter().map(|offset| Commit {
                partition: PartitionId { topic: catalog.0.topic, index: PartitionIndex(offset.partition) },
                offset: Offset(offset.offset),
                leader_epoch: None,
                metadata: offset.metadata.clone(),
                may_rewind: offset.may_rewind,
            });
            let commit = highwater_groups::CommitRequest { group: name, committer, offsets: offsets.collect() };
            let decision = groups.coordinator.commit(groups.now(), catalog, &commit);
            let outcomes = groups.decided(decision)?;
            for (offset, outcome) in request.offsets.iter().zip(&outcomes) {
                if outcome.is_ok() {
                    groups.commits.push((who.clone().unwrap_or_default(), offset.partition, offset.offset));
                }
            }
            Ok(CommitOffsetsResponse { results: results(&asked, outcomes) })
        })
    }

    async fn fetch_offsets(&self, request: Request<FetchOffsetsRequest>) -> Answer<FetchOffsetsResponse> {
        let request = request.into_inner();
        self.coordinator().await?;
        self.decide(|groups, catalog| {
            let found = groups.coordinator.state().group(&group(&request.group));
            let of = |topic: TopicPartitions| {
                topic.partitions.into_iter().map(move |partition| (topic.topic.clone(), partition))
            };
            let told = |(topic, partition): (String, u32)| {
                let id = PartitionId { topic: catalog.0.topic, index: PartitionIndex(partition) };
                let offset = found.and_then(|group| group.offset(id));
                CommittedOffset {
                    topic,
                    topic_id: id.topic.to_string(),
                    partition,
                    offset: offset.map(|committed| committed.offset.0),
                    metadata: offset.map(|committed| committed.metadata.clone()).unwrap_or_default(),
                    ..CommittedOffset::default()
                }
            };
            Ok(FetchOffsetsResponse { offsets: request.topics.into_iter().flat_map(of).map(told).collect() })
        })
    }

    async fn reset_offsets(&self, request: Request<ResetOffsetsRequest>) -> Answer<ResetOffsetsResponse> {
        let request = request.into_inner();
        self.coordinator().await?;
        self.decide(|groups, catalog| {
            let asked: Vec<_> = request.offsets.iter().map(|o| (o.topic.clone(), o.partition)).collect();
            let offsets = request.offsets.iter().map(|reset| {
                let index = PartitionIndex(reset.partition);
                (PartitionId { topic: catalog.0.topic, index }, Offset(reset.offset))
            });
            let offsets: Vec<_> = offsets.collect();
            let now = groups.now();
            let decision = groups.coordinator.reset_offsets(now, catalog, &group(&request.group), &offsets);
            let outcomes = groups.decided(decision)?;
            Ok(ResetOffsetsResponse { results: results(&asked, outcomes) })
        })
    }

    async fn delete_offsets(&self, request: Request<DeleteOffsetsRequest>) -> Answer<DeleteOffsetsResponse> {
        let request = request.into_inner();
        self.coordinator().await?;
        self.decide(|groups, catalog| {
            let of = |topic: TopicPartitions| {
                topic.partitions.into_iter().map(move |partition| (topic.topic.clone(), partition))
            };
            let asked: Vec<_> = request.topics.into_iter().flat_map(of).collect();
            let id = |(_, partition): &(String, u32)| PartitionId {
                topic: catalog.0.topic,
                index: PartitionIndex(*partition),
            };
            let ids: Vec<_> = asked.iter().map(id).collect();
            let now = groups.now();
            let decision = groups.coordinator.delete_offsets(now, catalog, &group(&request.group), &ids);
            let outcomes = groups.decided(decision)?;
            Ok(DeleteOffsetsResponse { results: results(&asked, outcomes) })
        })
    }

    async fn list_groups(&self, request: Request<ListGroupsRequest>) -> Answer<ListGroupsResponse> {
        self.coordinator().await?;
        self.decide(|groups, _| {
            // Pages of one group each.
            let after = request.into_inner().page_token;
            let mut names = groups.coordinator.state().groups().map(|(name, group)| (name.to_string(), group));
            let next = names.find(|(name, _)| *name > after);
            let summary = next.as_ref().map(|(name, group)| GroupSummary {
                group: name.clone(),
                state: GroupState::Empty.into(),
                members: u32::try_from(group.members().len()).expect("few"),
                coordinator_node_id: 1,
            });
            let next_page_token = names.next().and(next).map(|(name, _)| name).unwrap_or_default();
            let groups = summary.into_iter().collect();
            Ok(ListGroupsResponse { groups, next_page_token, errors: Vec::new() })
        })
    }

    async fn describe_group(&self, request: Request<DescribeGroupRequest>) -> Answer<DescribeGroupResponse> {
        self.coordinator().await?;
        self.decide(|groups, _| {
            let name = request.into_inner().group;
            let Some(found) = groups.coordinator.state().group(&group(&name)) else {
                return Err(Box::new(ErrorDetail::new(ErrorCode::UnknownGroup, "no such group")));
            };
            let members = found.members().map(|member| GroupMember {
                member_id: member.description.member.to_string(),
                client_id: member.description.client_id.clone(),
                ..GroupMember::default()
            });
            let (members, state) = (members.collect(), GroupState::Stable.into());
            Ok(DescribeGroupResponse { group: name, state, members, ..DescribeGroupResponse::default() })
        })
    }

    async fn delete_group(&self, request: Request<DeleteGroupRequest>) -> Answer<DeleteGroupResponse> {
        self.coordinator().await?;
        self.decide(|groups, catalog| {
            let now = groups.now();
            let decision = groups.coordinator.delete_group(now, catalog, &group(&request.into_inner().group));
            groups.decided(decision)?;
            Ok(DeleteGroupResponse {})
        })
    }
}

impl FakeNode {
    /// Never, of a client that is not heard; until it is heard again.
    async fn until_heard(&self, client: &str) {
        loop {
            let changed = self.changed.notified();
            if !self.state().groups.unheard.contains(client) {
                return;
            }
            changed.await;
        }
    }

    async fn until_woken(&self, wake: &Wake, until: Instant) {
        loop {
            let changed = self.changed.notified();
            {
                let groups = &mut self.state().groups;
                if groups.wakes.remove(wake) || groups.out.is_some() {
                    return;
                }
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }
}
