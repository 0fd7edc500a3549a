//! What other nodes ask of this one beside replication.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use highwater_broker::{Broker, BrokerError, LeadersUpdate};
use highwater_proto::internal::v1;
use highwater_proto::internal::v1::cluster_service_server::ClusterService;
use highwater_types::{ClusterId, Incarnation, NodeId, PartitionId, Term};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::replica::full_report;
use super::status::status;
use crate::introduction::Introduction;

/// The service between nodes.
pub(crate) struct Cluster {
    pub(crate) broker: Arc<Broker>,
    pub(crate) introduction: Arc<Introduction>,
    pub(crate) stopping: CancellationToken,
}

#[tonic::async_trait]
impl ClusterService for Cluster {
    async fn identify(
        &self,
        _request: Request<v1::IdentifyRequest>,
    ) -> Result<Response<v1::IdentifyResponse>, Status> {
        Ok(identify(&self.introduction))
    }

    async fn birth(&self, request: Request<v1::BirthRequest>) -> Result<Response<v1::BirthResponse>, Status> {
        birth(&self.introduction, request).await
    }

    async fn propose(
        &self,
        request: Request<v1::ProposeRequest>,
    ) -> Result<Response<v1::ProposeResponse>, Status> {
        let v1::ProposeRequest { cluster_id, command } = request.into_inner();
        let cluster = cluster(&cluster_id).map_err(status)?;
        let proposed = self.broker.receive_proposal(cluster, command).await.map_err(status)?;
        let (response, metadata_version) = (proposed.response, proposed.metadata_version);
        Ok(Response::new(v1::ProposeResponse { response, metadata_version }))
    }

    async fn spare_data(
        &self,
        request: Request<v1::SpareDataRequest>,
    ) -> Result<Response<v1::SpareDataResponse>, Status> {
        let v1::SpareDataRequest { cluster_id, node_id, incarnation } = request.into_inner();
        let cluster = cluster(&cluster_id).map_err(status)?;
        let (node, incarnation) = (NodeId(node_id), Incarnation(incarnation));
        self.broker.spare_data(cluster, node, incarnation).await.map_err(status)?;
        Ok(Response::new(v1::SpareDataResponse {}))
    }

    async fn report_node(
        &self,
        _request: Request<v1::ReportNodeRequest>,
    ) -> Result<Response<v1::ReportNodeResponse>, Status> {
        let (_, node) = self.broker.identity();
        Ok(Response::new(full_report(node, &self.broker.report().await)))
    }

    type FollowLeadersStream = BoxStream<'static, Result<v1::FollowLeadersResponse, Status>>;

    async fn follow_leaders(
        &self,
        _request: Request<v1::FollowLeadersRequest>,
    ) -> Result<Response<Self::FollowLeadersStream>, Status> {
        let updates = self.broker.follow_led().map(|update| Ok(message(&update)));
        Ok(Response::new(updates.take_until(self.stopping.clone().cancelled_owned()).boxed()))
    }
}

/// Who the node is; also of one that does not serve yet.
pub(super) fn identify(introduction: &Introduction) -> Response<v1::IdentifyResponse> {
    Response::new(introduction.response())
}

/// Takes the order to be part of a cluster; also of one that does not serve yet.
pub(super) async fn birth(
    introduction: &Introduction,
    request: Request<v1::BirthRequest>,
) -> Result<Response<v1::BirthResponse>, Status> {
    introduction.be_born(request.into_inner()).await.map_err(status)?;
    Ok(Response::new(v1::BirthResponse {}))
}

fn cluster(id: &str) -> Result<ClusterId, BrokerError> {
    id.parse().map_err(|_| BrokerError::invalid_request(format!("'{id}' is no id of a cluster")))
}

fn message(update: &LeadersUpdate) -> v1::FollowLeadersResponse {
    let partitions = |partitions: &[(PartitionId, Term)]| partitions.iter().map(led_partition).collect();
    v1::FollowLeadersResponse {
        is_first: update.is_first,
        led: partitions(&update.led),
        left: partitions(&update.left),
    }
}

fn led_partition((id, term): &(PartitionId, Term)) -> v1::LedPartition {
    let topic_id = id.topic.0.as_bytes().to_vec().into();
    v1::LedPartition { topic_id, partition: id.index.0, term: term.0 }
}
