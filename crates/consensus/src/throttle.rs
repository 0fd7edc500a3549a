//! A bound on how many bytes a second what is not urgent may take: replicas that catch up, repairs, scrubs.
//!
//! Whoever wants to work takes a turn, one after the other in the order in which they came, and says afterwards what it
//! used; the next turn begins when that is paid for. So what waits for its turn holds nothing yet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Mutex as Queue, MutexGuard};
use tokio::time::{Instant, sleep_until};

/// Longest debt that one turn makes, whatever it used: a rate that is raised counts soon.
const DEBT_MAX: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: AtomicU64,
    used_bytes: AtomicU64,
    queue: Queue<()>,
    /// When all that was used is paid for.
    paid_at: Mutex<Option<Instant>>,
}

/// The right to work now. Others wait until it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    throttle: &'a Throttle,
    _place: MutexGuard<'a, ()>,
}

impl Throttle {
    /// A bound of so many bytes a second; 0 for none.
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.into(),
            used_bytes: AtomicU64::new(0),
            queue: Queue::new(()),
            paid_at: Mutex::new(None),
        }
    }

    /// Changes the bound.
    pub fn set(&self, bytes_per_second: u64) {
        self.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Bytes that were used so far.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Waits for a turn. Cancel-safe.
    pub async fn turn(&self) -> Turn<'_> {
        let place = self.queue.lock().await;
        let paid_at = *self.paid_at.lock();
        if let Some(paid_at) = paid_at {
            sleep_until(paid_at).await;
        }
        Turn { throttle: self, _place: place }
    }

    /// Counts what was used without a turn, or after it: the next turn waits for it.
    pub fn charge(&self, bytes: u64) {
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        let rate = self.bytes_per_second.load(Ordering::Relaxed);
        if rate == 0 || bytes == 0 {
            return;
        }
        let debt = Duration::from_secs_f64(bytes as f64 / rate as f64).min(DEBT_MAX);
        let now = Instant::now();
        let mut paid_at = self.paid_at.lock();
        *paid_at = Some(paid_at.map_or(now, |paid_at| paid_at.max(now)) + debt);
    }
}

impl Turn<'_> {
    /// Ends the turn, and says how much it used.
    pub fn used(self, bytes: u64) {
        self.throttle.charge(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_used_is_paid_for_before_the_next_turn() {
        let throttle = Throttle::new(1000);
        let begun = Instant::now();
        for _ in 0..4 {
            throttle.turn().await.used(500);
        }
        throttle.turn().await.used(0);
        assert_eq!(begun.elapsed().as_millis() / 10, 200);
        throttle.set(0);
        for _ in 0..1000 {
            throttle.turn().await.used(u64::MAX);
        }
        assert_eq!(begun.elapsed().as_millis() / 10, 200, "no bound, no wait");
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_is_given_up_costs_nothing() {
        let throttle = Throttle::new(1000);
        throttle.turn().await.used(1000);
        let wait = tokio::time::timeout(Duration::from_millis(10), throttle.turn()).await;
        assert!(wait.is_err());
        let begun = Instant::now();
        drop(throttle.turn().await);
        drop(throttle.turn().await);
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
