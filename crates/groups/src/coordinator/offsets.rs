//! How far a group has got: who may say so, and what is kept of it.

use std::collections::BTreeSet;

use highwater_types::limits::{GROUP_OFFSETS_MAX, GROUPS_MAX, OFFSET_METADATA_BYTES_MAX};
use highwater_types::{Offset, PartitionId, mutant};

use super::turn::Turn;
use crate::current::MemberState;
use crate::error::GroupsError;
use crate::group::Group;
use crate::ids::{Epoch, GroupName, MemberId};
use crate::record::{CommittedOffset, GroupChange};
use crate::request::{CommitRequest, Committer, OffsetCommit};

/// One result for each offset, in order.
type Results = Vec<Result<(), GroupsError>>;

impl Turn<'_> {
    pub(super) fn commit(&mut self, request: &CommitRequest) -> Result<Results, GroupsError> {
        let (name, committer) = (&request.group, &request.committer);
        match committer {
            Committer::Member { member, epoch } if !mutant!(CommitUnfenced) => {
                self.check_committer(name, member, *epoch)?;
            }
            Committer::Member { .. } => {}
            Committer::Outsider => self.check_is_empty(name)?,
        }
        if self.group(name).is_none() {
            let max = GROUPS_MAX;
            if self.coordinator.state.groups().len() >= max {
                return Err(GroupsError::TooManyGroups { group: name.clone(), max });
            }
            self.begin_group(name);
        }
        let commit_one = |commit| self.commit_one(name, committer, commit);
        Ok(request.offsets.iter().map(commit_one).collect())
    }

    /// Whether the member is one that can commit at all.
    fn check_committer(&self, group: &GroupName, member: &MemberId, epoch: Epoch) -> Result<(), GroupsError> {
        let current = &self.member(group, member)?.current;
        if current.state == MemberState::Away {
            return Err(GroupsError::MemberAway { member: member.clone() });
        }
        match epoch > current.epoch {
            true => {
                Err(GroupsError::FencedEpoch { member: member.clone(), stated: epoch, current: current.epoch })
            }
            false => Ok(()),
        }
    }

    /// Whether the group has no members, so that nobody is in the middle of its partitions.
    pub(super) fn check_is_empty(&self, name: &GroupName) -> Result<(), GroupsError> {
        let first = self.group(name).and_then(|group| Some((group, group.members().next()?)));
        match first {
            Some((group, member)) => Err(GroupsError::GroupNotEmpty {
                group: name.clone(),
                members: group.members().len(),
                example: member.description.member.clone(),
            }),
            None => Ok(()),
        }
    }

    fn commit_one(
        &mut self,
        name: &GroupName,
        committer: &Committer,
        commit: &OffsetCommit,
    ) -> Result<(), GroupsError> {
        let partition = commit.partition;
        check_content(commit)?;
        let Some(group) = self.group(name) else {
            return Err(GroupsError::UnknownGroup { group: name.clone() });
        };
        match committer {
            Committer::Member { member, epoch } => check_holder(group, member, *epoch, partition)?,
            Committer::Outsider => self.check_exists(partition)?,
        }
        let before = group.offset(partition).map(|committed| committed.offset);
        if before.is_none() && group.offsets().len() >= GROUP_OFFSETS_MAX {
            return Err(GroupsError::TooManyOffsets { group: name.clone(), max: GROUP_OFFSETS_MAX });
        }
        if !commit.may_rewind && before.is_some_and(|before| commit.offset < before) {
            return Ok(());
        }
        let offset = CommittedOffset {
            offset: commit.offset,
            leader_epoch: commit.leader_epoch,
            metadata: commit.metadata.clone(),
            committed_at: self.now.wall,
        };
        self.log(name, GroupChange::Offset { partition, offset });
        Ok(())
    }

    fn check_exists(&self, partition: PartitionId) -> Result<(), GroupsError> {
        let topic = partition.topic;
        let known = self.topics.by_id(topic).ok_or(GroupsError::UnknownTopic { topic })?;
        match partition.index.0 < known.count {
            true => Ok(()),
            false => Err(GroupsError::UnknownPartition { partition }),
        }
    }

    pub(super) fn reset_offsets(
        &mut self,
        name: &GroupName,
        offsets: &[(PartitionId, Offset)],
    ) -> Result<Results, GroupsError> {
        let commit = |(partition, offset): &(PartitionId, Offset)| OffsetCommit {
            partition: *partition,
            offset: *offset,
            leader_epoch: None,
            metadata: String::new(),
            may_rewind: true,
        };
        let offsets = offsets.iter().map(commit).collect();
        self.commit(&CommitRequest { group: name.clone(), committer: Committer::Outsider, offsets })
    }

    pub(super) fn delete_offsets(
        &mut self,
        name: &GroupName,
        partitions: &[PartitionId],
    ) -> Result<Results, GroupsError> {
        let Some(group) = self.group(name) else {
            return Err(GroupsError::UnknownGroup { group: name.clone() });
        };
        let check = |partition: &PartitionId| match group.reads(partition.topic) {
            true => Err(GroupsError::TopicInUse { group: name.clone(), partition: *partition }),
            false => Ok(()),
        };
        let results: Results = partitions.iter().map(check).collect();
        let wanted: BTreeSet<PartitionId> =
            partitions.iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(p, _)| *p).collect();
        let known: Vec<_> = wanted.into_iter().filter(|partition| group.offset(*partition).is_some()).collect();
        known.into_iter().for_each(|partition| self.log(name, GroupChange::OffsetDeleted(partition)));
        Ok(results)
    }
}

/// Whether the member holds the partition since the epoch that it states, or before (KIP-1251). So a rebalance that leaves
/// it the partition does not refuse its commits, and nothing that was sent before it lost the partition is
/// accepted after, though it may hold it again.
fn check_holder(
    group: &Group,
    member: &MemberId,
    epoch: Epoch,
    partition: PartitionId,
) -> Result<(), GroupsError> {
    let since = group.member(member).and_then(|found| found.current.since(partition));
    match since.is_some_and(|since| since <= epoch) || mutant!(CommitUnfenced) {
        true => Ok(()),
        false => Err(GroupsError::StaleCommit { partition, member: member.clone(), stated: epoch }),
    }
}

/// Whether the offset and what goes with it can be kept.
fn check_content(commit: &OffsetCommit) -> Result<(), GroupsError> {
    let (bytes, max) = (commit.metadata.len(), OFFSET_METADATA_BYTES_MAX);
    if commit.offset.0 < 0 {
        return Err(GroupsError::NegativeOffset { offset: commit.offset });
    }
    match bytes > max {
        true => Err(GroupsError::OffsetMetadataTooLong { bytes, max }),
        false => Ok(()),
    }
}
