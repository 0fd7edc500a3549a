//! What a handler is told once.

use std::time::Duration;

use crate::error::ClientError;
use crate::group::GroupConsumerConfig;

/// Settings of a [`crate::GroupHandler`].
#[derive(Debug, Clone)]
pub struct GroupHandlerConfig {
    /// The group, its topics, and how they are read. When offsets are committed is up to the handler.
    pub consumer: GroupConsumerConfig,
    /// How many records may be handled at one time; at least 1.
    pub concurrency: usize,
    /// How many records may wait to be handled before no more are taken in; at least 1. A whole batch is taken at a time.
    pub waiting_max: usize,
    /// How often a record is tried before it counts as failed; at least 1.
    pub attempts_max: u32,
    /// The wait after the first failure of a record; it doubles from there.
    pub backoff_min: Duration,
    /// The longest wait after a failure.
    pub backoff_max: Duration,
    /// The time between two commits.
    pub commit_interval: Duration,
}

impl GroupHandlerConfig {
    /// The defaults: 16 records at a time, each tried 5 times within some seconds, commits every second.
    pub fn new(group: impl Into<String>, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            consumer: GroupConsumerConfig::new(group, topics),
            concurrency: 16,
            waiting_max: 1024,
            attempts_max: 5,
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            commit_interval: Duration::from_secs(1),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ClientError> {
        let least_one = [("concurrency", self.concurrency == 0), ("waiting_max", self.waiting_max == 0)];
        let others = [
            ("attempts_max", self.attempts_max == 0),
            ("commit_interval", self.commit_interval.as_millis() == 0),
        ];
        match least_one.into_iter().chain(others).find(|(_, is_none)| *is_none) {
            Some((name, _)) => Err(ClientError::InvalidSetting { name, value: 0, min: 1 }),
            None => Ok(()),
        }
    }
}
