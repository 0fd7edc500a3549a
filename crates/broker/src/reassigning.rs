//! Moves of replicas, as an operator asks for them: planned, begun, watched and turned around.
//!
//! A plan changes nothing. What is begun is remembered by the cluster, and the leaders of the partitions work on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use highwater_controller::{
    MetadataCommand, MetadataImage, PartitionMove, PartitionRecord, TopicRecord, plan_balance, plan_drain,
};
use highwater_types::limits::MOVES_PER_COMMAND_MAX;
use highwater_types::{ErrorCode, NodeId, PartitionId, PartitionIndex, TimestampMs, TopicId};

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::gathered::Gathered;
use crate::node_admin::{StuckPartition, cannot_leave, find_node};
use crate::replicas::{ReplicaRole, ReplicaState};
use crate::request::TopicRef;
use crate::routing::find_topic;

/// What moves are to be planned for.
#[derive(Debug, Clone)]
pub enum ReassignmentGoal {
    /// Even out what the active nodes hold and lead.
    Balance,
    /// Empty a node.
    Drain(NodeId),
    /// Bring partitions to these replicas.
    Assign(Vec<(PartitionRef, Vec<NodeId>)>),
}

/// A partition as a client names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartitionRef {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub index: PartitionIndex,
}

/// Moves that belong together.
#[derive(Debug, Clone, Default)]
pub struct ReassignmentPlan {
    /// The moves.
    pub moves: Vec<PlannedMove>,
    /// Topics whose replication factor changes, and to what.
    pub replication_factors: BTreeMap<TopicId, u32>,
}

/// A move of a partition.
#[derive(Debug, Clone)]
pub struct PlannedMove {
    /// The partition, by its topic's name and id.
    pub partition: PartitionRef,
    /// The replicas to have.
    pub replicas: Vec<NodeId>,
    /// The replicas that the plan was made for.
    pub replicas_before: Vec<NodeId>,
    /// Bytes of the partition, as far as known.
    pub size_bytes: u64,
}

/// What a planner came to.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The moves.
    pub plan: ReassignmentPlan,
    /// What stays as it is.
    pub stuck: Vec<StuckPartition>,
    /// How many moves the goal needs beyond these.
    pub more: usize,
    /// The version of the metadata it was made for.
    pub metadata_version: u64,
}

/// A move that is under way.
#[derive(Debug, Clone)]
pub struct Reassigning {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub id: PartitionId,
    /// The replicas to have.
    pub replicas: Vec<NodeId>,
    /// Where a cancellation leads.
    pub before: Vec<NodeId>,
    /// Whose replicas go.
    pub leaving: Vec<NodeId>,
    /// When it was asked for.
    pub started_at: TimestampMs,
    /// Who leads the partition.
    pub leader: Option<NodeId>,
    /// The replicas, as the leader tells.
    pub states: Vec<ReplicaState>,
    /// Bytes of the partition.
    pub size_bytes: u64,
    /// What it waits for.
    pub waits_for: String,
}

impl Broker {
    /// Plans moves; nothing changes.
    ///
    /// # Errors
    /// When the goal names what is not there, or what would be refused.
    pub async fn plan_reassignment(&self, goal: ReassignmentGoal) -> Result<Planned, BrokerError> {
        let gathered = self.gather().await;
        let image = &gathered.image;
        let seed = self.random.next_u64();
        let (mut moves, stuck, replication_factors) = match goal {
            ReassignmentGoal::Balance => (plan_balance(image, seed), Vec::new(), BTreeMap::new()),
            ReassignmentGoal::Drain(node) => {
                find_node(image, node)?;
                let plan = plan_drain(image, node, seed)
                    .map_err(|error| BrokerError::new(error.code(), error.to_string()))?;
                let stuck = plan.stuck.iter().filter_map(|found| {
                    let topic = image.topic(found.partition.topic)?;
                    Some(cannot_leave(topic, found))
                });
                let stuck = stuck.collect();
                (plan.moves, stuck, BTreeMap::new())
            }
            ReassignmentGoal::Assign(wanted) => {
                let (moves, factors) = self.assign(image, &wanted)?;
                (moves, Vec::new(), factors)
            }
        };
        // The rest is planned again when these have been made.
        let more = moves.len().saturating_sub(MOVES_PER_COMMAND_MAX);
        moves.truncate(MOVES_PER_COMMAND_MAX);
        let moves = moves.into_iter().filter_map(|wanted| planned(&gathered, wanted)).collect();
        let plan = ReassignmentPlan { moves, replication_factors };
        Ok(Planned { plan, stuck, more, metadata_version: image.version().0 })
    }

