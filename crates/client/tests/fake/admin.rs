//! The fake node's AdminService: it describes its one topic, whatever it is called, except "missing".

use highwater_proto::v1::admin_service_server::AdminService;
use highwater_proto::v1::*;
use highwater_types::ErrorCode;
use tonic::{Request, Response, Status};

use super::FakeNode;

type Answer<T> = Result<Response<T>, Status>;

fn not_here<T>() -> Answer<T> {
    Err(Status::unimplemented("the fake node has no such call"))
}

#[tonic::async_trait]
impl AdminService for FakeNode {
    async fn describe_topics(&self, request: Request<DescribeTopicsRequest>) -> Answer<DescribeTopicsResponse> {
        self.until_not_silent().await;
        let mut state = self.state();
        let metadata_version = state.version_at(self.id);
        *state.calls.entry(self.id).or_default() += 1;
        let describe = |name: String| {
            let partitions = (0..).zip(&state.leaders);
            let partitions =
                partitions.map(|(partition, (leader_node_id, leader_epoch))| PartitionDescription {
                    partition,
                    leader_node_id: *leader_node_id,
                    leader_epoch: *leader_epoch,
                    ..PartitionDescription::default()
                });
            let result = if name == "missing" {
                let detail =
                    ErrorDetail::new(ErrorCode::UnknownTopicOrPartition, "no such topic").with_topic(&name);
                describe_topics_result::Result::Error(detail)
            } else {
                describe_topics_result::Result::Topic(TopicDescription {
                    name: name.clone(),
                    topic_id: state.topic_id.clone(),
                    partitions: partitions.collect(),
                    ..TopicDescription::default()
                })
            };
            DescribeTopicsResult { name, result: Some(result) }
        };
        let results = request.into_inner().names.into_iter().map(describe).collect();
        Ok(Response::new(DescribeTopicsResponse { results, metadata_version }))
    }

    async fn create_topic(&self, _: Request<CreateTopicRequest>) -> Answer<CreateTopicResponse> {
        let mut state = self.state();
        state.metadata_version += 1;
        let metadata_version = state.metadata_version;
        Ok(Response::new(CreateTopicResponse { metadata_version, ..CreateTopicResponse::default() }))
    }

    async fn list_topics(&self, request: Request<ListTopicsRequest>) -> Answer<ListTopicsResponse> {
        // Two pages of one topic each.
        let token = request.into_inner().page_token;
        let (name, next) = if token.is_empty() { ("a", "a") } else { ("b", "") };
        let topics = vec![TopicSummary { name: name.to_owned(), ..TopicSummary::default() }];
        Ok(Response::new(ListTopicsResponse { topics, next_page_token: next.to_owned(), metadata_version: 1 }))
    }

    async fn alter_topic_configs(
        &self,
        _: Request<AlterTopicConfigsRequest>,
    ) -> Answer<AlterTopicConfigsResponse> {
        not_here()
    }

    async fn add_partitions(&self, _: Request<AddPartitionsRequest>) -> Answer<AddPartitionsResponse> {
        not_here()
    }

    async fn delete_topic(&self, request: Request<DeleteTopicRequest>) -> Answer<DeleteTopicResponse> {
        let topic = request.into_inner().topic;
        Err(ErrorDetail::new(ErrorCode::UnknownTopicOrPartition, "no such topic")
            .with_topic(topic)
            .into_status())
    }

    async fn delete_records(&self, request: Request<DeleteRecordsRequest>) -> Answer<DeleteRecordsResponse> {
        let state = self.state();
        let delete = |asked: DeleteRecordsPartition| {
            let partition = asked.partition;
            let result = if state.leads(self.id, partition) {
                delete_records_result::Result::LogStartOffset(asked.before_offset)
            } else {
                delete_records_result::Result::Error(state.not_leader(partition))
            };
            DeleteRecordsResult { partition, result: Some(result) }
        };
        let results = request.into_inner().partitions.into_iter().map(delete).collect();
        Ok(Response::new(DeleteRecordsResponse { results }))
    }

    async fn describe_cluster(&self, _: Request<DescribeClusterRequest>) -> Answer<DescribeClusterResponse> {
        self.until_not_silent().await;
        let state = self.state();
        let node = |(node_id, address): (&u64, &String)| NodeDescription {
            node_id: *node_id,
            address: address.clone(),
        };
        Ok(Response::new(DescribeClusterResponse {
            nodes: state.addresses.iter().map(node).collect(),
            metadata_version: state.metadata_version,
            answering_node_id: self.id,
            ..DescribeClusterResponse::default()
        }))
    }

    async fn get_cluster_status(
        &self,
        _: Request<GetClusterStatusRequest>,
    ) -> Answer<GetClusterStatusResponse> {
        not_here()
    }

    async fn describe_node(&self, _: Request<DescribeNodeRequest>) -> Answer<DescribeNodeResponse> {
        not_here()
    }

    async fn set_node_mode(&self, _: Request<SetNodeModeRequest>) -> Answer<SetNodeModeResponse> {
        not_here()
    }

    async fn remove_node(&self, _: Request<RemoveNodeRequest>) -> Answer<RemoveNodeResponse> {
        not_here()
    }

    async fn transfer_leader(&self, _: Request<TransferLeaderRequest>) -> Answer<TransferLeaderResponse> {
        not_here()
    }

    async fn plan_reassignment(&self, _: Request<PlanReassignmentRequest>) -> Answer<PlanReassignmentResponse> {
        not_here()
    }

    async fn apply_reassignment(
        &self,
        _: Request<ApplyReassignmentRequest>,
    ) -> Answer<ApplyReassignmentResponse> {
        not_here()
    }

    async fn list_reassignments(
        &self,
        _: Request<ListReassignmentsRequest>,
    ) -> Answer<ListReassignmentsResponse> {
        not_here()
    }

    async fn cancel_reassignments(
        &self,
        _: Request<CancelReassignmentsRequest>,
    ) -> Answer<CancelReassignmentsResponse> {
        not_here()
    }
}
