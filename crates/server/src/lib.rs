//! A node as a process sees it: configuration, listeners, start and shutdown.
//!
//! ```text
//! TCP ─▶ listener ─▶ connection ─▶ grpc ─▶ broker
//!                              └▶ http (health)
//! ```
//!
//! The listeners translate and bound what comes from outside; they decide nothing about data.
//! Everything that a client can make the node hold has a named limit, and a deadline after which
//! it is given back: requests that arrive, requests in flight, answers that are not taken, connections, streams.

mod config;
mod connection;
mod date;
mod error;
mod grpc;
mod http;
mod inbound;
mod introduction;
mod listener;
mod metrics;
mod node;
mod outbound;
mod remote;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::Stream;
use highwater_broker::Broker;
use highwater_types::SystemRandom;
use tokio_util::sync::CancellationToken;

pub use config::{FirstVoter, GRPC_PORT, HTTP_PORT, NodeConfig, PEER_PORT};
pub use connection::ClientStream;
pub use error::{NodeFailure, ShutdownError, StartError};
/// For who makes a stopped node's groups its own.
pub use highwater_consensus::{ConsensusError, Member, Standing, make_sole_voter, standing};
pub use listener::Listener;
pub use node::{Node, NodeData, NodeParts};
pub use remote::Dial;

/// Serves the gRPC API of a broker that the caller put together, over connections that the caller brings, until
/// `stopping`. A whole node is [`Node::start_with`].
///
/// # Errors
/// When the API cannot be put together; a broken connection is no error.
pub async fn serve_grpc<IO: ClientStream>(
    broker: Arc<Broker>,
    incoming: impl Stream<Item = io::Result<IO>> + Send,
    connections_max: usize,
    stopping: CancellationToken,
) -> Result<(), StartError> {
    let (cluster, node) = broker.identity();
    // Of the broker that is there; the rest of a configuration plays no part.
    let config = NodeConfig { node, ..NodeConfig::local(PathBuf::new()) };
    let (introduction, _) = introduction::Introduction::new(&config, String::new(), &SystemRandom);
    introduction.reach(introduction::Stage::Born { cluster, founder: true, is_member: true });
    let forwarding = grpc::Forwarding::new(node, Arc::new(|endpoint| endpoint.connect_lazy()));
    let grpc = grpc::Grpc::build(broker, introduction, forwarding, stopping).await?;
    let incoming = listener::limited(incoming, connections_max, CancellationToken::new());
    if let Err(error) = grpc.serve(incoming).await {
        tracing::warn!(%error, "the gRPC listener ended with an error");
    }
    Ok(())
}
