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

/// A body whose messages take their bytes from the budget while they come in. Those of the last one are kept in `share`, as
/// long as somebody has it.
pub(crate) fn counted(body: Body, budget: InboundBudget, share: Weak<Share>) -> Body {
    Body::new(InboundBody::new(body, budget, share))
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

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let share: Arc<Share> = Arc::default();
        let (budget, kept) = (self.budget.clone(), Arc::downgrade(&share));
        let answer = self.inner.call(request.map(|inner| counted(inner, budget, kept)));
        Box::pin(async move {
            let answer = answer.await;
            // A stream's handler has only begun to read; from now on nobody keeps what is whole.
            drop(share);
            answer
        })
    }
}
