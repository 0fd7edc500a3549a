//! The bytes of answers that the node holds because a client has not taken them yet.
//!
//! Every message with records takes its bytes from one budget of the node and gives them
//! back when HTTP/2 has let go of the last frame that holds part of it. A client that does not
//! take a message within its deadline is cut off. So what slow readers can pin is bounded, in
//! bytes and in time.
//!
//! How the bytes are followed: a handler puts the [`OutboundPermit`] of a message into the
//! response's [`Outbound`]; [`OutboundLayer`] moves all permits that are there into the next
//! frame that the encoder yields, which holds the end of those messages.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use highwater_broker::{ByteBudget, BytesPermit};
use highwater_types::limits;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tonic::Status;
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::connection::ConnectionInfo;

/// The share of one message in the node's budget. Dropping it gives the bytes back.
#[derive(Debug)]
pub(crate) struct OutboundPermit {
    _bytes: BytesPermit,
    watchdog: Option<AbortHandle>,
}

impl OutboundPermit {
    /// Takes a message's bytes from the budget and starts its deadline.
    pub(crate) async fn acquire(
        budget: &ByteBudget,
        bytes: usize,
        connection: Option<&ConnectionInfo>,
    ) -> Result<Self, BudgetExhausted> {
        let wait = Duration::from_millis(limits::SEND_DEADLINE_MS);
        let permit = match budget.try_acquire(bytes) {
            Some(permit) => permit,
            None => tokio::time::timeout(wait, budget.acquire(bytes))
                .await
                .map_err(|_| BudgetExhausted { bytes })?,
        };
        let watchdog = connection.cloned().map(|connection| {
            let deadline = send_deadline(bytes);
            let watchdog = tokio::spawn(async move {
                tokio::time::sleep(deadline).await;
                let peer = connection.peer;
                tracing::warn!(?peer, bytes, ?deadline, "a reader took nothing in time, cutting it off");
                connection.cut_off();
            });
            watchdog.abort_handle()
        });
        Ok(Self { _bytes: permit, watchdog })
    }
}

impl Drop for OutboundPermit {
    fn drop(&mut self) {
        if let Some(watchdog) = &self.watchdog {
            watchdog.abort();
        }
    }
}

/// Slow readers hold all bytes that the node has for answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BudgetExhausted {
    /// Bytes that were wanted.
    pub(crate) bytes: usize,
}

/// How long a client has to take a message of so many bytes.
fn send_deadline(bytes: usize) -> Duration {
    let seconds = u64::try_from(bytes / limits::SEND_BYTES_PER_SECOND_MIN).unwrap_or(u64::MAX);
    Duration::from_millis(limits::SEND_DEADLINE_MS).saturating_add(Duration::from_secs(seconds))
}

/// The permits of a response's messages that the encoder has not turned into frames yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbound {
    permits: Arc<Mutex<Vec<OutboundPermit>>>,
}

impl Outbound {
    /// Says that a message is handed to the encoder.
    pub(crate) fn add(&self, permit: OutboundPermit) {
        self.permits.lock().push(permit);
    }

    /// Makes a frame hold the permits of the messages that end in it.
    fn attach(&self, data: Bytes) -> Bytes {
        let permits = std::mem::take(&mut *self.permits.lock());
        if permits.is_empty() {
            return data;
        }
        Bytes::from_owner(HeldData { data, _permits: permits })
    }
}

/// A frame's bytes together with what goes when they are gone.
struct HeldData {
    data: Bytes,
    _permits: Vec<OutboundPermit>,
}

impl AsRef<[u8]> for HeldData {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// Follows the bodies of responses that carry an [`Outbound`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutboundLayer;

impl<S> Layer<S> for OutboundLayer {
    type Service = OutboundService<S>;

    fn layer(&self, inner: S) -> OutboundService<S> {
        OutboundService { inner }
    }
}

/// See [`OutboundLayer`].
#[derive(Debug, Clone)]
pub(crate) struct OutboundService<S> {
    inner: S,
}

impl<S, Request> Service<Request> for OutboundService<S>
where
    S: Service<Request, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let response = self.inner.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            Ok(match response.extensions_mut().remove::<Outbound>() {
                Some(outbound) => response.map(|inner| Body::new(OutboundBody { inner, outbound })),
                None => response,
            })
        })
    }
}

/// A response body whose frames hold the permits of the messages in them.
struct OutboundBody {
    inner: Body,
    outbound: Outbound,
}

impl HttpBody for OutboundBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(frame.map(|frame| Ok(frame?.map_data(|data| self.outbound.attach(data)))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_back_when_the_last_slice_of_the_frame_is_gone() {
        let budget = ByteBudget::new(100);
        let outbound = Outbound::default();
        outbound.add(OutboundPermit::acquire(&budget, 60, None).await.expect("free"));
        let frame = outbound.attach(Bytes::from_static(b"a frame"));
        let tail = frame.slice(2..);
        assert_eq!(tail, "frame");
        drop(frame);
        assert_eq!(budget.free_bytes(), 40);
        drop(tail);
        assert_eq!(budget.free_bytes(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_finds_no_bytes_fails_after_the_send_deadline() {
        let budget = ByteBudget::new(100);
        let _held = OutboundPermit::acquire(&budget, 100, None).await.expect("free");
        let refused = OutboundPermit::acquire(&budget, 1, None).await;
        assert_eq!(refused.expect_err("all is held").bytes, 1);
    }
}
