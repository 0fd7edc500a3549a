//! Where partitions begin: at the offset that the group committed, or where the consumer wants, within what exists.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_broker::{Broker, BrokerError, StartAt};
use highwater_proto::v1;
use highwater_proto::v1::offset_query::Query;
use highwater_types::{ErrorCode, Offset, PartitionId, TopicId, limits};
use tokio::time::timeout;

use super::reading::Key;
use crate::grpc::forward::{Forwarding, Origin, incomplete};
use crate::grpc::groups::Groups;
use crate::grpc::list_offsets::list_offsets;
use crate::grpc::status::from_detail;

/// How long a leader may take the first time; twice as long each time after: an offset by time may have to come from its disk.
const LEADER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often that doubles at most.
const DOUBLINGS_MAX: u32 = 4;
/// What is asked of one partition at most.
const QUERIES_PER_PARTITION_MAX: usize = 3;

/// What was found of each partition, or why not.
pub(super) enum Found {
    /// What the group committed.
    Committed(Vec<(Key, Result<Option<Offset>, BrokerError>)>),
    /// Where it begins.
    Start(Vec<(Key, Result<Offset, BrokerError>)>),
}

/// Asks the group's coordinator what is committed for partitions, of which each has the name of its topic.
pub(super) async fn find_committed(groups: Groups, group: String, partitions: Vec<(Key, String)>) -> Found {
    let mut topics: BTreeMap<TopicId, (String, Vec<Key>)> = BTreeMap::new();
    for (key, topic) in partitions {
        topics.entry(key.partition.topic).or_insert((topic, Vec::new())).1.push(key);
    }
    let asked = topics.iter().map(|(id, (topic, keys))| v1::TopicPartitions {
        topic: topic.clone(),
        topic_id: id.to_string(),
        partitions: keys.iter().map(|key| key.partition.index.0).collect(),
    });
    let request = v1::FetchOffsetsRequest { group, topics: asked.collect() };
    let answer = groups.fetch_offsets(request).await;
    let keys = topics.into_values().flat_map(|(_, keys)| keys);
    let found = match answer {
        Ok(answer) => {
            let mut offsets = answer.offsets.into_iter().map(|offset| match offset.error {
                None => Ok(offset.offset.map(Offset)),
                Some(error) => Err(from_detail(error)),
            });
            keys.map(|key| (key, offsets.next().unwrap_or_else(|| Err(incomplete())))).collect()
        }
        Err(error) => keys.map(|key| (key, Err(error.clone()))).collect(),
    };
    Found::Committed(found)
}

/// What is asked about partitions of one topic that have one leader.
pub(super) struct StartQuery {
    pub(super) topic: String,
    pub(super) topic_id: TopicId,
    /// The partitions, each with what is committed for it.
    pub(super) partitions: Vec<(Key, Option<Offset>)>,
    pub(super) position: StartAt,
    /// How often it was asked in vain.
    pub(super) failures: u32,
}

impl StartQuery {
    /// The same in as many requests as it takes.
    pub(super) fn split(self) -> impl Iterator<Item = Self> {
        let Self { topic, topic_id, mut partitions, position, failures } = self;
        let max = limits::PARTITIONS_PER_REQUEST_MAX / QUERIES_PER_PARTITION_MAX;
        std::iter::from_fn(move || {
            let rest = partitions.split_off(partitions.len().min(max));
            let partitions = std::mem::replace(&mut partitions, rest);
            let topic = topic.clone();
            (!partitions.is_empty()).then_some(Self { topic, topic_id, partitions, position, failures })
        })
    }
}

/// Asks the leader where partitions begin.
pub(super) async fn find_start(broker: Arc<Broker>, forwarding: Forwarding, query: StartQuery) -> Found {
    let limit = LEADER_TIMEOUT * (1 << query.failures.min(DOUBLINGS_MAX));
    let request = v1::ListOffsetsRequest {
        topic: query.topic.clone(),
        topic_id: query.topic_id.to_string(),
        queries: query.partitions.iter().flat_map(|(key, _)| queries(key.partition, query.position)).collect(),
    };
    let per_partition = request.queries.len() / query.partitions.len().max(1);
    let listed = match timeout(limit, list_offsets(&broker, &forwarding, Origin::Client, request)).await {
        Ok(listed) => listed,
        Err(_) => Err(BrokerError::new(ErrorCode::Unavailable, "the leader did not say in time what it has")),
    };
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) => {
            return Found::Start(query.partitions.iter().map(|(key, _)| (*key, Err(error.clone()))).collect());
        }
    };
    let results = listed.results.chunks(per_partition.max(1)).map(Some).chain(std::iter::repeat(None));
    let found = query.partitions.iter().zip(results);
    let start = |committed, results: Option<&[v1::OffsetResult]>| {
        place(committed, query.position, results.ok_or_else(incomplete)?)
    };
    Found::Start(found.map(|((key, committed), results)| (*key, start(*committed, results))).collect())
}

