//! The gRPC listener: the public API over the broker, with reflection and health.
//!
//! It translates and bounds; it decides nothing about data. One file for each concern.

mod admin_service;
mod cluster_service;
mod convert;
mod delete_records;
mod fetch;
mod format;
mod forward;
mod group_service;
mod group_session;
pub(crate) mod groups;
mod leader_offsets;
mod list_offsets;
mod log_service;
mod node_admin;
mod outlet;
mod produce;
mod produce_stream;
pub(crate) mod replica;
pub(crate) mod startup;
pub(crate) mod status;
mod subscribe;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use highwater_broker::{Broker, BrokerError, ByteBudget};
use highwater_proto::DESCRIPTORS;
use highwater_proto::internal::v1::cluster_service_server::ClusterServiceServer;
use highwater_proto::v1::admin_service_server::AdminServiceServer;
use highwater_proto::v1::group_service_server::GroupServiceServer;
use highwater_proto::v1::log_service_server::LogServiceServer;
use highwater_types::{ErrorCode, limits};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::server::NamedService as _;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower_layer::{Identity, Stack};

use self::admin_service::Admin;
use self::cluster_service::Cluster;
pub(crate) use self::forward::Forwarding;
pub(crate) use self::forward::Origin;
use self::group_service::GroupCalls;
pub(crate) use self::groups::Groups;
use self::log_service::Log;
use crate::connection::{ClientStream, Connection};
use crate::date::DateLayer;
use crate::error::StartError;
use crate::inbound::{InboundBudget, InboundLayer};
use crate::introduction::Introduction;
use crate::outbound::{BudgetExhausted, OutboundLayer};

/// How often a silent connection is asked whether its client is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long the client has to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes that a client may send on one stream before the node has taken them. Within the
/// windows, bytes lie in memory before any budget knows of them, so they are small.
const STREAM_WINDOW_BYTES: u32 = 512 << 10;
/// The same for all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;
/// Bytes of a request's headers.
const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;
/// Streams that a client may have reset without the node having seen it, before the connection goes.
const PENDING_RESETS_MAX: usize = 64;

/// What a call passes on its way in, and its answer on its way out.
type Layers = Stack<InboundLayer, Stack<OutboundLayer, Stack<DateLayer, Identity>>>;

/// The gRPC side of a node, built and not yet serving.
pub(crate) struct Grpc {
    router: Router<Layers>,
    stopping: CancellationToken,
}

impl Grpc {
    /// Puts the services together. Streams end when `stopping` is cancelled.
    pub(crate) async fn build(
        broker: Arc<Broker>,
        introduction: Arc<Introduction>,
        forwarding: Forwarding,
        stopping: CancellationToken,
    ) -> Result<Self, StartError> {
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;
        let (reporter, health) = tonic_health::server::health_reporter();
        let serves = broker.read_only().is_none();
        report(&reporter, if serves { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
        tokio::spawn(report_stop(reporter, stopping.clone()));
        let outbound = ByteBudget::new(limits::NODE_OUTBOUND_BYTES_MAX);
        let log = Log {
            broker: Arc::clone(&broker),
            forwarding: forwarding.clone(),
            outbound: outbound.clone(),
            stopping: stopping.clone(),
        };
        let log = LogServiceServer::new(log)
            .max_decoding_message_size(limits::GRPC_REQUEST_BYTES_MAX)
            .max_encoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX);
        let groups = GroupCalls {
            broker: Arc::clone(&broker),
            forwarding: forwarding.clone(),
            outbound,
            stopping: stopping.clone(),
        };
        let groups = GroupServiceServer::new(groups)
            .max_decoding_message_size(limits::GRPC_REQUEST_BYTES_MAX)
            .max_encoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX);
        let router = Server::builder()
            .max_concurrent_streams(limits::STREAMS_PER_CONNECTION_MAX)
            .max_frame_size(limits::HTTP2_FRAME_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
            .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
            .layer(DateLayer::new(Arc::clone(broker.clock())))
            .layer(OutboundLayer)
            .layer(InboundLayer::new(InboundBudget::new(limits::NODE_INBOUND_BYTES_MAX)))
            .add_service(log)
            .add_service(groups)
            .add_service(ClusterServiceServer::new(Cluster {
                broker: Arc::clone(&broker),
                introduction,
                stopping: stopping.clone(),
            }))
            .add_service(AdminServiceServer::new(Admin { broker, forwarding }))
            .add_service(reflection)
            .add_service(health);
        Ok(Self { router, stopping })
    }

    /// Serves connections until told to stop; calls under way are answered.
    pub(crate) async fn serve<IO: ClientStream>(
        self,
        incoming: impl Stream<Item = io::Result<Connection<IO>>> + Send,
    ) -> Result<(), tonic::transport::Error> {
        let stopping = self.stopping.cancelled_owned();
        self.router.serve_with_incoming_shutdown(incoming, stopping).await
    }
}

/// What health is told of: each service, and the node as a whole, whose name is empty.
const SERVICES: [&str; 4] = [
    "",
    LogServiceServer::<Log>::NAME,
    AdminServiceServer::<Admin>::NAME,
    GroupServiceServer::<GroupCalls>::NAME,
];

/// Reports the health of each service, and of the node as a whole, whose name is empty.
async fn report(reporter: &HealthReporter, health: ServingStatus) {
    for service in SERVICES {
        reporter.set_service_status(service, health).await;
    }
}

/// Tells those who watch the health when the node stops.
async fn report_stop(reporter: HealthReporter, stopping: CancellationToken) {
    stopping.cancelled().await;
    report(&reporter, ServingStatus::NotServing).await;
}

/// The status of a call whose answer found no room because slow readers hold it all.
fn budget_exhausted(exhausted: BudgetExhausted) -> Status {
    let max = limits::NODE_OUTBOUND_BYTES_MAX;
    let message = format!(
        "an answer of {} bytes found no room among the {max} that the node holds for slow readers; try again later",
        exhausted.bytes
    );
    status::status(BrokerError::new(ErrorCode::Throttled, message))
}
