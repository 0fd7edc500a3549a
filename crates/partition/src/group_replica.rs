//! The real replica: a Raft group and the segments behind it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use highwater_consensus::{
    ConsensusError, Group, GroupStatus, Proposal, ProposalHandle, Reservation, ReserveError,
};
use highwater_storage::Watermarks;
use highwater_storage::disk::blocking;
use highwater_storage::segment::{LogSlices, SegmentError, SegmentInfo, SegmentedLog};
use highwater_types::{Offset, Term, TimestampMs};
use tokio::sync::watch;

use crate::error::PartitionError;
use crate::replica::{NoRoom, Replica, Write};

impl Replica for Group {
    type Reservation = Reservation;
    type Handle = AppliedHandle;

    fn reserve(&self, bytes: usize) -> Result<Reservation, NoRoom> {
        self.log().reserve(bytes).map_err(|error| match error {
            ReserveError::Busy => NoRoom::Busy,
            ReserveError::NoSpace { bytes } => NoRoom::Refused(PartitionError::NoSpace { bytes }),
            ReserveError::Quarantined(reason) => NoRoom::Refused(PartitionError::Quarantined { reason }),
            ReserveError::Failed(reason) => NoRoom::Refused(PartitionError::ReserveFailed { reason }),
        })
    }

    async fn room_changed(&self) {
        self.log().room_changed().await;
    }

    async fn propose_many(&self, term: Option<Term>, writes: Vec<Write<Reservation>>) -> Vec<AppliedHandle> {
        let proposals = writes
            .into_iter()
            .map(|write| match write {
                Write::Batch { batch, reservation } => Proposal::Batch { batch, reservation },
                Write::Control(command) => Proposal::Control(command),
            })
            .collect();
        let handles = Group::propose_many(self, term, proposals).await;
        handles.into_iter().map(AppliedHandle).collect()
    }

    fn status(&self) -> GroupStatus {
        Group::status(self)
    }

    fn watch(&self) -> watch::Receiver<GroupStatus> {
        Group::watch(self)
    }

    async fn until_settled(&self) {
        Group::until_settled(self).await;
    }

    fn watermarks(&self) -> Watermarks {
        self.log().watermarks()
    }

    fn is_readable(&self) -> bool {
        self.log().segments().is_some()
    }

    async fn read_ahead(&self, from: Offset, below: Offset, bytes_max: usize) -> Result<(), PartitionError> {
        let segments = segments_of(self)?;
        // What is still written to was in memory a moment ago.
        let active = segments.segments().last().copied();
        if active.is_none_or(|active| from >= active.base) {
            return Ok(());
        }
        let reader = Arc::clone(segments);
        let read = blocking(&**segments.disk(), move || reader.read_ahead(from, below, bytes_max)).await;
        read.map_err(|error| read_failed(self, from, &error))
    }

    fn read(&self, from: Offset, below: Offset, bytes_max: usize) -> Result<LogSlices, PartitionError> {
        segments_of(self)?.read(from, below, bytes_max).map_err(|error| read_failed(self, from, &error))
    }

    fn offset_for_time(
        &self,
        time: TimestampMs,
        from: Offset,
        below: Offset,
    ) -> Result<Option<(Offset, TimestampMs)>, PartitionError> {
        segments_of(self)?.offset_for_time(time, from, below).map_err(|error| read_failed(self, from, &error))
    }

    fn max_timestamp(&self) -> Result<Option<(Offset, TimestampMs)>, PartitionError> {
        let segments = segments_of(self)?;
        segments.max_timestamp().map_err(|error| read_failed(self, segments.start_offset(), &error))
    }

    fn segments(&self) -> Vec<SegmentInfo> {
        self.log().segments().map(|segments| segments.segments()).unwrap_or_default()
    }

    fn size_bytes(&self) -> u64 {
        self.log().segments().map_or(0, |segments| segments.size_bytes())
    }

    fn damaged(&self) -> Vec<(Offset, Offset)> {
        let damaged = self.log().segments().map(|segments| segments.damaged()).unwrap_or_default();
        damaged.into_iter().map(|segment| (segment.base, segment.next)).collect()
    }

    fn roll_if_expired(&self, now: TimestampMs) -> Result<bool, PartitionError> {
        let segments = segments_of(self)?;
        segments.roll_if_expired(now).map_err(|error| PartitionError::RollFailed {
            offset: segments.next_offset(),
            reason: error.to_string(),
        })
    }
}

/// A proposal's outcome in the partition's words.
pub struct AppliedHandle(ProposalHandle);

impl Future for AppliedHandle {
    type Output = Result<Option<Offset>, PartitionError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| {
            let proposed = outcome.map_err(|error| write_failed(&error))?;
            Ok(proposed.base_offset)
        })
    }
}

/// The partition's segments.
///
/// # Errors
/// When they are so damaged that they could not be opened.
fn segments_of(group: &Group) -> Result<&Arc<SegmentedLog>, PartitionError> {
    group.log().segments().ok_or_else(|| PartitionError::Quarantined {
        reason: group.status().quarantined.unwrap_or_else(|| "its segments could not be opened".to_owned()),
    })
}

fn read_failed(group: &Group, offset: Offset, error: &SegmentError) -> PartitionError {
    if error.is_damage() {
        let status = group.status();
        let voters = status.voters.iter().flatten().filter(|voter| **voter != group.node());
        let is_alone = status.quarantined.is_some() || voters.chain(&*status.learners).next().is_none();
        return PartitionError::Damaged { offset, reason: error.to_string(), is_alone };
    }
    PartitionError::ReadFailed { offset, reason: error.to_string() }
}

/// What a failed proposal says about its entry.
fn write_failed(error: &ConsensusError) -> PartitionError {
    match error {
        ConsensusError::NotLeader { leader } => PartitionError::NotLeader { leader: *leader },
        ConsensusError::NoLeader { .. } | ConsensusError::Overtaking => {
            PartitionError::NotLeader { leader: None }
        }
        ConsensusError::Quarantined { reason } => PartitionError::Quarantined { reason: reason.clone() },
        ConsensusError::Unknown { .. } => PartitionError::Stopped,
        ConsensusError::Stopped
        | ConsensusError::Discarded
        | ConsensusError::Failed { .. }
        | ConsensusError::Log(_)
        | ConsensusError::Store(_) => PartitionError::OutcomeUnknown { reason: error.to_string() },
    }
}
