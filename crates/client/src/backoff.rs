//! How long to wait before the next attempt: doubling, bounded, with jitter so that many
//! clients do not come back at the same instant.

use std::sync::Arc;
use std::time::Duration;

use highwater_types::Random;

/// The waits of one thing that is tried again.
#[derive(Clone)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    attempts: u32,
    random: Arc<dyn Random>,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration, random: Arc<dyn Random>) -> Self {
        Self { min, max, attempts: 0, random }
    }

    /// Something worked: the next wait is short again.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The next wait: between half of the doubled minimum and all of it, at most the maximum.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.attempts.min(31)).unwrap_or(u32::MAX);
        self.attempts = self.attempts.saturating_add(1);
        let full = self.min.saturating_mul(factor).min(self.max);
        let half_micros = u64::try_from(full.as_micros() / 2).unwrap_or(u64::MAX);
        let jitter = self.random.next_u64() % half_micros.max(1);
        full / 2 + Duration::from_micros(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_types::SystemRandom;

    #[test]
    fn waits_grow_to_the_maximum_and_start_over_after_success() {
        let (min, max) = (Duration::from_millis(20), Duration::from_secs(1));
        let mut backoff = Backoff::new(min, max, Arc::new(SystemRandom));
        for attempt in 0..40_u32 {
            let full = min.saturating_mul(1 << attempt.min(20)).min(max);
            let wait = backoff.next_wait();
            assert!(full / 2 <= wait && wait <= full, "attempt {attempt}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= min);
    }
}
