//! Waiting for what processes do.

use std::time::{Duration, Instant};

/// What nothing here takes, on the slowest machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Waits until it is so.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
