//! Finding offsets, and deleting the records below one.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use highwater_partition::{DeleteBefore, OffsetQuery as PartitionQuery};
use highwater_storage::disk::blocking;
use highwater_types::{Offset, PartitionIndex, TimestampMs, limits};
use tokio::time::Instant;

use crate::admin::DeleteRecords;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::request::{FoundOffset, ListedOffsets, OffsetQuery, TopicRef};
use crate::routing::{Route, find_topic};

impl Broker {
    /// Answers offset queries about one topic, each on its own, in order.
    ///
    /// # Errors
    /// When the topic is not known, or there are too many queries.
    pub async fn list_offsets(
        &self,
        topic: &TopicRef,
        queries: Vec<(PartitionIndex, OffsetQuery)>,
    ) -> Result<ListedOffsets, BrokerError> {
        check_count(queries.len())?;
        let image = self.image();
        let record = find_topic(&image, topic)?;
        let mut results = Vec::with_capacity(queries.len());
        for (index, query) in queries {
            let found = match self.route_within(&image, record, index) {
                Ok(route) => self.find_offset(&route, query).await,
                Err(error) => Err(error),
            };
            results.push(found);
        }
        Ok(ListedOffsets { topic_id: record.id, results })
    }

    /// Finds one offset. By time that reads records, which may have to come from the disk.
    pub(crate) async fn find_offset(
        &self,
        route: &Route,
        query: OffsetQuery,
    ) -> Result<FoundOffset, BrokerError> {
        let query = match query {
            OffsetQuery::Earliest => PartitionQuery::Earliest,
            OffsetQuery::Latest => PartitionQuery::Latest,
            OffsetQuery::AtTime(time) => PartitionQuery::AtTime(time),
            OffsetQuery::MaxTimestamp => PartitionQuery::MaxTimestamp,
        };
        let reads_records = matches!(query, PartitionQuery::AtTime(_) | PartitionQuery::MaxTimestamp);
        let found = if reads_records {
            let partition = route.partition.clone();
            let disk = self.hosting.host().store().disk();
            blocking(&**disk, move || partition.list_offset(query)).await
        } else {
            route.partition.list_offset(query)
        };
        let found = found.map_err(|error| self.explain(&error, route))?;
        let has_time = |time: &TimestampMs| *time != TimestampMs::NONE;
        Ok(FoundOffset {
            offset: found.map(|(offset, _)| offset),
            timestamp: found.map(|(_, time)| time).filter(has_time),
        })
    }

    /// Deletes the records below the given offsets and returns the first offset that exists
    /// then, for each partition on its own, in order.
    ///
    /// # Errors
    /// When the topic is not known, or a partition is named twice.
    pub async fn delete_records(
        &self,
        topic: &TopicRef,
        deletes: &[DeleteRecords],
    ) -> Result<Vec<Result<Offset, BrokerError>>, BrokerError> {
        check_count(deletes.len())?;
        let mut seen = HashSet::new();
        if let Some(twice) = deletes.iter().find(|delete| !seen.insert(delete.partition)) {
            let error = BrokerError::invalid_request("the request names a partition twice");
            return Err(error.with_topic(&topic.name).with_partition(twice.partition));
        }
        let image = self.image();
        let record = find_topic(&image, topic)?;
        let deadline = Instant::now() + Duration::from_millis(limits::ADMIN_TIMEOUT_MS);
        let deletions = deletes.iter().map(|delete| async {
            let route = self.route_within(&image, record, delete.partition)?;
            let before = delete.before.map_or(DeleteBefore::HighWatermark, DeleteBefore::Offset);
            let deleted = route.partition.delete_records(before, deadline).await;
            self.log_starts_moved.store(true, Ordering::Relaxed);
            deleted.map_err(|error| self.explain(&error, &route))
        });
        Ok(futures_util::future::join_all(deletions).await)
    }
}

fn check_count(count: usize) -> Result<(), BrokerError> {
    let max = limits::PARTITIONS_PER_REQUEST_MAX;
    if count == 0 || count > max {
        let message = format!("{count} partitions were given; 1 to {max} are possible");
        return Err(BrokerError::invalid_request(message));
    }
    Ok(())
}
