//! Groups as an administrator sees them.

use std::collections::BTreeSet;

use highwater_groups::{Group, GroupName, GroupPhase, GroupsError};
use highwater_types::{NodeId, PartitionId, PartitionIndex};

use super::routing::refused;
use crate::broker::Broker;
use crate::error::BrokerError;

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSummary {
    /// Its name.
    pub name: GroupName,
    /// How far it is.
    pub phase: GroupPhase,
    /// How many members it has.
    pub members: usize,
}

/// A group in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its name.
    pub name: GroupName,
    /// The group, as it durably is.
    pub group: Group,
    /// The node that coordinates it.
    pub coordinator: NodeId,
    /// Every partition of the topics that members subscribe to, and every one that has an offset.
    pub partitions: Vec<PartitionId>,
}

impl Broker {
    /// The groups that this node coordinates and whose names begin so, by name.
    pub async fn list_groups(&self, name_prefix: &str) -> Vec<GroupSummary> {
        let mut listed = Vec::new();
        for (_, shard) in self.hosting.shards() {
            let prefix = name_prefix.to_owned();
            let look = move |state: &highwater_groups::GroupsState| {
                let named = state.groups().filter(|(name, _)| name.as_str().starts_with(&prefix));
                Ok(named.map(|(name, group)| summary(name, group)).collect::<Vec<_>>())
            };
            // Those of a shard that another node leads are told by that one.
            if let Ok(groups) = shard.look(look).await {
                listed.extend(groups);
            }
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        listed
    }

    /// A group in full. What was answered before this was called is in it.
    ///
    /// # Errors
    /// `UNKNOWN_GROUP`; `NOT_LEADER` with a hint when another node coordinates it.
    pub async fn describe_group(&self, name: GroupName) -> Result<GroupDescription, BrokerError> {
        let unknown = GroupsError::UnknownGroup { group: name.clone() };
        let Some(shard) = self.shard(&name).await? else { return Err(refused(&unknown)) };
        let named = name.clone();
        let look = move |state: &highwater_groups::GroupsState| state.group(&named).cloned().ok_or(unknown);
        let group = shard.look(look).await.map_err(|error| self.explain_groups(error))?;
        let read = group.head().topics.iter().flat_map(|(_, topic)| {
            let (topic, count) = (topic.topic, topic.count);
            (0..count).map(move |index| PartitionId { topic, index: PartitionIndex(index) })
        });
        let partitions: BTreeSet<PartitionId> =
            read.chain(group.offsets().map(|(partition, _)| partition)).collect();
        let partitions = partitions.into_iter().collect();
        Ok(GroupDescription { name, group, coordinator: self.options.node, partitions })
    }

    /// Deletes a group and its offsets. On return that is durable on a majority.
    ///
    /// # Errors
    /// `UNKNOWN_GROUP`, `GROUP_NOT_EMPTY`; `NOT_LEADER` with a hint when another node coordinates it.
    pub async fn delete_group(&self, name: GroupName) -> Result<(), BrokerError> {
        let Some(shard) = self.shard(&name).await? else {
            return Err(refused(&GroupsError::UnknownGroup { group: name }));
        };
        shard.delete_group(name).await.map_err(|error| self.explain_groups(error))
    }
}

fn summary(name: &GroupName, group: &Group) -> GroupSummary {
    GroupSummary { name: name.clone(), phase: group.phase(), members: group.members().len() }
}
