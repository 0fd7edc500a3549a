//! A replica in memory whose group delays, refuses and loses its leadership on command.
//! What it commits goes through a real applier.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use highwater_records::StampedBatch;
use highwater_storage::segment::{LogSlices, SegmentInfo};
use highwater_storage::{Applier, Entry, LogId, Payload, Watermarks};
use highwater_types::{FilePosition, LeaderEpoch, NodeId, Offset, RaftIndex, Term, TimestampMs};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};

use crate::error::PartitionError;
use crate::replica::{GroupStatus, NoRoom, Replica, Write};
use crate::{AppliedState, PartitionApplier};

/// Cloning gives another handle on the same replica.
#[derive(Clone)]
pub(super) struct FakeReplica(Arc<Fake>);

struct Fake {
    state: Mutex<State>,
    /// Taken when the group stops.
    status_sender: Mutex<Option<watch::Sender<GroupStatus>>>,
    status: watch::Receiver<GroupStatus>,
    /// Whether the others stand by it; no change of the status tells of that.
    is_supported: watch::Sender<bool>,
    room_changed: Notify,
    reserved_bytes: Arc<AtomicUsize>,
}

struct State {
    applier: PartitionApplier,
    /// Committed batches of each segment; the last one is written to.
    segments: Vec<Vec<StampedBatch>>,
    log_start: Offset,
    next_index: u64,
    pending: VecDeque<Pending>,
    /// Whether proposals wait for [`FakeReplica::commit`].
    holds: bool,
    /// Why the next reservations fail.
    no_room: Option<NoRoom>,
    /// A batch of more than this finds no space.
    space_bytes: usize,
    /// How many entries came with each proposal.
    rounds: Vec<usize>,
    roll_due: bool,
}

struct Pending {
    write: Write<FakeReservation>,
    done: oneshot::Sender<Result<Option<Offset>, PartitionError>>,
}

