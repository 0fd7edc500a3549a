//! Topics and the cluster: one method for each call of the API.
//!
//! What changes the metadata is sent once, to a server that was up a moment before; what only reads it goes to one server
//! after another until one can be reached, and shows at least what this client has changed or seen. What leaders have to
//! answer goes to them, and a leader that is not there is waited for, for a few seconds. Nothing else is tried again:
//! whoever administers wants to know.

mod by_leader;
mod groups;
mod nodes;
mod timestamps;

use std::sync::Arc;
use std::time::Duration;

use highwater_proto::v1::{
    AddPartitionsRequest, AddPartitionsResponse, AlterTopicConfigsRequest, AlterTopicConfigsResponse,
    CreateTopicRequest, CreateTopicResponse, DeleteRecordsPartition, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteRecordsResult, DeleteTopicRequest, DeleteTopicResponse,
    DescribeClusterResponse, DescribeTopicsRequest, ErrorDetail, FoundOffset, ListOffsetsRequest,
    ListTopicsRequest, OffsetPlace, OffsetQuery, OffsetResult, TopicDescription, TopicSummary,
    delete_records_result, describe_topics_result, offset_query, offset_result,
};
use highwater_types::{ErrorCode, Offset, PartitionIndex, TimestampMs};
use tonic::Request;

use crate::cluster::Cluster;
use crate::connections::Server;
use crate::error::ClientError;

use by_leader::by_leader;

/// A call tells its server how long it is waited for, with so much more that it is this client that says that nothing came.
const TOLD_MORE_BY: Duration = Duration::from_millis(100);

/// See the module. After a [`ClientError::Connection`] it is unknown whether a change took place.
#[derive(Debug, Clone)]
pub struct Admin {
    cluster: Arc<Cluster>,
}

