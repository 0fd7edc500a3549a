//! Accepting connections: where they come from, the limit on their number, and what every
//! accepted socket is set to. It knows no protocol.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::connection::{ClientStream, Connection};
use crate::error::StartError;

/// How long accepting rests after an error such as too many open files: the next try would
/// fail in the same way, and a busy loop would take the CPU from those who could help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from: a TCP port, or a network of the caller's.
pub struct Listener {
    address: SocketAddr,
    incoming: BoxStream<'static, io::Result<Box<dyn ClientStream>>>,
}

impl Listener {
    /// A listener that takes connections from `incoming`, which clients reach at `address`. An error is one connection's;
    /// the stream's end is the listener's.
    pub fn new<IO: ClientStream>(
        address: SocketAddr,
        incoming: impl Stream<Item = io::Result<IO>> + Send + 'static,
    ) -> Self {
        let incoming = incoming.map(|accepted| accepted.map(|io| Box::new(io) as Box<dyn ClientStream>));
        Self { address, incoming: incoming.boxed() }
    }

    /// A listener on a TCP port. Port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address is not loopback and `insecure` is not set (there is no TLS on this
    /// listener, so whoever reaches it may do everything), or the system refuses the address.
    pub async fn bind(name: &'static str, address: SocketAddr, insecure: bool) -> Result<Self, StartError> {
        if !address.ip().is_loopback() && !insecure {
            return Err(StartError::NotLoopback { listener: name, address });
        }
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => StartError::PortInUse { listener: name, address },
            _ => StartError::Bind { listener: name, address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let bound = listener.local_addr().map_err(refused)?;
        Ok(Self::new(bound, accepted(listener)))
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its connections, as they come.
    pub(crate) fn incoming(self) -> BoxStream<'static, io::Result<Box<dyn ClientStream>>> {
        self.incoming
    }

    /// Its connections, [`limited`].
    pub(crate) fn limited(
        self,
        connections_max: usize,
        cut: CancellationToken,
    ) -> impl Stream<Item = io::Result<Connection<Box<dyn ClientStream>>>> + Send {
        limited(self.incoming, connections_max, cut)
    }
}

/// The connections that arrive on a TCP listener. Never ends.
fn accepted(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> + Send {
    stream::unfold(listener, |listener| async move {
        let accepted = match listener.accept().await {
            Ok((stream, _)) => stream.set_nodelay(true).map(|()| stream),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                Err(error)
            }
        };
        Some((accepted, listener))
    })
}

/// Gives each connection one of `connections_max` slots for as long as it lives. One that
/// finds no slot is closed at once, which tells the client more than silence. Cancelling `cut`
/// ends all of them.
pub(crate) fn limited<IO: ClientStream>(
    incoming: impl Stream<Item = io::Result<IO>> + Send,
    connections_max: usize,
    cut: CancellationToken,
) -> impl Stream<Item = io::Result<Connection<IO>>> + Send {
    let slots = Arc::new(Semaphore::new(connections_max));
    incoming.filter_map(move |accepted| {
        let connection = match accepted {
            Ok(io) => match Arc::clone(&slots).try_acquire_owned() {
                Ok(slot) => Some(Ok(Connection::new(io, slot, cut.child_token()))),
                Err(_) => {
                    let peer = io.peer();
                    tracing::warn!(?peer, connections_max, "too many connections, closing the newest");
                    None
                }
            },
            Err(error) => Some(Err(error)),
        };
        std::future::ready(connection)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_connection_beyond_the_limit_is_closed_and_a_freed_slot_is_given_again() {
        let streams = (0..3).map(|_| Ok(tokio::io::duplex(8).0));
        let mut incoming = std::pin::pin!(limited(stream::iter(streams), 1, CancellationToken::new()));
        let first = incoming.next().await.expect("one").expect("whole");
        drop(first);
        let _second = incoming.next().await.expect("the slot is free again").expect("whole");
        assert!(incoming.next().await.is_none(), "the third found no slot");
    }

    #[tokio::test]
    async fn an_address_that_is_not_loopback_is_refused_unless_told_so() {
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let refused = Listener::bind("gRPC", address, false).await.map(|_| ()).expect_err("not loopback");
        assert!(matches!(refused, StartError::NotLoopback { .. }), "{refused}");
        Listener::bind("gRPC", address, true).await.expect("told so");
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = Listener::bind("gRPC", loopback, false).await.expect("a free port");
        let address = first.address();
        let error = Listener::bind("gRPC", address, false).await.map(|_| ()).expect_err("taken");
        assert!(matches!(error, StartError::PortInUse { .. }), "{error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
