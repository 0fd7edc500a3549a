//! Where a partition stands on this node, between the metadata that place it here and the group that runs.
//!
//! Invariant: one thing at a time is done to a partition. `Starting` and `Leaving` are claims: who made one ends it, and
//! nobody else starts the partition or removes its data meanwhile.

use highwater_consensus::{ConsensusError, Group};
use highwater_controller::TopicRecord;
use highwater_types::{ErrorCode, PartitionId};

use super::hosted::Hosted;

/// A partition of this node.
#[derive(Clone)]
pub(super) enum Slot {
    /// It is being started; with why that failed before, if it did.
    Starting(Option<StartFailure>),
    Running(Hosted),
    Failed(StartFailure),
    /// Its group is stopped, and its data goes unless it is placed here again.
    Leaving,
}

/// Why a partition could not be started.
#[derive(Clone)]
pub(super) struct StartFailure {
    pub(super) code: ErrorCode,
    pub(super) reason: String,
}

impl StartFailure {
    pub(super) fn new(error: &ConsensusError) -> Self {
        let code = if error.is_damage() {
            ErrorCode::Quarantined
        } else if error.is_no_space() {
            ErrorCode::NoSpace
        } else {
            ErrorCode::Unavailable
        };
        Self { code, reason: error.to_string() }
    }

    /// Whether another start may succeed without a person. Only damage stays.
    pub(super) fn passes(&self) -> bool {
        self.code != ErrorCode::Quarantined
    }
}

impl Slot {
    /// The group, of a partition that runs.
    pub(super) fn group(&self) -> Option<&Group> {
        match self {
            Self::Running(hosted) => Some(hosted.group()),
            Self::Starting(_) | Self::Failed(_) | Self::Leaving => None,
        }
    }

    /// Why the partition could not be started.
    pub(super) fn failure(&self) -> Option<&StartFailure> {
        match self {
            Self::Failed(failure) | Self::Starting(Some(failure)) => Some(failure),
            Self::Starting(None) | Self::Running(_) | Self::Leaving => None,
        }
    }

    /// Why the partition is out of service, when its data is damaged.
    pub(super) fn damage(&self) -> Option<String> {
        match self {
            Self::Running(hosted) => hosted.group().status().quarantined,
            _ => self.failure().filter(|failure| !failure.passes()).map(|failure| failure.reason.clone()),
        }
    }

    pub(super) fn is_to_start_again(&self) -> bool {
        matches!(self, Self::Failed(failure) if failure.passes())
    }

    /// Logs a failed start once, and the start that succeeds after it.
    pub(super) fn report(&self, id: PartitionId, topic: &TopicRecord, is_again: bool) {
        let topic = &topic.name;
        match self {
            Self::Running(_) if is_again => {
                tracing::info!(partition = %id, %topic, "a partition that could not be started before is started now");
            }
            Self::Failed(failure) if is_again => {
                tracing::debug!(partition = %id, %topic, error = failure.reason, "a partition could still not be started");
            }
            Self::Failed(failure) => {
                tracing::error!(partition = %id, %topic, error = failure.reason, "a partition could not be started");
            }
            Self::Running(_) | Self::Starting(_) | Self::Leaving => {}
        }
    }
}
