//! Streams in memory, in the order in which they were dialled, with a valve on each.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use futures_util::{Stream, stream};
use highwater_peer::{Dialer, PeerStream};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;

/// What a stream in memory holds before it makes its writer wait.
const PIPE_BYTES: usize = 64 << 10;

/// How the dialler's end of a stream behaves, changed by the test at any time.
#[derive(Default)]
pub struct Valve {
    state: Mutex<ValveState>,
}

#[derive(Default)]
struct ValveState {
    is_frozen: bool,
    /// After so many more bytes written, the stream breaks.
    cut_after: Option<usize>,
    /// After so many more bytes written, the stream stands still.
    freeze_after: Option<usize>,
    written: Vec<u8>,
    wakers: Vec<Waker>,
}

impl Valve {
    /// No byte moves any more, in either direction, and nobody is told.
    pub fn freeze(&self) {
        self.state.lock().is_frozen = true;
    }

    /// The stream stands still when so many more bytes have been written.
    pub fn freeze_after(&self, bytes: usize) {
        self.state.lock().freeze_after = Some(bytes);
    }

    /// Bytes move again.
    pub fn thaw(&self) {
        let mut state = self.state.lock();
        state.is_frozen = false;
        state.wakers.drain(..).for_each(Waker::wake);
    }

    /// The stream breaks when so many more bytes have been written.
    pub fn cut_after(&self, bytes: usize) {
        self.state.lock().cut_after = Some(bytes);
    }

    /// All that the dialler has written.
    pub fn written(&self) -> Vec<u8> {
        self.state.lock().written.clone()
    }
}

struct Valved {
    io: DuplexStream,
    valve: Arc<Valve>,
}

impl AsyncRead for Valved {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        {
            let mut state = self.valve.state.lock();
            if state.cut_after == Some(0) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            state.wakers.push(context.waker().clone());
            if state.is_frozen {
                return Poll::Pending;
            }
        }
        Pin::new(&mut self.io).poll_read(context, out)
    }
}

impl AsyncWrite for Valved {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let valve = Arc::clone(&self.valve);
        let mut state = valve.state.lock();
        if state.is_frozen {
            state.wakers.push(context.waker().clone());
            return Poll::Pending;
        }
        let allowed = state.cut_after.unwrap_or(usize::MAX).min(bytes.len());
        if allowed == 0 && !bytes.is_empty() {
            state.wakers.drain(..).for_each(Waker::wake);
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let written = std::task::ready!(Pin::new(&mut self.io).poll_write(context, &bytes[..allowed]))?;
        state.cut_after = state.cut_after.map(|left| left - written);
        state.freeze_after = state.freeze_after.map(|left| left.saturating_sub(written));
        if state.freeze_after.take_if(|left| *left == 0).is_some() {
            state.is_frozen = true;
        }
        state.written.extend_from_slice(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// What the next dials come to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dials {
    Connect,
    /// Nobody listens.
    Refused,
    /// Nobody answers.
    Hang,
}

/// A network with one listener.
pub struct MemoryNetwork {
    state: Mutex<NetworkState>,
}

struct NetworkState {
    listener: Option<mpsc::UnboundedSender<DuplexStream>>,
    dials: Dials,
    attempts: usize,
    valves: Vec<Arc<Valve>>,
}

impl MemoryNetwork {
    pub fn new() -> Arc<Self> {
        let state = NetworkState { listener: None, dials: Dials::Connect, attempts: 0, valves: Vec::new() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// From here on streams come out here.
    pub fn listen(&self) -> impl Stream<Item = io::Result<DuplexStream>> + Send + use<> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state.lock().listener = Some(sender);
        stream::unfold(receiver, |mut receiver| async move { Some((Ok(receiver.recv().await?), receiver)) })
    }

    pub fn set_dials(&self, dials: Dials) {
        self.state.lock().dials = dials;
    }

    /// How often somebody tried to connect.
    pub fn attempts(&self) -> usize {
        self.state.lock().attempts
    }

    /// The valve of the nth stream that was dialled, from 0.
    pub fn valve(&self, index: usize) -> Arc<Valve> {
        Arc::clone(&self.state.lock().valves[index])
    }
}

#[async_trait]
impl Dialer for MemoryNetwork {
    async fn connect(&self, _address: &str) -> io::Result<Box<dyn PeerStream>> {
        let dials = {
            let mut state = self.state.lock();
            state.attempts += 1;
            state.dials
        };
        if dials == Dials::Hang {
            std::future::pending::<()>().await;
        }
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let mut state = self.state.lock();
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listener = state.listener.as_ref().filter(|_| dials == Dials::Connect).ok_or_else(refused)?;
        listener.send(theirs).map_err(|_| refused())?;
        let valve = Arc::<Valve>::default();
        state.valves.push(Arc::clone(&valve));
        Ok(Box::new(Valved { io: ours, valve }))
    }
}
