//! Snapshots: the state goes out in chunks when it is large.

use bytes::Bytes;
use highwater_consensus::{LogId, PeerRequest, SnapshotTransfer, Vote};
use prost::Message;

use super::coordinates::vote;
use super::malformed;
use crate::error::PeerError;
use crate::frame::{Arrived, Correlation, Frame, FrameKind};
use crate::wire;

/// The rest of a state, piece by piece.
#[derive(Debug)]
pub(crate) struct StateSender {
    correlation: Correlation,
    rest: Bytes,
    position: u64,
    chunk_bytes: usize,
}

impl StateSender {
    /// Splits a transfer into its description, the first piece of its state, and what has to follow.
    pub(super) fn begin(
        transfer: SnapshotTransfer,
        correlation: Correlation,
        chunk_bytes: usize,
    ) -> (wire::Snapshot, Bytes, Option<Self>) {
        let SnapshotTransfer { vote, last, membership, state: mut rest } = transfer;
        let state_len = rest.len() as u64;
        let first = rest.split_to(rest.len().min(chunk_bytes));
        let message = wire::Snapshot {
            vote: Some(vote.into()),
            last: last.map(Into::into),
            membership: membership.map(|(id, encoded)| wire::Membership { id: Some(id.into()), encoded }),
            state_len,
            crc: crc32c::crc32c(&first),
        };
        let position = first.len() as u64;
        let sender = (!rest.is_empty()).then_some(Self { correlation, rest, position, chunk_bytes });
        (message, first, sender)
    }

    /// The next chunk; `None` when all is sent.
    ///
    /// # Errors
    /// When a chunk is larger than a frame can be.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, PeerError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let piece = self.rest.split_to(self.rest.len().min(self.chunk_bytes));
        let meta = wire::Chunk { position: self.position, crc: crc32c::crc32c(&piece) };
        self.position += piece.len() as u64;
        Frame::new(FrameKind::Chunk, self.correlation, &meta, vec![piece]).map(Some)
    }
}

/// A snapshot without its state.
#[derive(Debug)]
pub(crate) struct SnapshotHead {
    vote: Vote,
    last: Option<LogId>,
    membership: Option<(LogId, Bytes)>,
    state_len: usize,
}

impl SnapshotHead {
    /// Reads the description of a snapshot whose state begins with `first`.
    pub(super) fn decode(message: wire::Snapshot, first: &[u8]) -> Result<Self, PeerError> {
        let state_len = usize::try_from(message.state_len).ok().filter(|len| *len >= first.len());
        let state_len = state_len.ok_or_else(|| {
            malformed(format!("a state of {} bytes begins with {}", message.state_len, first.len()))
        })?;
        if first.is_empty() && state_len > 0 {
            return Err(malformed("its state begins with nothing"));
        }
        if crc32c::crc32c(first) != message.crc {
            return Err(malformed("the first bytes of the state were damaged on the way"));
        }
        let membership = message.membership.map(|membership| {
            let id = membership.id.ok_or_else(|| malformed("its membership is of no entry"))?;
            Ok::<_, PeerError>((id.into(), membership.encoded))
        });
        Ok(Self {
            vote: vote(message.vote)?,
            last: message.last.map(Into::into),
            membership: membership.transpose()?,
            state_len,
        })
    }

    /// Bytes of the whole state.
    pub(crate) fn state_len(&self) -> usize {
        self.state_len
    }

    /// The request, with the whole state.
    pub(crate) fn with_state(self, state: Bytes) -> PeerRequest {
        let Self { vote, last, membership, .. } = self;
        PeerRequest::Snapshot(SnapshotTransfer { vote, last, membership, state })
    }
}

/// Where a chunk belongs, after its bytes have been checked.
///
/// # Errors
/// When it is damaged, or empty.
pub(crate) fn check_chunk(frame: &Arrived) -> Result<u64, PeerError> {
    let chunk = wire::Chunk::decode(frame.meta.clone())?;
    if frame.payload.is_empty() {
        return Err(malformed("a chunk without bytes"));
    }
    if crc32c::crc32c(&frame.payload) != chunk.crc {
        return Err(malformed("a chunk was damaged on the way"));
    }
    Ok(chunk.position)
}
