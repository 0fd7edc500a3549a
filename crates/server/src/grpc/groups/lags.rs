//! Where partitions begin and end, as their leaders say, and how far groups are behind that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use highwater_broker::BrokerError;
use highwater_proto::v1;
use highwater_proto::v1::offset_query::Query;
use highwater_proto::v1::offset_result::Result as Found;
use highwater_types::{ErrorCode, limits};
use tokio::time::timeout;

use super::super::forward::incomplete;
use super::super::list_offsets::list_offsets;
use super::super::status::detail;
use super::Groups;

/// Where a partition begins and ends, or why that is not known.
pub(super) type Bounds = Result<(i64, i64), Box<v1::ErrorDetail>>;

/// A partition: its topic's id and its number.
pub(super) type Place = (String, u32);

/// What is asked of each partition.
const PLACES: [v1::OffsetPlace; 2] = [v1::OffsetPlace::Earliest, v1::OffsetPlace::Latest];
/// How long the leaders may take: who asks would rather know less than wait for one that hangs.
const LEADERS_TIMEOUT: Duration = Duration::from_secs(3);

/// A partition that a group reads, and how far it is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupLag {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) partition: u32,
    pub(crate) lag: u64,
}

/// How many members a group has, and how far it is behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GroupFigures {
    pub(crate) members: Vec<(String, usize)>,
    pub(crate) lags: Vec<GroupLag>,
}

impl Groups {
    /// The figures of the groups that this node coordinates. What a leader does not tell is left out.
    pub(crate) async fn figures(&self) -> GroupFigures {
        let mut members = Vec::new();
        let mut described = Vec::new();
        for group in self.broker.list_groups("").await {
            members.push((group.name.as_str().to_owned(), group.members));
            // It may be gone, or another node's, by now.
            if let Ok(description) = self.broker.describe_group(group.name).await {
                described.push(self.render(&description));
            }
        }
        let bounds = self.bounds(described.iter().flat_map(|group| &group.partitions)).await;
        let mut lags = Vec::new();
        for v1::DescribeGroupResponse { group, partitions, .. } in described {
            for mut partition in partitions {
                put_in(&mut partition, &bounds);
                if let Some(lag) = partition.lag {
                    let (group, topic, partition) = (group.clone(), partition.topic, partition.partition);
                    lags.push(GroupLag { group, topic, partition, lag });
                }
            }
        }
        GroupFigures { members, lags }
    }

    /// Where these partitions begin and end. Of a topic that is gone nothing is known.
    pub(super) async fn bounds<'a>(
        &self,
        partitions: impl IntoIterator<Item = &'a v1::GroupPartition>,
    ) -> BTreeMap<Place, Bounds> {
        let mut topics: BTreeMap<(&str, &str), BTreeSet<u32>> = BTreeMap::new();
        for partition in partitions.into_iter().filter(|partition| !partition.topic.is_empty()) {
            let topic = (partition.topic.as_str(), partition.topic_id.as_str());
            topics.entry(topic).or_default().insert(partition.partition);
        }
        let asked = topics.into_iter().map(|((topic, topic_id), indexes)| async move {
            let indexes: Vec<u32> = indexes.into_iter().collect();
            let mut found = Vec::with_capacity(indexes.len());
            for indexes in indexes.chunks(limits::PARTITIONS_PER_REQUEST_MAX / PLACES.len()) {
                found.extend(self.bounds_of(topic, topic_id, indexes).await);
            }
            found.into_iter().map(|(index, bounds)| ((topic_id.to_owned(), index), bounds)).collect::<Vec<_>>()
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn bounds_of(&self, topic: &str, topic_id: &str, partitions: &[u32]) -> Vec<(u32, Bounds)> {
        let queries = partitions.iter().flat_map(|partition| {
            PLACES
                .map(|place| v1::OffsetQuery { partition: *partition, query: Some(Query::Place(place.into())) })
        });
        let request = v1::ListOffsetsRequest {
            topic: topic.to_owned(),
            topic_id: topic_id.to_owned(),
            queries: queries.collect(),
        };
        let listing = list_offsets(&self.broker, &self.forwarding, self.origin, request);
        let listed = match timeout(LEADERS_TIMEOUT, listing).await {
            Ok(listed) => listed,
            Err(_) => Err(BrokerError::new(
                ErrorCode::Timeout,
                "a leader did not say in time where its partitions end",
            )),
        };
        match listed {
            Ok(listed) => listed
                .results
                .chunks_exact(PLACES.len())
                .map(|pair| {
                    (pair[0].partition, found(&pair[0]).and_then(|start| Ok((start, found(&pair[1])?))))
                })
                .collect(),
            Err(error) => {
                let error = Box::new(detail(error));
                partitions.iter().map(|partition| (*partition, Err(error.clone()))).collect()
            }
        }
    }
}

/// Puts into a partition where it ends and how far behind that the group is, or why that is not known.
pub(super) fn put_in(partition: &mut v1::GroupPartition, bounds: &BTreeMap<Place, Bounds>) {
    match bounds.get(&(partition.topic_id.clone(), partition.partition)) {
        Some(Ok((start, end))) => {
            partition.log_start_offset = Some(*start);
            partition.high_watermark = Some(*end);
            partition.lag = Some(lag(partition.committed_offset, *start, *end));
        }
        Some(Err(error)) => partition.error = Some(*error.clone()),
        None => {}
    }
}

fn found(result: &v1::OffsetResult) -> Result<i64, Box<v1::ErrorDetail>> {
    match &result.result {
        Some(Found::Found(found)) => Ok(found.offset.unwrap_or_default()),
        Some(Found::Error(error)) => Err(Box::new(error.clone())),
        None => Err(Box::new(detail(incomplete()))),
    }
}

/// Records from what is committed, or the log's start where that is higher or nothing is committed, to the end.
fn lag(committed: Option<i64>, start: i64, end: i64) -> u64 {
    let from = committed.map_or(start, |committed| committed.max(start));
    u64::try_from(end - from).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_what_exists_and_is_not_committed() {
        assert_eq!(lag(None, 10, 25), 15, "nothing is committed");
        assert_eq!(lag(Some(20), 10, 25), 5);
        assert_eq!(lag(Some(5), 10, 25), 15, "retention took what was not read");
        assert_eq!(lag(Some(30), 10, 25), 0, "what was reset beyond the end");
    }
}
