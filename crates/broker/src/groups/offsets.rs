//! How far groups have got: committed offsets, by the names of their topics.

use highwater_controller::MetadataImage;
use highwater_groups::{CommitRequest, CommittedOffset, Committer, GroupName, GroupsError, OffsetCommit};
use highwater_types::{ErrorCode, LeaderEpoch, Offset, PartitionId, PartitionIndex, TopicId};

use super::routing::{no_coordinator, refused};
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::request::TopicRef;
use crate::routing::find_topic;

/// A partition as a request about a group names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPartitionRef {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: PartitionIndex,
}

/// One offset to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOffset {
    /// The partition.
    pub partition: GroupPartitionRef,
    /// The next record to read.
    pub offset: Offset,
    /// The leader epoch of the last record that was read, when it is known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// What is to be kept beside it.
    pub metadata: String,
    /// Whether it may go back.
    pub may_rewind: bool,
}

/// Offsets to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffsets {
    /// The group.
    pub group: GroupName,
    /// Who commits.
    pub committer: Committer,
    /// The offsets.
    pub offsets: Vec<NewOffset>,
}

/// What is committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffset {
    /// The topic's name; none when the topic is gone.
    pub topic: Option<String>,
    /// The partition.
    pub partition: PartitionId,
    /// What is committed.
    pub committed: Option<CommittedOffset>,
}

/// One result for each offset or partition of a request, in its order.
type Results = Vec<Result<(), BrokerError>>;

impl Broker {
    /// Remembers offsets; [`Broker::begin_groups`] came before. On return each that has no error is durable on a majority. Dropping the
    /// future leaves open whether they are remembered; to commit again is safe.
    ///
    /// # Errors
    /// Why none of them was remembered; `NOT_LEADER` with a hint when another node coordinates the group.
    pub async fn commit_offsets(&self, request: CommitOffsets) -> Result<Results, BrokerError> {
        let CommitOffsets { group, committer, offsets } = request;
        let shard = self.shard(&group).await?.ok_or_else(|| no_coordinator(&group))?;
        let image = self.image();
        let (mut known, mut places, mut results) = (Vec::new(), Vec::new(), Vec::new());
        for (place, new) in offsets.into_iter().enumerate() {
            results.push(Ok(()));
            match partition_of(&image, &new.partition) {
                Ok(partition) => {
                    let NewOffset { partition: named, offset, leader_epoch, metadata, may_rewind } = new;
                    known.push(OffsetCommit { partition, offset, leader_epoch, metadata, may_rewind });
                    places.push((place, named));
                }
                Err(error) => results[place] = Err(error),
            }
        }
        // Also with nothing left of it: who may not commit is to be told so.
        let request = CommitRequest { group, committer, offsets: known };
        let committed = shard.commit(request).await.map_err(|error| self.explain_groups(error))?;
        fill_in(&mut results, places, committed);
        Ok(results)
    }

    /// Sets offsets to others; [`Broker::begin_groups`] came before. Durable like [`Broker::commit_offsets`].
    ///
    /// # Errors
    /// `GROUP_NOT_EMPTY` while the group has members; otherwise as [`Broker::commit_offsets`].
    pub async fn reset_offsets(
        &self,
        group: GroupName,
        offsets: Vec<(GroupPartitionRef, Offset)>,
    ) -> Result<Results, BrokerError> {
        let shard = self.shard(&group).await?.ok_or_else(|| no_coordinator(&group))?;
        let image = self.image();
        let (known, places, mut results) = resolve(&image, offsets);
        let reset = shard.reset_offsets(group, known).await.map_err(|error| self.explain_groups(error))?;
        fill_in(&mut results, places, reset);
        Ok(results)
    }

    /// Forgets offsets. Durable like [`Broker::commit_offsets`].
    ///
    /// # Errors
    /// `UNKNOWN_GROUP`, and as [`Broker::commit_offsets`].
    pub async fn delete_offsets(
        &self,
        group: GroupName,
        partitions: Vec<GroupPartitionRef>,
    ) -> Result<Results, BrokerError> {
        let Some(shard) = self.shard(&group).await? else {
            return Err(refused(&GroupsError::UnknownGroup { group }));
        };
        let image = self.image();
        let (known, places, mut results) =
            resolve(&image, partitions.into_iter().map(|partition| (partition, ())).collect());
        let known = known.into_iter().map(|(partition, ())| partition).collect();
        let deleted = shard.delete_offsets(group, known).await.map_err(|error| self.explain_groups(error))?;
        fill_in(&mut results, places, deleted);
        Ok(results)
    }

