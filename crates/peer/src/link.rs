//! One node's requests to another on one lane: the calls that wait for an answer, and the connection's state.
//!
//! A connection is made when the first call wants it. When it ends, everything that waits fails; after a wait the next call makes
//! a new one. Until then calls fail at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use highwater_consensus::{PeerRequest, TransportError};
use highwater_types::{NodeId, Random};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::call::{Call, Outcome};
use crate::codec::{StateSender, encode_question};
use crate::dialled;
use crate::error::PeerError;
use crate::frame::{Correlation, Frame, FrameKind};
use crate::identity::PeerIdentity;
use crate::lane::Lane;
use crate::limits::PeerLimits;
use crate::outbox::{Outbox, Queued};
use crate::question::{Question, Reply};
use crate::reachability::Reachability;
use crate::stream::Dialer;
use highwater_types::Backoff;

/// What all links of a node share.
pub(crate) struct Context {
    pub(crate) identity: PeerIdentity,
    pub(crate) admission: Arc<dyn Admission>,
    pub(crate) limits: PeerLimits,
    pub(crate) dialer: Arc<dyn Dialer>,
    pub(crate) random: Arc<dyn Random>,
}

/// The way to one node on one lane.
pub(crate) struct Link {
    pub(crate) to: NodeId,
    pub(crate) lane: Lane,
    pub(crate) address: Arc<str>,
    pub(crate) context: Arc<Context>,
    pub(crate) outbox: Outbox,
    /// Cancelled when the link is closed.
    pub(crate) cut: CancellationToken,
    reachability: Arc<Reachability>,
    state: Mutex<State>,
    last_correlation: AtomicU64,
    /// Held by the snapshot that is being sent in chunks: the next one waits for its turn.
    chunked: Semaphore,
}

struct State {
    phase: Phase,
    backoff: Backoff,
    calls: BTreeMap<Correlation, oneshot::Sender<Outcome>>,
}

enum Phase {
    /// Nobody has asked for a connection since the last one's end.
    Idle,
    Connecting,
    Connected(PeerIdentity),
    /// The last attempt failed: nobody is to try again before `until`, unless the node has been connected to on another lane.
    Resting {
        until: Instant,
        reason: String,
        connections: u64,
    },
    /// The node is gone from the address book, or this one is stopping.
    Closed,
}

impl Link {
    pub(crate) fn new(
        context: Arc<Context>,
        to: NodeId,
        lane: Lane,
        address: Arc<str>,
        reachability: Arc<Reachability>,
    ) -> Arc<Self> {
        let limits = &context.limits;
        let backoff = Backoff::new(limits.redial_min, limits.redial_max(lane), Arc::clone(&context.random));
        Arc::new(Self {
            to,
            lane,
            address,
            context,
            outbox: Outbox::default(),
            cut: CancellationToken::new(),
            reachability,
            state: Mutex::new(State { phase: Phase::Idle, backoff, calls: BTreeMap::new() }),
            last_correlation: AtomicU64::new(0),
            chunked: Semaphore::new(1),
        })
    }

    /// Sends a question and waits for its answer, for `deadline` at most.
    pub(crate) async fn call(
        self: &Arc<Self>,
        question: Question,
        deadline: Duration,
    ) -> Result<Reply, TransportError> {
        match tokio::time::timeout(deadline, self.exchange(question, deadline)).await {
            Ok(outcome) => outcome.into_result(self.to),
            Err(_) => Err(TransportError::Timeout { node: self.to, waited_ms: deadline.as_millis() }),
        }
    }

    /// Who is at the other end, while there is a connection.
    pub(crate) fn peer(&self) -> Option<PeerIdentity> {
        match self.state.lock().phase {
            Phase::Connected(peer) => Some(peer),
            _ => None,
        }
    }

    /// Ends the connection and fails every call, now and from here on.
    pub(crate) fn close(&self) {
        self.state.lock().phase = Phase::Closed;
        self.cut.cancel();
    }

    async fn exchange(self: &Arc<Self>, question: Question, deadline: Duration) -> Outcome {
        let started = Instant::now();
        let chunk_bytes = self.context.limits.chunk_bytes;
        let is_chunked = matches!(
            &question,
            Question::Replica { request: PeerRequest::Snapshot(transfer), .. }
                if transfer.state.len() > chunk_bytes
        );
        let turn = if is_chunked { self.chunked.acquire().await.ok() } else { None };
        let deadline = deadline.saturating_sub(started.elapsed()).max(Duration::from_millis(1));

        let correlation = Correlation(self.last_correlation.fetch_add(1, Ordering::Relaxed) + 1);
        let encoded = encode_question(correlation, deadline, question, chunk_bytes);
        let fits = |frame: &Frame| self.lane.frame_limits().check_lens(frame.meta_len(), frame.payload_len());
        let (frame, rest) = match encoded.and_then(|(frame, rest)| fits(&frame).map(|()| (frame, rest))) {
            Ok(encoded) => encoded,
            Err(error) => return Outcome::NotSent(format!("the request cannot be sent: {error}")),
        };
        let (mut call, written) = match self.submit(correlation, frame, rest.is_some()) {
            Ok(submitted) => submitted,
            Err(reason) => return Outcome::NotSent(reason),
        };
        if let Some(rest) = rest
            && let Some(early) = self.send_state(&mut call, rest, written).await
        {
            return early;
        }
        drop(turn);
        call.outcome().await
    }

