//! Decisions about partitions that move: where to, back again, and arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use highwater_types::limits::MOVES_PER_COMMAND_MAX;
use highwater_types::{NodeId, PartitionId, TimestampMs, TopicId};

use super::{Decision, Effect, partitions};
use crate::cluster::MetadataVersion;
use crate::delta::MetadataChange;
use crate::error::MetadataError;
use crate::image::MetadataImage;
use crate::partition::{PartitionPhase, PartitionRecord, Reassignment};
use crate::partition_move::PartitionMove;
use crate::response::Outcome;
use crate::topic::TopicRecord;

/// The topics that one command changes, as it leaves them.
struct Changed<'a> {
    image: &'a MetadataImage,
    topics: BTreeMap<TopicId, TopicRecord>,
    changes: Vec<MetadataChange>,
}

impl<'a> Changed<'a> {
    fn new(image: &'a MetadataImage) -> Self {
        Self { image, topics: BTreeMap::new(), changes: Vec::new() }
    }

    /// The version that the command leads to.
    fn version(&self) -> MetadataVersion {
        self.image.version().next()
    }

    /// The record of a partition, to be changed.
    fn partition(&mut self, id: PartitionId) -> Result<&mut PartitionRecord, MetadataError> {
        let current = known_topic(self.image, id)?;
        let topic = self.topics.entry(id.topic).or_insert_with(|| TopicRecord::clone(current));
        topic.partition_mut(id.index).ok_or_else(|| unknown_partition(id, current))
    }

    /// Checks that the partitions of each topic have the same number of replicas, and that the topic's
    /// settings go with it: the number that it is to have, otherwise that of before.
    fn check_factors(&self, factors: &BTreeMap<TopicId, u32>) -> Result<(), MetadataError> {
        for id in self.topics.keys().chain(factors.keys()) {
            let Some(current) = self.image.topic(*id) else { continue };
            let expected = factors.get(id).copied().unwrap_or_else(|| current.replication_factor());
            let topic = self.topics.get(id).unwrap_or(current);
            topic.check_replication_factor(expected)?;
            topic.config.check_replication(expected)?;
        }
        Ok(())
    }

    fn decision(self) -> Decision {
        let effects = self.topics.into_values().map(|topic| Effect::Topic(Arc::new(topic)));
        Decision::done(effects.collect(), self.changes)
    }
}

/// Changes which nodes should hold partitions.
pub(super) fn reassign(
    image: &MetadataImage,
    moves: &[PartitionMove],
    factors: &BTreeMap<TopicId, u32>,
    at: TimestampMs,
) -> Result<Decision, MetadataError> {
    if moves.len() > MOVES_PER_COMMAND_MAX {
        return Err(MetadataError::TooManyMoves { requested: moves.len(), max: MOVES_PER_COMMAND_MAX });
    }
    for (topic, factor) in factors {
        image.topic(*topic).ok_or(MetadataError::UnknownTopic { topic: *topic })?;
        let nodes = image.nodes().len();
        if !(1..=nodes as u64).contains(&u64::from(*factor)) {
            return Err(MetadataError::ReplicationFactor { requested: *factor, nodes });
        }
    }
    let mut changed = Changed::new(image);
    let mut seen = BTreeSet::new();
    for wanted in moves {
        let id = wanted.partition;
        if !seen.insert(id) {
            return Err(MetadataError::DuplicateMove { partition: id });
        }
        let topic = known_topic(image, id)?;
        let current = topic.partition(id.index).ok_or_else(|| unknown_partition(id, topic))?;
        if current.replicas.as_ref() == wanted.replicas.as_slice() {
            continue;
        }
        let factor = factors.get(&id.topic).copied().unwrap_or_else(|| topic.replication_factor());
        check_move(image, current, wanted, factor).map_err(|reason| MetadataError::Immovable {
            name: topic.name.clone(),
            index: id.index,
            reason: Box::new(reason),
        })?;
        let since = changed.version();
        retarget(changed.partition(id)?, Arc::from(wanted.replicas.as_slice()), since, at);
        changed.changes.push(MetadataChange::PartitionReassigned(id));
    }
    changed.check_factors(factors)?;
    Ok(changed.decision())
}

