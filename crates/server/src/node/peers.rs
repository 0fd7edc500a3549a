//! The side of a node that its peers see: their requests are served, and they are told that the node is alive.

use std::sync::Arc;

use highwater_consensus::GroupHost;
use highwater_peer::{AdmitAll, PeerIdentity, PeerLimits, ServeOptions, serve};
use tokio::runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::listener::Listener;

/// Serves the peers until `stopping`. With a thread of its own this goes on in time however busy the others are: a node whose CPUs
/// are all busy must not look like a dead one.
pub(super) fn serve_peers(
    host: &Arc<GroupHost>,
    identity: PeerIdentity,
    listener: Listener,
    own_thread: bool,
    stopping: CancellationToken,
) -> JoinHandle<()> {
    let options = ServeOptions { identity, admission: Arc::new(AdmitAll), limits: PeerLimits::default() };
    let (host, watching) = (Arc::clone(host), host.watch_nodes());
    let work = async move {
        let serving = serve(listener.incoming(), host, options, stopping.clone());
        tokio::select! {
            () = serving => {}
            () = async { watching.await; stopping.cancelled().await } => {}
        }
    };
    if own_thread {
        tokio::task::spawn_blocking(move || match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(work),
            Err(error) => tracing::error!(%error, "the thread for the other nodes cannot be started"),
        })
    } else {
        tokio::spawn(work)
    }
}
