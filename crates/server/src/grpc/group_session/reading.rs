//! One partition of a session: where it is read next, and when it is tried again.

use std::time::Duration;

use highwater_broker::LeaderHint;
use highwater_types::{Offset, PartitionId};
use tokio::time::Instant;

/// The first and the longest wait after a partition could not be read.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A partition in the time for which it is assigned: what was begun for an earlier time is not for this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) partition: PartitionId,
    pub(super) serial: u64,
}

/// Where it is read next, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// What is committed is not known yet.
    Unknown,
    /// This is committed, or was the next to read; what exists is not known yet.
    Wanted(Option<Offset>),
    /// From here.
    At(Offset),
}

/// A partition that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) key: Key,
    pub(super) topic: String,
    pub(super) place: Place,
    /// Who leads it, if that is another node, as it was looked up last.
    pub(super) leader: Option<LeaderHint>,
    /// Whether the client was told that it is assigned.
    pub(super) is_told: bool,
    /// Whether its place is being found.
    pub(super) is_sought: bool,
    pub(super) failures: u32,
    /// When it is tried again, after it failed.
    pub(super) retry_at: Option<Instant>,
}

impl Reading {
    pub(super) fn new(key: Key, topic: String) -> Self {
        Self {
            key,
            topic,
            place: Place::Unknown,
            leader: None,
            is_told: false,
            is_sought: false,
            failures: 0,
            retry_at: None,
        }
    }

    /// It could not be read.
    pub(super) fn fail(&mut self) {
        let wait = RETRY.0.saturating_mul(1 << self.failures.min(16)).min(RETRY.1);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(Instant::now() + wait);
    }

    /// Whether its place is to be found now.
    pub(super) fn is_to_be_sought(&self) -> bool {
        !self.is_sought && self.retry_at.is_none()
    }

    /// The offset to read from now.
    pub(super) fn offset(&self) -> Option<Offset> {
        match self.place {
            Place::At(offset) if self.retry_at.is_none() => Some(offset),
            _ => None,
        }
    }
}
