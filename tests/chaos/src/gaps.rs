//! How long partitions acknowledged nothing, and during which fault; and whether all of them do again.
//!
//! The load is constant, so that a long time between two acknowledgements of a partition is a pause that somebody
//! who produces to it sees.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::history::Place;
use crate::schedule::FaultKind;

/// See the module.
pub struct Gaps {
    /// What happens or happened last; a pause is counted for it when it ends.
    fault: Option<FaultKind>,
    last: BTreeMap<Place, Last>,
    longest: BTreeMap<FaultKind, Duration>,
    calm: Duration,
}

/// A partition's newest acknowledgement.
struct Last {
    acked: Instant,
    /// When a record was sent that is acknowledged.
    sent: Instant,
}

impl Default for Gaps {
    fn default() -> Self {
        Self { fault: None, last: BTreeMap::new(), longest: BTreeMap::new(), calm: Duration::ZERO }
    }
}

impl Gaps {
    /// A fault begins. What was before it is over.
    pub fn begin(&mut self, fault: FaultKind) {
        self.fault = Some(fault);
        self.longest.entry(fault).or_default();
    }

    /// All is well for a while now.
    pub fn calm(&mut self) {
        self.fault = None;
    }

    /// A record that was sent at some time is acknowledged now.
    pub fn acked(&mut self, place: Place, sent: Instant, now: Instant) {
        let last = self.last.entry(place).or_insert(Last { acked: now, sent });
        let gap = now.saturating_duration_since(last.acked);
        last.acked = last.acked.max(now);
        last.sent = last.sent.max(sent);
        let longest = match self.fault {
            Some(fault) => self.longest.entry(fault).or_default(),
            None => &mut self.calm,
        };
        *longest = gap.max(*longest);
    }

    /// The partitions that have acknowledged nothing which was sent since then.
    pub fn silent_since(&self, since: Instant) -> Vec<Place> {
        let speaks = |place: &Place| self.last.get(place).is_some_and(|last| last.sent >= since);
        Place::all().filter(|place| !speaks(place)).collect()
    }

    /// The longest pause of any partition, by the fault that it was counted for.
    pub fn longest(&self) -> &BTreeMap<FaultKind, Duration> {
        &self.longest
    }

    /// The longest pause without a fault.
    pub fn longest_calm(&self) -> Duration {
        self.calm
    }
}
