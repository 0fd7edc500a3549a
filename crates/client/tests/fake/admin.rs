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
        let state = self.state();
        let describe = |name: String| {
            let partitions = (0..).zip(&state.partitions);
            let partitions = partitions
                .map(|(partition, _)| PartitionDescription { partition, ..PartitionDescription::default() });
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
        Ok(Response::new(DescribeTopicsResponse { results, metadata_version: 1 }))
    }

    async fn create_topic(&self, _: Request<CreateTopicRequest>) -> Answer<CreateTopicResponse> {
        not_here()
    }

    async fn list_topics(&self, request: Request<ListTopicsRequest>) -> Answer<ListTopicsResponse> {
        // Two pages of one topic each.
        let token = request.into_inner().page_token;
        let (name, next) = if token.is_empty() { ("a", "a") } else { ("b", "") };
        let topics = vec![TopicSummary { name: name.to_owned(), ..TopicSummary::default() }];
        Ok(Response::new(ListTopicsResponse { topics, next_page_token: next.to_owned() }))
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

    async fn delete_records(&self, _: Request<DeleteRecordsRequest>) -> Answer<DeleteRecordsResponse> {
        not_here()
    }

    async fn describe_cluster(&self, _: Request<DescribeClusterRequest>) -> Answer<DescribeClusterResponse> {
        not_here()
    }
}
