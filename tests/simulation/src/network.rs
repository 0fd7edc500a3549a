//! The simulated network as nodes and clients see it: their connections are turmoil's.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::{Stream, stream};
use highwater_peer::{Dialer, PeerStream};
use highwater_server::{ClientStream, Listener};
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;
use turmoil::net::{TcpListener, TcpStream};

use crate::chance::Chance;

/// The port for gRPC on every machine.
pub(crate) const GRPC_PORT: u16 = 7400;
/// The port for the other nodes on every machine.
pub(crate) const PEER_PORT: u16 = 7401;

/// A connection.
pub(crate) struct SimStream(TcpStream);

impl ClientStream for SimStream {
    fn peer(&self) -> Option<SocketAddr> {
        self.0.peer_addr().ok()
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// The connections that arrive at a port of this machine.
///
/// # Errors
/// When the port is taken.
pub(crate) async fn listen(port: u16) -> io::Result<Listener> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    Ok(Listener::new(SocketAddr::from(([127, 0, 0, 1], port)), accepted(listener)))
}

fn accepted(listener: TcpListener) -> impl Stream<Item = io::Result<SimStream>> + Send {
    stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(stream, _)| SimStream(stream));
        Some((accepted, listener))
    })
}

/// The way from one machine to all others.
#[derive(Clone)]
pub(crate) struct SimNetwork {
    chance: Arc<Chance>,
}

impl SimNetwork {
    /// `chance` decides whether a way that is cut answers or is silent.
    pub(crate) fn new(chance: Arc<Chance>) -> Self {
        Self { chance }
    }

    async fn connect(self, host: String, port: u16) -> io::Result<SimStream> {
        match TcpStream::connect((host.as_str(), port)).await {
            Ok(stream) => Ok(SimStream(stream)),
            // Of a network that is cut some routers tell, and some keep silent.
            Err(_) if self.chance.one_in(2) => std::future::pending().await,
            Err(error) => Err(error),
        }
    }

    /// Makes channels to gRPC listeners.
    pub(crate) fn dial(&self) -> Arc<dyn Fn(Endpoint) -> Channel + Send + Sync> {
        let network = self.clone();
        Arc::new(move |endpoint| endpoint.connect_with_connector_lazy(network.clone()))
    }
}

fn not_an_address(address: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("'{address}' is no host:port"))
}

#[async_trait]
impl Dialer for SimNetwork {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn PeerStream>> {
        let (host, port) = address.rsplit_once(':').ok_or_else(|| not_an_address(address))?;
        let port = port.parse().map_err(|_| not_an_address(address))?;
        Ok(Box::new(self.clone().connect(host.to_owned(), port).await?))
    }
}

impl Service<Uri> for SimNetwork {
    type Response = TokioIo<SimStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<SimStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let network = self.clone();
        Box::pin(async move {
            let host = uri.host().ok_or_else(|| not_an_address(&uri.to_string()))?.to_owned();
            let port = uri.port_u16().unwrap_or(GRPC_PORT);
            network.connect(host, port).await.map(TokioIo::new)
        })
    }
}
