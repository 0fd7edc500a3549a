//! What an operator does to a cluster of whole nodes while clients use it: nodes drain, rest, leave and join, replicas move, and nothing
//! that was acknowledged is lost.

mod harness;

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::gated_disk::{Gate, GatedDisk};
use harness::{TestNode, append_anywhere, busy_upkeep, code, soon};
use highwater_client::{
    Admin, Client, ClientError, ConsumerConfig, ProducerConfig, ProducerRecord, StartPosition,
};
use highwater_proto::v1;
use highwater_proto::v1::plan_reassignment_request::Goal;
use highwater_server::{Node, NodeConfig, NodeData, NodeFailure, NodeParts};
use highwater_types::{NodeId, Offset, PartitionIndex};
use tokio::time::sleep;

const TOPIC: &str = "orders";
const PARTITIONS: u32 = 4;

/// So many nodes: the first began the cluster, the others joined it.
async fn cluster(count: u64) -> Vec<TestNode> {
    let first = start(1, Vec::new()).await;
    let seeds = vec![first.node.grpc_address().to_string()];
    let mut nodes = vec![first];
    for id in 2..=count {
        nodes.push(start(id, seeds.clone()).await);
    }
    nodes
}

async fn start(id: u64, seeds: Vec<String>) -> TestNode {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let change = |config: NodeConfig| busy_upkeep(NodeConfig { node: NodeId(id), seeds, ..config });
    soon("it starts", TestNode::start_in(directory, change)).await
}

/// The same on a disk with a gate.
async fn start_gated(id: u64, seeds: Vec<String>) -> (TestNode, Arc<Gate>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (disk, gate) = GatedDisk::new(directory.path());
    let config = NodeConfig::local(directory.path().join("data")).on_free_ports();
    let config = busy_upkeep(NodeConfig { node: NodeId(id), seeds, ..config });
    let parts = NodeParts::machine(&config).await.expect("free ports");
    let parts = NodeParts { data: NodeData::Disk(Arc::new(disk)), ..parts };
    let node = soon("it starts", Node::start_with(config, parts)).await.expect("the node starts");
    (TestNode { node, directory }, gate)
}

fn at(nodes: &[TestNode], id: u64) -> usize {
    nodes.iter().position(|node| node.node.id().0 == id).expect("it runs")
}

fn client(nodes: &[TestNode]) -> Client {
    let addresses: Vec<String> = nodes.iter().map(|node| node.node.grpc_address().to_string()).collect();
    Client::connect(addresses).expect("addresses")
}

