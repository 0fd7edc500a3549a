//! Groups of all coordinators, by name.

use std::time::Duration;

use futures_util::future::join_all;
use highwater_broker::{BrokerError, LeaderHint};
use highwater_proto::v1;
use highwater_types::{ErrorCode, limits};

use super::super::convert::bytes_or;
use super::super::forward::{Caller, Effect, Origin, answered};
use super::super::status::detail;
use super::{Groups, convert, deadline};

impl Groups {
    /// A page of the cluster's groups; of this node's, for another node.
    pub(crate) async fn list(&self, request: v1::ListGroupsRequest) -> v1::ListGroupsResponse {
        let limit = bytes_or(request.page_size, limits::GROUPS_PER_PAGE_MAX).min(limits::GROUPS_PER_PAGE_MAX);
        let mut pages = vec![self.list_here(&request, limit).await];
        let mut errors = Vec::new();
        if self.origin == Origin::Client {
            let others = self.broker.coordinators_elsewhere().await.unwrap_or_else(|error| {
                errors.push(detail(error));
                Vec::new()
            });
            let asked = others.iter().map(|other| self.list_there(other, request.clone()));
            for page in join_all(asked).await {
                match page {
                    Ok(page) => pages.push(page),
                    Err(error) => errors.push(detail(error)),
                }
            }
            let missing = self.broker.groups_without_coordinator();
            if missing > 0 {
                let message =
                    format!("nobody coordinates {missing} of the cluster's shards of groups now, try again");
                errors.push(detail(BrokerError::new(ErrorCode::LeaderNotAvailable, message)));
            }
        }
        let is_last = pages.iter().all(|page| page.next_page_token.is_empty());
        let mut groups: Vec<v1::GroupSummary> = pages.into_iter().flat_map(|page| page.groups).collect();
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        // A group whose coordinator changes meanwhile may be told of by both.
        groups.dedup_by(|a, b| a.group == b.group);
        page(groups, limit, is_last, errors)
    }

    async fn list_here(&self, request: &v1::ListGroupsRequest, limit: usize) -> v1::ListGroupsResponse {
        let (_, node) = self.broker.identity();
        let listed = self.broker.list_groups(&request.name_prefix).await.into_iter();
        let after = listed.filter(|group| group.name.as_str() > request.page_token.as_str());
        let groups = after.map(|group| v1::GroupSummary {
            group: group.name.as_str().to_owned(),
            state: convert::state(group.phase).into(),
            members: u32::try_from(group.members).unwrap_or(u32::MAX),
            coordinator_node_id: node.0,
        });
        page(groups.collect(), limit, true, Vec::new())
    }

    async fn list_there(
        &self,
        other: &LeaderHint,
        request: v1::ListGroupsRequest,
    ) -> Result<v1::ListGroupsResponse, BrokerError> {
        let Caller { mut client, slot: _slot } = self.forwarding.groups(other)?;
        let call = client.list_groups(self.forwarding.request(request));
        answered(other, Effect::None, deadline(Duration::ZERO), call).await
    }
}

/// The first groups of these, which are in order; `is_last` when there are none behind them.
fn page(
    mut groups: Vec<v1::GroupSummary>,
    limit: usize,
    is_last: bool,
    errors: Vec<v1::ErrorDetail>,
) -> v1::ListGroupsResponse {
    let more = groups.len() > limit || !is_last;
    groups.truncate(limit);
    let last = groups.last().filter(|_| more);
    let next_page_token = last.map(|group| group.group.clone()).unwrap_or_default();
    v1::ListGroupsResponse { groups, next_page_token, errors }
}
