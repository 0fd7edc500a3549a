//! How openraft is configured, with the reason for each departure from its defaults.

use std::sync::Arc;

use highwater_types::GroupId;
use openraft::{Config, SnapshotPolicy};

use crate::error::ConsensusError;

/// Requests that may wait for a group's core: what a partition may have in flight is bounded before.
const CORE_QUEUE_LEN: u64 = 4096;

/// The configuration of one group's core.
///
/// # Errors
/// When openraft refuses it, which is a bug here.
pub(crate) fn settings(group: GroupId) -> Result<Arc<Config>, ConsensusError> {
    let is_metadata = group == GroupId::Metadata;
    let config = Config {
        cluster_name: group.to_string(),
        // A thousand idle groups that tick cost half a core: only the metadata group does (R13).
        enable_tick: is_metadata,
        enable_heartbeat: is_metadata,
        enable_elect: is_metadata,
        heartbeat_interval: 250,
        election_timeout_min: 1000,
        election_timeout_max: 2000,
        // A leader that lost its unflushed tail must not lead the same term again (R11).
        enable_leader_restore: Some(false),
        enable_pre_vote: Some(true),
        // The log is the data: it is purged by retention, never because a snapshot exists (R17).
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        api_channel_size: Some(CORE_QUEUE_LEN),
        notification_channel_size: Some(CORE_QUEUE_LEN),
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|error| ConsensusError::Failed { reason: error.to_string() })
}
