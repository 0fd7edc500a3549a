//! Where byte streams to and from other nodes come from. TCP is one way; TLS and a simulated network are others.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Stream, stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// How long accepting rests after an error such as too many open files: the next try would fail in the same way.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes in both directions between two nodes.
pub trait PeerStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> PeerStream for T {}

/// Connects to other nodes.
#[async_trait]
pub trait Dialer: Send + Sync + 'static {
    /// A new stream to whoever listens at `address`. It is dropped when that takes too long.
    ///
    /// # Errors
    /// When nobody does, or there is no way there.
    async fn connect(&self, address: &str) -> io::Result<Box<dyn PeerStream>>;
}

/// Connects by TCP, to `host:port`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpDialer;

#[async_trait]
impl Dialer for TcpDialer {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn PeerStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// The connections that arrive on a TCP listener. Never ends.
pub fn accepted(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> + Send {
    stream::unfold(listener, |listener| async move {
        let accepted = match listener.accept().await {
            Ok((stream, _)) => stream.set_nodelay(true).map(|()| stream),
            Err(error) => {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                Err(error)
            }
        };
        Some((accepted, listener))
    })
}
