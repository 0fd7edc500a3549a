//! The gRPC side of a node that does not serve yet: it says who it is, takes the order to be born, and answers everything else
//! with `UNAVAILABLE` and what to do. It knows no broker.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::BoxStream;
use highwater_broker::BrokerError;
use highwater_proto::internal::v1;
use highwater_proto::internal::v1::cluster_service_server::{ClusterService, ClusterServiceServer};
use highwater_types::{Clock, ErrorCode, limits};
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService as _;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tower_layer::Layer;
use tower_service::Service;

use super::cluster_service::{birth, identify};
use super::status::status;
use super::{HEADER_LIST_BYTES_MAX, PENDING_RESETS_MAX, SERVICES};
use crate::connection::{ClientStream, Connection};
use crate::date::DateLayer;
use crate::introduction::Introduction;

/// Serves until `stopping`; calls under way are answered.
pub(crate) async fn serve<IO: ClientStream>(
    incoming: impl Stream<Item = io::Result<Connection<IO>>> + Send,
    introduction: Arc<Introduction>,
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    for service in SERVICES {
        reporter.set_service_status(service, ServingStatus::NotServing).await;
    }
    Server::builder()
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION_MAX)
        .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .layer(DateLayer::new(clock))
        .layer(NotYetLayer { introduction: Arc::clone(&introduction) })
        .add_service(ClusterServiceServer::new(Newcomer { introduction }))
        .add_service(health)
        .serve_with_incoming_shutdown(incoming, stopping.cancelled_owned())
        .await
}

/// The answer to whatever needs a node that serves.
fn not_yet(introduction: &Introduction) -> Status {
    status(BrokerError::new(ErrorCode::Unavailable, introduction.why_not_serving()))
}

/// Answers the calls of services that are not there yet.
#[derive(Clone)]
struct NotYetLayer {
    introduction: Arc<Introduction>,
}

impl<S> Layer<S> for NotYetLayer {
    type Service = NotYet<S>;

    fn layer(&self, inner: S) -> NotYet<S> {
        NotYet { inner, introduction: Arc::clone(&self.introduction) }
    }
}

/// See [`NotYetLayer`].
#[derive(Clone)]
struct NotYet<S> {
    inner: S,
    introduction: Arc<Introduction>,
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<http::Response<tonic::body::Body>, E>> + Send>>;

impl<S, Body> Service<http::Request<Body>> for NotYet<S>
where
    S: Service<http::Request<Body>, Response = http::Response<tonic::body::Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        if [ClusterServiceServer::<Newcomer>::NAME, "grpc.health.v1.Health"].contains(&service) {
            return Box::pin(self.inner.call(request));
        }
        let answer = not_yet(&self.introduction).into_http();
        Box::pin(std::future::ready(Ok(answer)))
    }
}

/// The service between nodes, of a node that is none of the cluster's yet.
struct Newcomer {
    introduction: Arc<Introduction>,
}

#[tonic::async_trait]
impl ClusterService for Newcomer {
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
        _request: Request<v1::ProposeRequest>,
    ) -> Result<Response<v1::ProposeResponse>, Status> {
        Err(not_yet(&self.introduction))
    }

    async fn spare_data(
        &self,
        _request: Request<v1::SpareDataRequest>,
    ) -> Result<Response<v1::SpareDataResponse>, Status> {
        Err(not_yet(&self.introduction))
    }

    async fn report_node(
        &self,
        _request: Request<v1::ReportNodeRequest>,
    ) -> Result<Response<v1::ReportNodeResponse>, Status> {
        Err(not_yet(&self.introduction))
    }

    type FollowLeadersStream = BoxStream<'static, Result<v1::FollowLeadersResponse, Status>>;

    async fn follow_leaders(
        &self,
        _request: Request<v1::FollowLeadersRequest>,
    ) -> Result<Response<Self::FollowLeadersStream>, Status> {
        Err(not_yet(&self.introduction))
    }
}
