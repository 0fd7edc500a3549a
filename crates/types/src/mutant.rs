//! Known bugs, which a simulation puts back in to show that it would notice them.
//!
//! Without the feature `mutants`, which no program that is shipped has, each question is `false` at compile time and costs nothing.

/// A bug that the code knows how not to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// The journal completes what waits for a sync when it is written.
    AckBeforeFsync = 1,
    /// A leader counts a follower that did not answer.
    AckBeforeMajority,
    /// A leader goes on in its term after a restart.
    LeaderRestore,
    /// A checkpoint states as durable what is only written.
    AppliedPastDurable,
    /// Damage in the middle of the journal counts as its end.
    TruncateMidLog,
    /// A vote is not written.
    LostVote,
    /// A recovery takes the oldest vote that it finds.
    OlderVote,
    /// A leader serves without asking who still supports it.
    StaleLeader,
    /// A node votes, and stands, against a leader that it supports.
    PromiseIgnored,
    /// What producers wrote is not restored at a start.
    DedupForgotten,
    /// A start forgets where the log begins.
    LogStartForgotten,
    /// A log is purged beyond its start.
    PurgePastStart,
    /// The journal's files are used again while uncommitted entries are in them.
    RecycledEarly,
    /// The place of a batch is taken for that of the next.
    IndexOffByOne,
    /// A group that is not new is initialized.
    InitializeTwice,
    /// The last of several writes is completed before the sync, and before those that came earlier.
    FlushReordered,
    /// A leader serves before it knows what is committed.
    EarlyLeader,
    /// A checkpoint lists segments that were not synced.
    SegmentsUnsynced,
    /// A partition goes to its next owner before the last one said that it gave it up.
    GiveBeforeRevoke,
    /// A commit is taken from whoever sends it.
    CommitUnfenced,
    /// An offset is looked up by the partition's number alone, so that one of a deleted topic applies to its successor.
    OffsetsOfPredecessor,
    /// A member's time runs from when it hears an answer, and not from when it asked.
    TimeFromHearing,
    /// What members were to hold is the coordinator's memory alone: the next one deals everything anew.
    StickinessForgotten,
    /// A coordinator answers before its entry is committed.
    AnsweredBeforeReplicated,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::AckBeforeFsync,
        Self::AckBeforeMajority,
        Self::LeaderRestore,
        Self::AppliedPastDurable,
        Self::TruncateMidLog,
        Self::LostVote,
        Self::OlderVote,
        Self::StaleLeader,
        Self::PromiseIgnored,
        Self::DedupForgotten,
        Self::LogStartForgotten,
        Self::PurgePastStart,
        Self::RecycledEarly,
        Self::IndexOffByOne,
        Self::InitializeTwice,
        Self::FlushReordered,
        Self::EarlyLeader,
        Self::SegmentsUnsynced,
        Self::GiveBeforeRevoke,
        Self::CommitUnfenced,
        Self::OffsetsOfPredecessor,
        Self::TimeFromHearing,
        Self::StickinessForgotten,
        Self::AnsweredBeforeReplicated,
    ];
}

/// Whether the code here is to have this bug: `mutant!(AckBeforeFsync)`.
#[macro_export]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutant::is_active($crate::mutant::Mutant::$name)
    };
}

/// See [`mutant!`](crate::mutant!).
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[must_use]
pub const fn is_active(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use switch::{activate, is_active};

#[cfg(feature = "mutants")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Mutant;

    static ACTIVE: AtomicU8 = AtomicU8::new(0);

    /// Puts this bug in, everywhere in the process, in the place of any other.
    pub fn activate(mutant: Mutant) {
        ACTIVE.store(mutant as u8, Ordering::Relaxed);
    }

    /// See [`mutant!`](crate::mutant!).
    #[must_use]
    pub fn is_active(mutant: Mutant) -> bool {
        ACTIVE.load(Ordering::Relaxed) == mutant as u8
    }
}
