//! Consumer groups as a client without any help sees them: members that join, share and leave, offsets, and coordinators that die,
//! through whatever node.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness::{TestNode, append, code, soon, three_nodes};
use highwater_proto::v1;
use highwater_proto::v1::group_service_client::GroupServiceClient;
use highwater_server::NodeConfig;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;
use tonic::{Code, Status};

type Client = GroupServiceClient<Channel>;

async fn groups(node: &TestNode) -> Client {
    GroupServiceClient::new(node.connect().await)
}

/// A member that keeps itself in its group by hand and gives up at once what it is told to.
struct Member {
    client: Client,
    id: String,
    epoch: u32,
    revision: u32,
    owned: BTreeSet<(String, u32)>,
}

impl Member {
    async fn join(client: Client, group: &str, id: &str, topics: &[&str]) -> Result<Self, Status> {
        let mut member = Self { client, id: id.to_owned(), epoch: 0, revision: 0, owned: BTreeSet::new() };
        let request = v1::JoinGroupRequest {
            group: group.to_owned(),
            member_id: id.to_owned(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            ..Default::default()
        };
        let joined = member.client.join_group(request).await?.into_inner();
        member.take_in(joined.membership.expect("always set"));
        Ok(member)
    }

    fn take_in(&mut self, membership: v1::GroupMembership) {
        (self.epoch, self.revision) = (membership.member_epoch, membership.revision);
        if let Some(assignment) = membership.assignment {
            self.owned = flat(&assignment);
        }
    }

    fn request(&self, group: &str, max_wait_ms: u32) -> v1::HeartbeatRequest {
        v1::HeartbeatRequest {
            group: group.to_owned(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            revision: self.revision,
            max_wait_ms,
            ..Default::default()
        }
    }

    /// One heartbeat that says what the member owns.
    async fn beat(&mut self, group: &str) -> Result<(), Status> {
        let owned = v1::GroupAssignment { topics: by_topic(&self.owned) };
        let request = v1::HeartbeatRequest { owned: Some(owned), ..self.request(group, 0) };
        let heard = self.client.heartbeat(request).await?.into_inner();
        self.take_in(heard.membership.expect("always set"));
        Ok(())
    }

    /// One heartbeat whose answer waits for something new.
    async fn wait(&mut self, group: &str) -> Result<(), Status> {
        let request = self.request(group, 60_000);
        let heard = self.client.heartbeat(request).await?.into_inner();
        self.take_in(heard.membership.expect("always set"));
        Ok(())
    }

    async fn commit(
        &mut self,
        group: &str,
        offsets: &[(&str, u32, i64)],
    ) -> Result<Vec<Option<String>>, Status> {
        let request = commit(group, &self.id, self.epoch, offsets);
        let results = self.client.commit_offsets(request).await?.into_inner().results;
        Ok(results.into_iter().map(|result| result.error.map(|error| error.code)).collect())
    }

    async fn leave(&mut self, group: &str) {
        let request =
            v1::LeaveGroupRequest { group: group.to_owned(), member_id: self.id.clone(), ..Default::default() };
        self.client.leave_group(request).await.expect("left");
    }
}

fn commit(group: &str, member: &str, epoch: u32, offsets: &[(&str, u32, i64)]) -> v1::CommitOffsetsRequest {
    let offsets = offsets.iter().map(|(topic, partition, offset)| v1::OffsetCommit {
        topic: (*topic).to_owned(),
        partition: *partition,
        offset: *offset,
        ..Default::default()
    });
    v1::CommitOffsetsRequest {
        group: group.to_owned(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        offsets: offsets.collect(),
    }
}

/// Partitions by the ids of their topics.
fn flat(assignment: &v1::GroupAssignment) -> BTreeSet<(String, u32)> {
    let topics = assignment.topics.iter();
    topics
        .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id.clone(), *partition)))
        .collect()
}

fn by_topic(partitions: &BTreeSet<(String, u32)>) -> Vec<v1::TopicPartitions> {
    let mut topics: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    let topics = topics.into_iter().map(|(topic_id, partitions)| v1::TopicPartitions {
        topic_id: topic_id.to_owned(),
        partitions,
        ..Default::default()
    });
    topics.collect()
}

