//! The requests of one connection: reads them while there is room, and handles each in a task of its own.
//!
//! A slot is held from before a request is read until its answer is written, and room for its bytes until it is handled. Without
//! either nothing more is read, and the peer's writing comes to rest. Requests end with the connection.

use std::sync::Arc;
use std::time::Duration;

use highwater_consensus::PeerRequest;
use highwater_types::{GroupId, Incarnation};
use tokio::io::AsyncRead;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::append_queues::{AppendQueues, Pushed};
use crate::assembly::{Assemblies, Beginning, SnapshotRoom};
use crate::codec::{Body, Decoded, answer_frame, decode_ping, decode_request, failure_frame, pong_frame};
use crate::error::PeerError;
use crate::frame::{Arrived, Correlation, Frame, FrameHeader, FrameKind};
use crate::identity::PeerIdentity;
use crate::limits::PeerLimits;
use crate::outbox::{Outbox, Queued};
use crate::reader::FrameReader;
use crate::receive::Receive;

/// A request that is to be handled.
pub(crate) struct Job {
    pub(crate) correlation: Correlation,
    /// The life of this node's data that it is for.
    pub(crate) to: Incarnation,
    pub(crate) group: GroupId,
    /// When its sender stops waiting.
    pub(crate) expires: Instant,
    /// What it holds in memory.
    pub(crate) bytes: usize,
    pub(crate) request: PeerRequest,
    pub(crate) slot: OwnedSemaphorePermit,
    pub(crate) room: OwnedSemaphorePermit,
}

/// The requests of one connection.
pub(crate) struct ServedRequests {
    handler: Arc<Handler>,
    tasks: JoinSet<()>,
    slots: Arc<Semaphore>,
    room: Arc<Semaphore>,
    room_bytes: usize,
    assemblies: Assemblies,
}

impl ServedRequests {
    pub(crate) fn new(
        peer: PeerIdentity,
        receive: Arc<dyn Receive>,
        limits: &PeerLimits,
        outbox: Arc<Outbox>,
        snapshots: SnapshotRoom,
    ) -> Self {
        let queues = AppendQueues::new(limits.group_requests, limits.group_bytes);
        let room_bytes = limits.served_bytes.min(u32::MAX as usize);
        Self {
            handler: Arc::new(Handler { peer, receive, outbox, queues }),
            tasks: JoinSet::new(),
            slots: Arc::new(Semaphore::new(limits.served_requests)),
            room: Arc::new(Semaphore::new(room_bytes)),
            room_bytes,
            assemblies: Assemblies::new(snapshots),
        }
    }

    /// Reads and handles requests. Ends only by failing.
    pub(crate) async fn serve<R: AsyncRead + Unpin>(&mut self, reader: &mut FrameReader<R>) -> PeerError {
        loop {
            if let Err(error) = self.serve_one(reader).await {
                return error;
            }
        }
    }

    async fn serve_one<R: AsyncRead + Unpin>(&mut self, reader: &mut FrameReader<R>) -> Result<(), PeerError> {
        let header = reader.header().await?;
        self.reap()?;
        match header.kind {
            FrameKind::KeepAlive => drop(reader.rest(&header).await?),
            FrameKind::Ping => {
                let (slot, _room) = self.admit(&header).await?;
                reader.resume();
                self.ping(&reader.rest(&header).await?, slot);
            }
            FrameKind::Request => {
                let (slot, room) = self.admit(&header).await?;
                reader.resume();
                let frame = reader.rest(&header).await?;
                self.request(&frame, slot, room);
            }
            FrameKind::Chunk => {
                let frame = reader.rest(&header).await?;
                match self.assemblies.chunk(&frame) {
                    Ok(Some(job)) => self.start(job),
                    Ok(None) => {}
                    Err((reason, slot)) => self.handler.refuse(frame.correlation, &reason, slot),
                }
            }
            FrameKind::Abandon => {
                let frame = reader.rest(&header).await?;
                self.assemblies.abandon(frame.correlation);
            }
            kind => {
                let (slot, _room) = self.admit(&header).await?;
                reader.resume();
                let frame = reader.rest(&header).await?;
                let reason = format!("this version does not know frames of kind {}", kind.number());
                self.handler.refuse(frame.correlation, &reason, slot);
            }
        }
        Ok(())
    }

