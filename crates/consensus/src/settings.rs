//! How openraft is configured, with the reason for each departure from its defaults.

use std::sync::Arc;
use std::time::Duration;

use highwater_types::{GroupId, mutant};
use openraft::{Config, SnapshotPolicy};

use crate::error::ConsensusError;

/// Requests that may wait for a group's core: what a partition may have in flight is bounded before.
const CORE_QUEUE_LEN: u64 = 4096;

/// Most entries of one request to a follower.
pub(crate) const ENTRIES_PER_REQUEST_MAX: u64 = 300;

/// How long a leader takes no proposal after a majority last acknowledged it, and a follower grants no vote after it last heard from
/// its leader. Shorter than a node's support, which covers it while heartbeats are answered for a supported node (R14).
pub(crate) const LEASE: Duration = Duration::from_millis(450);
/// The same of the metadata group, which ticks by itself.
const METADATA_LEASE: Duration = Duration::from_secs(2);
/// How long a vote may take: it waits for the disks.
const VOTE_DEADLINE_MS: u64 = 400;

/// The lease of a group's leader.
pub(crate) fn lease(group: GroupId) -> Duration {
    match group {
        GroupId::Metadata => METADATA_LEASE,
        GroupId::Partition(_) => LEASE,
    }
}

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
        // The driver lets the metadata group stand, once it has seen that this replica is a member of it.
        enable_elect: false,
        // Of partitions these are the deadlines of a heartbeat and of a vote, and the lease.
        heartbeat_interval: if is_metadata { 250 } else { 200 },
        election_timeout_min: if is_metadata { 1000 } else { VOTE_DEADLINE_MS },
        election_timeout_max: u64::try_from(lease(group).as_millis()).unwrap_or(u64::MAX),
        // A leader that lost its unflushed tail must not lead the same term again (R11).
        enable_leader_restore: Some(mutant!(LeaderRestore)),
        enable_pre_vote: Some(true),
        // The log is the data: it is purged by retention, never because a snapshot exists (R17).
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        max_payload_entries: ENTRIES_PER_REQUEST_MAX,
        api_channel_size: Some(CORE_QUEUE_LEN),
        notification_channel_size: Some(CORE_QUEUE_LEN),
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|error| ConsensusError::Failed { reason: error.to_string() })
}
