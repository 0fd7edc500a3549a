//! What a node does for those who call while it starts: their connections are served, and their calls answered with why it does
//! not serve yet.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, StreamExt as _};
use highwater_types::Clock;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::connection::{ClientStream, Connection};
use crate::grpc::startup;
use crate::introduction::Introduction;

/// How long calls under way may take to end when the node begins to serve; an open stream would hold it up.
const HANDOVER_DEADLINE: Duration = Duration::from_millis(500);

/// Serves what comes in until `starting` is done, and returns its result. Connections that come after that stay in `incoming`;
/// those from before are told to go, and their clients connect again.
pub(super) async fn serve_until<IO: ClientStream, T>(
    incoming: &mut (impl Stream<Item = io::Result<Connection<IO>>> + Send + Unpin),
    introduction: Arc<Introduction>,
    clock: Arc<dyn Clock>,
    starting: impl Future<Output = T>,
) -> T {
    let (connections, receiver) = mpsc::channel(1);
    let stopping = CancellationToken::new();
    let serving = startup::serve(ReceiverStream::new(receiver), introduction, clock, stopping.clone());
    let mut serving = tokio::spawn(serving);
    let mut starting = std::pin::pin!(starting);
    let pass_on = async {
        while let Some(accepted) = incoming.next().await {
            // Whoever served has ended; the connection is dropped, and its client comes again.
            if connections.send(accepted).await.is_err() {
                break;
            }
        }
        std::future::pending::<Infallible>().await
    };
    let started = {
        let mut pass_on = std::pin::pin!(pass_on);
        tokio::select! {
            started = &mut starting => started,
            never = &mut pass_on => match never {},
        }
    };
    stopping.cancel();
    drop(connections);
    if timeout(HANDOVER_DEADLINE, &mut serving).await.is_err() {
        serving.abort();
    }
    started
}