    /// Waits until the request that `header` begins may be read.
    async fn admit(
        &self,
        header: &FrameHeader,
    ) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), PeerError> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| PeerError::Ended)?;
        let bytes = (header.meta_len + header.payload_len).min(self.room_bytes);
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(count).await.map_err(|_| PeerError::Ended)?;
        Ok((slot, room))
    }

    fn request(&mut self, frame: &Arrived, slot: OwnedSemaphorePermit, room: OwnedSemaphorePermit) {
        let correlation = frame.correlation;
        let Decoded { to, group, deadline, body } = match decode_request(frame) {
            Ok(decoded) => decoded,
            Err(error) => return self.handler.refuse(correlation, &error.to_string(), slot),
        };
        let expires = Instant::now() + deadline.max(Duration::from_millis(1));
        match body {
            Body::Whole(request) => {
                let bytes = frame.meta.len() + frame.payload.len();
                self.start(Job { correlation, to, group, expires, bytes, request, slot, room });
            }
            Body::First(head, first) => {
                let beginning = Beginning { correlation, to, group, expires, head, first };
                if let Err((reason, slot)) = self.assemblies.begin(beginning, slot) {
                    self.handler.refuse(correlation, &reason, slot);
                }
            }
        }
    }

    /// Pings are answered on the spot: they wait for nothing.
    fn ping(&self, frame: &Arrived, slot: OwnedSemaphorePermit) {
        let (handler, correlation) = (&self.handler, frame.correlation);
        match decode_ping(frame).map(|ping| handler.receive.receive_ping(&handler.peer, ping)) {
            Ok(Ok(pong)) => handler.send(correlation, pong_frame(correlation, pong), slot),
            Ok(Err(refused)) => handler.refuse(correlation, &refused.to_string(), slot),
            Err(error) => handler.refuse(correlation, &error.to_string(), slot),
        }
    }

    fn start(&mut self, job: Job) {
        let handler = Arc::clone(&self.handler);
        if !matches!(job.request, PeerRequest::Append(_)) {
            self.tasks.spawn(async move { handler.handle(job).await });
            return;
        }
        match self.handler.queues.push(job) {
            Pushed::First(job) => {
                self.tasks.spawn(async move { handler.handle_in_order(job).await });
            }
            Pushed::Waits => {}
            Pushed::Full(job) => {
                let reason = "too many appends to the group wait here";
                self.handler.refuse(job.correlation, reason, job.slot);
            }
        }
    }

    /// A panic in a handler would leave its request, and a group's queue, without an end.
    fn reap(&mut self) -> Result<(), PeerError> {
        while let Some(ended) = self.tasks.try_join_next() {
            ended.map_err(|_| PeerError::HandlerPanicked)?;
        }
        Ok(())
    }
}

/// What the tasks of one connection share.
struct Handler {
    peer: PeerIdentity,
    receive: Arc<dyn Receive>,
    outbox: Arc<Outbox>,
    queues: AppendQueues,
}

impl Handler {
    async fn handle_in_order(&self, first: Job) {
        let group = first.group;
        let mut next = Some(first);
        while let Some(job) = next {
            self.handle(job).await;
            next = self.queues.next(group);
        }
    }

    /// Handles a request; nobody waits for the answer to one that has expired.
    async fn handle(&self, job: Job) {
        let Job { correlation, to, group, expires, request, slot, room, .. } = job;
        if expires <= Instant::now() {
            return;
        }
        let received = self.receive.receive(&self.peer, to, group, request);
        let Ok(result) = tokio::time::timeout_at(expires, received).await else { return };
        drop(room);
        match result {
            Ok(reply) => self.send(correlation, answer_frame(correlation, &reply), slot),
            Err(refused) => self.refuse(correlation, &refused.to_string(), slot),
        }
    }

    fn refuse(&self, correlation: Correlation, reason: &str, slot: OwnedSemaphorePermit) {
        self.send(correlation, failure_frame(correlation, reason), slot);
    }

    fn send(&self, correlation: Correlation, frame: Result<Frame, PeerError>, slot: OwnedSemaphorePermit) {
        match frame {
            Ok(frame) => {
                let permit = Some(slot);
                self.outbox.push(Queued { frame, correlation, wanted: None, written: None, permit });
            }
            Err(error) => tracing::error!(peer = %self.peer.node, %error, "an answer cannot be sent"),
        }
    }
}
