//! Makes damaged segments of a group's log whole again, with the batches of its other members.
//!
//! What segments hold is committed, and so the same on every replica: any member may be asked, leader or not, and this replica's
//! vote and log go on meanwhile (R1). What is sent is checked against this replica's own run table before it is taken.

use std::sync::Arc;
use std::time::Duration;

use highwater_storage::disk::blocking;
use highwater_storage::segment::{
    Adopted, DamagedSegment, IndexedBatch, RepairStep, SegmentError, SegmentRepair, SegmentedLog,
};
use highwater_storage::{Entry, GroupLog, LogId, Payload, StoreError};
use highwater_types::{NodeId, Offset, RaftIndex};
use openraft::async_runtime::watch::WatchReceiver;

use crate::error::{ConsensusError, RefusedRequest};
use crate::group::Group;
use crate::host::GroupHost;
use crate::message::{BatchesWanted, Member, PeerReply, PeerRequest};
use crate::throttle::Throttle;

/// Bytes that are copied or asked for in one turn.
const TURN_BYTES: u32 = 1 << 20;
/// How long a member may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// A segment that is whole again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairedSegment {
    /// What was damaged of it.
    pub damaged: DamagedSegment,
    /// Bytes of it that came from other replicas.
    pub fetched_bytes: u64,
}

/// Why a segment was not repaired. It is damaged as before, and can be repaired later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RepairError {
    /// The group has no other member.
    #[error(
        "the partition has no other replica to fetch it from: restore it from a backup, or delete the records before offset {next}"
    )]
    Alone {
        /// The offset after the damaged segment.
        next: Offset,
    },
    /// No other member gave the batches now.
    #[error("no other replica gave the batch of entry {index} now: {reason}")]
    NoSource {
        /// The entry.
        index: RaftIndex,
        /// What the last one that was asked said.
        reason: String,
    },
    /// The disk has no room for the whole segment beside the damaged one.
    #[error("the disk has no room for it: {0}")]
    NoSpace(Arc<SegmentError>),
    /// What was fetched did not make a whole segment.
    #[error("what was fetched does not make it whole: {0}")]
    NotWhole(StoreError),
    /// The disk failed before anything was changed.
    #[error("the disk failed: {0}")]
    Disk(StoreError),
    /// The disk failed while the whole segment was put in the place of the damaged one: the node must end (R2).
    #[error("the disk failed: {0}")]
    Adopting(StoreError),
}

impl RepairError {
    fn segment(error: SegmentError) -> Self {
        let error = Arc::new(error);
        match &*error {
            SegmentError::NoSpace { .. } => Self::NoSpace(error),
            _ => Self::Disk(error.into()),
        }
    }
}

impl GroupHost {
    /// Repairs the first damaged segment of a group, within the bound on what replicas take to catch up. `None` when none is damaged,
    /// or none any more. Cancel-safe: what was begun is begun anew by the next call.
    ///
    /// # Errors
    /// See [`RepairError`].
    pub async fn repair_segment(&self, group: &Group) -> Result<Option<RepairedSegment>, RepairError> {
        let Some(segments) = group.log().segments().cloned() else { return Ok(None) };
        let Some(damaged) = segments.damaged().into_iter().next() else { return Ok(None) };
        let sources = self.sources(group);
        if sources.is_empty() {
            return Err(RepairError::Alone { next: damaged.next });
        }
        let (log, base) = (Arc::clone(&segments), damaged.base);
        let begun = blocking(&**segments.disk(), move || log.repair(base)).await;
        let Some(mut repair) = begun.map_err(RepairError::segment)? else { return Ok(None) };
        loop {
            // Given back at once: what a slow member or disk takes holds up nobody else.
            drop(self.catch_up().turn().await);
            let (copied, step) = step(&segments, repair, move |repair| repair.copy(TURN_BYTES.into())).await?;
            repair = copied;
            match step {
                RepairStep::Copied(bytes) => self.catch_up().charge(bytes),
                RepairStep::Whole => break,
                RepairStep::Wanted { from, below } => {
                    let wanted = BatchesWanted { from, below, bytes_max: TURN_BYTES };
                    let (supplied, bytes) = self.supply(group, &segments, repair, wanted, &sources).await?;
                    repair = supplied;
                    self.catch_up().charge(bytes);
                }
            }
        }
        let adopted = self.store().adopt_repair(group.id(), repair).await.map_err(|error| match &error {
            StoreError::Segment(segment) if segment.is_damage() => RepairError::NotWhole(error),
            _ => RepairError::Adopting(error),
        })?;
        match adopted {
            Adopted::Whole { supplied, .. } => Ok(Some(RepairedSegment { damaged, fetched_bytes: supplied })),
            Adopted::Gone => Ok(None),
        }
    }

