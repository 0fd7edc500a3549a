//! The bytes of requests that the node holds because their messages are not whole yet.
//!
//! The decoder keeps a message's bytes until the last one is there, before anybody can ask
//! whether the node has room for the request. So each message takes its size from one budget of the
//! node as soon as its length is known. While there is no room the body is not read on, and
//! HTTP/2's flow control holds the client back: what lies before it then is at most its windows.
//!
//! A stream's message gives its bytes back when its handler asks for the next one, which means
//! that it was admitted by then or refused; that of a unary call, when the handler has answered.

mod body;
mod budget;
mod meter;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use highwater_broker::BytesPermit;
use parking_lot::Mutex;
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use self::body::InboundBody;
pub(crate) use self::budget::InboundBudget;

/// What a unary call's message takes of the node's budget while its handler works.
pub(crate) type Share = Mutex<Option<BytesPermit>>;

/// Whether a request's body broke off instead of coming to its end. A handler finds it among the request's extensions, and asks when
/// the stream of messages has ended: a client that cancelled looks there like one that half-closed.
#[derive(Debug, Clone, Default)]
pub(crate) struct BrokenOff(Arc<AtomicBool>);

impl BrokenOff {
    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A body whose messages take their bytes from the budget while they come in. Those of the last one are kept in `share`, as
/// long as somebody has it.
pub(crate) fn counted(body: Body, budget: InboundBudget, share: Weak<Share>) -> Body {
    Body::new(InboundBody::new(body, budget, share, BrokenOff::default()))
}

/// Counts the bodies of requests.
#[derive(Debug, Clone)]
pub(crate) struct InboundLayer {
    budget: InboundBudget,
}

impl InboundLayer {
    pub(crate) fn new(budget: InboundBudget) -> Self {
        Self { budget }
    }
}

impl<S> Layer<S> for InboundLayer {
    type Service = InboundService<S>;

    fn layer(&self, inner: S) -> InboundService<S> {
        InboundService { inner, budget: self.budget.clone() }
    }
}

/// See [`InboundLayer`].
#[derive(Debug, Clone)]
pub(crate) struct InboundService<S> {
    inner: S,
    budget: InboundBudget,
}

impl<S> Service<http::Request<Body>> for InboundService<S>
where
    S: Service<http::Request<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let share: Arc<Share> = Arc::default();
        let (budget, kept) = (self.budget.clone(), Arc::downgrade(&share));
        let broken_off = BrokenOff::default();
        request.extensions_mut().insert(broken_off.clone());
        let counted = |inner| Body::new(InboundBody::new(inner, budget, kept, broken_off));
        let answer = self.inner.call(request.map(counted));
        Box::pin(async move {
            let answer = answer.await;
            // A stream's handler has only begun to read; from now on nobody keeps what is whole.
            drop(share);
            answer
        })
    }
}
