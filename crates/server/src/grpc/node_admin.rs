//! The cluster's state, its nodes and the moves of replicas, as the API has them: requests to the broker's, and its answers back.

use highwater_broker::{
    BrokerError, ClusterStatus, NodeDescription, NodeMode, NodeStatus, PartitionProblem, PartitionRef, Planned,
    PlannedMove, Reassigning, ReassignmentGoal, ReassignmentPlan, RemoveNode, ReplicaRole, StuckPartition,
};
use highwater_proto::v1;
use highwater_types::limits::{PARTITIONS_PER_REQUEST_MAX, PROBLEMS_PER_ANSWER_MAX, WAITS_PER_ANSWER_MAX};
use highwater_types::{Incarnation, NodeId, PartitionIndex};

use super::convert;
use super::replica::{count, millis, replica, report};
use super::status::detail;

/// How the cluster is.
pub(super) fn cluster_status(status: ClusterStatus) -> v1::GetClusterStatusResponse {
    let is_healthy = status.is_healthy();
    v1::GetClusterStatusResponse {
        cluster_id: status.cluster_id.to_string(),
        feature_level: status.feature_level,
        is_healthy,
        controller_node_id: status.controller.map(|node| node.0),
        metadata_voter_ids: status.metadata_voters.into_iter().map(|node| node.0).collect(),
        metadata_version: status.metadata_version,
        answering_node_id: status.answering_node.0,
        nodes: status.nodes.into_iter().map(node_status).collect(),
        topics: count(status.topics),
        partitions: status.partitions,
        unavailable: Some(problems(status.unavailable)),
        under_replicated: Some(problems(status.under_replicated)),
        quarantined: Some(problems(status.quarantined)),
        reassignments: count(status.reassignments),
    }
}

fn problems(problems: Vec<PartitionProblem>) -> v1::PartitionProblems {
    let total = count(problems.len());
    let first = problems.into_iter().take(PROBLEMS_PER_ANSWER_MAX);
    let partitions = first.map(|problem| v1::PartitionProblem {
        topic: problem.topic,
        topic_id: problem.id.topic.to_string(),
        partition: problem.id.index.0,
        leader_node_id: problem.leader.map(|node| node.0),
        node_ids: ids(problem.nodes),
        reason: problem.reason,
    });
    v1::PartitionProblems { count: total, partitions: partitions.collect() }
}

fn node_status(status: NodeStatus) -> v1::NodeStatus {
    let record = status.record;
    let role = match status.metadata_role {
        None => v1::MetadataRole::Unspecified,
        Some(ReplicaRole::Voter) => v1::MetadataRole::Voter,
        Some(ReplicaRole::Learner) => v1::MetadataRole::Learner,
        Some(ReplicaRole::Missing) => v1::MetadataRole::Missing,
    };
    let (told, error) = match status.report {
        Ok(told) => (Some(report(&told)), None),
        Err(error) => (None, Some(detail(error))),
    };
    v1::NodeStatus {
        node_id: record.id.0,
        incarnation: record.incarnation.to_string(),
        address: status.address,
        peer_address: status.peer_address,
        rack: record.rack.unwrap_or_default(),
        mode: node_mode(record.mode).into(),
        mode_since_ms: record.mode_since.map(|time| time.0),
        feature_level_supported: record.feature_level_newest.0,
        metadata_role: role.into(),
        replicas: status.replicas,
        preferred_leaders: status.preferred_leaders,
        is_reachable: status.is_reachable,
        last_seen_ms: status.last_seen.map(millis),
        report: told,
        error,
    }
}

/// A node, and how far its mode is carried out.
pub(super) fn node_description(described: NodeDescription) -> v1::DescribeNodeResponse {
    let progress = described.progress;
    let is_done = progress.is_done();
    v1::DescribeNodeResponse {
        node: Some(node_status(described.status)),
        progress: Some(v1::NodeProgress {
            is_done,
            leaders_left: count(progress.leaders_left),
            replicas_left: count(progress.replicas_left),
            is_metadata_leader_left: progress.is_metadata_leader_left,
            is_metadata_vote_left: progress.is_metadata_vote_left,
            leaders_awaited: count(progress.leaders_awaited),
            moves: progress.moves.into_iter().take(WAITS_PER_ANSWER_MAX).map(reassignment).collect(),
            stuck: progress.stuck.into_iter().take(WAITS_PER_ANSWER_MAX).map(stuck).collect(),
            unavailable_meanwhile: count(progress.unavailable_meanwhile),
        }),
        metadata_version: described.metadata_version,
    }
}

