//! What a run found: counts, and for each promise that was broken the first few cases in words.

use std::collections::BTreeMap;
use std::fmt;

/// Cases of one promise that are told; the others are counted.
const TOLD_MAX: usize = 10;

/// What must never be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Acknowledged, and never read though it is above the log start.
    Lost,
    /// An idempotent producer's record at two offsets.
    Once,
    /// After one that its producer sent later.
    Order,
    /// Two values at one offset.
    TwoValues,
    /// Bytes that nobody sent, or not there.
    Altered,
    /// There though its producer was told that it is not.
    CameBack,
    /// A reader that jumped over what is there.
    Skipped,
    /// A reader that went back.
    WentBack,
    /// A high watermark that went back, or is below what was committed.
    Watermark,
    /// A log start that went back.
    LogStart,
    /// Replicas that differ.
    Replicas,
    /// Something that did not come back within its time after the fault was gone, or a process that needs a human.
    Heals,
    /// An error that a client should have ridden out.
    Surfaced,
}

impl Promise {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Lost,
        Self::Once,
        Self::Order,
        Self::TwoValues,
        Self::Altered,
        Self::CameBack,
        Self::Skipped,
        Self::WentBack,
        Self::Watermark,
        Self::LogStart,
        Self::Replicas,
        Self::Heals,
        Self::Surfaced,
    ];

    /// How the account calls what broke it.
    pub fn broken_name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Once => "duplicated",
            Self::Order => "reordered",
            Self::TwoValues => "two values",
            Self::Altered => "altered",
            Self::CameBack => "came back",
            Self::Skipped => "skipped",
            Self::WentBack => "reader went back",
            Self::Watermark => "watermark went back",
            Self::LogStart => "log start went back",
            Self::Replicas => "replicas differ",
            Self::Heals => "not healed",
            Self::Surfaced => "error surfaced",
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Records acknowledged.
    pub acked: u64,
    /// Different records read.
    pub read: u64,
    /// Records that certainly failed.
    pub failed: u64,
    /// Records of which their producer does not know.
    pub unknown: u64,
    /// Records of producers without idempotence that are there again.
    pub repeated: u64,
    broken: BTreeMap<Promise, u64>,
    told: Vec<(Promise, String)>,
}

impl Verdict {
    pub(super) fn add(&mut self, promise: Promise, what: String) {
        *self.broken.entry(promise).or_default() += 1;
        if self.told.iter().filter(|(other, _)| *other == promise).count() < TOLD_MAX {
            self.told.push((promise, what));
        }
    }

    /// How often a promise was broken.
    pub fn broken(&self, promise: Promise) -> u64 {
        self.broken.get(&promise).copied().unwrap_or_default()
    }

    /// Whether all promises were kept.
    pub fn is_kept(&self) -> bool {
        self.broken.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for promise in Promise::ALL.into_iter().filter(|promise| self.broken(*promise) > 0) {
            writeln!(f, "BROKEN PROMISE: {} {}", self.broken(promise), promise.broken_name())?;
            for (_, what) in self.told.iter().filter(|(other, _)| *other == promise) {
                writeln!(f, "  {what}")?;
            }
        }
        Ok(())
    }
}