pub(super) struct FakeReservation {
    total: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for FakeReservation {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

impl FakeReplica {
    /// A serving leader of term 1 that commits at once.
    pub(super) fn new() -> (Self, Arc<AppliedState>) {
        let (applier, applied) = PartitionApplier::new();
        let state = State {
            applier,
            segments: vec![Vec::new()],
            log_start: Offset::ZERO,
            next_index: 0,
            pending: VecDeque::new(),
            holds: false,
            no_room: None,
            space_bytes: usize::MAX,
            rounds: Vec::new(),
            roll_due: false,
        };
        let (status_sender, status) = watch::channel(leader_of(Term(1)));
        let fake = Fake {
            state: Mutex::new(state),
            status_sender: Mutex::new(Some(status_sender)),
            status,
            is_supported: watch::Sender::new(true),
            room_changed: Notify::new(),
            reserved_bytes: Arc::default(),
        };
        (Self(Arc::new(fake)), applied)
    }

    /// Proposals wait from now on.
    pub(super) fn hold(&self) {
        self.0.state.lock().holds = true;
    }

    /// Commits all that waits, and from now on at once.
    pub(super) fn release(&self) {
        let mut state = self.0.state.lock();
        state.holds = false;
        state.commit_pending(usize::MAX);
    }

    /// Commits the oldest `count` that wait.
    pub(super) fn commit(&self, count: usize) {
        self.0.state.lock().commit_pending(count);
    }

    /// Fails the answers to all that waits. With `keeps_entries` they are committed all the
    /// same, once the answers have failed, before the next proposal.
    pub(super) fn fail_pending(&self, error: &PartitionError, keeps_entries: bool) {
        let mut state = self.0.state.lock();
        let failed: Vec<Pending> = state.pending.drain(..).collect();
        for pending in failed {
            let _ = pending.done.send(Err(error.clone()));
            if keeps_entries {
                let (done, _) = oneshot::channel();
                let write = pending.write;
                state.pending.push_back(Pending { write, done });
            }
        }
    }

    pub(super) fn pending(&self) -> usize {
        self.0.state.lock().pending.len()
    }

    /// Takes the sizes of the proposals so far.
    pub(super) fn take_rounds(&self) -> Vec<usize> {
        std::mem::take(&mut self.0.state.lock().rounds)
    }

    pub(super) fn set_status(&self, status: GroupStatus) {
        let sender = self.0.status_sender.lock();
        sender.as_ref().expect("the group runs").send_replace(status);
    }

    /// The others stand by it from now on, or do not.
    pub(super) fn set_supported(&self, is_supported: bool) {
        self.0.is_supported.send_replace(is_supported);
    }

    /// The group stops; its last status stays.
    pub(super) fn stop(&self) {
        self.0.status_sender.lock().take();
    }

    pub(super) fn set_room(&self, no_room: Option<NoRoom>) {
        self.0.state.lock().no_room = no_room;
        self.0.room_changed.notify_waiters();
    }

    /// Makes room for batches of at most this.
    pub(super) fn set_space(&self, space_bytes: usize) {
        self.0.state.lock().space_bytes = space_bytes;
        self.set_room(None);
    }

    pub(super) fn reserved_bytes(&self) -> usize {
        self.0.reserved_bytes.load(Ordering::SeqCst)
    }

    /// Starts a new segment.
    pub(super) fn roll(&self) {
        self.0.state.lock().segments.push(Vec::new());
    }

    /// Lets the next [`Replica::roll_if_expired`] roll.
    pub(super) fn expire_segment(&self) {
        self.0.state.lock().roll_due = true;
    }

    /// All committed batches.
    pub(super) fn committed(&self) -> Vec<StampedBatch> {
        self.0.state.lock().segments.concat()
    }
}

/// A node that leads and serves.
pub(super) fn leader_of(term: Term) -> GroupStatus {
    GroupStatus { leader: Some(NodeId(1)), term, is_leader: true, is_serving: true, ..GroupStatus::default() }
}

impl State {
    fn high_watermark(&self) -> Offset {
        let last = self.segments.iter().flatten().last();
        last.map_or(Offset::ZERO, StampedBatch::next_offset)
    }

    fn commit_pending(&mut self, count: usize) {
        for _ in 0..count.min(self.pending.len()) {
            let Pending { write, done } = self.pending.pop_front().expect("counted");
            let _ = done.send(Ok(self.commit(write)));
        }
    }

    fn commit(&mut self, write: Write<FakeReservation>) -> Option<Offset> {
        let base_offset = self.high_watermark();
        let payload = match write {
            Write::Control(command) => Payload::Control(command),
            Write::Batch { batch, .. } => {
                let stamped = batch.stamp(base_offset, LeaderEpoch(1));
                let active = self.segments.last_mut().expect("one segment at least");
                active.push(stamped.clone());
                Payload::Batch(stamped)
            }
        };
        let is_batch = matches!(payload, Payload::Batch(_));
        let id = LogId { term: Term(1), index: RaftIndex(self.next_index) };
        self.next_index += 1;
        let applied = self.applier.apply(&Entry { id, payload });
        if let Some(log_start) = applied.log_start {
            self.log_start = self.log_start.max(log_start);
        }
        self.applier.applied();
        is_batch.then_some(base_offset)
    }
}

impl Replica for FakeReplica {
    type Reservation = FakeReservation;
    type Handle = Pin<Box<dyn Future<Output = Result<Option<Offset>, PartitionError>> + Send + 'static>>;

    fn reserve(&self, bytes: usize) -> Result<FakeReservation, NoRoom> {
        let state = self.0.state.lock();
        if let Some(no_room) = state.no_room.clone() {
            return Err(no_room);
        }
        if bytes > state.space_bytes {
            let bytes = bytes as u64;
            return Err(NoRoom::Refused(PartitionError::NoSpace { bytes }));
        }
        let total = Arc::clone(&self.0.reserved_bytes);
        total.fetch_add(bytes, Ordering::SeqCst);
        Ok(FakeReservation { total, bytes })
    }

    async fn room_changed(&self) {
        self.0.room_changed.notified().await;
    }

    async fn propose_many(
        &self,
        _term: Option<Term>,
        writes: Vec<Write<FakeReservation>>,
    ) -> Vec<Self::Handle> {
        let mut state = self.0.state.lock();
        state.rounds.push(writes.len());
        let mut handles: Vec<Self::Handle> = Vec::new();
        for write in writes {
            let (done, outcome) = oneshot::channel();
            state.pending.push_back(Pending { write, done });
            handles.push(Box::pin(async move { outcome.await.unwrap_or(Err(PartitionError::Stopped)) }));
        }
        if !state.holds {
            state.commit_pending(usize::MAX);
        }
        handles
    }

    fn status(&self) -> GroupStatus {
        let mut status = self.0.status.borrow().clone();
        status.is_serving &= *self.0.is_supported.borrow();
        status
    }

    fn watch(&self) -> watch::Receiver<GroupStatus> {
        self.0.status.clone()
    }

    async fn until_settled(&self) {
        let (mut changes, mut support) = (self.0.status.clone(), self.0.is_supported.subscribe());
        while self.status().is_leader && !self.status().is_serving {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                _ = support.changed() => {}
            }
        }
    }

    fn watermarks(&self) -> Watermarks {
        let state = self.0.state.lock();
        let high_watermark = state.high_watermark();
        Watermarks::new(state.log_start, high_watermark, high_watermark)
    }

    fn is_readable(&self) -> bool {
        true
    }

    async fn read_ahead(&self, _: Offset, _: Offset, _: usize) -> Result<(), PartitionError> {
        Ok(())
    }

    fn read(&self, from: Offset, below: Offset, bytes_max: usize) -> Result<LogSlices, PartitionError> {
        let mut out =
            LogSlices { base_offset: from, next_offset: from, bytes: 0, batches: 0, slices: Vec::new() };
        let committed = self.committed();
        let wanted =
            committed.iter().filter(|batch| batch.next_offset() > from && batch.next_offset() <= below);
        for batch in wanted {
            let size = batch.size_in_bytes();
            if out.batches > 0 && out.bytes + size > bytes_max {
                break;
            }
            out.next_offset = batch.next_offset();
            out.bytes += size;
            out.batches += 1;
            out.slices.push(batch.to_bytes());
        }
        Ok(out)
    }

    fn offset_for_time(
        &self,
        time: TimestampMs,
        from: Offset,
        below: Offset,
    ) -> Result<Option<(Offset, TimestampMs)>, PartitionError> {
        Ok(self.records().into_iter().find(|(offset, at)| *offset >= from && *offset < below && *at >= time))
    }

    fn max_timestamp(&self) -> Result<Option<(Offset, TimestampMs)>, PartitionError> {
        let records = self.records().into_iter().rev();
        Ok(records.max_by_key(|(_, at)| *at))
    }

    fn segments(&self) -> Vec<SegmentInfo> {
        let state = self.0.state.lock();
        let mut next = Offset::ZERO;
        let info = |(at, batches): (usize, &Vec<StampedBatch>)| {
            let base = next;
            next = batches.last().map_or(base, StampedBatch::next_offset);
            let size: usize = batches.iter().map(StampedBatch::size_in_bytes).sum();
            let newest = batches.iter().map(|batch| batch.header().max_timestamp);
            SegmentInfo {
                base,
                next,
                size: FilePosition(size as u64),
                max_timestamp: newest.max().unwrap_or(TimestampMs::NONE),
                first_index: None,
                last_index: None,
                created: None,
                sealed: at + 1 < state.segments.len(),
            }
        };
        state.segments.iter().enumerate().map(info).collect()
    }

    fn size_bytes(&self) -> u64 {
        self.segments().iter().map(|segment| segment.size.0).sum()
    }

    fn roll_if_expired(&self, _: TimestampMs) -> Result<bool, PartitionError> {
        let due = std::mem::take(&mut self.0.state.lock().roll_due);
        if due {
            self.roll();
        }
        Ok(due)
    }
}

impl FakeReplica {
    fn records(&self) -> Vec<(Offset, TimestampMs)> {
        self.committed()
            .iter()
            .flat_map(|batch| batch.to_batch().records())
            .map(|record| record.map(|record| (record.offset, record.timestamp)))
            .collect::<Result<_, _>>()
            .expect("admitted records decode")
    }
}
