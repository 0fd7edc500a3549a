//! The way out of a stream that pushes records: one message at a time, each with its share of the node's budget.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use highwater_broker::ByteBudget;
use highwater_types::limits;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use crate::connection::ConnectionInfo;
use crate::outbound::{Outbound, OutboundPermit};

/// Messages that wait for HTTP/2 to take them.
const MESSAGES_WAITING_MAX: usize = 1;

/// A message with its share of the node's budget, if it holds records.
type Sent<M> = Result<(M, Option<OutboundPermit>), Status>;

/// What a stream's call returns.
pub(crate) type BoxStream<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// See the module. Clones share the way.
pub(crate) struct Outlet<M> {
    messages: mpsc::Sender<Sent<M>>,
    budget: ByteBudget,
    connection: Option<ConnectionInfo>,
}

/// How a stream ends.
pub(crate) enum End {
    /// With OK.
    Ok,
    /// With a status.
    Failed(Status),
    /// There is nobody to tell.
    ClientGone,
}

impl<M> Clone for Outlet<M> {
    fn clone(&self) -> Self {
        let (messages, budget) = (self.messages.clone(), self.budget.clone());
        Self { messages, budget, connection: self.connection.clone() }
    }
}

impl<M: Send + 'static> Outlet<M> {
    /// A way out, and the answer to the call whose messages come from it.
    pub(crate) fn open(
        budget: ByteBudget,
        connection: Option<ConnectionInfo>,
    ) -> (Self, Response<BoxStream<M>>) {
        let (messages, receiver) = mpsc::channel::<Sent<M>>(MESSAGES_WAITING_MAX);
        let outbound = Outbound::default();
        let encoded = outbound.clone();
        let stream = ReceiverStream::new(receiver).map(move |sent| {
            let (message, permit) = sent?;
            if let Some(permit) = permit {
                encoded.add(permit);
            }
            Ok(message)
        });
        let mut response = Response::new(Box::pin(stream) as BoxStream<M>);
        response.extensions_mut().insert(outbound);
        (Self { messages, budget, connection }, response)
    }

    /// Hands a message with so many bytes of records to HTTP/2. A client that takes nothing for too long is cut off.
    pub(crate) async fn send(&self, message: M, bytes: usize) -> Result<(), End> {
        let permit = match bytes {
            0 => None,
            bytes => {
                let permit = OutboundPermit::acquire(&self.budget, bytes, self.connection.as_ref()).await;
                Some(permit.map_err(|exhausted| End::Failed(super::budget_exhausted(exhausted)))?)
            }
        };
        let deadline = Duration::from_millis(limits::SEND_DEADLINE_MS);
        match timeout(deadline, self.messages.send(Ok((message, permit)))).await {
            Ok(sent) => sent.map_err(|_| End::ClientGone),
            Err(_) => {
                if let Some(connection) = &self.connection {
                    let peer = connection.peer;
                    tracing::warn!(?peer, ?deadline, "a reader took nothing in time, cutting it off");
                    connection.cut_off();
                }
                Err(End::ClientGone)
            }
        }
    }

    /// Waits until there is nobody any more who takes messages.
    pub(crate) async fn closed(&self) {
        self.messages.closed().await;
    }

    /// Ends the stream as it is to end.
    pub(crate) async fn end(&self, end: End) {
        if let End::Failed(status) = end {
            // The client may be gone by now; there is nobody else to tell.
            let _ = self.messages.send(Err(status)).await;
        }
    }
}