    /// Queues the first frame of a call, and makes a connection when there is none and it is time.
    fn submit(
        self: &Arc<Self>,
        correlation: Correlation,
        frame: Frame,
        is_unfinished: bool,
    ) -> Result<(Call<'_>, oneshot::Receiver<()>), String> {
        let limits = &self.context.limits;
        let interest = Arc::new(());
        let (answer, outcome) = oneshot::channel();
        let (written, is_written) = oneshot::channel();
        let mut state = self.state.lock();
        match &state.phase {
            Phase::Connecting | Phase::Connected(_) => {}
            Phase::Closed => return Err("it is gone from the address book".to_owned()),
            Phase::Resting { until, reason, connections }
                if Instant::now() < *until && *connections == self.reachability.connections() =>
            {
                return Err(reason.clone());
            }
            Phase::Idle | Phase::Resting { .. } => {
                state.phase = Phase::Connecting;
                tokio::spawn(dialled::run(Arc::clone(self)));
            }
        }
        if state.calls.len() >= limits.requests {
            return Err(format!("{} requests to it wait for an answer", limits.requests));
        }
        let wanted = Some(Arc::downgrade(&interest));
        let queued = Queued { frame, correlation, wanted, written: Some(written), permit: None };
        let bytes_max = limits.queue_bytes(self.lane);
        if !self.outbox.try_push(queued, bytes_max) {
            return Err(format!("{bytes_max} bytes wait to be sent to it"));
        }
        state.calls.insert(correlation, answer);
        drop(state);
        Ok((Call { link: self, correlation, outcome, interest, is_unfinished }, is_written))
    }

    /// Sends a state chunk by chunk, each when the one before is on its way, so that others get their turn. Returns what
    /// the peer answers before it has all of it.
    async fn send_state(
        &self,
        call: &mut Call<'_>,
        mut rest: StateSender,
        mut written: oneshot::Receiver<()>,
    ) -> Option<Outcome> {
        loop {
            tokio::select! {
                biased;
                outcome = &mut call.outcome => return Some(outcome.unwrap_or_else(|_| Outcome::gone())),
                on_its_way = &mut written => match on_its_way {
                    Ok(()) => {}
                    Err(_) => return None,
                },
            }
            let frame = match rest.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    call.is_unfinished = false;
                    return None;
                }
                Err(error) => return Some(Outcome::Broke(error.to_string())),
            };
            let (sender, receiver) = oneshot::channel();
            written = receiver;
            let state = self.state.lock();
            // The connection may have ended since; then so has the call.
            if state.calls.contains_key(&call.correlation) {
                let wanted = Some(Arc::downgrade(&call.interest));
                let (correlation, written) = (call.correlation, Some(sender));
                self.outbox.push(Queued { frame, correlation, wanted, written, permit: None });
            }
        }
    }

    /// There is a connection.
    pub(crate) fn connected(&self, peer: PeerIdentity) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Connecting) {
            state.phase = Phase::Connected(peer);
            drop(state);
            self.reachability.connected(self.to, &self.address);
        }
    }

    /// The peer said something: the next attempt need not wait long.
    pub(crate) fn heard(&self) {
        self.state.lock().backoff.reset();
    }

    /// The answer to a call, which may have gone meanwhile.
    pub(crate) fn answered(&self, correlation: Correlation, outcome: Outcome) {
        let call = self.state.lock().calls.remove(&correlation);
        call.map(|call| call.send(outcome));
    }

    /// The connection, or the attempt to make one, has ended: fails everything that waits.
    pub(crate) fn ended(&self, error: &PeerError) {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Closed) {
            let State { backoff, .. } = &mut *state;
            let wait = if error.is_lasting() { backoff.longest_wait() } else { backoff.next_wait() };
            let (until, reason) = (Instant::now() + wait, error.to_string());
            state.phase = Phase::Resting { until, reason, connections: self.reachability.connections() };
            self.reachability.failed(self.to, &self.address, error);
        }
        for correlation in self.outbox.clear() {
            if let Some(call) = state.calls.remove(&correlation) {
                drop(call.send(Outcome::NotSent(error.to_string())));
            }
        }
        for (_, call) in std::mem::take(&mut state.calls) {
            drop(call.send(Outcome::Broke(error.to_string())));
        }
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn forget(&self, correlation: Correlation, is_unfinished: bool) {
        let mut state = self.state.lock();
        let was_waiting = state.calls.remove(&correlation).is_some();
        if was_waiting
            && is_unfinished
            && let Ok(frame) = Frame::new(FrameKind::Abandon, correlation, &(), Vec::new())
        {
            self.outbox.push(Queued::plain(frame));
        }
    }
}
