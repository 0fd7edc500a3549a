//! What a partition needs of its Raft group and of the log behind it: the seam at which
//! scenario tests put a group that delays, refuses and loses its leadership on command.
//!
//! [`Group`](highwater_consensus::Group) is the one real implementation. Errors are the
//! partition's own here, so that nothing above has to know the layers below.

use std::future::Future;

use bytes::Bytes;
pub use highwater_consensus::GroupStatus;
use highwater_records::Batch;
use highwater_storage::Watermarks;
use highwater_storage::segment::{LogSlices, SegmentInfo};
use highwater_types::{Offset, Term, TimestampMs};
use tokio::sync::watch;

use crate::error::PartitionError;

/// One entry to propose.
#[derive(Debug)]
pub enum Write<Reservation> {
    /// A batch, with the room that was reserved for it.
    Batch {
        /// The batch, not stamped.
        batch: Batch,
        /// Kept until the batch is applied or has failed.
        reservation: Reservation,
    },
    /// A command of the partition.
    Control(Bytes),
}

/// Why there is no room for a batch. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRoom {
    /// The journal is being emptied: there will be room soon.
    Busy,
    /// There will be none until something changes: the disk is full, or out of service.
    Refused(PartitionError),
}

/// One partition's replica on this node.
pub trait Replica: Send + Sync + 'static {
    /// Room for one batch; dropping it gives the room back.
    type Reservation: Send + 'static;
    /// Resolves when the entry is applied, to its base offset when it is a batch; or fails.
    /// Dropping it does not withdraw the entry.
    type Handle: Future<Output = Result<Option<Offset>, PartitionError>> + Send + Unpin + 'static;

    /// Reserves room for a batch (R3).
    ///
    /// # Errors
    /// When there is none; nothing is held then.
    fn reserve(&self, bytes: usize) -> Result<Self::Reservation, NoRoom>;

    /// Completes when there may be room again after [`NoRoom::Busy`]. Cancel-safe.
    fn room_changed(&self) -> impl Future<Output = ()> + Send;

    /// Puts entries into the log in this order, one handle for each. All are in the group's
    /// queue on return. With a `term` they enter the log in that term or not at all. When a batch fails, so do the
    /// batches that were proposed behind it before its handle said so.
    fn propose_many(
        &self,
        term: Option<Term>,
        writes: Vec<Write<Self::Reservation>>,
    ) -> impl Future<Output = Vec<Self::Handle>> + Send;

    /// How the group stands now.
    fn status(&self) -> GroupStatus;

    /// Changes of the status, but for a leader that stops serving, or serves again, because others do not stand by it or do.
    fn watch(&self) -> watch::Receiver<GroupStatus>;

    /// Waits while this node leads and does not serve, whatever the reason. Returns also when the group stops. Cancel-safe.
    fn until_settled(&self) -> impl Future<Output = ()> + Send;

    /// The log's bounds.
    fn watermarks(&self) -> Watermarks;

    /// Whether the committed batches can be read: not so in a quarantine when the segments could not even be opened.
    fn is_readable(&self) -> bool;

    /// Brings what a coming [`Replica::read`] needs into memory, off the async threads, where
    /// the disk may be needed for it.
    ///
    /// # Errors
    /// [`PartitionError::ReadFailed`].
    fn read_ahead(
        &self,
        from: Offset,
        below: Offset,
        bytes_max: usize,
    ) -> impl Future<Output = Result<(), PartitionError>> + Send;

    /// Whole batches from the one that contains `from` up to `below` (exclusive): the first
    /// whatever its size, and then no more than fit `bytes_max`.
    ///
    /// # Errors
    /// [`PartitionError::ReadFailed`], also when the segment was deleted meanwhile.
    fn read(&self, from: Offset, below: Offset, bytes_max: usize) -> Result<LogSlices, PartitionError>;

    /// The smallest offset in `from .. below` whose timestamp is at or after `time` (R9), with
    /// that timestamp.
    ///
    /// # Errors
    /// [`PartitionError::ReadFailed`].
    fn offset_for_time(
        &self,
        time: TimestampMs,
        from: Offset,
        below: Offset,
    ) -> Result<Option<(Offset, TimestampMs)>, PartitionError>;

    /// The latest timestamp held, and the smallest offset that has it. The offset may lie
    /// below the log start, in the segment that the log start is in.
    ///
    /// # Errors
    /// [`PartitionError::ReadFailed`].
    fn max_timestamp(&self) -> Result<Option<(Offset, TimestampMs)>, PartitionError>;

    /// The segments, oldest first; only the last one is written to.
    fn segments(&self) -> Vec<SegmentInfo>;

    /// Bytes of all segments.
    fn size_bytes(&self) -> u64;

    /// The offsets of segments that are known to be damaged here: each from the first to below the second, in order.
    fn damaged(&self) -> Vec<(Offset, Offset)> {
        Vec::new()
    }

    /// Closes the last segment when it is older than the topic's `segment.ms`; says whether it did.
    ///
    /// # Errors
    /// [`PartitionError::RollFailed`] when the segment could not be closed; it stays in use.
    fn roll_if_expired(&self, now: TimestampMs) -> Result<bool, PartitionError>;
}
