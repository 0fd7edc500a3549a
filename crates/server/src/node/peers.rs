//! The side of a node that its peers see: their requests are served, and they are told that the node is alive.

use std::sync::Arc;
use std::{io, thread};

use highwater_consensus::GroupHost;
use highwater_peer::{Admission, PeerIdentity, PeerLimits, ServeOptions, serve};
use tokio::runtime;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::listener::Listener;

/// What serves the peers. Dropping it ends that, without waiting for the end.
pub(super) struct PeerSide {
    stop: DropGuard,
    /// Answers, or is closed, when it has ended.
    ended: oneshot::Receiver<()>,
}

impl PeerSide {
    /// Serves the peers from now on. With a thread of its own this goes on in time however busy the others are: a node whose CPUs are all
    /// busy must not look like a dead one.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(
        host: &Arc<GroupHost>,
        identity: PeerIdentity,
        admission: Arc<dyn Admission>,
        listener: Listener,
        own_thread: bool,
    ) -> io::Result<Self> {
        let options = ServeOptions { identity, admission, limits: PeerLimits::default() };
        let (host, watching) = (Arc::clone(host), host.watch_nodes());
        let stopping = CancellationToken::new();
        let stop = stopping.clone().drop_guard();
        let (end, ended) = oneshot::channel();
        let work = async move {
            let serving = serve(listener.incoming(), host, options, stopping.clone());
            tokio::select! {
                () = serving => {}
                () = async { watching.await; stopping.cancelled().await } => {}
            }
            // Who waits for it may be gone.
            let _ = end.send(());
        };
        if own_thread {
            // Not one of the runtime's own: that would wait for it when it ends, whoever forgot to stop the node.
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            thread::Builder::new().name("peers".to_owned()).spawn(move || runtime.block_on(work))?;
        } else {
            tokio::spawn(work);
        }
        Ok(Self { stop, ended })
    }

    /// Ends it. On return no request of a peer is being handled.
    pub(super) async fn stop(self) {
        drop(self.stop);
        // Closed when it failed, and then it has ended too.
        let _ = self.ended.await;
    }
}
