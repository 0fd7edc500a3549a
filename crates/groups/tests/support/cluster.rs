//! A coordinator and a replica that hears of it through the log alone.

use std::time::Duration;

use highwater_groups::codec::encode_records;
use highwater_groups::{Coordinator, Decision, GroupsConfig, GroupsState, Now, Uptime};
use highwater_types::TimestampMs;

/// The wall clock when the monotonic one is at 0.
const EPOCH_MS: i64 = 1_000_000_000;

/// A coordinator, what it logged, and the time.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) coordinator: Coordinator,
    pub(crate) replica: GroupsState,
    pub(crate) config: GroupsConfig,
    pub(crate) uptime: Duration,
}

impl Cluster {
    pub(crate) fn new(config: GroupsConfig) -> Self {
        let state = GroupsState::default();
        let coordinator = Coordinator::take_over(state.clone(), config.clone(), Uptime::default());
        Self { coordinator, replica: state, config, uptime: Duration::ZERO }
    }

    pub(crate) fn now(&self) -> Now {
        let wall = TimestampMs(EPOCH_MS + self.uptime.as_millis() as i64);
        Now { uptime: Uptime(self.uptime), wall }
    }

    /// The replica applies what was decided, and holds the same state then.
    pub(crate) fn replicate<T>(&mut self, decision: &Decision<T>) {
        self.replica.apply_encoded(&encode_records(&decision.records)).unwrap();
    }

    /// The replica takes over, by way of a snapshot.
    pub(crate) fn fail_over(&mut self) {
        assert_eq!(self.replica, *self.coordinator.state(), "the replica differs from the coordinator");
        let pieces: Vec<_> = self.replica.snapshot().collect();
        let restored = GroupsState::restore(pieces.iter().map(|piece| piece.as_ref())).unwrap();
        assert_eq!(restored, self.replica, "the snapshot differs from what it was taken of");
        self.coordinator = Coordinator::take_over(restored, self.config.clone(), Uptime(self.uptime));
    }
}
