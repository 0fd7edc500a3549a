//! Quantiles of durations, exact: all of them are kept.

use std::fmt;
use std::time::Duration;

/// Durations, sorted.
#[derive(Debug, Clone)]
pub struct Quantiles(Vec<Duration>);

impl Quantiles {
    /// Of these.
    pub fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    /// The duration that this many of 100 do not exceed; zero when there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * percent.min(100) / 100).copied().unwrap_or_default()
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (half, most, all) = (self.percentile(50), self.percentile(99), self.percentile(100));
        write!(f, "p50 {half:.1?}  p99 {most:.1?}  max {all:.1?}")
    }
}
