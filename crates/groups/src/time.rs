//! Time as it is passed in: one clock for deadlines and one for what is kept.

use std::time::Duration;

use highwater_types::TimestampMs;

/// Time on the coordinator's monotonic clock, from an origin of its own choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uptime(pub Duration);

impl Uptime {
    /// The time so much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// When a command is decided. Sessions follow the monotonic clock, which a step of the wall clock does not
/// end; retention follows the wall clock, whose times are logged and outlive the coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// On the monotonic clock.
    pub uptime: Uptime,
    /// On the wall clock.
    pub wall: TimestampMs,
}