/// A call that changes something: made once.
macro_rules! change {
    ($(#[$doc:meta])* $name:ident, $request:ty, $response:ty) => {
        $(#[$doc])*
        ///
        /// Not cancel-safe: when it is dropped, the change may or may not take place.
        ///
        /// # Errors
        /// What the cluster answers, or that it cannot be reached.
        pub async fn $name(&self, request: $request) -> Result<$response, ClientError> {
            let call = |server: Server| {
                let mut request = Request::new(request.clone());
                request.set_timeout(self.cluster.config.request_timeout + TOLD_MORE_BY);
                async move { server.admin().$name(request).await }
            };
            self.cluster.find_live().await?;
            let response = self.cluster.connections.call_once(call).await?;
            self.cluster.saw_metadata_version(response.metadata_version);
            Ok(response)
        }
    };
}

impl Admin {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    change!(
        /// Creates a topic. On return it takes records, but for those of its partitions that the answer counts as pending: they come up
        /// by themselves, and producers wait for them.
        create_topic, CreateTopicRequest, CreateTopicResponse
    );
    change!(
        /// Sets configs of a topic, or takes them back to their defaults.
        alter_topic_configs, AlterTopicConfigsRequest, AlterTopicConfigsResponse
    );
    change!(
        /// Raises a topic's number of partitions. What is pending of them is told as of a creation.
        add_partitions, AddPartitionsRequest, AddPartitionsResponse
    );
    change!(
        /// Deletes a topic and its records.
        delete_topic, DeleteTopicRequest, DeleteTopicResponse
    );
    /// Deletes records below given offsets, at the leaders of their partitions. Failures of single partitions are in the
    /// response, in the order of the request.
    ///
    /// When a leader cannot be reached midway, it is asked again if each offset is given; with an offset of -1 ("all")
    /// that could delete more, and the call fails.
    ///
    /// Not cancel-safe: when it is dropped, records may or may not be deleted.
    ///
    /// # Errors
    /// What the cluster answers, or that it cannot be reached.
    pub async fn delete_records(
        &self,
        request: DeleteRecordsRequest,
    ) -> Result<DeleteRecordsResponse, ClientError> {
        let topic = self.cluster.topic(&request.topic).await?;
        let repeats = request.partitions.iter().all(|partition| partition.before_offset >= 0);
        let asked = request.partitions.iter().map(|p| (PartitionIndex(p.partition), *p)).collect();
        let call = |server: Server, partitions: Vec<DeleteRecordsPartition>| {
            let request = DeleteRecordsRequest { partitions, ..request.clone() };
            async move {
                let response = server.admin().delete_records(request).await?;
                let outcome = |deleted: DeleteRecordsResult| match deleted.result {
                    Some(delete_records_result::Result::Error(detail)) => Err(ClientError::from(detail)),
                    _ => Ok(deleted),
                };
                Ok(response.map(|response| response.results.into_iter().map(outcome).collect()))
            }
        };
        let outcomes = by_leader(&self.cluster, &topic, asked, repeats, call).await?;
        let result = |(asked, outcome): (&DeleteRecordsPartition, Result<DeleteRecordsResult, ClientError>)| {
            let error = |error| DeleteRecordsResult {
                partition: asked.partition,
                result: Some(delete_records_result::Result::Error(match error {
                    ClientError::Api(detail) => *detail,
                    other => ErrorDetail::new(ErrorCode::Internal, other.to_string()),
                })),
            };
            outcome.unwrap_or_else(error)
        };
        Ok(DeleteRecordsResponse { results: request.partitions.iter().zip(outcomes).map(result).collect() })
    }

    /// All topics whose names begin with `prefix`, by name. Cancel-safe.
    ///
    /// # Errors
    /// What the cluster answers, or that it cannot be reached.
    pub async fn list_topics(
        &self,
        prefix: &str,
        include_internal: bool,
    ) -> Result<Vec<TopicSummary>, ClientError> {
        let mut topics = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListTopicsRequest {
                name_prefix: prefix.to_owned(),
                include_internal,
                page_token,
                ..ListTopicsRequest::default()
            };
            let call = |server: Server| {
                let request = request.clone();
                async move { server.admin().list_topics(request).await }
            };
            let page = self.cluster.connections.read_any(call).await?;
            if page.topics.is_empty() && !page.next_page_token.is_empty() {
                return Err(self.protocol("an empty page of topics that is not the last"));
            }
            topics.extend(page.topics);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(topics);
            }
        }
    }

    /// A topic in full, with watermarks if wanted. Cancel-safe.
    ///
    /// # Errors
    /// What the cluster answers, or that it cannot be reached.
    pub async fn describe_topic(
        &self,
        name: &str,
        include_offsets: bool,
    ) -> Result<TopicDescription, ClientError> {
        let request =
            DescribeTopicsRequest { names: vec![name.to_owned()], include_offsets, ..Default::default() };
        let response = self.cluster.describe_topics(request).await?;
        match response.results.into_iter().next().and_then(|result| result.result) {
            Some(describe_topics_result::Result::Topic(topic)) => Ok(topic),
            Some(describe_topics_result::Result::Error(detail)) => Err(detail.into()),
            None => Err(self.protocol("no result for a topic")),
        }
    }

    /// The cluster and its nodes. Cancel-safe.
    ///
    /// # Errors
    /// What the cluster answers, or that it cannot be reached.
    pub async fn describe_cluster(&self) -> Result<DescribeClusterResponse, ClientError> {
        self.cluster.describe_cluster().await
    }

    /// The offset of a named place in each of these partitions, in their order; `None` when there is none
    /// (only the largest timestamp of an empty partition). Their leaders are asked. Cancel-safe.
    ///
    /// # Errors
    /// The first partition's error, or what the whole call answers, or that the cluster cannot be reached.
    pub async fn offsets(
        &self,
        topic: &str,
        partitions: &[PartitionIndex],
        place: OffsetPlace,
    ) -> Result<Vec<Option<Offset>>, ClientError> {
        let query = offset_query::Query::Place(place.into());
        Ok(self.list_offsets(topic, partitions, query).await?.into_iter().map(offset_of).collect())
    }

    /// The smallest offset with at least this timestamp in each of these partitions, in their order; `None`
    /// when there is none. Cancel-safe.
    ///
    /// # Errors
    /// As [`Admin::offsets`].
    pub async fn offsets_for_time(
        &self,
        topic: &str,
        partitions: &[PartitionIndex],
        timestamp: TimestampMs,
    ) -> Result<Vec<Option<Offset>>, ClientError> {
        let query = offset_query::Query::TimestampMs(timestamp.0);
        Ok(self.list_offsets(topic, partitions, query).await?.into_iter().map(offset_of).collect())
    }

    async fn list_offsets(
        &self,
        topic: &str,
        partitions: &[PartitionIndex],
        query: offset_query::Query,
    ) -> Result<Vec<FoundOffset>, ClientError> {
        let topic_of = self.cluster.topic(topic).await?;
        let asked =
            partitions.iter().map(|p| (*p, OffsetQuery { partition: p.0, query: Some(query) })).collect();
        let call = |server: Server, queries: Vec<OffsetQuery>| {
            let request =
                ListOffsetsRequest { topic: topic.to_owned(), topic_id: topic_of.id.to_string(), queries };
            async move {
                let response = server.log().list_offsets(request).await?;
                let outcome = |answer: OffsetResult| match answer.result {
                    Some(offset_result::Result::Found(found)) => Ok(found),
                    Some(offset_result::Result::Error(detail)) => Err(ClientError::from(detail)),
                    None => Err(ErrorDetail::new(ErrorCode::Internal, "no result for a partition").into()),
                };
                Ok(response.map(|response| response.results.into_iter().map(outcome).collect()))
            }
        };
        let outcomes = by_leader(&self.cluster, &topic_of, asked, true, call).await?;
        outcomes.into_iter().collect()
    }

    fn protocol(&self, what: &'static str) -> ClientError {
        self.cluster.protocol(what)
    }
}

fn offset_of(found: FoundOffset) -> Option<Offset> {
    found.offset.map(Offset)
}
