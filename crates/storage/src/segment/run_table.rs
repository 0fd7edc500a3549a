//! The run table: what translates between Raft indexes, client offsets and places in
//! segments. It is pure: it does no IO.
//!
//! A run is a sequence of batch entries with consecutive Raft indexes, one term and one
//! segment, so that the nth batch of a run is the nth index of it. A new run starts at a
//! change of term, after an index that is no batch, and at the start of every segment.
//!
//! Invariants, for runs a before b:
//! - `a.last_index() < b.first_index`, `a.term ≤ b.term`, `a.first_offset < b.first_offset`;
//! - within one segment `a.ordinal + a.batches == b.ordinal` and `a.position < b.position`;
//! - a run ends where the next one starts, the last at `next_offset` (exclusive);
//! - no run is empty.

use highwater_types::{FilePosition, LeaderEpoch, Offset, RaftIndex, Term, mutant};

use super::manifest::RunRecord;

/// A maximal sequence of batches with consecutive indexes, one term and one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The Raft index of the first batch.
    pub first_index: RaftIndex,
    /// The term of all batches.
    pub term: Term,
    /// The base offset of the first batch.
    pub first_offset: Offset,
    /// The base offset of the segment that holds the run.
    pub segment: Offset,
    /// Where in the segment's file the first batch starts.
    pub position: FilePosition,
    /// How many batches the segment holds before the run.
    pub ordinal: u32,
    /// How many batches the run has, at least 1.
    pub batches: u32,
}

impl Run {
    /// The Raft index of the last batch.
    #[must_use]
    pub fn last_index(&self) -> RaftIndex {
        RaftIndex(self.first_index.0 + u64::from(self.batches) - 1)
    }

    /// The term as batch headers carry it.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        LeaderEpoch::from(self.term)
    }
}

/// A batch on its way into the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunBatch {
    /// Its Raft index.
    pub index: RaftIndex,
    /// Its term.
    pub term: Term,
    /// Its base offset.
    pub base_offset: Offset,
    /// The offset after its last record.
    pub next_offset: Offset,
    /// The base offset of the segment it lies in.
    pub segment: Offset,
    /// Its place in the segment's file.
    pub position: FilePosition,
}

/// Where a Raft index's batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// The run that holds it.
    pub run: Run,
    /// Its number among the segment's batches, from 0.
    pub ordinal: u32,
}

/// All runs of one partition, and the last entry even when its run is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunTable {
    runs: Vec<Run>,
    next_offset: Offset,
    last: Option<(RaftIndex, Term)>,
}

impl RunTable {
    /// A table without runs; the first batch will start at `start`.
    #[must_use]
    pub fn new(start: Offset) -> Self {
        Self { runs: Vec::new(), next_offset: start, last: None }
    }

