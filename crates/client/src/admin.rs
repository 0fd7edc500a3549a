//! Topics and the cluster: one method for each call of the API. Each makes its call once (or, if it only reads, once on each
//! server until one can be reached) and never waits to try again: whoever administers wants to know.

use std::sync::Arc;

use highwater_proto::v1::{
    AddPartitionsRequest, AddPartitionsResponse, AlterTopicConfigsRequest, AlterTopicConfigsResponse,
    CreateTopicRequest, CreateTopicResponse, DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicRequest,
    DeleteTopicResponse, DescribeClusterRequest, DescribeClusterResponse, DescribeTopicsRequest, FoundOffset,
    ListOffsetsRequest, ListTopicsRequest, OffsetPlace, OffsetQuery, TopicDescription, TopicSummary,
    describe_topics_result, offset_query, offset_result,
};
use highwater_types::{Offset, PartitionIndex, TimestampMs};

use crate::connections::{Connections, Server};
use crate::error::ClientError;

/// See the module. After a [`ClientError::Connection`] it is unknown whether a change took place.
#[derive(Debug, Clone)]
pub struct Admin {
    connections: Arc<Connections>,
}

/// A call that changes something: made once.
macro_rules! change {
    ($(#[$doc:meta])* $name:ident, $request:ty, $response:ty) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// What the cluster answers, or that it cannot be reached.
        pub async fn $name(&self, request: $request) -> Result<$response, ClientError> {
            let call = |server: Server| {
                let request = request.clone();
                async move { server.admin().$name(request).await }
            };
            self.connections.call_once(call).await
        }
    };
}

impl Admin {
    pub(crate) fn new(connections: Arc<Connections>) -> Self {
        Self { connections }
    }

    change!(
        /// Creates a topic. On return it takes records.
        create_topic, CreateTopicRequest, CreateTopicResponse
    );
    change!(
        /// Sets configs of a topic, or takes them back to their defaults.
        alter_topic_configs, AlterTopicConfigsRequest, AlterTopicConfigsResponse
    );
    change!(
        /// Raises a topic's number of partitions.
        add_partitions, AddPartitionsRequest, AddPartitionsResponse
    );
    change!(
        /// Deletes a topic and its records.
        delete_topic, DeleteTopicRequest, DeleteTopicResponse
    );
    change!(
        /// Deletes records below given offsets. Failures of single partitions are in the response.
        delete_records, DeleteRecordsRequest, DeleteRecordsResponse
    );

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
                page_size: 0,
                page_token,
            };
            let call = |server: Server| {
                let request = request.clone();
                async move { server.admin().list_topics(request).await }
            };
            let page = self.connections.call_any(call).await?;
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
        let request = DescribeTopicsRequest { names: vec![name.to_owned()], include_offsets };
        let call = |server: Server| {
            let request = request.clone();
            async move { server.admin().describe_topics(request).await }
        };
        let response = self.connections.call_any(call).await?;
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
        let call =
            |server: Server| async move { server.admin().describe_cluster(DescribeClusterRequest {}).await };
        self.connections.call_any(call).await
    }

    /// The offset of a named place in each of these partitions, in their order; `None` when there is none
    /// (only the largest timestamp of an empty partition). Cancel-safe.
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
        let query = |partition: &PartitionIndex| OffsetQuery { partition: partition.0, query: Some(query) };
        let request = ListOffsetsRequest {
            topic: topic.to_owned(),
            topic_id: String::new(),
            queries: partitions.iter().map(query).collect(),
        };
        let call = |server: Server| {
            let request = request.clone();
            async move { server.log().list_offsets(request).await }
        };
        let response = self.connections.call_any(call).await?;
        if response.results.len() != partitions.len() {
            return Err(self.protocol("not one result for each partition"));
        }
        let found = |result: highwater_proto::v1::OffsetResult| match result.result {
            Some(offset_result::Result::Found(found)) => Ok(found),
            Some(offset_result::Result::Error(detail)) => Err(detail.into()),
            None => Err(self.protocol("no result for a partition")),
        };
        response.results.into_iter().map(found).collect()
    }

    fn protocol(&self, what: &'static str) -> ClientError {
        ClientError::Protocol { server: self.connections.current().address, what }
    }
}

fn offset_of(found: FoundOffset) -> Option<Offset> {
    found.offset.map(Offset)
}
