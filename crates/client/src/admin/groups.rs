//! Consumer groups and their offsets: one method for each call of the API. Each may be made twice without harm, so they are made again
//! while the group's coordinator is being replaced, for a few seconds.

use std::sync::Arc;
use std::time::Duration;

use highwater_proto::v1::{
    CommitOffsetsRequest, DeleteGroupRequest, DeleteOffsetsRequest, DescribeGroupRequest, FetchOffsetsRequest,
    GroupOffsetResult, ListGroupsRequest, OffsetReset, ResetOffsetsRequest,
};
use highwater_types::{ErrorCode, Offset};
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::{Response, Status};

use super::Admin;
use crate::connections::Server;
use crate::error::ClientError;
use crate::group::{
    CommittedOffset, GroupCalls, GroupDescription, GroupList, GroupSummary, OffsetCommit, TopicPartition,
    by_topic, outcomes,
};

/// How long a coordinator is waited for: elections take less.
const COORDINATOR_WAIT: Duration = Duration::from_secs(10);

impl Admin {
    /// Remembers offsets for somebody who is in no group and only keeps them here: possible while the group has no members. Members
    /// commit with their [`crate::GroupConsumer`]. On return they are durable on a majority. The outcome of each is in the order of
    /// the request.
    ///
    /// Not cancel-safe: when it is dropped, offsets may or may not be committed.
    ///
    /// # Errors
    /// What the cluster answers for all of it, or that it cannot be reached.
    pub async fn commit_offsets(
        &self,
        group: &str,
        offsets: &[OffsetCommit],
    ) -> Result<Vec<Result<(), ClientError>>, ClientError> {
        let request = CommitOffsetsRequest {
            group: group.to_owned(),
            offsets: offsets.iter().map(|offset| offset.to_proto("")).collect(),
            ..CommitOffsetsRequest::default()
        };
        let call = |server: Server| {
            let request = request.clone();
            async move { server.groups().commit_offsets(request).await }
        };
        let response = self.group_call(call).await?;
        self.each(response.results, offsets.len())
    }

    /// What a group has committed: for these partitions, in their order, or for all of which it has something if there are none here. A
    /// group that does not exist has no offsets. Cancel-safe.
    ///
    /// # Errors
    /// What the cluster answers for all of it, or that it cannot be reached.
    pub async fn fetch_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<CommittedOffset>, ClientError> {
        let request = FetchOffsetsRequest { group: group.to_owned(), topics: by_topic(partitions) };
        let call = |server: Server| {
            let request = request.clone();
            async move { server.groups().fetch_offsets(request).await }
        };
        Ok(self.group_call(call).await?.offsets.into_iter().map(CommittedOffset::from).collect())
    }

    /// Sets offsets, forwards or backwards, for the group's next members to begin at. Refused with `GROUP_NOT_EMPTY` while
    /// it has members, which would go on where they are. On return they are durable on a majority. The outcome of each is in the order of
    /// the request.
    ///
    /// Not cancel-safe: when it is dropped, offsets may or may not be set.
    ///
    /// # Errors
    /// What the cluster answers for all of it, or that it cannot be reached.
    pub async fn reset_offsets(
        &self,
        group: &str,
        offsets: &[(TopicPartition, Offset)],
    ) -> Result<Vec<Result<(), ClientError>>, ClientError> {
        let reset = |(of, offset): &(TopicPartition, Offset)| OffsetReset {
            topic: of.topic.to_string(),
            topic_id: String::new(),
            partition: of.partition.0,
            offset: offset.0,
        };
        let request =
            ResetOffsetsRequest { group: group.to_owned(), offsets: offsets.iter().map(reset).collect() };
        let call = |server: Server| {
            let request = request.clone();
            async move { server.groups().reset_offsets(request).await }
        };
        let response = self.group_call(call).await?;
        self.each(response.results, offsets.len())
    }