/// Asks again and again until what is asked for is so.
async fn wait_for<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    soon(what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

async fn healthy(admin: &Admin) -> v1::GetClusterStatusResponse {
    wait_for("the cluster is healthy", || async {
        admin.cluster_status().await.ok().filter(|status| status.is_healthy)
    })
    .await
}

/// The node once nothing is left to be done of its mode.
async fn done(admin: &Admin, node: u64) -> v1::DescribeNodeResponse {
    wait_for("the node's mode is carried out", || async {
        let described = admin.describe_node(NodeId(node)).await.ok()?;
        described.progress.as_ref().is_some_and(|progress| progress.is_done).then_some(described)
    })
    .await
}

async fn set_mode(admin: &Admin, node: u64, mode: v1::NodeMode) {
    let request = v1::SetNodeModeRequest { node_id: node, mode: mode.into() };
    admin.set_node_mode(request).await.expect("set");
}

async fn partitions(admin: &Admin) -> Vec<v1::PartitionDescription> {
    admin.describe_topic(TOPIC, true).await.expect("described").partitions
}

/// The partitions once whoever is asked shows all of them so; it hears of new leaders a moment later than they lead.
async fn shown(
    admin: &Admin,
    is_so: impl Fn(&v1::PartitionDescription) -> bool,
) -> Vec<v1::PartitionDescription> {
    wait_for("the partitions are shown so", || async {
        let described = partitions(admin).await;
        described.iter().all(&is_so).then_some(described)
    })
    .await
}

async fn settled(admin: &Admin) {
    wait_for("no replica moves any more", || async {
        let listed = admin.list_reassignments().await.ok()?;
        listed.reassignments.is_empty().then_some(())
    })
    .await;
}

fn detail(error: ClientError) -> v1::ErrorDetail {
    match error {
        ClientError::Api(detail) => *detail,
        other => panic!("{other}"),
    }
}

fn record(number: usize) -> ProducerRecord {
    let partition = PartitionIndex(u32::try_from(number).expect("small") % PARTITIONS);
    ProducerRecord { partition: Some(partition), ..ProducerRecord::value(format!("{number:08}")) }
}

/// Produces without a pause while `work` is under way, and then reads everything: each record is there, once and in order.
async fn under_load<T>(client: &Client, work: impl Future<Output = T>) -> T {
    let producer = client.producer(ProducerConfig::default()).expect("a producer");
    let is_over = AtomicBool::new(false);
    let produce = async {
        let mut sent = 0;
        while !is_over.load(Ordering::Relaxed) {
            let mut deliveries = Vec::new();
            for number in sent..sent + 20 {
                deliveries.push(producer.send(TOPIC, record(number)).await.expect("buffered"));
            }
            for delivery in deliveries {
                soon("an acknowledgement", delivery.wait()).await.expect("no error surfaces");
            }
            sent += 20;
        }
        sent
    };
    let work = async {
        let done = work.await;
        is_over.store(true, Ordering::Relaxed);
        done
    };
    let (sent, done) = tokio::join!(produce, work);
    let config = ConsumerConfig::starting_at(StartPosition::Earliest);
    let mut consumer = client.consumer(TOPIC, &[], config).await.expect("a consumer");
    let mut next = vec![0_usize; PARTITIONS as usize];
    let mut read = 0;
    while read < sent {
        let batch =
            soon("the next batch", consumer.next_batch()).await.expect("no error").expect("not the end");
        let partition = batch.partition.0 as usize;
        for record in batch.records {
            let expected = next[partition] * PARTITIONS as usize + partition;
            assert_eq!(record.offset, Offset(i64::try_from(next[partition]).expect("small")));
            assert_eq!(record.value.as_deref(), Some(format!("{expected:08}").as_bytes()));
            next[partition] += 1;
            read += 1;
        }
    }
    assert_eq!(read, sent);
    done
}

async fn stop(nodes: Vec<TestNode>) {
    for node in nodes {
        soon("it stops", node.stop()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_drained_and_removed_under_load_ends_empty_and_nothing_is_lost() {
    let mut nodes = cluster(4).await;
    nodes[0].create_replicated(TOPIC, PARTITIONS, 3, &[]).await;
    let client = client(&nodes);
    let admin = client.admin();
    healthy(&admin).await;
    // One that leads and holds, and votes on the metadata.
    let leaving = 1;
    under_load(&client, async {
        let early = admin.remove_node(v1::RemoveNodeRequest { node_id: leaving, ..Default::default() }).await;
        let early = detail(early.expect_err("it holds replicas"));
        assert_eq!(early.code, "INVALID_REQUEST", "{early:?}");
        assert!(early.message.contains("alive and active, and holds replicas of"), "{early:?}");
        assert!(!early.message.contains("force"), "force does not help: {early:?}");
        set_mode(&admin, leaving, v1::NodeMode::Draining).await;
        // To say it again changes nothing.
        set_mode(&admin, leaving, v1::NodeMode::Draining).await;
        let drained = done(&admin, leaving).await;
        let (status, progress) = (drained.node.expect("told"), drained.progress.expect("told"));
        assert_eq!((status.replicas, progress.replicas_left, progress.leaders_left), (0, 0, 0));
        let status = wait_for("its data is gone", || async {
            let status = admin.describe_node(NodeId(leaving)).await.ok()?.node?;
            status.report.as_ref().is_some_and(|report| report.replicas == 0).then_some(status)
        })
        .await;
        assert_eq!(status.metadata_role(), v1::MetadataRole::Learner);
        for partition in partitions(&admin).await {
            assert_eq!(partition.replica_node_ids.len(), 3, "{partition:?}");
            assert!(!partition.replica_node_ids.contains(&leaving), "{partition:?}");
        }
        let request = v1::RemoveNodeRequest { node_id: leaving, ..Default::default() };
        admin.remove_node(request.clone()).await.expect("removed");
        let gone = nodes.remove(at(&nodes, leaving));
        let ends = soon("it learns that it was removed", gone.node.failed()).await;
        assert!(matches!(ends, NodeFailure::ShutOut { .. }), "{ends}");
        soon("it stops", gone.stop()).await;
        admin.remove_node(request).await.expect("removed before");
    })
    .await;
    let status = healthy(&admin).await;
    assert_eq!(status.nodes.iter().map(|node| node.node_id).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(status.metadata_voter_ids, [2, 3, 4]);
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_told_to_remove_itself_answers_before_it_ends_whether_it_leads_the_metadata_or_not() {
    let mut nodes = cluster(4).await;
    for leads in [false, true] {
        let admin = client(&nodes).admin();
        let status = wait_for("three of those that are there vote", || async {
            let status = healthy(&admin).await;
            let is_there = |voter| nodes.iter().any(|node| node.node.id().0 == voter);
            let voters = &status.metadata_voter_ids;
            (voters.len() == 3 && voters.iter().copied().all(is_there)).then_some(status)
        })
        .await;
        let controller = status.controller_node_id.expect("somebody leads the metadata");
        let place = nodes.iter().position(|node| (node.node.id().0 == controller) == leads).expect("it runs");
        let leaving = nodes.remove(place);
        let admin = client(std::slice::from_ref(&leaving)).admin();
        let seen =
            status.nodes.iter().find(|node| node.node_id == leaving.node.id().0).expect("of the cluster");
        let request =
            v1::RemoveNodeRequest { node_id: seen.node_id, incarnation: seen.incarnation.clone(), force: true };
        // As its process does: it stops when it learns that it was removed.
        let ends = async {
            let ends = soon("it learns that it was removed", leaving.node.failed()).await;
            assert!(matches!(ends, NodeFailure::ShutOut { .. }), "{ends}");
            let stopping = Instant::now();
            soon("it stops", leaving.stop()).await;
            stopping.elapsed()
        };
        let (removed, stopped_in) = tokio::join!(admin.remove_node(request), ends);
        removed.expect("removed");
        let deadline = NodeConfig::local(PathBuf::new()).shutdown_deadline;
        assert!(stopped_in < deadline, "no connection was cut off: {stopped_in:?}");
    }
    assert_eq!(healthy(&client(&nodes).admin()).await.nodes.len(), 2);
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_node_gets_replicas_by_a_balance_plan_and_leaders_move_where_they_are_sent() {
    let mut nodes = cluster(3).await;
    nodes[0].create_replicated(TOPIC, PARTITIONS, 2, &[]).await;
    nodes.push(start(4, vec![nodes[0].node.grpc_address().to_string()]).await);
    let client = client(&nodes);
    let admin = client.admin();
    healthy(&admin).await;
    under_load(&client, async {
        let planned = wait_for("the fourth node is known", || async {
            let planned = admin.plan_reassignment(Goal::Balance(v1::BalanceGoal {})).await.expect("planned");
            (planned.replicas_moved > 0).then_some(planned)
        })
        .await;
        let plan = planned.plan.expect("told");
        assert!(partitions(&admin).await.iter().all(|partition| !partition.replica_node_ids.contains(&4)));
        let apply = v1::ApplyReassignmentRequest { plan: Some(plan), validate_only: false };
        admin.apply_reassignment(apply.clone()).await.expect("applied");
        admin.apply_reassignment(apply).await.expect("applied before");
        settled(&admin).await;
        let status = healthy(&admin).await;
        let held: Vec<u32> = status.nodes.iter().map(|node| node.replicas).collect();
        assert_eq!(held, [2, 2, 2, 2]);
        let again = admin.plan_reassignment(Goal::Balance(v1::BalanceGoal {})).await.expect("planned");
        assert!(again.plan.expect("told").moves.is_empty(), "an even cluster needs none");

        let partition = partitions(&admin).await.swap_remove(0);
        let to_node_id = partition.replica_node_ids[1];
        let transfer = v1::TransferLeaderRequest { topic: TOPIC.to_owned(), to_node_id, ..Default::default() };
        admin.transfer_leader(transfer).await.expect("it leads");
        let partition = partitions(&admin).await.swap_remove(0);
        assert_eq!(partition.replica_node_ids[0], to_node_id);
        assert_eq!(partition.leader_node_id, Some(to_node_id));
    })
    .await;
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_cannot_go_on_is_told_and_when_cancelled_leaves_the_replicas_of_before() {
    let mut nodes = cluster(4).await;
    nodes[0].create_replicated(TOPIC, PARTITIONS, 2, &[]).await;
    let client = client(&nodes[..3]);
    let admin = client.admin();
    healthy(&admin).await;
    let before = partitions(&admin).await.swap_remove(0);
    let held: BTreeSet<u64> = before.replica_node_ids.iter().copied().collect();
    // A node that is not there when the replica should come to it. The first founded the cluster, and stays.
    let absent = (2..=4).find(|id| !held.contains(id)).expect("two of four hold it");
    let gone = nodes.remove(at(&nodes, absent));
    soon("it stops", gone.stop()).await;
    let assignment = v1::PartitionAssignment {
        topic: TOPIC.to_owned(),
        replica_node_ids: vec![before.replica_node_ids[0], absent],
        ..Default::default()
    };
    let goal = Goal::Assignment(v1::AssignmentGoal { partitions: vec![assignment] });
    let plan = admin.plan_reassignment(goal).await.expect("planned").plan;
    admin
        .apply_reassignment(v1::ApplyReassignmentRequest { plan, validate_only: false })
        .await
        .expect("applied");
    let moving = wait_for("it waits for the node that is away", || async {
        let listed = admin.list_reassignments().await.ok()?;
        let moving = listed.reassignments.into_iter().next()?;
        moving.waits_for.contains(&format!("node {absent} cannot be reached")).then_some(moving)
    })
    .await;
    assert_eq!(moving.previous_node_ids, before.replica_node_ids);
    let cancel = v1::CancelReassignmentsRequest { all: true, ..Default::default() };
    let cancelled = admin.cancel_reassignments(cancel.clone()).await.expect("turned around").cancelled;
    assert_eq!(cancelled.len(), 1);
    assert!(admin.cancel_reassignments(cancel).await.expect("nothing is left to turn").cancelled.is_empty());
    settled(&admin).await;
    let after = partitions(&admin).await.swap_remove(0);
    assert_eq!(after.replica_node_ids, before.replica_node_ids);
    assert!(after.leaving_node_ids.is_empty());
    assert!(after.replicas.iter().all(|replica| replica.role() == v1::ReplicaRole::Voter), "{after:?}");
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_in_maintenance_hands_over_what_it_leads_and_gets_it_back() {
    let nodes = cluster(3).await;
    nodes[0].create_replicated(TOPIC, PARTITIONS, 3, &[]).await;
    let client = client(&nodes);
    let admin = client.admin();
    let status = healthy(&admin).await;
    let resting = status.controller_node_id.expect("somebody leads the metadata");
    let preferred = |partition: &&v1::PartitionDescription| partition.replica_node_ids[0] == resting;
    under_load(&client, async {
        set_mode(&admin, resting, v1::NodeMode::Maintenance).await;
        done(&admin, resting).await;
        let described =
            shown(&admin, |partition| partition.leader_node_id.is_some_and(|leader| leader != resting)).await;
        assert!(described.iter().any(|partition| preferred(&partition)), "it leads some of four");
        assert!(described.iter().all(|partition| partition.replica_node_ids.len() == 3), "replicas stay");
        let status = healthy(&admin).await;
        assert_ne!(status.controller_node_id, Some(resting), "the metadata are led elsewhere too");
        set_mode(&admin, resting, v1::NodeMode::Active).await;
        done(&admin, resting).await;
        shown(&admin, |partition| !preferred(&partition) || partition.leader_node_id == Some(resting)).await;
    })
    .await;
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_in_maintenance_hands_over_to_who_keeps_up_when_the_first_in_line_does_not() {
    let first = start(1, Vec::new()).await;
    let seeds = vec![first.node.grpc_address().to_string()];
    let (second, gate) = start_gated(2, seeds.clone()).await;
    let nodes = vec![first, second, start(3, seeds).await];
    nodes[0].create_replicated(TOPIC, 1, 3, &[]).await;
    let client = client(&nodes[..1]);
    let admin = client.admin();
    healthy(&admin).await;
    let assignment = v1::PartitionAssignment {
        topic: TOPIC.to_owned(),
        replica_node_ids: vec![1, 2, 3],
        ..Default::default()
    };
    let goal = Goal::Assignment(v1::AssignmentGoal { partitions: vec![assignment] });
    let plan = admin.plan_reassignment(goal).await.expect("planned").plan;
    let apply = v1::ApplyReassignmentRequest { plan, validate_only: false };
    admin.apply_reassignment(apply).await.expect("applied");
    wait_for("the first leads", || async {
        (partitions(&admin).await[0].leader_node_id == Some(1)).then_some(())
    })
    .await;

    gate.close();
    append_anywhere(&mut nodes[0].log().await, TOPIC, 0, b"what the second does not store").await;
    set_mode(&admin, 1, v1::NodeMode::Maintenance).await;
    done(&admin, 1).await;
    shown(&admin, |partition| partition.leader_node_id == Some(3)).await;
    let status = admin.cluster_status().await.expect("told");
    assert_eq!(status.controller_node_id, Some(3), "the metadata are led elsewhere too");
    gate.open();
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_voter_is_told_drained_and_removed_and_another_votes_in_its_place() {
    let mut nodes = cluster(4).await;
    nodes[0].create_replicated(TOPIC, PARTITIONS, 3, &[]).await;
    let seeds = vec![nodes[0].node.grpc_address().to_string()];
    let first = client(&nodes);
    let status = healthy(&first.admin()).await;
    let dead = *status.metadata_voter_ids.iter().find(|voter| **voter != 1).expect("three vote");
    let lost = nodes.remove(at(&nodes, dead));
    let directory = soon("it stops", lost.stop()).await;
    let client = client(&nodes);
    let admin = client.admin();
    under_load(&client, async {
        let (status, node) = wait_for("it is told that it is away", || async {
            let status = admin.cluster_status().await.ok()?;
            let node = status.nodes.iter().find(|node| node.node_id == dead).expect("of the cluster").clone();
            let is_felt = status.under_replicated.as_ref().is_some_and(|problems| problems.count > 0);
            (is_felt && !node.is_reachable).then_some((status, node))
        })
        .await;
        assert!(!status.is_healthy);
        assert!(node.report.is_none() && node.error.is_some(), "{node:?}");
        set_mode(&admin, dead, v1::NodeMode::Draining).await;
        done(&admin, dead).await;
        let request = v1::RemoveNodeRequest { node_id: dead, ..Default::default() };
        admin.remove_node(request).await.expect("removed");
        let status = healthy(&admin).await;
        assert_eq!(status.metadata_voter_ids.len(), 3);
        assert!(!status.metadata_voter_ids.contains(&dead));
    })
    .await;
    // Its data directory never comes back: it is refused, and changes nothing.
    let config = NodeConfig::local(directory.path().join("data")).on_free_ports();
    let back = NodeConfig { node: NodeId(dead), seeds, ..config };
    if let Ok(Ok(node)) = tokio::time::timeout(Duration::from_secs(3), Node::start(back)).await {
        let status = healthy(&admin).await;
        assert!(status.nodes.iter().all(|known| known.node_id != dead));
        node.shutdown().await.expect("a clean shutdown");
    }
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_nodes_and_partitions_and_plans_that_are_not_possible_are_clear_errors() {
    let nodes = cluster(2).await;
    nodes[0].create_replicated(TOPIC, 1, 1, &[]).await;
    let client = client(&nodes);
    let admin = client.admin();
    healthy(&admin).await;
    let unknown = detail(admin.describe_node(NodeId(9)).await.expect_err("no such node"));
    assert!(unknown.message.contains("node 9") && unknown.message.contains("1, 2"), "{unknown:?}");
    let request = v1::SetNodeModeRequest { node_id: 9, mode: v1::NodeMode::Draining.into() };
    let unknown = detail(admin.set_node_mode(request).await.expect_err("no such node"));
    assert_eq!(unknown.code, "INVALID_REQUEST", "{unknown:?}");
    let request = v1::SetNodeModeRequest { node_id: 1, mode: 0 };
    assert_eq!(detail(admin.set_node_mode(request).await.expect_err("no mode")).code, "INVALID_REQUEST");
    let removal = v1::RemoveNodeRequest { node_id: 9, ..Default::default() };
    let unknown = detail(admin.remove_node(removal).await.expect_err("no such node"));
    assert!(unknown.message.contains("node 9 is not in the cluster"), "{unknown:?}");

    let holder = partitions(&admin).await[0].replica_node_ids[0];
    let other = 3 - holder;
    for (node_id, force) in [(holder, false), (holder, true)] {
        let removal = v1::RemoveNodeRequest { node_id, force, ..Default::default() };
        let refused = detail(admin.remove_node(removal).await.expect_err("the last copy"));
        assert!(refused.message.contains("the only replica of 1 partitions (orders-0)"), "{refused:?}");
    }
    let removal = v1::RemoveNodeRequest { node_id: other, ..Default::default() };
    let refused = detail(admin.remove_node(removal).await.expect_err("it is alive"));
    assert!(refused.message.contains("alive and active: drain it first, or force its removal"), "{refused:?}");

    let transfer = |partition, to_node_id| v1::TransferLeaderRequest {
        topic: TOPIC.to_owned(),
        partition,
        to_node_id,
        ..Default::default()
    };
    let refused = detail(admin.transfer_leader(transfer(0, other)).await.expect_err("no replica"));
    assert!(refused.message.contains("has no replica"), "{refused:?}");
    let refused = detail(admin.transfer_leader(transfer(7, holder)).await.expect_err("no partition"));
    assert_eq!(refused.code, "UNKNOWN_TOPIC_OR_PARTITION");
    let assignment =
        v1::PartitionAssignment { topic: TOPIC.to_owned(), replica_node_ids: vec![9], ..Default::default() };
    let goal = Goal::Assignment(v1::AssignmentGoal { partitions: vec![assignment] });
    let refused = detail(admin.plan_reassignment(goal).await.expect_err("no such node"));
    assert!(refused.message.contains("node 9 is not registered"), "{refused:?}");
    let mut bare = nodes[0].admin().await;
    let refused = bare.plan_reassignment(v1::PlanReassignmentRequest::default()).await.expect_err("no goal");
    assert_eq!(code(&refused), "INVALID_REQUEST");
    stop(nodes).await;
}
