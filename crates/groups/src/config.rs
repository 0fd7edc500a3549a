//! What an operator decides about groups. It is not replicated: another coordinator may be configured otherwise.

use std::time::Duration;

/// Times and sizes of all groups of a coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupsConfig {
    /// A member that is silent for so long is fenced and removed (`group.consumer.session.timeout.ms`).
    pub session_timeout: Duration,
    /// How often members are asked to send a heartbeat; well below the session timeout.
    pub heartbeat_interval: Duration,
    /// Least time between two computations of a group's assignment. The first change after a quiet time is
    /// answered at once; those that follow share one computation.
    pub assignment_interval: Duration,
    /// How long offsets are kept after their last use (`offsets.retention.minutes`).
    pub offsets_retention: Duration,
    /// How often offsets are looked through for those that are kept no longer.
    pub offsets_check_interval: Duration,
    /// Most members of one group, inclusive, and not above
    /// [`highwater_types::limits::GROUP_MEMBERS_MAX`] (`group.consumer.max.size`).
    pub members_max: usize,
}

impl GroupsConfig {
    /// The same with another session timeout, and five heartbeats in each.
    #[must_use]
    pub fn with_session_timeout(self, session_timeout: Duration) -> Self {
        Self { session_timeout, heartbeat_interval: session_timeout / 5, ..self }
    }
}

impl Default for GroupsConfig {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(15),
            heartbeat_interval: Duration::from_secs(3),
            assignment_interval: Duration::from_millis(50),
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            offsets_check_interval: Duration::from_secs(10 * 60),
            members_max: highwater_types::limits::GROUP_MEMBERS_MAX,
        }
    }
}