    /// The committed offsets of these partitions in their order; of all that have one, by topic name and partition, when none are given.
    /// What was committed before this was called is in it.
    ///
    /// # Errors
    /// `NOT_LEADER` with a hint when another node coordinates the group. A group that does not exist has no offsets.
    pub async fn fetch_offsets(
        &self,
        group: GroupName,
        partitions: Vec<GroupPartitionRef>,
    ) -> Result<Vec<Result<FetchedOffset, BrokerError>>, BrokerError> {
        let image = self.image();
        let wanted: Vec<Result<PartitionId, BrokerError>> =
            partitions.iter().map(|named| partition_of(&image, named)).collect();
        let known: Vec<PartitionId> = wanted.iter().flatten().copied().collect();
        let all = partitions.is_empty();
        let fetched: Vec<(PartitionId, Option<CommittedOffset>)> = match self.shard(&group).await? {
            None => known.into_iter().map(|partition| (partition, None)).collect(),
            Some(shard) => {
                let look = move |state: &highwater_groups::GroupsState| {
                    let found = state.group(&group);
                    let of = |partition: PartitionId| found.and_then(|group| group.offset(partition)).cloned();
                    Ok(match found {
                        Some(group) if all => group
                            .offsets()
                            .map(|(partition, offset)| (partition, Some(offset.clone())))
                            .collect(),
                        _ => known.into_iter().map(|partition| (partition, of(partition))).collect(),
                    })
                };
                shard.look(look).await.map_err(|error| self.explain_groups(error))?
            }
        };
        let name = |topic: TopicId| image.topic(topic).map(|topic| topic.name.as_str().to_owned());
        let mut fetched = fetched.into_iter().map(|(partition, committed)| FetchedOffset {
            topic: name(partition.topic),
            partition,
            committed,
        });
        if all {
            let mut fetched: Vec<FetchedOffset> = fetched.collect();
            fetched.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
            return Ok(fetched.into_iter().map(Ok).collect());
        }
        let missing = || BrokerError::new(ErrorCode::Internal, "the coordinator left this out");
        Ok(wanted.into_iter().map(|wanted| wanted.and_then(|_| fetched.next().ok_or_else(missing))).collect())
    }

    /// The name of a live topic.
    pub fn topic_name(&self, topic: TopicId) -> Option<String> {
        self.image().topic(topic).map(|topic| topic.name.as_str().to_owned())
    }
}

/// The partition that a request means. With an id it is that topic's, whatever this node knows of it; the coordinator judges.
fn partition_of(image: &MetadataImage, named: &GroupPartitionRef) -> Result<PartitionId, BrokerError> {
    let GroupPartitionRef { topic, partition: index } = named;
    if let Some(id) = topic.id
        && image.topic_by_name(&topic.name).is_none_or(|record| record.id == id)
    {
        return Ok(PartitionId { topic: id, index: *index });
    }
    let record = find_topic(image, topic)?;
    if record.name.is_internal() {
        let message = format!("'{}' is the cluster's own topic: no group reads it", topic.name);
        return Err(BrokerError::invalid_request(message).with_topic(&topic.name));
    }
    if record.partition(*index).is_none() {
        let count = record.partition_count();
        let message =
            format!("topic '{}' has {count} partitions, from 0; there is no partition {index}", topic.name);
        let error = BrokerError::new(ErrorCode::UnknownTopicOrPartition, message);
        return Err(error.with_topic(&topic.name).with_partition(*index));
    }
    Ok(PartitionId { topic: record.id, index: *index })
}

/// Partitions that were found, with what goes with each.
type Found<T> = Vec<(PartitionId, T)>;
/// Where they stand in the request, and how it names them.
type Places = Vec<(usize, GroupPartitionRef)>;

/// What is known of a request's partitions, where they stand in it, and the results so far.
fn resolve<T>(image: &MetadataImage, request: Vec<(GroupPartitionRef, T)>) -> (Found<T>, Places, Results) {
    let (mut known, mut places, mut results) = (Vec::new(), Vec::new(), Vec::new());
    for (place, (named, with)) in request.into_iter().enumerate() {
        let found = partition_of(image, &named);
        results.push(found.as_ref().map(drop).map_err(Clone::clone));
        if let Ok(partition) = found {
            known.push((partition, with));
            places.push((place, named));
        }
    }
    (known, places, results)
}

/// Puts what the coordinator said of those that were known into its place.
fn fill_in(results: &mut Results, places: Places, said: Vec<Result<(), GroupsError>>) {
    for ((place, named), said) in places.into_iter().zip(said) {
        results[place] = said
            .map_err(|refusal| refused(&refusal).with_topic(named.topic.name).with_partition(named.partition));
    }
}
