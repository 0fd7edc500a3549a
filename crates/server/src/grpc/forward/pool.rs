//! The connections over which calls are forwarded, by the address of the other node.
//!
//! They are apart from those on which nodes talk about the cluster, so that no number of waiting readers holds up a change of the
//! metadata. A connection carries a bounded number of calls; when it is full another is made, up to a limit.
//!
//! Invariant: the window of a connection has room for the windows of all its calls, so that an answer which nobody takes holds
//! up no other.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use highwater_broker::BrokerError;
use highwater_types::{ErrorCode, limits};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use crate::inbound::{InboundBudget, counted};
use crate::remote::{Dial, endpoint};

/// A place among the calls of one connection. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct CallSlot {
    _permit: OwnedSemaphorePermit,
}

/// Connections to other nodes.
pub(super) struct Pool {
    dial: Dial,
    open: Mutex<BTreeMap<String, Vec<Pooled>>>,
    /// Bytes of records that come in.
    budget: InboundBudget,
}

struct Pooled {
    channel: Channel,
    calls: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new(dial: Dial) -> Self {
        let budget = InboundBudget::new(limits::NODE_FORWARDED_BYTES_MAX);
        Self { dial, open: Mutex::default(), budget }
    }

    /// A connection to a node that has room for one more call.
    pub(super) fn channel(&self, address: &str) -> Result<(Channel, CallSlot), BrokerError> {
        let mut open = self.open.lock();
        let pooled = open.entry(address.to_owned()).or_default();
        for connection in pooled.iter() {
            if let Ok(permit) = Arc::clone(&connection.calls).try_acquire_owned() {
                return Ok((connection.channel.clone(), CallSlot { _permit: permit }));
            }
        }
        let (connections, calls) = (limits::FORWARD_CONNECTIONS_MAX, limits::FORWARD_CALLS_PER_CONNECTION_MAX);
        let semaphore = Arc::new(Semaphore::new(calls));
        let permit = Arc::clone(&semaphore).try_acquire_owned().ok().filter(|_| pooled.len() < connections);
        let Some(permit) = permit else {
            let message = format!(
                "this node forwards {} calls to the leader at {address} already; ask the leader itself, or try again later",
                connections * calls
            );
            return Err(BrokerError::new(ErrorCode::Throttled, message));
        };
        let channel = (self.dial)(windows(endpoint(address)?));
        pooled.push(Pooled { channel: channel.clone(), calls: semaphore });
        Ok((channel, CallSlot { _permit: permit }))
    }

    /// The same, with the bytes counted that come in.
    pub(super) fn metered(&self, address: &str) -> Result<(Metered, CallSlot), BrokerError> {
        let (channel, slot) = self.channel(address)?;
        Ok((Metered { channel, budget: self.budget.clone() }, slot))
    }
}

fn windows(endpoint: Endpoint) -> Endpoint {
    let stream = limits::FORWARD_STREAM_WINDOW_BYTES;
    let calls = u32::try_from(limits::FORWARD_CALLS_PER_CONNECTION_MAX).unwrap_or(u32::MAX);
    endpoint
        .initial_stream_window_size(stream)
        .initial_connection_window_size(stream.saturating_mul(calls))
        .tcp_nodelay(true)
}

/// A connection whose answers take their bytes from the node's budget as soon as their lengths are known.
#[derive(Clone)]
pub(crate) struct Metered {
    channel: Channel,
    budget: InboundBudget,
}

type Answer = Result<http::Response<Body>, tonic::transport::Error>;

impl Service<http::Request<Body>> for Metered {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.channel.call(request);
        let budget = self.budget.clone();
        Box::pin(async move {
            let counted = |body| counted(body, budget, Weak::new());
            answer.await.map(|response| response.map(counted))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_beyond_the_limit_are_refused_and_a_place_that_is_given_back_is_used_again() {
        let pool = Pool::new(Arc::new(|endpoint| endpoint.connect_lazy()));
        let max = limits::FORWARD_CONNECTIONS_MAX * limits::FORWARD_CALLS_PER_CONNECTION_MAX;
        let mut calls: Vec<_> = (0..max).map(|_| pool.channel("127.0.0.1:1").expect("room")).collect();
        let refused = pool.channel("127.0.0.1:1").expect_err("full");
        assert_eq!(refused.code, ErrorCode::Throttled);
        assert!(pool.channel("127.0.0.1:2").is_ok(), "another node has room");
        calls.swap_remove(7);
        assert!(pool.channel("127.0.0.1:1").is_ok());
    }
}