    /// The moves to replicas that were given, and the replication factors that they change.
    fn assign(
        &self,
        image: &MetadataImage,
        wanted: &[(PartitionRef, Vec<NodeId>)],
    ) -> Result<(Vec<PartitionMove>, BTreeMap<TopicId, u32>), BrokerError> {
        let mut moves = assigned(image, wanted)?;
        let replication_factors = changed_factors(image, &moves);
        moves.retain(|wanted| wanted.replicas != wanted.replicas_before);
        let check = MetadataCommand::ReassignPartitions {
            moves: moves.clone(),
            replication_factors: replication_factors.clone(),
            at: self.clock.now(),
        };
        self.metadata.check(&check)?;
        Ok((moves, replication_factors))
    }

    /// Begins the moves of a plan, or only checks them. Returns the metadata version that shows them.
    ///
    /// # Errors
    /// When one of them is not possible; none is begun then. After `TIMEOUT` that is unknown.
    pub async fn apply_reassignment(
        &self,
        plan: ReassignmentPlan,
        validate_only: bool,
    ) -> Result<u64, BrokerError> {
        let image = self.image();
        let moves = plan.moves.into_iter().map(|planned| {
            let partition = find_partition(&image, &planned.partition)?.1;
            let PlannedMove { replicas, replicas_before, .. } = planned;
            Ok(PartitionMove { partition, replicas, replicas_before })
        });
        let moves = moves.collect::<Result<Vec<_>, BrokerError>>()?;
        let replication_factors = plan.replication_factors;
        let at = self.clock.now();
        let reassign = MetadataCommand::ReassignPartitions { moves, replication_factors, at };
        self.check_or_propose(&reassign, validate_only).await
    }

    /// The moves that are under way, and the version of the metadata that shows them.
    pub async fn list_reassignments(&self) -> (Vec<Reassigning>, u64) {
        let gathered = self.gather().await;
        (self.reassigning(&gathered, |_| true), gathered.image.version().0)
    }

    /// Turns moves around: those of these partitions, or all. Returns the metadata version that shows it, and which were turned.
    ///
    /// # Errors
    /// When there is no such partition; after `TIMEOUT` it is unknown whether they were turned around.
    pub async fn cancel_reassignments(
        &self,
        partitions: Option<Vec<PartitionRef>>,
    ) -> Result<(u64, Vec<PartitionRef>), BrokerError> {
        let image = self.image();
        let asked: Option<BTreeSet<PartitionId>> = match partitions {
            Some(partitions) => {
                let ids = partitions.iter().map(|one| find_partition(&image, one).map(|(_, id)| id));
                Some(ids.collect::<Result<_, _>>()?)
            }
            None => None,
        };
        let mut turned = Vec::new();
        let mut topics: Vec<&Arc<TopicRecord>> = image.topics().collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for topic in topics {
            for (index, record) in (0..).map(PartitionIndex).zip(&topic.partitions) {
                let id = PartitionId { topic: topic.id, index };
                let is_asked = asked.as_ref().is_none_or(|asked| asked.contains(&id));
                let goes_on =
                    record.reassignment.as_ref().is_some_and(|moving| moving.before != record.replicas);
                if is_asked && goes_on {
                    turned.push((id, partition_ref(topic, index)));
                }
            }
        }
        let mut version = image.version().0;
        for part in turned.chunks(MOVES_PER_COMMAND_MAX) {
            let partitions = part.iter().map(|(id, _)| *id).collect();
            version = self.propose(&MetadataCommand::CancelReassignments { partitions }).await?.version.0;
        }
        Ok((version, turned.into_iter().map(|(_, named)| named).collect()))
    }

