//! Wall clocks: simulated time plus what a fault has added to it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use highwater_types::{Clock, TimestampMs};

/// What the clocks show at the beginning: 14 November 2023.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// The wall clock of one machine.
#[derive(Default)]
pub(crate) struct MachineClock {
    skew_ms: AtomicI64,
    /// What it showed last: while a machine goes down there is no time to ask for.
    last_ms: AtomicI64,
    is_down: AtomicBool,
}

impl MachineClock {
    /// Lets the clock jump, ahead or back.
    pub(crate) fn jump(&self, by_ms: i64) {
        self.skew_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Sets it right.
    pub(crate) fn set_right(&self) {
        self.skew_ms.store(0, Ordering::Relaxed);
    }

    /// Stops the clock, or lets it go on.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }
}

impl Clock for MachineClock {
    fn now(&self) -> TimestampMs {
        if !self.is_down.load(Ordering::Relaxed) && turmoil::in_simulation() {
            let elapsed = turmoil::sim_elapsed().unwrap_or(Duration::ZERO);
            let elapsed_ms = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
            let now_ms = EPOCH_MS + elapsed_ms + self.skew_ms.load(Ordering::Relaxed);
            self.last_ms.store(now_ms, Ordering::Relaxed);
        }
        TimestampMs(self.last_ms.load(Ordering::Relaxed))
    }
}
