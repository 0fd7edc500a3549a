//! What waits to be written to a connection, and the writing: everything that waits goes out in one vectored write.
//!
//! Frames leave in the order in which they were put in. A frame that nobody wants any more by then is left out.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Weak;
use std::time::Duration;

use highwater_types::limits::PEER_WRITE_BYTES;
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

use crate::error::PeerError;
use crate::frame::{Correlation, Frame};

/// Most pieces of one vectored write; the system takes 1024.
const WRITE_PIECES_MAX: usize = 512;

/// A frame that waits.
pub(crate) struct Queued {
    pub(crate) frame: Frame,
    /// Whose frame it is.
    pub(crate) correlation: Correlation,
    /// Gone when nobody waits for the answer; `None` for frames that are sent in any case.
    pub(crate) wanted: Option<Weak<()>>,
    /// Told when the stream has taken the frame.
    pub(crate) written: Option<oneshot::Sender<()>>,
    /// Given back when the stream has taken the frame.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl Queued {
    /// A frame that is sent in any case.
    pub(crate) fn plain(frame: Frame) -> Self {
        Self { frame, correlation: Correlation::NONE, wanted: None, written: None, permit: None }
    }

    fn is_wanted(&self) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.strong_count() > 0)
    }
}

/// The frames that wait for one connection.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    ready: Notify,
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Queued>,
    /// Of frames that the stream has not taken, those being written included.
    bytes: usize,
}

impl Outbox {
    /// Puts a frame in, whatever else waits.
    pub(crate) fn push(&self, queued: Queued) {
        let mut waiting = self.waiting.lock();
        waiting.bytes += queued.frame.len();
        waiting.frames.push_back(queued);
        drop(waiting);
        self.ready.notify_one();
    }

    /// Puts a frame in if no more than `bytes_max` wait then; `false` if not. A frame that waits alone always fits.
    pub(crate) fn try_push(&self, queued: Queued, bytes_max: usize) -> bool {
        let mut waiting = self.waiting.lock();
        let bytes = waiting.bytes + queued.frame.len();
        if bytes > bytes_max && waiting.bytes > 0 {
            return false;
        }
        waiting.bytes = bytes;
        waiting.frames.push_back(queued);
        drop(waiting);
        self.ready.notify_one();
        true
    }

    /// Drops everything that waits, and says whose it was. Nobody may be writing.
    pub(crate) fn clear(&self) -> Vec<Correlation> {
        let mut waiting = self.waiting.lock();
        waiting.bytes = 0;
        waiting.frames.drain(..).map(|queued| queued.correlation).collect()
    }

    /// Writes what waits and what will, and a sign of life whenever there was nothing to write for `keepalive`. Ends only by failing.
    pub(crate) async fn write_to<W: AsyncWrite + Unpin>(
        &self,
        io: &mut W,
        keepalive: Duration,
        stall: Duration,
    ) -> PeerError {
        loop {
            let batch = match self.take() {
                Some(batch) => batch,
                None => match tokio::time::timeout(keepalive, self.ready.notified()).await {
                    Ok(()) => continue,
                    Err(_) => {
                        self.push(Queued::plain(Frame::keep_alive()));
                        continue;
                    }
                },
            };
            if let Err(error) = write_batch(io, &batch, stall).await {
                return error;
            }
            let bytes: usize = batch.iter().map(|queued| queued.frame.len()).sum();
            self.waiting.lock().bytes -= bytes;
            for queued in batch {
                queued.written.map(|written| written.send(()));
                drop(queued.permit);
            }
        }
    }

    /// The frames of the next write, at least one.
    fn take(&self) -> Option<Vec<Queued>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut unwanted = Vec::new();
        let mut waiting = self.waiting.lock();
        while bytes < PEER_WRITE_BYTES
            && let Some(queued) = waiting.frames.pop_front()
        {
            if queued.is_wanted() {
                bytes += queued.frame.len();
                batch.push(queued);
            } else {
                waiting.bytes -= queued.frame.len();
                unwanted.push(queued);
            }
        }
        drop(waiting);
        // Freeing large payloads is not for the lock.
        drop(unwanted);
        (!batch.is_empty()).then_some(batch)
    }
}

