//! A group as it is now, with the age of what waits for it: one batch is read where each partition goes on.

use std::sync::Arc;

use highwater_client::{Admin, Client, ClientError, GroupPartition};
use highwater_types::{Clock as _, SystemClock, TimestampMs};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::error::CliError;
use crate::views::GroupView;

/// Partitions that are read at one time.
const READS_AT_ONCE_MAX: usize = 16;

/// Looks at one group.
pub(super) async fn look_at(group: &str, client: &Client) -> Result<GroupView, CliError> {
    let admin = client.admin();
    let described = admin.describe_group(group, true).await?;
    let since = waiting_since(&described.partitions, &admin).await;
    Ok(GroupView::new(described, &since, SystemClock.now()))
}

/// What was listed may not be all.
pub(super) fn check_complete(errors: Vec<ClientError>) -> Result<(), CliError> {
    if errors.is_empty() { Ok(()) } else { Err(CliError::GroupsMissing { errors }) }
}

/// The time of the first record that the group has not committed, in each partition. What cannot be read has none: how many records
/// wait is told all the same.
async fn waiting_since(partitions: &[GroupPartition], admin: &Admin) -> Vec<Option<TimestampMs>> {
    let permits = Arc::new(Semaphore::new(READS_AT_ONCE_MAX));
    let mut reads = JoinSet::new();
    let waiting =
        partitions.iter().enumerate().filter(|(_, partition)| partition.lag.is_some_and(|lag| lag > 0));
    for (place, partition) in waiting {
        // What was committed may be gone by now.
        let Some(first) = partition.committed.max(partition.log_start) else { continue };
        let (admin, permits, of) = (admin.clone(), Arc::clone(&permits), partition.partition.clone());
        reads.spawn(async move {
            let _permit = permits.acquire().await;
            let timestamp = admin.timestamp_at(&of.topic, of.partition, first).await;
            (
                place,
                timestamp.unwrap_or_else(|error| {
                    tracing::debug!(%error, partition = %of, "its first record cannot be read");
                    None
                }),
            )
        });
    }
    let mut since = vec![None; partitions.len()];
    while let Some(read) = reads.join_next().await {
        if let Ok((place, timestamp)) = read {
            since[place] = timestamp;
        }
    }
    since
}