/// Has each send heartbeats until each owns as many partitions as it is to.
async fn settle(group: &str, members: &mut [(&mut Member, usize)]) {
    soon("the group settles", async {
        while !members.iter().all(|(member, share)| member.owned.len() == *share) {
            for (member, _) in members.iter_mut() {
                member.beat(group).await.expect("heard");
            }
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn fetch_offsets(client: &mut Client, group: &str) -> Vec<(String, u32, Option<i64>)> {
    let request = v1::FetchOffsetsRequest { group: group.to_owned(), topics: Vec::new() };
    let fetched = client.fetch_offsets(request).await.expect("answered").into_inner();
    fetched.offsets.into_iter().map(|offset| (offset.topic, offset.partition, offset.offset)).collect()
}

async fn describe(client: &mut Client, group: &str) -> Result<v1::DescribeGroupResponse, Status> {
    let request = v1::DescribeGroupRequest { group: group.to_owned(), include_lag: true };
    client.describe_group(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn members_share_commit_and_go_through_any_node_of_three() {
    let nodes = three_nodes().await;
    nodes[0].create_replicated("orders", 4, 3, &[]).await;
    for group in ["workers", "audit", "billing"] {
        let mut first = Member::join(groups(&nodes[0]).await, group, "a", &["orders"]).await.expect("joined");
        settle(group, &mut [(&mut first, 4)]).await;
        let mut second = Member::join(groups(&nodes[1]).await, group, "b", &["orders"]).await.expect("joined");
        settle(group, &mut [(&mut first, 2), (&mut second, 2)]).await;
        assert!(first.owned.is_disjoint(&second.owned), "{group}: no partition is owned twice");

        let (_, held) = first.owned.first().cloned().expect("two");
        let (_, other) = second.owned.first().cloned().expect("two");
        let committed = first.commit(group, &[("orders", held, 7), ("orders", other, 7)]).await;
        let stale = Some("STALE_MEMBER".to_owned());
        assert_eq!(committed.expect("answered"), [None, stale], "{group}");
        let mut third = groups(&nodes[2]).await;
        assert_eq!(fetch_offsets(&mut third, group).await, [("orders".to_owned(), held, Some(7))]);

        second.leave(group).await;
        settle(group, &mut [(&mut first, 4)]).await;
        second.leave(group).await;
        let fenced = second.beat(group).await.expect_err("it has gone");
        assert_eq!(code(&fenced), "UNKNOWN_MEMBER");
    }
    let listed = groups(&nodes[1]).await.list_groups(v1::ListGroupsRequest::default()).await;
    let listed = listed.expect("answered").into_inner();
    let names: Vec<_> = listed.groups.iter().map(|group| (group.group.as_str(), group.members)).collect();
    assert_eq!(names, [("audit", 1), ("billing", 1), ("workers", 1)]);
    assert_eq!(listed.errors, []);
}

#[tokio::test]
async fn a_heartbeat_waits_for_what_is_new_and_tells_it_at_once() {
    let node = TestNode::start().await;
    node.create("orders", 2, &[]).await;
    let mut first = Member::join(groups(&node).await, "g", "a", &["orders"]).await.expect("joined");
    settle("g", &mut [(&mut first, 2)]).await;
    let interval = {
        let request = first.request("g", 0);
        let heard = first.client.heartbeat(request).await.expect("heard").into_inner();
        Duration::from_millis(heard.membership.expect("always set").heartbeat_interval_ms.into())
    };
    let began = Instant::now();
    let (waited, second) = tokio::join!(first.wait("g"), async {
        Member::join(groups(&node).await, "g", "b", &["orders"]).await.expect("joined")
    });
    waited.expect("heard");
    assert!(began.elapsed() < interval, "it waited {:?} of {interval:?}", began.elapsed());
    first.beat("g").await.expect("heard");
    assert_eq!(first.owned.len(), 1, "it is to give one up");
    let mut second = second;
    settle("g", &mut [(&mut first, 1), (&mut second, 1)]).await;

    // Of two heartbeats that wait, the later one answers the earlier.
    let mut same = first.client.clone();
    let request = first.request("g", 60_000);
    let earlier = tokio::spawn(async move { same.heartbeat(request).await });
    let began = Instant::now();
    while !earlier.is_finished() && began.elapsed() < interval / 2 {
        let request = first.request("g", 1);
        first.client.heartbeat(request).await.expect("heard");
    }
    assert!(earlier.is_finished(), "the earlier one still waits");
}

#[tokio::test]
async fn who_is_silent_loses_its_partitions_and_what_it_commits_then_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = TestNode::start_in(directory, |config| NodeConfig {
        groups: config.groups.clone().with_session_timeout(Duration::from_millis(500)),
        ..config
    })
    .await;
    node.create("orders", 2, &[]).await;
    let mut silent = Member::join(groups(&node).await, "g", "silent", &["orders"]).await.expect("joined");
    settle("g", &mut [(&mut silent, 2)]).await;
    let mut other = Member::join(groups(&node).await, "g", "other", &["orders"]).await.expect("joined");
    settle("g", &mut [(&mut other, 2)]).await;
    let refused = silent.commit("g", &[("orders", 0, 1)]).await.expect_err("it is no member");
    assert_eq!(code(&refused), "UNKNOWN_MEMBER");
    assert_eq!(other.commit("g", &[("orders", 0, 1)]).await.expect("answered"), [None]);
}

#[tokio::test]
async fn a_new_coordinator_knows_members_and_offsets_and_takes_nothing_from_anybody() {
    let mut nodes = three_nodes().await;
    nodes[0].create_replicated("orders", 4, 3, &[]).await;
    let mut member = Member::join(groups(&nodes[0]).await, "g", "a", &["orders"]).await.expect("joined");
    settle("g", &mut [(&mut member, 4)]).await;
    assert_eq!(member.commit("g", &[("orders", 1, 42)]).await.expect("answered"), [None]);
    let coordinator = describe(&mut member.client, "g").await.expect("known").coordinator_node_id;
    let owned = member.owned.clone();

    let place = nodes.iter().position(|node| node.node.id().0 == coordinator).expect("one of them");
    let directory = nodes.swap_remove(place).stop().await;
    member.client = groups(&nodes[0]).await;
    soon("another coordinates", async {
        while let Err(status) = member.beat("g").await {
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(member.owned, owned);
    let mut client = groups(&nodes[1]).await;
    assert_eq!(fetch_offsets(&mut client, "g").await, [("orders".to_owned(), 1, Some(42))]);
    assert_eq!(member.commit("g", &[("orders", 1, 43)]).await.expect("answered"), [None]);
    drop(directory);
}

#[tokio::test]
async fn offsets_survive_restarts_and_those_of_a_deleted_topic_never_meet_its_successor() {
    let mut node = TestNode::start().await;
    let first = node.create("orders", 1, &[]).await;
    let mut client = groups(&node).await;
    let outside = client.commit_offsets(commit("g", "", 0, &[("orders", 0, 5)])).await;
    assert_eq!(outside.expect("answered").into_inner().results[0].error, None);
    for _ in 0..2 {
        node = node.restart().await;
        client = groups(&node).await;
        assert_eq!(fetch_offsets(&mut client, "g").await, [("orders".to_owned(), 0, Some(5))]);
    }
    let delete = v1::DeleteTopicRequest { topic: "orders".to_owned(), ..Default::default() };
    node.admin().await.delete_topic(delete).await.expect("deleted");
    let second = node.create("orders", 1, &[]).await;
    assert_ne!(first, second);
    soon("the offsets are forgotten", async {
        while !fetch_offsets(&mut client, "g").await.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let mut late = commit("g", "", 0, &[("orders", 0, 5)]);
    late.offsets[0].topic_id = first;
    let refused = client.commit_offsets(late).await.expect("answered").into_inner();
    let error = refused.results[0].error.clone().expect("of another topic");
    assert_eq!(error.code, "UNKNOWN_TOPIC_ID");
}

#[tokio::test]
async fn an_administrator_sees_lag_and_resets_only_what_nobody_reads() {
    let node = TestNode::start().await;
    node.create("orders", 2, &[]).await;
    let mut log = node.log().await;
    for number in 0..10 {
        append(&mut log, "orders", number % 2, b"order").await;
    }
    let mut member = Member::join(groups(&node).await, "g", "a", &["orders"]).await.expect("joined");
    settle("g", &mut [(&mut member, 2)]).await;
    assert_eq!(member.commit("g", &[("orders", 0, 2)]).await.expect("answered"), [None]);
    let mut client = groups(&node).await;
    let described = describe(&mut client, "g").await.expect("known");
    assert_eq!(described.state(), v1::GroupState::Stable);
    assert_eq!(described.members.len(), 1);
    assert_eq!(described.members[0].client_host, "127.0.0.1");
    let lags: Vec<_> =
        described.partitions.iter().map(|partition| (partition.partition, partition.lag)).collect();
    assert_eq!(lags, [(0, Some(3)), (1, Some(5))]);
    assert!(described.partitions.iter().all(|partition| partition.member_id == "a"));
    let (_, figures) = node.http("/metrics").await;
    for figure in [
        "highwater_group_members{group=\"g\"} 1\n",
        "highwater_group_lag_records{group=\"g\",topic=\"orders\",partition=\"1\"} 5\n",
        "highwater_group_topic_lag_records{group=\"g\",topic=\"orders\"} 8\n",
    ] {
        assert!(figures.contains(figure), "{figure} is not in {figures}");
    }

    let reset = |offset| v1::ResetOffsetsRequest {
        group: "g".to_owned(),
        offsets: vec![v1::OffsetReset {
            topic: "orders".to_owned(),
            partition: 1,
            offset,
            ..Default::default()
        }],
    };
    let refused = client.reset_offsets(reset(1)).await.expect_err("it has a member");
    assert_eq!(code(&refused), "GROUP_NOT_EMPTY");
    let request = v1::DeleteGroupRequest { group: "g".to_owned() };
    let refused = client.delete_group(request.clone()).await.expect_err("it has a member");
    assert_eq!(code(&refused), "GROUP_NOT_EMPTY");
    member.leave("g").await;
    client.reset_offsets(reset(1)).await.expect("answered");
    let offsets = fetch_offsets(&mut client, "g").await;
    assert_eq!(offsets, [("orders".to_owned(), 0, Some(2)), ("orders".to_owned(), 1, Some(1))]);
    client.delete_group(request.clone()).await.expect("deleted");
    let gone = client.delete_group(request).await.expect_err("it is gone");
    assert_eq!(code(&gone), "UNKNOWN_GROUP");
    assert_eq!(
        describe(&mut client, "g").await.map_err(|status| code(&status)),
        Err("UNKNOWN_GROUP".to_owned())
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let node = TestNode::start().await;
    node.create("orders", 1, &[]).await;
    let mut client = groups(&node).await;
    // Before the first group there is nothing to be found, and nothing begins.
    assert_eq!(
        describe(&mut client, "g").await.map_err(|status| code(&status)),
        Err("UNKNOWN_GROUP".to_owned())
    );
    assert!(fetch_offsets(&mut client, "g").await.is_empty());
    let refused = |joined: Result<Member, Status>| code(&joined.err().expect("refused"));
    assert_eq!(refused(Member::join(client.clone(), "", "a", &["orders"]).await), "INVALID_REQUEST");
    assert_eq!(refused(Member::join(client.clone(), "g", "", &["orders"]).await), "INVALID_REQUEST");
    assert_eq!(refused(Member::join(client.clone(), "g", "a", &[]).await), "INVALID_REQUEST");
    assert_eq!(refused(Member::join(client.clone(), "g", "a", &["__groups"]).await), "INVALID_REQUEST");
    assert_eq!(refused(Member::join(client.clone(), "g", "a", &["or ders"]).await), "INVALID_TOPIC_NAME");

    let results =
        client.commit_offsets(commit("g", "", 0, &[("nothing", 0, 5), ("orders", 3, 5), ("orders", 0, 5)]));
    let results = results.await.expect("answered").into_inner().results;
    let codes: Vec<_> = results.into_iter().map(|result| result.error.map(|error| error.code)).collect();
    let unknown = Some("UNKNOWN_TOPIC_OR_PARTITION".to_owned());
    assert_eq!(codes, [unknown.clone(), unknown, None]);
    let nobody = client.commit_offsets(commit("g", "ghost", 1, &[("orders", 0, 5)])).await;
    assert_eq!(code(&nobody.expect_err("no member")), "UNKNOWN_MEMBER");
    let negative = client.commit_offsets(commit("g", "", 0, &[("orders", 0, -1)])).await;
    assert_eq!(code(&negative.expect_err("no offset")), "INVALID_REQUEST");

    // The topic behind the groups is the cluster's.
    let delete = v1::DeleteTopicRequest { topic: "__groups".to_owned(), ..Default::default() };
    let kept = node.admin().await.delete_topic(delete).await.expect_err("it stays");
    assert_eq!(code(&kept), "INVALID_REQUEST");
    let add =
        v1::AddPartitionsRequest { topic: "__groups".to_owned(), total_partitions: 32, ..Default::default() };
    let kept = node.admin().await.add_partitions(add).await.expect_err("groups would change their shards");
    assert_eq!(code(&kept), "INVALID_REQUEST");
    let described = harness::describe(&node, "__groups").await;
    assert!(described.internal);
    assert!(described.partitions.iter().all(|shard| shard.leader_node_id == Some(1) && shard.error.is_none()));
}
