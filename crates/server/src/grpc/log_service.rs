//! Writing and reading: each call goes to the file of its own.

use std::sync::Arc;

use highwater_broker::{Broker, ByteBudget};
use highwater_proto::v1;
use highwater_proto::v1::log_service_server::LogService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::fetch::Fetcher;
use super::forward::{Forwarding, Origin, ProducePaths};
use super::outlet::{BoxStream, Outlet};
use super::produce_stream::{ANSWERS_WAITING_MAX, ProduceStream};
use super::status::status;
use super::subscribe::SubscribeStream;
use super::{budget_exhausted, list_offsets, produce};
use crate::connection::ConnectionInfo;
use crate::outbound::{Outbound, OutboundPermit};

/// The service over a broker.
pub(crate) struct Log {
    pub(crate) broker: Arc<Broker>,
    /// The way to the leaders of what this node does not lead.
    pub(crate) forwarding: Forwarding,
    /// Bytes of answers that clients have not taken yet.
    pub(crate) outbound: ByteBudget,
    pub(crate) stopping: CancellationToken,
}

#[tonic::async_trait]
impl LogService for Log {
    type ProduceStreamStream = ReceiverStream<Result<v1::ProduceStreamResponse, Status>>;
    type SubscribeStream = BoxStream<v1::SubscribeResponse>;

    async fn produce(
        &self,
        request: Request<v1::ProduceRequest>,
    ) -> Result<Response<v1::ProduceResponse>, Status> {
        let origin = Origin::of(&request);
        let produced = produce::produce(&self.broker, &self.forwarding, origin, request.into_inner()).await;
        produced.map(Response::new).map_err(status)
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<v1::ProduceStreamRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        let connection = connection(&request);
        let (sender, receiver) = mpsc::channel(ANSWERS_WAITING_MAX);
        let paths = ProducePaths::new(self.forwarding.clone(), Origin::of(&request));
        let stream = ProduceStream::new(
            Arc::clone(&self.broker),
            paths,
            request.into_inner(),
            sender,
            connection,
            self.stopping.clone(),
        );
        tokio::spawn(stream.run());
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<v1::FetchResponse>, Status> {
        let connection = connection(&request);
        let fetcher = Fetcher {
            broker: &self.broker,
            forwarding: &self.forwarding,
            origin: Origin::of(&request),
            outbound: &self.outbound,
        };
        let (answer, bytes) = fetcher.fetch(request.into_inner()).await.map_err(status)?;
        let outbound = Outbound::default();
        let permit = OutboundPermit::acquire(&self.outbound, bytes, connection.as_ref()).await;
        outbound.add(permit.map_err(budget_exhausted)?);
        let mut response = Response::new(answer);
        response.extensions_mut().insert(outbound);
        Ok(response)
    }

    async fn subscribe(
        &self,
        request: Request<Streaming<v1::SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (outlet, response) = Outlet::open(self.outbound.clone(), connection(&request));
        let origin = Origin::of(&request);
        let stream = SubscribeStream {
            broker: Arc::clone(&self.broker),
            forwarding: self.forwarding.clone(),
            origin,
            requests: request.into_inner(),
            outlet,
            stopping: self.stopping.clone(),
        };
        tokio::spawn(stream.run());
        Ok(response)
    }

    async fn list_offsets(
        &self,
        request: Request<v1::ListOffsetsRequest>,
    ) -> Result<Response<v1::ListOffsetsResponse>, Status> {
        let origin = Origin::of(&request);
        let request = request.into_inner();
        let listed = list_offsets::list_offsets(&self.broker, &self.forwarding, origin, request).await;
        listed.map(Response::new).map_err(status)
    }

    async fn init_producer(
        &self,
        _request: Request<v1::InitProducerRequest>,
    ) -> Result<Response<v1::InitProducerResponse>, Status> {
        let identity = self.broker.init_producer().await.map_err(status)?;
        Ok(Response::new(v1::InitProducerResponse {
            producer_id: identity.id.0,
            producer_epoch: i32::from(identity.epoch.0),
        }))
    }
}

/// The connection that a request came over.
fn connection<T>(request: &Request<T>) -> Option<ConnectionInfo> {
    request.extensions().get::<ConnectionInfo>().cloned()
}