    /// What bounds the bytes a second that replicas take to catch up and to be repaired.
    pub fn catch_up(&self) -> &Throttle {
        &self.catch_up
    }

    /// Asks one member after the other until one gives what is wanted.
    async fn supply(
        &self,
        group: &Group,
        segments: &Arc<SegmentedLog>,
        mut repair: SegmentRepair,
        wanted: BatchesWanted,
        sources: &[Member],
    ) -> Result<(SegmentRepair, u64), RepairError> {
        let mut reason = String::new();
        for source in sources {
            let request = PeerRequest::Batches(wanted);
            let asked = self.transport().call(*source, group.id(), request, ANSWER_DEADLINE).await;
            let batches = match asked {
                Ok(PeerReply::Batches(entries)) => indexed(entries),
                Ok(_) => {
                    reason = format!("node {} answered another question", source.node);
                    continue;
                }
                Err(error) => {
                    reason = error.to_string();
                    continue;
                }
            };
            let (supplied, bytes) = step(segments, repair, move |repair| repair.supply(&batches)).await?;
            repair = supplied;
            if bytes > 0 {
                return Ok((repair, bytes));
            }
            reason = format!("node {} does not have it whole", source.node);
        }
        Err(RepairError::NoSource { index: wanted.from, reason })
    }

    /// The other members of a group, those first that can be reached.
    fn sources(&self, group: &Group) -> Vec<Member> {
        let Some(raft) = group.raft() else { return Vec::new() };
        let metrics = raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.membership().nodes();
        let mut sources: Vec<Member> = members
            .map(|(node, info)| Member { node: NodeId(*node), incarnation: info.addressed() })
            .filter(|member| member.node != self.node())
            .collect();
        sources.sort_by_key(|member| !self.is_reachable(member.node));
        sources
    }
}

/// Does one step of a repair where it may wait for the disk.
async fn step<T: Send + 'static>(
    segments: &Arc<SegmentedLog>,
    mut repair: SegmentRepair,
    work: impl FnOnce(&mut SegmentRepair) -> Result<T, SegmentError> + Send + 'static,
) -> Result<(SegmentRepair, T), RepairError> {
    let done = blocking(&**segments.disk(), move || work(&mut repair).map(|done| (repair, done))).await;
    done.map_err(RepairError::segment)
}

fn indexed(entries: Vec<Entry>) -> Vec<IndexedBatch> {
    let batches = entries.into_iter().filter_map(|entry| match entry.payload {
        Payload::Batch(batch) => Some(IndexedBatch { index: entry.id.index, term: entry.id.term, batch }),
        Payload::Blank | Payload::Membership(_) | Payload::Control(_) => None,
    });
    batches.collect()
}

/// What another member is given of this replica's committed batches, each with its checksum checked: none when they are not here.
///
/// # Errors
/// When they are damaged here too, or the disk fails.
pub(crate) async fn give_batches(
    log: &Arc<GroupLog>,
    wanted: BatchesWanted,
) -> Result<Vec<Entry>, RefusedRequest> {
    let Some(segments) = log.segments().cloned() else { return Ok(Vec::new()) };
    let disk = Arc::clone(segments.disk());
    let BatchesWanted { from, below, bytes_max } = wanted;
    let bytes_max = bytes_max.min(TURN_BYTES) as usize;
    let read = blocking(&*disk, move || segments.batches_at_indexes(from, below, bytes_max)).await;
    let found = read.map_err(|error| ConsensusError::Log(error.into()))?;
    let entry = |batch: IndexedBatch| Entry {
        id: LogId { term: batch.term, index: batch.index },
        payload: Payload::Batch(batch.batch),
    };
    Ok(found.into_iter().map(entry).collect())
}