fn stuck(stuck: StuckPartition) -> v1::StuckPartition {
    v1::StuckPartition {
        topic: stuck.topic,
        topic_id: stuck.id.topic.to_string(),
        partition: stuck.id.index.0,
        reason: stuck.reason,
    }
}

fn node_mode(mode: NodeMode) -> v1::NodeMode {
    match mode {
        NodeMode::Serving => v1::NodeMode::Active,
        NodeMode::Maintenance => v1::NodeMode::Maintenance,
        NodeMode::Draining => v1::NodeMode::Draining,
    }
}

/// The mode that a request names.
pub(super) fn wanted_mode(mode: v1::NodeMode) -> Result<NodeMode, BrokerError> {
    match mode {
        v1::NodeMode::Active => Ok(NodeMode::Serving),
        v1::NodeMode::Maintenance => Ok(NodeMode::Maintenance),
        v1::NodeMode::Draining => Ok(NodeMode::Draining),
        v1::NodeMode::Unspecified => Err(BrokerError::invalid_request(
            "the mode is missing or unknown: it is active, maintenance or draining",
        )),
    }
}

/// The node that a request wants removed.
pub(super) fn removal(request: &v1::RemoveNodeRequest) -> Result<RemoveNode, BrokerError> {
    let incarnation = match request.incarnation.as_str() {
        "" => None,
        text => Some(u64::from_str_radix(text, 16).map(Incarnation).map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            BrokerError::invalid_request(format!("'{shown}' is no incarnation: it has 16 hexadecimal digits"))
        })?),
    };
    Ok(RemoveNode { node: NodeId(request.node_id), incarnation, force: request.force })
}

/// A partition that a request names.
pub(super) fn partition_ref(
    topic: String,
    topic_id: &str,
    partition: u32,
) -> Result<PartitionRef, BrokerError> {
    Ok(PartitionRef { topic: convert::topic_ref(topic, topic_id)?, index: PartitionIndex(partition) })
}

/// What a plan is wanted for.
pub(super) fn goal(request: v1::PlanReassignmentRequest) -> Result<ReassignmentGoal, BrokerError> {
    use v1::plan_reassignment_request::Goal;
    match request.goal {
        None => Err(BrokerError::invalid_request("the request names no goal: balance, drain or assignment")),
        Some(Goal::Balance(_)) => Ok(ReassignmentGoal::Balance),
        Some(Goal::Drain(drain)) => Ok(ReassignmentGoal::Drain(NodeId(drain.node_id))),
        Some(Goal::Assignment(assignment)) => {
            check_count(assignment.partitions.len())?;
            let wanted = assignment.partitions.into_iter().map(|wanted| {
                let partition = partition_ref(wanted.topic, &wanted.topic_id, wanted.partition)?;
                Ok((partition, nodes(&wanted.replica_node_ids)))
            });
            wanted.collect::<Result<_, BrokerError>>().map(ReassignmentGoal::Assign)
        }
    }
}

fn check_count(count: usize) -> Result<(), BrokerError> {
    let max = PARTITIONS_PER_REQUEST_MAX;
    if count == 0 || count > max {
        let message = format!("{count} partitions were given; 1 to {max} are possible");
        return Err(BrokerError::invalid_request(message));
    }
    Ok(())
}

