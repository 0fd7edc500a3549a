//! How long to wait before the next attempt: doubling, bounded, with jitter so that many
//! do not come back to a restarted node at one instant.

use std::sync::Arc;
use std::time::Duration;

use crate::environment::Random;

/// The waits of one thing that is tried again.
#[derive(Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    random: Arc<dyn Random>,
}

impl Backoff {
    /// Nothing failed yet: the first wait is at most `min`, and none is longer than `max`.
    pub fn new(min: Duration, max: Duration, random: Arc<dyn Random>) -> Self {
        Self { min, max, failures: 0, random }
    }

    /// Something worked: the next wait is short again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait: between half of the doubled minimum and all of it, at most the maximum.
    pub fn next_wait(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        self.jittered(self.min.saturating_mul(factor).min(self.max))
    }

    /// The longest wait: for a failure that only a person can end.
    pub fn longest_wait(&mut self) -> Duration {
        self.jittered(self.max)
    }

    fn jittered(&self, full: Duration) -> Duration {
        let half_micros = u64::try_from(full.as_micros() / 2).unwrap_or(u64::MAX);
        full / 2 + Duration::from_micros(self.random.next_u64() % half_micros.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::SystemRandom;

    #[test]
    fn waits_grow_to_the_maximum_and_start_over_after_success() {
        let (min, max) = (Duration::from_millis(50), Duration::from_secs(2));
        let mut backoff = Backoff::new(min, max, Arc::new(SystemRandom));
        for attempt in 0..40_u32 {
            let full = min.saturating_mul(1 << attempt.min(20)).min(max);
            let wait = backoff.next_wait();
            assert!(full / 2 <= wait && wait <= full, "attempt {attempt}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= min);
        assert!(backoff.longest_wait() >= max / 2);
    }
}