/// Checks one move against the partition as it is now.
fn check_move(
    image: &MetadataImage,
    current: &PartitionRecord,
    wanted: &PartitionMove,
    factor: u32,
) -> Result<(), MetadataError> {
    if current.replicas.as_ref() != wanted.replicas_before.as_slice() {
        return Err(MetadataError::StalePlacement {
            expected: wanted.replicas_before.clone(),
            actual: current.replicas.to_vec(),
        });
    }
    if current.phase == PartitionPhase::Creating {
        return Err(MetadataError::StillCreating);
    }
    let factor = usize::try_from(factor).unwrap_or(usize::MAX);
    partitions::check_replicas(image, wanted.partition.index, factor, &current.replicas, &wanted.replicas)
}

/// Gives a partition other replicas and remembers where it comes from. When only the order changes and
/// nothing is under way, the group is settled as it is. While something is under way it is not: the group
/// may be anywhere between what was wanted before and what was wanted since.
fn retarget(partition: &mut PartitionRecord, replicas: Arc<[NodeId]>, since: MetadataVersion, at: TimestampMs) {
    let wanted: BTreeSet<NodeId> = replicas.iter().copied().collect();
    let held: BTreeSet<NodeId> = partition.holders().collect();
    let before = match &partition.reassignment {
        Some(moving) => Arc::clone(&moving.before),
        None => Arc::clone(&partition.replicas),
    };
    let is_same_set = held == wanted;
    if !(partition.reassignment.is_none() && is_same_set) {
        let leaving = held.difference(&wanted).copied().collect();
        partition.reassignment = Some(Arc::new(Reassignment { before, leaving, since, started_at: at }));
    }
    partition.replicas = replicas;
}

/// Turns reassignments around.
pub(super) fn cancel(image: &MetadataImage, ids: &[PartitionId]) -> Result<Decision, MetadataError> {
    if ids.len() > MOVES_PER_COMMAND_MAX {
        return Err(MetadataError::TooManyMoves { requested: ids.len(), max: MOVES_PER_COMMAND_MAX });
    }
    let mut changed = Changed::new(image);
    let mut factors = BTreeMap::new();
    for id in ids.iter().collect::<BTreeSet<_>>() {
        let topic = known_topic(image, *id)?;
        let current = topic.partition(id.index).ok_or_else(|| unknown_partition(*id, topic))?;
        let Some(moving) = &current.reassignment else { continue };
        if moving.before == current.replicas {
            continue;
        }
        // The number of replicas goes back too, for all of the topic's partitions or for none.
        let factor = u32::try_from(moving.before.len()).unwrap_or(u32::MAX);
        factors.insert(id.topic, factor);
        let since = changed.version();
        retarget(changed.partition(*id)?, Arc::clone(&moving.before), since, moving.started_at);
        changed.changes.push(MetadataChange::PartitionReassigned(*id));
    }
    changed.check_factors(&factors)?;
    Ok(changed.decision())
}

/// Ends a reassignment whose group has the wanted members.
pub(super) fn done(
    image: &MetadataImage,
    id: PartitionId,
    replicas: &[NodeId],
    since: MetadataVersion,
) -> Result<Decision, MetadataError> {
    let topic = known_topic(image, id)?;
    let current = topic.partition(id.index).ok_or_else(|| unknown_partition(id, topic))?;
    let is_wanted = current.replicas.as_ref() == replicas;
    match &current.reassignment {
        None if is_wanted => return Ok(Decision::unchanged(Outcome::Done)),
        Some(moving) if is_wanted && moving.since == since => {}
        Some(_) | None => {
            let wanted_since = current.reassignment.as_ref().map(|moving| moving.since);
            return Err(MetadataError::OtherReassignment { partition: id, since, wanted_since });
        }
    }
    let left =
        current.leaving().iter().map(|node| MetadataChange::PartitionLeft { partition: id, node: *node });
    let mut changed = Changed::new(image);
    changed.changes.extend(left);
    changed.changes.push(MetadataChange::PartitionSettled(id));
    changed.partition(id)?.reassignment = None;
    Ok(changed.decision())
}

fn known_topic(image: &MetadataImage, id: PartitionId) -> Result<&Arc<TopicRecord>, MetadataError> {
    image.topic(id.topic).ok_or(MetadataError::UnknownTopic { topic: id.topic })
}

fn unknown_partition(id: PartitionId, topic: &TopicRecord) -> MetadataError {
    let partitions = topic.partition_count();
    MetadataError::UnknownPartition { topic: id.topic, index: id.index, partitions }
}
