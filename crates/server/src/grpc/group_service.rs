//! Consumer groups: each call goes to the file of its own.

use std::sync::Arc;

use highwater_broker::{Broker, ByteBudget};
use highwater_proto::v1;
use highwater_proto::v1::group_service_server::GroupService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::forward::{Forwarding, Origin};
use super::group_session::GroupSession;
use super::groups::Groups;
use super::outlet::{BoxStream, Outlet};
use super::status::status;
use crate::connection::ConnectionInfo;
use crate::inbound::BrokenOff;

/// The service over a broker.
pub(crate) struct GroupCalls {
    pub(crate) broker: Arc<Broker>,
    /// The way to the coordinators of other groups, and to the leaders of what this node does not lead.
    pub(crate) forwarding: Forwarding,
    /// Bytes of answers that clients have not taken yet.
    pub(crate) outbound: ByteBudget,
    pub(crate) stopping: CancellationToken,
}

impl GroupCalls {
    fn groups<T>(&self, request: &Request<T>) -> Groups {
        Groups::new(Arc::clone(&self.broker), self.forwarding.clone(), Origin::of(request))
    }
}

#[tonic::async_trait]
impl GroupService for GroupCalls {
    type GroupSessionStream = BoxStream<v1::GroupSessionResponse>;

    async fn group_session(
        &self,
        request: Request<Streaming<v1::GroupSessionRequest>>,
    ) -> Result<Response<Self::GroupSessionStream>, Status> {
        let connection = request.extensions().get::<ConnectionInfo>().cloned();
        let host = connection.as_ref().and_then(|connection| connection.peer);
        let (outlet, response) = Outlet::open(self.outbound.clone(), connection);
        let session = GroupSession {
            broker: Arc::clone(&self.broker),
            forwarding: self.forwarding.clone(),
            groups: self.groups(&request),
            host,
            broken_off: request.extensions().get::<BrokenOff>().cloned().unwrap_or_default(),
            requests: request.into_inner(),
            outlet,
            stopping: self.stopping.clone(),
        };
        tokio::spawn(session.run());
        Ok(response)
    }

    async fn join_group(
        &self,
        request: Request<v1::JoinGroupRequest>,
    ) -> Result<Response<v1::JoinGroupResponse>, Status> {
        let host = request.extensions().get::<ConnectionInfo>().and_then(|connection| connection.peer);
        let groups = self.groups(&request);
        groups.join(host, request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let groups = self.groups(&request);
        groups.heartbeat(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn leave_group(
        &self,
        request: Request<v1::LeaveGroupRequest>,
    ) -> Result<Response<v1::LeaveGroupResponse>, Status> {
        let groups = self.groups(&request);
        groups.leave(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn commit_offsets(
        &self,
        request: Request<v1::CommitOffsetsRequest>,
    ) -> Result<Response<v1::CommitOffsetsResponse>, Status> {
        let groups = self.groups(&request);
        groups.commit(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn fetch_offsets(
        &self,
        request: Request<v1::FetchOffsetsRequest>,
    ) -> Result<Response<v1::FetchOffsetsResponse>, Status> {
        let groups = self.groups(&request);
        groups.fetch_offsets(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn reset_offsets(
        &self,
        request: Request<v1::ResetOffsetsRequest>,
    ) -> Result<Response<v1::ResetOffsetsResponse>, Status> {
        let groups = self.groups(&request);
        groups.reset_offsets(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn delete_offsets(
        &self,
        request: Request<v1::DeleteOffsetsRequest>,
    ) -> Result<Response<v1::DeleteOffsetsResponse>, Status> {
        let groups = self.groups(&request);
        groups.delete_offsets(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn list_groups(
        &self,
        request: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<v1::ListGroupsResponse>, Status> {
        let groups = self.groups(&request);
        Ok(Response::new(groups.list(request.into_inner()).await))
    }

    async fn describe_group(
        &self,
        request: Request<v1::DescribeGroupRequest>,
    ) -> Result<Response<v1::DescribeGroupResponse>, Status> {
        let groups = self.groups(&request);
        groups.describe(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn delete_group(
        &self,
        request: Request<v1::DeleteGroupRequest>,
    ) -> Result<Response<v1::DeleteGroupResponse>, Status> {
        let groups = self.groups(&request);
        groups.delete(request.into_inner()).await.map(Response::new).map_err(status)
    }
}
