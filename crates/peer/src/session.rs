//! One connection that a peer has made to this node.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::admission::Admission;
use crate::error::PeerError;
use crate::handshake::{self, Local, Rejected};
use crate::identity::PeerIdentity;
use crate::outbox::Outbox;
use crate::reader::FrameReader;
use crate::serve::Server;
use crate::served_requests::ServedRequests;
use crate::stream::PeerStream;

/// How often it is asked whether a peer still belongs to the cluster.
const ADMIT_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Serves the connection until it ends.
pub(crate) async fn run<IO: PeerStream>(server: Arc<Server>, io: IO) {
    let limits = &server.limits;
    let (read, mut writer) = tokio::io::split(io);
    let mut reader = FrameReader::new(read, handshake::LIMITS, limits.silence);
    let local = Local { identity: server.identity, admission: &*server.admission };
    let accepting = handshake::accept(&mut reader, &mut writer, local);
    let accepted = tokio::time::timeout(limits.connect, accepting).await.unwrap_or_else(|_| {
        let error = PeerError::ConnectTimeout { waited_ms: limits.connect.as_millis() };
        Err(Rejected { who: None, error })
    });
    let (peer, lane) = match accepted {
        Ok(accepted) => accepted,
        Err(rejected) => return server.refusals.refused(&rejected),
    };
    server.refusals.admitted(peer.node);
    let Some(place) = server.sessions.enter(&peer, lane) else { return };
    reader.set_limits(lane.frame_limits());

    let outbox = Arc::new(Outbox::default());
    let (receive, snapshots) = (Arc::clone(&server.receive), server.snapshots.clone());
    let mut requests = ServedRequests::new(peer, receive, limits, Arc::clone(&outbox), snapshots);
    let error = tokio::select! {
        biased;
        () = place.replaced() => PeerError::Ended,
        // Answers before requests: there are never more answers than requests, so neither starves the other.
        error = outbox.write_to(&mut writer, limits.keepalive, limits.stall) => error,
        error = requests.serve(&mut reader) => error,
        error = until_expelled(&*server.admission, &peer) => error,
    };
    if matches!(error, PeerError::HandlerPanicked) {
        tracing::error!(peer = %peer.node, ?lane, %error, "a connection was ended");
    } else {
        tracing::debug!(peer = %peer.node, ?lane, %error, "a connection has ended");
    }
}

/// Completes when a peer that was admitted would not be any more: its node was removed, or another one took its place.
async fn until_expelled(admission: &dyn Admission, peer: &PeerIdentity) -> PeerError {
    loop {
        sleep(ADMIT_AGAIN_AFTER).await;
        if let Err(refused) = admission.check(peer) {
            tracing::info!(peer = %peer.node, %refused, "a connection is ended");
            return refused.into();
        }
    }
}
