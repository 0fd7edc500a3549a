//! What happens to the cluster, and in which order: a function of the seed and of what may happen, so that a seed replays
//! it. When it happens, and who leads then, the run decides.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt, SeedableRng};

use crate::cluster::NODES;
use crate::history::Place;

/// Kills of a leader in each round that plays every other fault once.
const KILLS_PER_ROUND: usize = 3;

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// kill -9 of a node, which is started again.
    Kill,
    /// A node and the others do not hear each other.
    Isolate,
    /// A node hears the others and is not heard, or the reverse.
    OneWay,
    /// Two nodes do not hear each other; the third hears both.
    Link,
    /// A node's network comes and goes.
    Flap,
    /// Packets to every node are lost.
    Loss,
    /// A node stands still, with its connections open.
    Pause,
    /// Each node in turn is told to stop and started again.
    Rolling,
    /// The power of all nodes is cut.
    Power,
    /// The power of one node is cut.
    PowerOfOne,
    /// The disk of a node is full.
    FullDisk,
    /// A sync of a node fails, and what it did not cover is lost.
    FailedSync,
    /// The clock of a node jumps, and back.
    Clock,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Kill,
        Self::Isolate,
        Self::OneWay,
        Self::Link,
        Self::Flap,
        Self::Loss,
        Self::Pause,
        Self::Rolling,
        Self::Power,
        Self::PowerOfOne,
        Self::FullDisk,
        Self::FailedSync,
        Self::Clock,
    ];

    /// Its name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Isolate => "isolate",
            Self::OneWay => "one-way",
            Self::Link => "link",
            Self::Flap => "flap",
            Self::Loss => "loss",
            Self::Pause => "pause",
            Self::Rolling => "rolling",
            Self::Power => "power",
            Self::PowerOfOne => "power-of-one",
            Self::FullDisk => "full-disk",
            Self::FailedSync => "failed-sync",
            Self::Clock => "clock",
        }
    }
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name);
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("there is no fault {text:?}; there are {}", names.join(", ")))
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// To whom it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Whoever leads this partition then.
    LeaderOf(Place),
    /// This node.
    Node(u8),
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// To whom; or where it begins, when it happens to all.
    pub target: Target,
    /// How long, where that is free.
    pub lasts: Duration,
    /// What decides everything else about it.
    pub seed: u64,
}

/// How long faults last, and how many there are.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// The shortest.
    pub lasts_min: Duration,
    /// The longest.
    pub lasts_max: Duration,
    /// Kills of leaders in each round.
    pub kills_per_round: usize,
}

impl Bounds {
    /// Those of the short form.
    pub fn short() -> Self {
        let millis = Duration::from_millis;
        Self { lasts_min: millis(1500), lasts_max: millis(2500), kills_per_round: 1 }
    }

    /// Those of the long form.
    pub fn long() -> Self {
        let seconds = Duration::from_secs;
        Self { lasts_min: seconds(1), lasts_max: seconds(12), kills_per_round: KILLS_PER_ROUND }
    }
}

/// See the module. An endless iterator, in rounds that have every fault in another order.
pub struct Schedule {
    random: SmallRng,
    kinds: Vec<FaultKind>,
    bounds: Bounds,
    round: Vec<FaultKind>,
}

impl Schedule {
    /// The schedule of this seed, of these faults.
    pub fn new(seed: u64, kinds: &[FaultKind], bounds: Bounds) -> Self {
        let (random, kinds) = (SmallRng::seed_from_u64(seed), kinds.to_vec());
        Self { random, kinds, bounds, round: Vec::new() }
    }

    /// How many faults a round has.
    pub fn round_len(&self) -> usize {
        self.whole_round().len()
    }

    fn whole_round(&self) -> Vec<FaultKind> {
        let times = |kind| if kind == FaultKind::Kill { self.bounds.kills_per_round } else { 1 };
        self.kinds.iter().flat_map(|kind| std::iter::repeat_n(*kind, times(*kind))).collect()
    }
}

impl Iterator for Schedule {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        if self.round.is_empty() {
            self.round = self.whole_round();
            self.round.shuffle(&mut self.random);
        }
        let kind = self.round.pop()?;
        let places: Vec<Place> = Place::all().collect();
        // Leaders are who matters most.
        let target = if kind == FaultKind::Kill || self.random.random_bool(0.7) {
            Target::LeaderOf(places[self.random.random_range(0..places.len())])
        } else {
            Target::Node(NODES[self.random.random_range(0..NODES.len())])
        };
        let lasts = self.random.random_range(self.bounds.lasts_min..=self.bounds.lasts_max);
        Some(Fault { kind, target, lasts, seed: self.random.random() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_its_faults_and_another_has_others() {
        let plan = |seed| Schedule::new(seed, &FaultKind::ALL, Bounds::long()).take(40).collect::<Vec<_>>();
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
    }

    #[test]
    fn every_round_has_every_fault() {
        let mut schedule = Schedule::new(3, &FaultKind::ALL, Bounds::long());
        for _ in 0..3 {
            let round: Vec<Fault> =
                schedule.by_ref().take(FaultKind::ALL.len() + KILLS_PER_ROUND - 1).collect();
            for kind in FaultKind::ALL {
                assert!(round.iter().any(|fault| fault.kind == kind), "{kind} is missing");
            }
        }
    }

    #[test]
    fn names_are_read_back_and_a_wrong_one_is_told_the_right_ones() {
        for kind in FaultKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        let error = "kil".parse::<FaultKind>().expect_err("no fault");
        assert!(error.contains("kill, isolate"), "{error}");
    }
}
