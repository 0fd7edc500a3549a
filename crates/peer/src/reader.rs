//! Reads frames off a stream.
//!
//! Small parts go through one buffer, so that one system call brings many frames; a large part is read straight into memory
//! of exactly its size, which becomes the payload. No part is a slice of the buffer: a batch that the log keeps holds its own
//! frame's memory and nobody else's.

use std::pin::Pin;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, Sleep};

use crate::error::PeerError;
use crate::frame::{Arrived, FrameHeader, HEADER_LEN};

/// What is read ahead; so also the most that is copied of a large payload.
const BUFFER_BYTES: usize = 16 << 10;

/// How large the parts of a frame may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameLimits {
    pub(crate) meta_max: usize,
    pub(crate) payload_max: usize,
}

impl FrameLimits {
    /// Refuses a frame whose stated lengths are above the limits.
    pub(crate) fn check(&self, header: &FrameHeader) -> Result<(), PeerError> {
        self.check_lens(header.meta_len, header.payload_len)
    }

    /// The same for lengths that are not on the wire yet.
    pub(crate) fn check_lens(&self, meta_len: usize, payload_len: usize) -> Result<(), PeerError> {
        let parts = [("meta", meta_len, self.meta_max), ("payload", payload_len, self.payload_max)];
        match parts.into_iter().find(|(_, len, max)| len > max) {
            Some((part, len, max)) => Err(PeerError::TooLong { part, len, max }),
            None => Ok(()),
        }
    }
}

/// The reading end of a connection.
pub(crate) struct FrameReader<R> {
    io: R,
    buffer: Box<[u8; BUFFER_BYTES]>,
    /// What of `buffer` is read and not taken yet.
    start: usize,
    end: usize,
    limits: FrameLimits,
    silence: Silence,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from `io`, and fails when nothing arrives for `silence`.
    pub(crate) fn new(io: R, limits: FrameLimits, silence: Duration) -> Self {
        Self {
            io,
            buffer: Box::new([0; BUFFER_BYTES]),
            start: 0,
            end: 0,
            limits,
            silence: Silence::new(silence),
        }
    }

    /// From here on frames may be as large as `limits` say.
    pub(crate) fn set_limits(&mut self, limits: FrameLimits) {
        self.limits = limits;
    }

    /// The next frame. Not cancel-safe.
    pub(crate) async fn frame(&mut self) -> Result<Arrived, PeerError> {
        let header = self.header().await?;
        self.rest(&header).await
    }

    /// The next frame's header, with lengths within the limits. Not cancel-safe.
    pub(crate) async fn header(&mut self) -> Result<FrameHeader, PeerError> {
        self.fill(HEADER_LEN).await.map_err(|error| match error {
            PeerError::CutShort if self.start == self.end => PeerError::Closed,
            error => error,
        })?;
        let mut bytes = [0; HEADER_LEN];
        bytes.copy_from_slice(&self.buffer[self.start..self.start + HEADER_LEN]);
        self.start += HEADER_LEN;
        let header = FrameHeader::decode(&bytes)?;
        self.limits.check(&header)?;
        Ok(header)
    }

    /// The frame that `header` begins. Nothing is allocated for the payload before the checksum was right. Not cancel-safe.
    pub(crate) async fn rest(&mut self, header: &FrameHeader) -> Result<Arrived, PeerError> {
        let meta = self.take(header.meta_len).await?;
        header.check(&meta)?;
        let payload = self.take(header.payload_len).await?;
        Ok(Arrived { kind: header.kind, correlation: header.correlation, meta, payload })
    }

    /// Nothing was read for a while by this node's own choice: the silence begins now.
    pub(crate) fn resume(&mut self) {
        self.silence.heard();
    }

    /// The next `len` bytes, in memory of their own.
    async fn take(&mut self, len: usize) -> Result<Bytes, PeerError> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        if len <= BUFFER_BYTES {
            self.fill(len).await?;
        }
        let buffered = len.min(self.end - self.start);
        let mut out = BytesMut::with_capacity(len);
        out.put_slice(&self.buffer[self.start..self.start + buffered]);
        self.start += buffered;
        while out.len() < len {
            let missing = len - out.len();
            let mut room = (&mut out).limit(missing);
            self.silence.bound(self.io.read_buf(&mut room)).await?;
        }
        Ok(out.freeze())
    }

    /// Reads until `len` bytes, at most the buffer's size, are there.
    async fn fill(&mut self, len: usize) -> Result<(), PeerError> {
        if self.start + len > BUFFER_BYTES {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < len {
            if self.start == self.end {
                (self.start, self.end) = (0, 0);
            }
            self.end += self.silence.bound(self.io.read(&mut self.buffer[self.end..])).await?;
        }
        Ok(())
    }
}

/// Notices when nothing arrives. One timer for the connection's life: it is set forward only when it fires.
struct Silence {
    limit: Duration,
    last_heard: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Silence {
    fn new(limit: Duration) -> Self {
        let now = Instant::now();
        Self { limit, last_heard: now, timer: Box::pin(tokio::time::sleep_until(now + limit)) }
    }

    fn heard(&mut self) {
        self.last_heard = Instant::now();
    }

    /// Waits for a read, which has to bring something.
    async fn bound(&mut self, read: impl Future<Output = std::io::Result<usize>>) -> Result<usize, PeerError> {
        let mut read = std::pin::pin!(read);
        loop {
            // What has arrived counts, however late this task runs.
            tokio::select! {
                biased;
                read = &mut read => {
                    self.heard();
                    return match read? {
                        0 => Err(PeerError::CutShort),
                        len => Ok(len),
                    };
                }
                () = &mut self.timer => {
                    let due = self.last_heard + self.limit;
                    if due <= Instant::now() {
                        return Err(PeerError::Silent { silent_ms: self.limit.as_millis() });
                    }
                    self.timer.as_mut().reset(due);
                }
            }
        }
    }
}