/// The first offset, the end, and what a time stands for.
fn queries(partition: PartitionId, position: StartAt) -> Vec<v1::OffsetQuery> {
    let time = match position {
        StartAt::Time(time) => Some(Query::TimestampMs(time.0)),
        _ => None,
    };
    let places = [v1::OffsetPlace::Earliest, v1::OffsetPlace::Latest].map(|place| Query::Place(place.into()));
    let queries = places.into_iter().chain(time);
    queries.map(|query| v1::OffsetQuery { partition: partition.index.0, query: Some(query) }).collect()
}

/// What does not exist any more gives way to the first record that does; what does not exist yet, to the end.
fn place(
    committed: Option<Offset>,
    position: StartAt,
    results: &[v1::OffsetResult],
) -> Result<Offset, BrokerError> {
    let found = results.iter().map(|result| match &result.result {
        Some(v1::offset_result::Result::Found(found)) => Ok(found.offset.map(Offset)),
        Some(v1::offset_result::Result::Error(error)) => Err(from_detail(error.clone())),
        None => Err(incomplete()),
    });
    let found = found.collect::<Result<Vec<_>, _>>()?;
    let (Some(Some(first)), Some(Some(end))) = (found.first(), found.get(1)) else { return Err(incomplete()) };
    let wanted = committed.unwrap_or(match position {
        StartAt::Earliest => *first,
        StartAt::Latest => *end,
        StartAt::Offset(offset) => offset,
        StartAt::Time(_) => found.get(2).copied().flatten().unwrap_or(*end),
    });
    Ok(wanted.min(*end).max(*first))
}

#[cfg(test)]
mod tests {
    use highwater_types::{PartitionIndex, TimestampMs};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_asked_of_many_partitions_fits_into_requests() {
        let topic_id = TopicId(Uuid::from_u128(1));
        let key =
            |index| Key { partition: PartitionId { topic: topic_id, index: PartitionIndex(index) }, serial: 0 };
        let partitions: Vec<_> = (0..10_000).map(|index| (key(index), None)).collect();
        let time = StartAt::Time(TimestampMs(7));
        let topic = "orders".to_owned();
        let all = StartQuery { topic, topic_id, partitions: partitions.clone(), position: time, failures: 0 };
        let parts: Vec<_> = all.split().collect();
        let asked = |part: &StartQuery| part.partitions.len() * queries(key(0).partition, time).len();
        assert!(parts.iter().all(|part| asked(part) <= limits::PARTITIONS_PER_REQUEST_MAX));
        let together: Vec<_> = parts.into_iter().flat_map(|part| part.partitions).collect();
        assert!(together == partitions);
    }

    fn listed(offsets: &[Option<i64>]) -> Vec<v1::OffsetResult> {
        let found = |offset: &Option<i64>| v1::FoundOffset { offset: *offset, ..Default::default() };
        let result = |offset| v1::offset_result::Result::Found(found(offset));
        offsets.iter().map(|offset| v1::OffsetResult { partition: 0, result: Some(result(offset)) }).collect()
    }

    #[test]
    fn what_is_committed_comes_before_what_the_consumer_wants_and_lies_within_what_exists() {
        let bounds = listed(&[Some(10), Some(20)]);
        for (committed, start) in [(15, 15), (3, 10), (20, 20), (99, 20)] {
            let found = place(Some(Offset(committed)), StartAt::Latest, &bounds).expect("there are bounds");
            assert_eq!(found, Offset(start), "{committed}");
        }
    }

    #[test]
    fn without_a_commit_a_partition_starts_where_the_consumer_wants() {
        let time = StartAt::Time(TimestampMs(7));
        let cases = [
            (StartAt::Earliest, None, 10),
            (StartAt::Latest, None, 20),
            (StartAt::Offset(Offset(4)), None, 10),
            (time, Some(13), 13),
            (time, None, 20),
        ];
        for (position, by_time, start) in cases {
            let bounds = listed(&[Some(10), Some(20), by_time]);
            assert_eq!(
                place(None, position, &bounds).expect("there are bounds"),
                Offset(start),
                "{position:?}"
            );
        }
    }
}