    /// Forgets offsets. Those of a topic that members subscribe to stay, with `GROUP_NOT_EMPTY`; to forget what is not committed is no error.
    /// The outcome of each is in the order of the request.
    ///
    /// Not cancel-safe: when it is dropped, offsets may or may not be forgotten.
    ///
    /// # Errors
    /// What the cluster answers for all of it, or that it cannot be reached.
    pub async fn delete_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Result<(), ClientError>>, ClientError> {
        let request = DeleteOffsetsRequest { group: group.to_owned(), topics: by_topic(partitions) };
        let call = |server: Server| {
            let request = request.clone();
            async move { server.groups().delete_offsets(request).await }
        };
        let response = self.group_call(call).await?;
        self.each(response.results, partitions.len())
    }

    /// All groups whose names begin with `prefix`, by name. Cancel-safe.
    ///
    /// # Errors
    /// What the cluster answers, or that it cannot be reached. Coordinators that could not be asked are in the list's errors.
    pub async fn list_groups(&self, prefix: &str) -> Result<GroupList, ClientError> {
        let mut list = GroupList::default();
        let mut page_token = String::new();
        loop {
            let request = ListGroupsRequest { name_prefix: prefix.to_owned(), page_token, page_size: 0 };
            let call = |server: Server| {
                let request = request.clone();
                async move { server.groups().list_groups(request).await }
            };
            let page = self.group_call(call).await?;
            if page.groups.is_empty() && !page.next_page_token.is_empty() {
                return Err(self.protocol("an empty page of groups that is not the last"));
            }
            list.groups.extend(page.groups.into_iter().map(GroupSummary::from));
            for error in page.errors.into_iter().map(ClientError::from) {
                // Every page tells of the same coordinator.
                if !list.errors.contains(&error) {
                    list.errors.push(error);
                }
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(list);
            }
        }
    }

    /// A group in full, with the partitions' ends and lag if wanted, for which every leader is asked. Cancel-safe.
    ///
    /// # Errors
    /// What the cluster answers, such as `UNKNOWN_GROUP`, or that it cannot be reached.
    pub async fn describe_group(
        &self,
        group: &str,
        include_lag: bool,
    ) -> Result<GroupDescription, ClientError> {
        let request = DescribeGroupRequest { group: group.to_owned(), include_lag };
        let call = |server: Server| {
            let request = request.clone();
            async move { server.groups().describe_group(request).await }
        };
        self.group_call(call).await.map(GroupDescription::from)
    }

    /// Deletes a group and its offsets. Refused with `GROUP_NOT_EMPTY` while it has members.
    ///
    /// Not cancel-safe: when it is dropped, the group may or may not be deleted.
    ///
    /// # Errors
    /// What the cluster answers, or that it cannot be reached.
    pub async fn delete_group(&self, group: &str) -> Result<(), ClientError> {
        let request = DeleteGroupRequest { group: group.to_owned() };
        let sends = Mutex::new(0_u32);
        let call = |server: Server| {
            *sends.lock() += 1;
            let request = request.clone();
            async move { server.groups().delete_group(request).await }
        };
        match self.group_call(call).await {
            // An earlier attempt may have done it, and its answer was lost. In any case there is none.
            Err(error) if error.code() == Some(ErrorCode::UnknownGroup) && *sends.lock() > 1 => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }

    async fn group_call<T, F>(&self, call: impl Fn(Server) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let wait = COORDINATOR_WAIT.min(self.cluster.config.request_timeout);
        GroupCalls::new(Arc::clone(&self.cluster)).until(Instant::now() + wait, call).await
    }

    fn each(
        &self,
        results: Vec<GroupOffsetResult>,
        asked: usize,
    ) -> Result<Vec<Result<(), ClientError>>, ClientError> {
        if results.len() != asked {
            return Err(self.protocol("not one result for each offset"));
        }
        Ok(outcomes(results))
    }
}
