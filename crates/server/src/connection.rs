//! One connection of a client: any byte stream, counted against the listener's limit,
//! that the node can cut off from anywhere.
//!
//! Cutting off is the only way to take back the memory behind a reader that does not read:
//! what HTTP/2 has accepted for sending stays until it is sent or the connection ends.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

/// A byte stream from a client.
pub trait ClientStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Where the client is, if that can be said.
    fn peer(&self) -> Option<SocketAddr>;
}

impl ClientStream for TcpStream {
    fn peer(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }
}

impl ClientStream for Box<dyn ClientStream> {
    fn peer(&self) -> Option<SocketAddr> {
        (**self).peer()
    }
}

impl ClientStream for tokio::io::DuplexStream {
    fn peer(&self) -> Option<SocketAddr> {
        None
    }
}

/// What a request can know about the connection that it came over.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionInfo {
    pub(crate) peer: Option<SocketAddr>,
    cut: CancellationToken,
}

impl ConnectionInfo {
    /// Ends the connection at once, with all of its streams.
    pub(crate) fn cut_off(&self) {
        self.cut.cancel();
    }
}

/// A client's byte stream under the node's control.
pub(crate) struct Connection<IO> {
    io: IO,
    info: ConnectionInfo,
    is_cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _slot: OwnedSemaphorePermit,
}

impl<IO: ClientStream> Connection<IO> {
    /// Takes a connection that has been given a slot. It ends when `cut` is cancelled.
    pub(crate) fn new(io: IO, slot: OwnedSemaphorePermit, cut: CancellationToken) -> Self {
        let is_cut = Box::pin(cut.clone().cancelled_owned());
        let info = ConnectionInfo { peer: io.peer(), cut };
        Self { io, info, is_cut, _slot: slot }
    }

    /// Also registers to be woken when the connection is cut off.
    fn poll_cut(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.is_cut.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
            Poll::Pending => Ok(()),
        }
    }
}

impl<IO: ClientStream> Connected for Connection<IO> {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl<IO: ClientStream> AsyncRead for Connection<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_cut(context)?;
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<IO: ClientStream> AsyncWrite for Connection<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_cut(context)?;
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_cut(context)?;
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(context)?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(context)?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncReadExt;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_connection_cut_off_while_it_waits_fails_at_once_and_frees_its_slot() {
        let slots = Arc::new(Semaphore::new(1));
        let slot = Arc::clone(&slots).try_acquire_owned().expect("one slot is free");
        let (near, _far) = tokio::io::duplex(64);
        let mut connection = Connection::new(near, slot, CancellationToken::new());
        let info = connection.connect_info();
        let reader = tokio::spawn(async move { connection.read_u8().await });
        tokio::task::yield_now().await;
        assert_eq!(slots.available_permits(), 0);
        info.cut_off();
        let error = reader.await.expect("the task ends").expect_err("it was cut off");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(slots.available_permits(), 1);
    }
}
