//! Room for a batch, set aside before consensus sees it (R3): an append that fails
//! for want of space would stop the group, so it must not fail.

use std::sync::Arc;

use super::group_log::GroupLog;
use crate::journal::Capacity;
use crate::segment::SegmentError;

/// Journal bytes that an entry takes beyond its payload, at most.
const ENTRY_OVERHEAD_BYTES: u64 = 256;

/// Why there is no room.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReserveError {
    /// The disk is full. Nothing was written.
    #[error("no space left on the disk for {bytes} bytes; free some space and producing resumes by itself")]
    NoSpace {
        /// The bytes asked for.
        bytes: u64,
    },
    /// The journal is waiting for a checkpoint or a new file; ask again after [`GroupLog::room_changed`].
    #[error("the journal is busy")]
    Busy,
    /// The group is out of service.
    #[error("the group is quarantined: {0}")]
    Quarantined(String),
    /// The disk failed.
    #[error("reserving space failed: {0}")]
    Failed(String),
}

/// Room for one batch, in the journal and in the partition's segments. Given back when dropped: after the batch was
/// applied, or when it never will be.
pub struct Reservation {
    log: Arc<GroupLog>,
    journal_bytes: u64,
    segment_bytes: u64,
}

impl GroupLog {
    /// Sets aside room for a batch of `bytes`.
    ///
    /// # Errors
    /// See [`ReserveError`]; nothing is set aside then.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Result<Reservation, ReserveError> {
        if let Some(reason) = self.quarantine() {
            return Err(ReserveError::Quarantined(reason.to_owned()));
        }
        let Some(journal) = self.services.journal.get() else {
            return Err(ReserveError::Busy);
        };
        let segment_bytes = bytes as u64;
        let journal_bytes = segment_bytes + ENTRY_OVERHEAD_BYTES;
        match journal.reserve(journal_bytes) {
            Capacity::Reserved => {}
            Capacity::Busy => return Err(ReserveError::Busy),
            Capacity::Full => {
                return Err(ReserveError::NoSpace { bytes: journal_bytes });
            }
        }
        let mut reservation = Reservation { log: self.clone(), journal_bytes, segment_bytes: 0 };
        if let Some(segments) = &self.segments {
            segments.reserve(segment_bytes).map_err(|error| match error {
                SegmentError::NoSpace { .. } => ReserveError::NoSpace { bytes: segment_bytes },
                other => ReserveError::Failed(other.to_string()),
            })?;
            reservation.segment_bytes = segment_bytes;
        }
        Ok(reservation)
    }

    fn give_back(&self, journal_bytes: u64, segment_bytes: u64) {
        if let (Some(journal), true) = (self.services.journal.get(), journal_bytes > 0) {
            journal.release(journal_bytes);
        }
        if let (Some(segments), true) = (&self.segments, segment_bytes > 0) {
            segments.release(segment_bytes);
        }
    }

    /// Completes when room may have been made since the call. Cancel-safe.
    pub async fn room_changed(&self) {
        if let Some(journal) = self.services.journal.get() {
            journal.room_changed().await;
        }
    }
}

impl Reservation {
    /// Gives back what goes beyond a batch of `bytes`, once its size is known.
    pub fn trim(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        let journal_surplus = self.journal_bytes.saturating_sub(bytes + ENTRY_OVERHEAD_BYTES);
        let segment_surplus = self.segment_bytes.saturating_sub(bytes);
        self.journal_bytes -= journal_surplus;
        self.segment_bytes -= segment_surplus;
        self.log.give_back(journal_surplus, segment_surplus);
    }

    /// The batch was applied: its segment took the room, of which nothing must be left over ([`Reservation::trim`]).
    pub fn consumed(mut self) {
        self.segment_bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.log.give_back(self.journal_bytes, self.segment_bytes);
    }
}
