//! How far groups have got.

use std::time::Duration;

use highwater_broker::{BrokerError, CommitOffsets, FetchedOffset, GroupPartitionRef, NewOffset};
use highwater_groups::{Committer, Epoch};
use highwater_proto::v1;
use highwater_types::{ErrorCode, LeaderEpoch, limits};

use super::super::convert::offset;
use super::super::forward::{Caller, Effect, answered};
use super::super::status::detail;
use super::{Groups, convert, deadline};

impl Groups {
    /// Remembers offsets.
    pub(crate) async fn commit(
        &self,
        request: v1::CommitOffsetsRequest,
    ) -> Result<v1::CommitOffsetsResponse, BrokerError> {
        let group = convert::group(&request.group)?;
        check_count(request.offsets.len())?;
        if let Some(coordinator) = self.elsewhere_or_begin(&group).await? {
            let Caller { mut client, slot: _slot } = self.forwarding.groups(&coordinator)?;
            let call = client.commit_offsets(self.forwarding.request(request));
            return answered(&coordinator, Effect::Change, deadline(Duration::ZERO), call).await;
        }
        let committer = match request.member_id.as_str() {
            "" => Committer::Outsider,
            id => Committer::Member { member: convert::member(id)?, epoch: Epoch(request.member_epoch) },
        };
        let offsets = request.offsets.into_iter().map(new_offset).collect::<Result<Vec<_>, BrokerError>>()?;
        let named: Vec<_> = offsets.iter().map(|new| named(&new.partition)).collect();
        let results = self.broker.commit_offsets(CommitOffsets { group, committer, offsets }).await?;
        let results = named.into_iter().zip(results);
        let results = results.map(|(named, result)| convert::offset_result(named, result)).collect();
        Ok(v1::CommitOffsetsResponse { results })
    }

    /// Tells the committed offsets.
    pub(crate) async fn fetch_offsets(
        &self,
        request: v1::FetchOffsetsRequest,
    ) -> Result<v1::FetchOffsetsResponse, BrokerError> {
        let group = convert::group(&request.group)?;
        if let Some(coordinator) = self.elsewhere(&group).await? {
            let Caller { mut client, slot: _slot } = self.forwarding.groups(&coordinator)?;
            let call = client.fetch_offsets(self.forwarding.request(request));
            return answered(&coordinator, Effect::None, deadline(Duration::ZERO), call).await;
        }
        let partitions = convert::partitions(request.topics)?;
        let names: Vec<_> = partitions.iter().map(named).collect();
        let fetched = self.broker.fetch_offsets(group, partitions).await?;
        let mut names = names.into_iter();
        let offsets = fetched.into_iter().map(|fetched| committed(names.next(), fetched)).collect();
        Ok(v1::FetchOffsetsResponse { offsets })
    }

    /// Sets offsets to others.
    pub(crate) async fn reset_offsets(
        &self,
        request: v1::ResetOffsetsRequest,
    ) -> Result<v1::ResetOffsetsResponse, BrokerError> {
        let group = convert::group(&request.group)?;
        check_count(request.offsets.len())?;
        if let Some(coordinator) = self.elsewhere_or_begin(&group).await? {
            let Caller { mut client, slot: _slot } = self.forwarding.groups(&coordinator)?;
            let call = client.reset_offsets(self.forwarding.request(request));
            return answered(&coordinator, Effect::Change, deadline(Duration::ZERO), call).await;
        }
        let resets = request.offsets.into_iter().map(|reset| {
            let partition = convert::partition(reset.topic, &reset.topic_id, reset.partition)?;
            Ok((partition, offset(reset.offset)?))
        });
        let resets = resets.collect::<Result<Vec<_>, BrokerError>>()?;
        let named: Vec<_> = resets.iter().map(|(partition, _)| named(partition)).collect();
        let results = named.into_iter().zip(self.broker.reset_offsets(group, resets).await?);
        let results = results.map(|(named, result)| convert::offset_result(named, result)).collect();
        Ok(v1::ResetOffsetsResponse { results })
    }

    /// Forgets offsets.
    pub(crate) async fn delete_offsets(
        &self,
        request: v1::DeleteOffsetsRequest,
    ) -> Result<v1::DeleteOffsetsResponse, BrokerError> {
        let group = convert::group(&request.group)?;
        if let Some(coordinator) = self.elsewhere(&group).await? {
            let Caller { mut client, slot: _slot } = self.forwarding.groups(&coordinator)?;
            let call = client.delete_offsets(self.forwarding.request(request));
            return answered(&coordinator, Effect::Change, deadline(Duration::ZERO), call).await;
        }
        let partitions = convert::partitions(request.topics)?;
        check_count(partitions.len())?;
        let named: Vec<_> = partitions.iter().map(named).collect();
        let results = named.into_iter().zip(self.broker.delete_offsets(group, partitions).await?);
        let results = results.map(|(named, result)| convert::offset_result(named, result)).collect();
        Ok(v1::DeleteOffsetsResponse { results })
    }
}

fn new_offset(commit: v1::OffsetCommit) -> Result<NewOffset, BrokerError> {
    let leader_epoch = commit.leader_epoch.map(|epoch| {
        let wrong = |_| BrokerError::invalid_request(format!("{epoch} is no leader epoch"));
        i32::try_from(epoch).map(LeaderEpoch).map_err(wrong)
    });
    Ok(NewOffset {
        partition: convert::partition(commit.topic, &commit.topic_id, commit.partition)?,
        offset: offset(commit.offset)?,
        leader_epoch: leader_epoch.transpose()?,
        metadata: commit.metadata,
        may_rewind: commit.may_rewind,
    })
}

/// A partition as the request named it, or as it is called now.
fn committed(named: Option<(String, u32)>, fetched: Result<FetchedOffset, BrokerError>) -> v1::CommittedOffset {
    let (topic, partition) = named.unwrap_or_default();
    match fetched {
        Ok(FetchedOffset { topic: name, partition, committed }) => {
            let kept = committed.as_ref();
            v1::CommittedOffset {
                topic: name.unwrap_or_default(),
                topic_id: partition.topic.to_string(),
                partition: partition.index.0,
                offset: kept.map(|committed| committed.offset.0),
                leader_epoch: kept
                    .and_then(|committed| committed.leader_epoch)
                    .and_then(|epoch| u64::try_from(epoch.0).ok()),
                committed_at_ms: kept.map(|committed| committed.committed_at.0),
                metadata: committed.map(|committed| committed.metadata).unwrap_or_default(),
                error: None,
            }
        }
        Err(error) => v1::CommittedOffset {
            topic,
            partition,
            error: Some(detail(error)),
            ..v1::CommittedOffset::default()
        },
    }
}

fn named(partition: &GroupPartitionRef) -> (String, u32) {
    (partition.topic.name.clone(), partition.partition.0)
}

fn check_count(count: usize) -> Result<(), BrokerError> {
    let max = limits::PARTITIONS_PER_REQUEST_MAX;
    if count == 0 || count > max {
        let message = format!("{count} partitions were given; 1 to {max} are possible");
        return Err(BrokerError::new(ErrorCode::InvalidRequest, message));
    }
    Ok(())
}
