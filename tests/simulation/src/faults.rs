//! The faults of a run: what kinds there are, which of them a seed has, and when each begins and ends.

use std::time::Duration;

use crate::chance::Chance;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A process dies; the page cache stays.
    Kill,
    /// The power of a machine goes.
    PowerCut,
    /// The power goes in the middle of an operation of the disk.
    CutInWrite,
    /// The power of all machines goes at one time.
    Blackout,
    /// A node is stopped in good order and started again.
    Restart,
    /// A machine reaches nobody, and nobody it.
    Isolate,
    /// A machine reaches no other node, and clients reach it.
    Minority,
    /// Two machines do not reach each other.
    CutPair,
    /// One machine does not reach another, which reaches it.
    OneWay,
    /// A machine is isolated again and again for a moment.
    Flap,
    /// What two machines send each other stays on its way for a while.
    Hold,
    /// The way between two machines is slow.
    SlowLink,
    /// Now and then something is lost on its way.
    Drop,
    /// A disk takes long to sync.
    SlowDisk,
    /// A sync fails.
    FailedSync,
    /// A disk is full.
    FullDisk,
    /// A clock jumps.
    ClockJump,
    /// A machine comes back with an empty disk. At most once in a run.
    EmptyDisk,
    /// A bit flips on a disk. At most one disk in a run is damaged or emptied.
    BitFlip,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 19] = [
        Self::Kill,
        Self::PowerCut,
        Self::CutInWrite,
        Self::Blackout,
        Self::Restart,
        Self::Isolate,
        Self::Minority,
        Self::CutPair,
        Self::OneWay,
        Self::Flap,
        Self::Hold,
        Self::SlowLink,
        Self::Drop,
        Self::SlowDisk,
        Self::FailedSync,
        Self::FullDisk,
        Self::ClockJump,
        Self::EmptyDisk,
        Self::BitFlip,
    ];
}

impl Kind {
    /// Whether it ends a node's process.
    pub(crate) fn takes_down(self) -> bool {
        matches!(
            self,
            Self::Kill
                | Self::PowerCut
                | Self::CutInWrite
                | Self::Restart
                | Self::FailedSync
                | Self::EmptyDisk
                | Self::BitFlip
        )
    }
}

/// Which faults a seed has, and how often.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) kinds: Vec<Kind>,
    /// Longest time between two faults.
    pub(crate) gap_ms_max: u64,
    /// Longest time that a fault lasts.
    pub(crate) lasts_ms_max: u64,
    /// How long faults go on.
    pub(crate) length: Duration,
}

impl Schedule {
    /// A few kinds at a time find what all at once hide: each seed has its own.
    pub(crate) fn draw(seed: u64, only: &[Kind]) -> Self {
        let chance = Chance::new(seed, "schedule");
        let one_in = chance.within(1..5);
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|_| chance.one_in(one_in)).collect();
        let kinds = if only.is_empty() { kinds } else { only.to_vec() };
        Self {
            kinds,
            gap_ms_max: *chance.pick(&[700, 1500, 4000]),
            lasts_ms_max: *chance.pick(&[200, 1000, 4000]),
            length: Duration::from_millis(chance.within(5_000..15_000)),
        }
    }
}
