//! The bytes of produce requests that a node holds at one time, over all connections.
//!
//! Invariant: the sizes of all living [`BytesPermit`]s sum up to at most the capacity. Who
//! waits is served in the order of arrival, so that a large request is not starved by small ones.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bounded number of bytes.
#[derive(Debug, Clone)]
pub struct ByteBudget {
    free: Arc<Semaphore>,
    capacity: usize,
}

/// A part of the budget; dropping it gives the bytes back.
#[derive(Debug)]
pub struct BytesPermit {
    _permit: OwnedSemaphorePermit,
}

impl ByteBudget {
    /// A budget of `capacity` bytes, all free.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self { free: Arc::new(Semaphore::new(capacity)), capacity }
    }

    /// Takes `bytes`, waiting until they are free. A request beyond the whole capacity takes
    /// all of it: it then runs alone rather than never. Cancel-safe; a cancelled wait loses its place.
    pub async fn acquire(&self, bytes: usize) -> BytesPermit {
        let permits = u32::try_from(bytes.min(self.capacity)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.free).acquire_many_owned(permits).await;
        BytesPermit { _permit: permit.expect("the semaphore of a budget is never closed") }
    }

    /// Takes `bytes` if they are free now.
    pub fn try_acquire(&self, bytes: usize) -> Option<BytesPermit> {
        let permits = u32::try_from(bytes.min(self.capacity)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.free).try_acquire_many_owned(permits).ok()?;
        Some(BytesPermit { _permit: permit })
    }

    /// Bytes that nobody holds.
    pub fn free_bytes(&self) -> usize {
        self.free.available_permits()
    }

    /// The whole budget, in bytes.
    pub fn capacity_bytes(&self) -> usize {
        self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_dropped_is_free_again() {
        let budget = ByteBudget::new(100);
        let held = budget.acquire(70).await;
        assert!(budget.try_acquire(31).is_none());
        assert_eq!(budget.free_bytes(), 30);
        drop(held);
        assert_eq!(budget.free_bytes(), 100);
    }

    #[tokio::test]
    async fn a_request_beyond_the_capacity_runs_alone() {
        let budget = ByteBudget::new(100);
        let all = budget.acquire(1000).await;
        assert!(budget.try_acquire(1).is_none());
        drop(all);
        assert!(budget.try_acquire(100).is_some());
    }
}