/// What a planner came to.
pub(super) fn planned(planned: Planned) -> v1::PlanReassignmentResponse {
    let (mut replicas_moved, mut leaders_moved, mut bytes_moved) = (0, 0, 0_u64);
    for one in &planned.plan.moves {
        let joining = one.replicas.iter().filter(|node| !one.replicas_before.contains(node)).count();
        replicas_moved += joining;
        leaders_moved += usize::from(one.replicas.first() != one.replicas_before.first());
        let copies = u64::try_from(joining).unwrap_or(u64::MAX);
        bytes_moved = bytes_moved.saturating_add(one.size_bytes.saturating_mul(copies));
    }
    v1::PlanReassignmentResponse {
        plan: Some(plan_message(planned.plan)),
        stuck: planned.stuck.into_iter().take(PROBLEMS_PER_ANSWER_MAX).map(stuck).collect(),
        replicas_moved: count(replicas_moved),
        leaders_moved: count(leaders_moved),
        bytes_moved,
        metadata_version: planned.metadata_version,
        more: count(planned.more),
    }
}

fn plan_message(plan: ReassignmentPlan) -> v1::ReassignmentPlan {
    let moves = plan.moves.into_iter().map(|one| v1::PartitionMove {
        topic_id: one.partition.topic.id.map(|id| id.to_string()).unwrap_or_default(),
        topic: one.partition.topic.name,
        partition: one.partition.index.0,
        replica_node_ids: ids(one.replicas),
        previous_node_ids: ids(one.replicas_before),
        size_bytes: one.size_bytes,
    });
    let factors = plan.replication_factors.into_iter();
    v1::ReassignmentPlan {
        moves: moves.collect(),
        replication_factors: factors.map(|(topic, factor)| (topic.to_string(), factor)).collect(),
    }
}

/// The plan that a request carries.
pub(super) fn plan(plan: Option<v1::ReassignmentPlan>) -> Result<ReassignmentPlan, BrokerError> {
    let plan = plan.ok_or_else(|| BrokerError::invalid_request("the plan is missing"))?;
    let moves = plan.moves.into_iter().map(|one| {
        Ok(PlannedMove {
            partition: partition_ref(one.topic, &one.topic_id, one.partition)?,
            replicas: nodes(&one.replica_node_ids),
            replicas_before: nodes(&one.previous_node_ids),
            size_bytes: one.size_bytes,
        })
    });
    let factors = plan.replication_factors.into_iter();
    let factors = factors.map(|(topic, factor)| Ok((convert::topic_id(&topic)?, factor)));
    Ok(ReassignmentPlan {
        moves: moves.collect::<Result<_, BrokerError>>()?,
        replication_factors: factors.collect::<Result<_, BrokerError>>()?,
    })
}

/// A move that is under way.
pub(super) fn reassignment(moving: Reassigning) -> v1::Reassignment {
    v1::Reassignment {
        topic: moving.topic,
        topic_id: moving.id.topic.to_string(),
        partition: moving.id.index.0,
        replica_node_ids: ids(moving.replicas),
        previous_node_ids: ids(moving.before),
        leaving_node_ids: ids(moving.leaving),
        started_at_ms: moving.started_at.0,
        leader_node_id: moving.leader.map(|node| node.0),
        replicas: moving.states.iter().map(replica).collect(),
        size_bytes: moving.size_bytes,
        waits_for: moving.waits_for,
    }
}

/// Which moves a request wants turned around; none stands for all.
pub(super) fn selection(
    request: v1::CancelReassignmentsRequest,
) -> Result<Option<Vec<PartitionRef>>, BrokerError> {
    if request.all {
        return if request.partitions.is_empty() {
            Ok(None)
        } else {
            Err(BrokerError::invalid_request(
                "the request names partitions, and all of them: give one or the other",
            ))
        };
    }
    check_count(request.partitions.len())?;
    let named = request.partitions.into_iter();
    named.map(|one| partition_ref(one.topic, &one.topic_id, one.partition)).collect::<Result<_, _>>().map(Some)
}

/// A partition as an answer names it.
pub(super) fn selected(partition: PartitionRef) -> v1::PartitionSelection {
    v1::PartitionSelection {
        topic_id: partition.topic.id.map(|id| id.to_string()).unwrap_or_default(),
        topic: partition.topic.name,
        partition: partition.index.0,
    }
}

fn ids(nodes: Vec<NodeId>) -> Vec<u64> {
    nodes.into_iter().map(|node| node.0).collect()
}

fn nodes(ids: &[u64]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}
