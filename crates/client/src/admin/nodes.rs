//! The cluster's nodes and where replicas are: one method for each call of the API.
//!
//! What is asked of a node is a wish that the cluster remembers, and asking twice changes nothing: so each of these calls goes to
//! one server after another until one can be reached.

use std::future::Future;

use highwater_proto::v1::{
    ApplyReassignmentRequest, ApplyReassignmentResponse, CancelReassignmentsRequest,
    CancelReassignmentsResponse, DescribeNodeRequest, DescribeNodeResponse, GetClusterStatusRequest,
    GetClusterStatusResponse, ListReassignmentsRequest, ListReassignmentsResponse, PlanReassignmentRequest,
    PlanReassignmentResponse, RemoveNodeRequest, RemoveNodeResponse, SetNodeModeRequest, SetNodeModeResponse,
    TransferLeaderRequest, TransferLeaderResponse, plan_reassignment_request,
};
use highwater_types::NodeId;
use tonic::{Response, Status};

use super::Admin;
use crate::connections::Server;
use crate::error::ClientError;

/// A call that may be made again and again.
macro_rules! repeatable {
    ($(#[$doc:meta])* $name:ident, $request:ty, $response:ty) => {
        $(#[$doc])*
        ///
        /// It may be called again whatever came of it. Not cancel-safe: when it is dropped, the change may or may not take place.
        ///
        /// # Errors
        /// What the cluster answers, or that it cannot be reached.
        pub async fn $name(&self, request: $request) -> Result<$response, ClientError> {
            let call = |server: Server| {
                let request = request.clone();
                async move { server.admin().$name(request).await }
            };
            // One that stands still is found out by a call that only reads.
            self.cluster.find_live().await?;
            let response = self.cluster.connections.call_any(call).await?;
            self.cluster.saw_metadata_version(response.metadata_version);
            Ok(response)
        }
    };
}

impl Admin {
    repeatable!(
        /// Sets what is wanted of a node. How far it is carried out is told by [`Admin::describe_node`].
        set_node_mode, SetNodeModeRequest, SetNodeModeResponse
    );
    repeatable!(
        /// Takes a node out of the cluster for good.
        remove_node, RemoveNodeRequest, RemoveNodeResponse
    );
    repeatable!(
        /// Makes a replica the preferred leader of its partition, and waits until it leads.
        transfer_leader, TransferLeaderRequest, TransferLeaderResponse
    );
    repeatable!(
        /// Begins the moves of a plan: all of them, or none. How far they are is told by [`Admin::list_reassignments`].
        apply_reassignment, ApplyReassignmentRequest, ApplyReassignmentResponse
    );
    repeatable!(
        /// Turns moves around: back to the replicas of before.
        cancel_reassignments, CancelReassignmentsRequest, CancelReassignmentsResponse
    );

    /// How the cluster is: its nodes, and the partitions that are not as they should be. Cancel-safe.
    ///
    /// # Errors
    /// What the cluster answers, or that it cannot be reached. A node that cannot be reached is in the answer.
    pub async fn cluster_status(&self) -> Result<GetClusterStatusResponse, ClientError> {
        let request = GetClusterStatusRequest { min_metadata_version: self.cluster.metadata_version_min() };
        self.read(|server: Server| async move { server.admin().get_cluster_status(request).await }).await
    }

    /// How a node is, and what its mode still waits for. Cancel-safe.
    ///
    /// # Errors
    /// What the cluster answers, such as that it has no such node, or that it cannot be reached.
    pub async fn describe_node(&self, node: NodeId) -> Result<DescribeNodeResponse, ClientError> {
        let min_metadata_version = self.cluster.metadata_version_min();
        let request = DescribeNodeRequest { node_id: node.0, min_metadata_version };
        self.read(|server: Server| async move { server.admin().describe_node(request).await }).await
    }

    /// Plans how to move replicas, for [`Admin::apply_reassignment`]. Changes nothing. Cancel-safe.
    ///
    /// # Errors
    /// What the cluster answers, or that it cannot be reached.
    pub async fn plan_reassignment(
        &self,
        goal: plan_reassignment_request::Goal,
    ) -> Result<PlanReassignmentResponse, ClientError> {
        let min_metadata_version = self.cluster.metadata_version_min();
        let request = PlanReassignmentRequest { goal: Some(goal), min_metadata_version };
        let call = |server: Server| {
            let request = request.clone();
            async move { server.admin().plan_reassignment(request).await }
        };
        self.read(call).await
    }

    /// The moves that are under way. Cancel-safe.
    ///
    /// # Errors
    /// What the cluster answers, or that it cannot be reached.
    pub async fn list_reassignments(&self) -> Result<ListReassignmentsResponse, ClientError> {
        let request = ListReassignmentsRequest { min_metadata_version: self.cluster.metadata_version_min() };
        self.read(|server: Server| async move { server.admin().list_reassignments(request).await }).await
    }

    async fn read<T, F>(&self, call: impl Fn(Server) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.cluster.connections.read_any(call).await
    }
}
