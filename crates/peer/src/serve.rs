//! The serving side: takes the connections that peers make to this node.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::assembly::SnapshotRoom;
use crate::identity::PeerIdentity;
use crate::limits::PeerLimits;
use crate::receive::Receive;
use crate::refusal_log::RefusalLog;
use crate::session;
use crate::sessions::Sessions;
use crate::stream::PeerStream;

/// Who a node is to the peers that dial it, and whom it lets in.
#[derive(Clone)]
pub struct ServeOptions {
    /// This node.
    pub identity: PeerIdentity,
    /// Who decides about the others.
    pub admission: Arc<dyn Admission>,
    /// The bounds.
    pub limits: PeerLimits,
}

/// What all connections share.
pub(crate) struct Server {
    pub(crate) identity: PeerIdentity,
    pub(crate) admission: Arc<dyn Admission>,
    pub(crate) limits: PeerLimits,
    pub(crate) receive: Arc<dyn Receive>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) refusals: RefusalLog,
    pub(crate) snapshots: SnapshotRoom,
}

/// Serves the peers that come in, until `shutdown` is cancelled. On return every connection is closed and no request is being
/// handled. The end of `incoming` leaves the connections as they are.
pub async fn serve<IO: PeerStream>(
    incoming: impl Stream<Item = io::Result<IO>> + Send,
    receive: Arc<dyn Receive>,
    options: ServeOptions,
    shutdown: CancellationToken,
) {
    let ServeOptions { identity, admission, limits } = options;
    let server = Arc::new(Server {
        identity,
        admission,
        limits,
        receive,
        sessions: Arc::default(),
        refusals: RefusalLog::default(),
        snapshots: SnapshotRoom::new(limits.snapshot_bytes),
    });
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let mut incoming = std::pin::pin!(incoming.fuse());
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a peer's connection failed");
                }
                continue;
            }
            Some(accepted) = incoming.next() => accepted,
            else => {
                shutdown.cancelled().await;
                break;
            }
        };
        match (accepted, Arc::clone(&slots).try_acquire_owned()) {
            (Ok(io), Ok(slot)) => {
                let server = Arc::clone(&server);
                connections.spawn(async move {
                    session::run(server, io).await;
                    drop(slot);
                });
            }
            // Closed at once, which tells the peer more than silence.
            (Ok(_), Err(_)) => {
                tracing::warn!(connections_max = limits.connections, "too many connections from peers");
            }
            (Err(error), _) => tracing::warn!(%error, "cannot accept a peer's connection"),
        }
    }
    connections.shutdown().await;
}