async fn write_batch<W: AsyncWrite + Unpin>(
    io: &mut W,
    batch: &[Queued],
    stall: Duration,
) -> Result<(), PeerError> {
    let pieces = batch.iter().flat_map(|queued| queued.frame.pieces());
    let mut slices: Vec<IoSlice<'_>> =
        pieces.filter(|piece| !piece.is_empty()).map(|piece| IoSlice::new(piece)).collect();
    let mut rest = slices.as_mut_slice();
    let stalled = |_| PeerError::Stalled { stalled_ms: stall.as_millis() };
    while !rest.is_empty() {
        let next = &rest[..rest.len().min(WRITE_PIECES_MAX)];
        let written = tokio::time::timeout(stall, io.write_vectored(next)).await.map_err(stalled)??;
        if written == 0 {
            return Err(PeerError::Closed);
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    tokio::time::timeout(stall, io.flush()).await.map_err(stalled)??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use bytes::Bytes;

    use super::*;
    use crate::frame::FrameKind;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Counts writes, and takes at most so many bytes of each.
    struct Counting {
        writes: usize,
        bytes: Vec<u8>,
        at_most: usize,
    }

    impl AsyncWrite for Counting {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let len = bytes.len().min(self.at_most);
            self.writes += 1;
            self.bytes.extend_from_slice(&bytes[..len]);
            Poll::Ready(Ok(len))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut room = self.at_most;
            self.writes += 1;
            for slice in slices {
                let len = slice.len().min(room);
                room -= len;
                self.bytes.extend_from_slice(&slice[..len]);
            }
            Poll::Ready(Ok(self.at_most - room))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn frame(payload: &[Bytes]) -> Frame {
        Frame::new(FrameKind::Answer, Correlation(1), &(), payload.to_vec()).unwrap()
    }

    fn bytes_of(frames: &[Frame]) -> Vec<u8> {
        frames.iter().flat_map(Frame::pieces).flatten().copied().collect()
    }

    /// Writes until nothing waits: the clock is paused, and no sign of life is due before.
    async fn written(outbox: &Outbox, at_most: usize) -> Counting {
        let mut io = Counting { writes: 0, bytes: Vec::new(), at_most };
        let idle = tokio::time::timeout(HOUR / 2, outbox.write_to(&mut io, HOUR, HOUR)).await;
        assert!(idle.is_err(), "nothing failed");
        io
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_waits_goes_out_in_one_write() {
        let outbox = Outbox::default();
        let payload = [Bytes::from("one"), Bytes::new(), Bytes::from("two")];
        let frames: Vec<Frame> = (0..100).map(|_| frame(&payload)).collect();
        (0..100).for_each(|_| outbox.push(Queued::plain(frame(&payload))));
        let io = written(&outbox, usize::MAX).await;
        assert_eq!(io.bytes, bytes_of(&frames));
        assert_eq!(io.writes, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn short_writes_lose_and_repeat_nothing() {
        let payload = [Bytes::from("a payload"), Bytes::from("and another")];
        let frames: Vec<Frame> = (0..5).map(|_| frame(&payload)).collect();
        for at_most in 1..80 {
            let outbox = Outbox::default();
            (0..5).for_each(|_| outbox.push(Queued::plain(frame(&payload))));
            assert_eq!(written(&outbox, at_most).await.bytes, bytes_of(&frames), "{at_most} bytes a write");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_nobody_wants_is_not_written_and_gives_its_room_back() {
        let outbox = Outbox::default();
        let interest = Arc::new(());
        let kept = frame(&[Bytes::from("kept")]);
        let room = 2 * frame(&[]).len() + 8;
        let queued = |frame, wanted| Queued { wanted, ..Queued::plain(frame) };
        let gone = queued(frame(&[Bytes::from("gone")]), Some(Arc::downgrade(&interest)));
        assert!(outbox.try_push(gone, room));
        assert!(outbox.try_push(queued(frame(&[Bytes::from("kept")]), None), room));
        assert!(!outbox.try_push(queued(frame(&[]), None), room), "the room is taken");
        drop(interest);
        assert_eq!(written(&outbox, usize::MAX).await.bytes, bytes_of(&[kept]));
        assert!(outbox.try_push(queued(frame(&[Bytes::from("12345678")]), None), room), "and free again");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_carries_signs_of_life() {
        let outbox = Outbox::default();
        let mut io = Counting { writes: 0, bytes: Vec::new(), at_most: usize::MAX };
        let second = Duration::from_secs(1);
        let writing = tokio::time::timeout(second * 7 / 2, outbox.write_to(&mut io, second, HOUR)).await;
        assert!(writing.is_err());
        assert_eq!(io.bytes, bytes_of(&[Frame::keep_alive(), Frame::keep_alive(), Frame::keep_alive()]));
    }
}