    /// The moves under way of the partitions that count.
    pub(crate) fn reassigning(
        &self,
        gathered: &Gathered,
        counts: impl Fn(&PartitionRecord) -> bool,
    ) -> Vec<Reassigning> {
        let moving = gathered.partitions().filter_map(|(topic, id)| {
            let record = topic.partition(id.index).filter(|record| counts(record))?;
            let moving = record.reassignment.as_ref()?;
            let states = gathered.attention.get(&id).cloned().unwrap_or_default();
            let (leader, size_bytes) = match gathered.led.get(&id) {
                Some((leader, size)) => (Some(*leader), *size),
                None => (None, 0),
            };
            Some(Reassigning {
                topic: topic.name.as_str().to_owned(),
                id,
                replicas: record.replicas.to_vec(),
                before: moving.before.to_vec(),
                leaving: moving.leaving.to_vec(),
                started_at: moving.started_at,
                leader,
                waits_for: waits_for(leader, &states),
                states,
                size_bytes,
            })
        });
        moving.collect()
    }
}

/// What a move waits for, from what its leader tells.
fn waits_for(leader: Option<NodeId>, states: &[ReplicaState]) -> String {
    if leader.is_none() {
        return "a leader: no node that answers leads the partition".to_owned();
    }
    let behind = states.iter().filter(|state| !state.is_leaving && state.role != Some(ReplicaRole::Voter));
    let behind: Vec<String> = behind.map(ReplicaState::problem).collect();
    if behind.is_empty() { "the change of its members".to_owned() } else { behind.join("; ") }
}

fn partition_ref(topic: &TopicRecord, index: PartitionIndex) -> PartitionRef {
    let topic = TopicRef { name: topic.name.as_str().to_owned(), id: Some(topic.id) };
    PartitionRef { topic, index }
}

fn planned(gathered: &Gathered, wanted: PartitionMove) -> Option<PlannedMove> {
    let PartitionMove { partition, replicas, replicas_before } = wanted;
    let topic = gathered.image.topic(partition.topic)?;
    let size_bytes = gathered.led.get(&partition).map_or(0, |(_, size)| *size);
    Some(PlannedMove {
        partition: partition_ref(topic, partition.index),
        replicas,
        replicas_before,
        size_bytes,
    })
}

/// A partition that a client names.
pub(crate) fn find_partition<'a>(
    image: &'a MetadataImage,
    named: &PartitionRef,
) -> Result<(&'a PartitionRecord, PartitionId), BrokerError> {
    let topic = find_topic(image, &named.topic)?;
    let Some(record) = topic.partition(named.index) else {
        let (count, index) = (topic.partition_count(), named.index);
        let message =
            format!("topic '{}' has {count} partitions, from 0; there is no partition {index}", topic.name);
        let error = BrokerError::new(ErrorCode::UnknownTopicOrPartition, message);
        return Err(error.with_topic(topic.name.as_str()).with_partition(index));
    };
    Ok((record, PartitionId { topic: topic.id, index: named.index }))
}

fn assigned(
    image: &MetadataImage,
    wanted: &[(PartitionRef, Vec<NodeId>)],
) -> Result<Vec<PartitionMove>, BrokerError> {
    let moves = wanted.iter().map(|(named, replicas)| {
        let (record, partition) = find_partition(image, named)?;
        let (replicas, replicas_before) = (replicas.clone(), record.replicas.to_vec());
        Ok(PartitionMove { partition, replicas, replicas_before })
    });
    moves.collect()
}

/// The topics all of whose partitions are given another number of replicas than they have.
fn changed_factors(image: &MetadataImage, moves: &[PartitionMove]) -> BTreeMap<TopicId, u32> {
    let mut given: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for wanted in moves {
        given.entry(wanted.partition.topic).or_default().push(wanted.replicas.len());
    }
    let changed = given.into_iter().filter_map(|(id, counts)| {
        let topic = image.topic(id)?;
        let factor = u32::try_from(*counts.first()?).ok()?;
        let is_whole = counts.len() == topic.partitions.len() && counts.iter().all(|count| *count == counts[0]);
        (is_whole && factor != topic.replication_factor()).then_some((id, factor))
    });
    changed.collect()
}
