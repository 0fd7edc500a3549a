//! The way between a node and its peers, which a test cuts. Clients reach the node all the same.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures_util::StreamExt as _;
use highwater_peer::{Dialer, PeerStream, accepted};
use highwater_server::{Listener, NodeParts};
use tokio::io::{DuplexStream, copy_bidirectional, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Bytes that one direction of a connection holds.
const PIPE_BYTES: usize = 64 << 10;

/// All connections between one node and its peers.
#[derive(Clone, Default)]
pub(crate) struct Cable(CancellationToken);

impl Cable {
    /// No peer hears the node any more, nor it them.
    pub(crate) fn cut(&self) {
        self.0.cancel();
    }

    /// Lets the node's peer connections run over this cable.
    pub(crate) async fn carry_all(self, parts: NodeParts) -> NodeParts {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let cable = self.clone();
        let incoming = accepted(listener).map(move |stream| stream.map(|stream| cable.carry(stream)));
        NodeParts { peer: Listener::new(address, incoming), dialer: Arc::new(Dialled(self)), ..parts }
    }

    fn carry(&self, mut stream: TcpStream) -> DuplexStream {
        let (near, mut far) = duplex(PIPE_BYTES);
        let carried = async move { copy_bidirectional(&mut far, &mut stream).await };
        tokio::spawn(self.0.clone().run_until_cancelled_owned(carried));
        near
    }
}

/// How the node connects to its peers.
struct Dialled(Cable);

#[tonic::async_trait]
impl Dialer for Dialled {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn PeerStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(self.0.carry(stream)))
    }
}