    /// The table that a manifest holds, or what in it is impossible.
    pub(crate) fn from_records(
        records: &[RunRecord],
        next_offset: Offset,
        last: Option<(RaftIndex, Term)>,
    ) -> Result<Self, &'static str> {
        let runs: Vec<Run> = records.iter().map(RunRecord::to_run).collect();
        for run in &runs {
            if run.batches == 0 {
                return Err("a run is empty");
            }
            if i32::try_from(run.term.0).is_err() {
                return Err("a run's term is beyond 31 bits");
            }
            if run.first_index.0.checked_add(u64::from(run.batches)).is_none()
                || run.ordinal.checked_add(run.batches).is_none()
            {
                return Err("a run is too long");
            }
        }
        for pair in runs.windows(2) {
            check_order(&pair[0], &pair[1])?;
        }
        if let Some(run) = runs.last() {
            if run.first_offset >= next_offset {
                return Err("a run starts beyond the end");
            }
            if last != Some((run.last_index(), run.term)) {
                return Err("the last entry is not the last run's");
            }
        }
        Ok(Self { runs, next_offset, last })
    }

    /// The offset after the last batch.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// The Raft index of the last batch ever pushed, also when its run was dropped.
    #[must_use]
    pub fn last_index(&self) -> Option<RaftIndex> {
        self.last.map(|(index, _)| index)
    }

    /// Raft index and term of the last batch ever pushed, also when its run was dropped.
    #[must_use]
    pub fn last_entry(&self) -> Option<(RaftIndex, Term)> {
        self.last
    }

    /// All runs, in order.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The runs of one segment, in order.
    #[must_use]
    pub fn runs_in(&self, segment: Offset) -> &[Run] {
        let from = self.runs.partition_point(|run| run.segment < segment);
        let to = self.runs.partition_point(|run| run.segment <= segment);
        &self.runs[from..to]
    }

    /// Whether a batch may come next.
    #[must_use]
    pub fn accepts(&self, base_offset: Offset, index: RaftIndex, term: Term) -> bool {
        base_offset == self.next_offset
            && self.last.is_none_or(|(last_index, last_term)| index > last_index && term >= last_term)
    }

    /// Adds the next batch.
    ///
    /// # Panics
    /// When the batch does not follow the last one.
    pub fn push(&mut self, batch: RunBatch) {
        assert!(
            self.accepts(batch.base_offset, batch.index, batch.term),
            "batch {batch:?} does not follow {:?} at {}",
            self.last,
            self.next_offset
        );
        assert!(batch.base_offset < batch.next_offset, "batch {batch:?} holds no offset");
        self.next_offset = batch.next_offset;
        self.last = Some((batch.index, batch.term));
        let ordinal = match self.runs.last_mut() {
            Some(run) if run.segment == batch.segment => {
                if run.term == batch.term && run.last_index().next() == batch.index {
                    run.batches += 1;
                    return;
                }
                run.ordinal + run.batches
            }
            _ => 0,
        };
        self.runs.push(Run {
            first_index: batch.index,
            term: batch.term,
            first_offset: batch.base_offset,
            segment: batch.segment,
            position: batch.position,
            ordinal,
            batches: 1,
        });
    }

    /// The term of the batch that holds `offset`.
    #[must_use]
    pub fn term_at(&self, offset: Offset) -> Option<Term> {
        if offset >= self.next_offset {
            return None;
        }
        let after = self.runs.partition_point(|run| run.first_offset <= offset);
        self.runs[..after].last().map(|run| run.term)
    }

    /// Where the batch of a Raft index is; `None` when the index is no batch or no longer held.
    #[must_use]
    pub fn locate(&self, index: RaftIndex) -> Option<Located> {
        let after = self.runs.partition_point(|run| run.first_index <= index);
        let run = *self.runs[..after].last()?;
        let nth = u32::try_from(index.0 - run.first_index.0).ok().filter(|nth| *nth < run.batches)?;
        Some(Located { run, ordinal: run.ordinal + nth + u32::from(mutant!(IndexOffByOne)) })
    }

    /// The first Raft index at or above `index` that is a batch and still held.
    #[must_use]
    pub fn next_batch_index(&self, index: RaftIndex) -> Option<RaftIndex> {
        let from = self.runs.partition_point(|run| run.last_index() < index);
        self.runs.get(from).map(|run| run.first_index.max(index))
    }

    /// The largest term held that is at most `term`, and the offset after its last batch
    /// (KIP-320). `None` when every held term is larger; what that means depends on the log start.
    #[must_use]
    pub fn end_offset_for_term(&self, term: Term) -> Option<(Term, Offset)> {
        let after = self.runs.partition_point(|run| run.term <= term);
        let run = self.runs[..after].last()?;
        let end = self.runs.get(after).map_or(self.next_offset, |next| next.first_offset);
        Some((run.term, end))
    }

    /// Forgets the runs that end at or before `offset`.
    pub fn drop_before(&mut self, offset: Offset) {
        if offset >= self.next_offset {
            self.runs.clear();
            return;
        }
        let after = self.runs.partition_point(|run| run.first_offset <= offset);
        self.runs.drain(..after.saturating_sub(1));
    }

    /// The manifest's form of all runs.
    pub(crate) fn to_records(&self) -> Vec<RunRecord> {
        self.runs.iter().map(RunRecord::from_run).collect()
    }
}

/// Whether `b` may follow `a`.
fn check_order(a: &Run, b: &Run) -> Result<(), &'static str> {
    if a.last_index() >= b.first_index || a.term > b.term || a.first_offset >= b.first_offset {
        return Err("runs are out of order");
    }
    let continues = a.segment == b.segment && a.ordinal + a.batches == b.ordinal && a.position < b.position;
    let starts = a.segment < b.segment && b.ordinal == 0 && b.position == FilePosition::ZERO;
    if continues || starts { Ok(()) } else { Err("runs do not fit their segments") }
}
