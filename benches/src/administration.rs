//! What the programs ask of a cluster: topics, modes of nodes, moves of replicas.

use std::time::Duration;

use bytes::Bytes;
use highwater_client::v1::{self, NodeMode, plan_reassignment_request::Goal};
use highwater_client::{Client, ProducerConfig, ProducerRecord};
use highwater_types::NodeId;
use tokio::time::{Instant, sleep};

use crate::BenchError;

/// How long a mode or a move may take.
const DONE_WITHIN: Duration = Duration::from_secs(300);
/// How often it is asked for.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// How long a cluster is measured at full speed.
const MEASURED_FOR: Duration = Duration::from_secs(5);
/// How many records are sent between two looks at the clock.
const RECORDS_PER_LOOK: usize = 256;

/// Creates a topic whose records are durable when they are acknowledged.
///
/// # Errors
/// What the cluster answers.
pub async fn create_topic(
    client: &Client,
    name: &str,
    partitions: u32,
    replicas: usize,
) -> Result<(), BenchError> {
    let request = v1::CreateTopicRequest {
        name: name.to_owned(),
        partitions,
        replication_factor: u32::try_from(replicas).unwrap_or(u32::MAX),
        configs: [("durability".to_owned(), "fsync".to_owned())].into(),
        ..v1::CreateTopicRequest::default()
    };
    client.admin().create_topic(request).await?;
    Ok(())
}

/// Produces so many bytes of values.
///
/// # Errors
/// When a record is not acknowledged.
pub async fn fill(client: &Client, topic: &str, bytes: usize, value_bytes: usize) -> Result<(), BenchError> {
    let producer = client.producer(ProducerConfig::default())?;
    let value = Bytes::from(vec![b'x'; value_bytes]);
    for _ in 0..bytes / value_bytes.max(1) {
        drop(producer.send(topic, ProducerRecord::value(value.clone())).await?);
    }
    producer.close().await?;
    Ok(())
}

/// Records per second that a cluster takes from one producer.
///
/// # Errors
/// When a record is not acknowledged.
pub async fn rate_taken(client: &Client, topic: &str, value_bytes: usize) -> Result<f64, BenchError> {
    let producer = client.producer(ProducerConfig::default())?;
    let value = Bytes::from(vec![b'x'; value_bytes]);
    let (began, mut records) = (Instant::now(), 0);
    while began.elapsed() < MEASURED_FOR {
        for _ in 0..RECORDS_PER_LOOK {
            drop(producer.send(topic, ProducerRecord::value(value.clone())).await?);
        }
        records += RECORDS_PER_LOOK;
    }
    producer.flush().await?;
    let seconds = began.elapsed().as_secs_f64();
    producer.close().await?;
    Ok(records as f64 / seconds)
}

/// Sets a node's mode, and waits until it is carried out.
///
/// # Errors
/// What the cluster answers, or that it takes too long.
pub async fn until_mode_done(client: &Client, node: usize, mode: NodeMode) -> Result<(), BenchError> {
    let node_id = NodeId(node as u64);
    let admin = client.admin();
    admin.set_node_mode(v1::SetNodeModeRequest { node_id: node_id.0, mode: mode.into() }).await?;
    let deadline = Instant::now() + DONE_WITHIN;
    loop {
        let progress = admin.describe_node(node_id).await?.progress.unwrap_or_default();
        if progress.is_done {
            return Ok(());
        }
        if Instant::now() > deadline {
            let what = format!("mode {} of node {node}", mode.as_str_name());
            return Err(not_done(what, format!("{progress:?}")));
        }
        sleep(ASK_EVERY).await;
    }
}

/// A move that is done.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    /// Where the replica was.
    pub from: usize,
    /// Where it is.
    pub to: usize,
    /// A node with another replica, which does not lead.
    pub follower: usize,
}

/// Moves a follower's replica of a topic's only partition to the node that has none, and waits until that is done.
///
/// # Errors
/// What the cluster answers, or that it takes too long.
pub async fn move_replica(client: &Client, topic: &str) -> Result<Moved, BenchError> {
    let admin = client.admin();
    let status = admin.cluster_status().await?;
    let described = admin.describe_topic(topic, false).await?;
    let partition = described.partitions.into_iter().next().unwrap_or_default();
    let replicas = partition.replica_node_ids;
    let followers: Vec<u64> =
        replicas.iter().copied().filter(|node| Some(*node) != partition.leader_node_id).collect();
    let free = status.nodes.iter().map(|node| node.node_id).find(|node| !replicas.contains(node));
    let ([from, follower, ..], Some(to)) = (&followers[..], free) else {
        return Err(not_done(format!("a move of {topic}"), format!("it has its replicas on {replicas:?}")));
    };
    let moved = replicas.iter().map(|node| if node == from { to } else { *node }).collect();
    let assignment = v1::PartitionAssignment {
        topic: topic.to_owned(),
        replica_node_ids: moved,
        ..v1::PartitionAssignment::default()
    };
    let goal = Goal::Assignment(v1::AssignmentGoal { partitions: vec![assignment] });
    let planned = admin.plan_reassignment(goal).await?;
    let request = v1::ApplyReassignmentRequest { plan: planned.plan, validate_only: false };
    admin.apply_reassignment(request).await?;
    let deadline = Instant::now() + DONE_WITHIN;
    loop {
        let listed = admin.list_reassignments().await?;
        let Some(under_way) = listed.reassignments.first() else { break };
        if Instant::now() > deadline {
            return Err(not_done(format!("a move of {topic}"), under_way.waits_for.clone()));
        }
        sleep(ASK_EVERY).await;
    }
    let number = |node: u64| usize::try_from(node).unwrap_or(usize::MAX);
    Ok(Moved { from: number(*from), to: number(to), follower: number(*follower) })
}

fn not_done(what: String, waits_for: String) -> BenchError {
    BenchError::NotDone { what, seconds: DONE_WITHIN.as_secs(), waits_for }
}
