//! Nodes whose journal is damaged below what was durable: each may have lost a vote, or a record that it acknowledged. It comes back as a new
//! member when the cluster goes on without what it has stored, and gives up nothing before.

mod harness;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::clusters::{reads_all, with_segments};
use harness::{TestNode, append_anywhere, bounds, contents, describe, log_files, soon};
use highwater_proto::v1;
use highwater_server::{NodeConfig, NodeFailure};
use highwater_types::NodeId;
use tempfile::TempDir;
use tokio::time::sleep;

const RECORDS: i64 = 40;

/// Who a node is, and where: a node that comes back is found where it was, also by those that hear of nothing.
#[derive(Clone, Copy)]
struct Place {
    node: NodeId,
    grpc: SocketAddr,
    peer: SocketAddr,
}

fn place(node: &TestNode) -> Place {
    Place { node: node.node.id(), grpc: node.node.grpc_address(), peer: node.node.peer_address() }
}

/// Starts a node again, with another one to ask.
async fn again(directory: TempDir, place: Place, seed: &TestNode) -> TestNode {
    let seeds = vec![seed.node.grpc_address().to_string()];
    let Place { node, grpc, peer } = place;
    TestNode::start_in(directory, |config| NodeConfig { node, grpc, peer, seeds, ..config }).await
}

/// Stops a node and damages its journal in the middle of records that are in no checkpoint yet. `nodes[0]` takes them.
async fn damage(nodes: &[TestNode], node: TestNode, first: i64) -> (TempDir, Place) {
    let place = place(&node);
    let node = again(node.stop().await, place, &nodes[0]).await;
    harness::until_led(&nodes[0], "orders").await;
    let mut log = nodes[0].log().await;
    for number in first..first + 5 {
        assert_eq!(append_anywhere(&mut log, "orders", 0, &[number as u8; 2000]).await, number);
    }
    let (marked, last) = ([(first + 2) as u8; 99], [(first + 4) as u8; 99]);
    let journal = node.directory.path().join("data/journal");
    soon("it has the newest records", async {
        while find(&journal, &last).is_none() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let wreck = node.wreck();
    node.stop().await;
    let (file, position) = find(&wreck.path().join("data/journal"), &marked).expect("in the journal");
    let mut bytes = fs::read(&file).expect("readable");
    bytes[position] ^= 0x40;
    fs::write(&file, bytes).expect("written");
    (wreck, place)
}

fn find(directory: &Path, bytes: &[u8]) -> Option<(PathBuf, usize)> {
    contents(directory).into_iter().find_map(|(file, content)| {
        let position = content.windows(bytes.len()).position(|window| window == bytes)?;
        Some((file, position))
    })
}

/// A line of the identity of a node's directory.
fn identity(directory: &TempDir, name: &str) -> String {
    let text = fs::read_to_string(directory.path().join("data/identity")).expect("readable");
    text.lines().find(|line| line.starts_with(name)).expect("a line").to_owned()
}

/// The files that were set aside.
fn aside(directory: &TempDir) -> Vec<PathBuf> {
    let quarantine = directory.path().join("data/quarantine");
    let files = contents(&quarantine).into_keys();
    files.filter(|file| file.to_string_lossy().contains("/aside-")).collect()
}

/// The partition takes a record at whoever leads it now.
async fn takes_records(nodes: &[&TestNode]) {
    soon("it takes records", async {
        loop {
            let leader = describe(nodes[0], "orders").await.partitions[0].leader_node_id;
            if let Some(leader) = nodes.iter().find(|node| Some(node.node.id().0) == leader) {
                let request = harness::produce("orders", 0, harness::batch(1, 10).into_bytes());
                if leader.log().await.produce(request).await.is_ok() {
                    return;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_journal_is_damaged_comes_back_as_a_new_member_and_keeps_the_old_data_aside() {
    let (mut nodes, topic) = with_segments(RECORDS).await;
    let third = nodes.pop().expect("three");
    let (wreck, place) = damage(&nodes, third, RECORDS).await;
    let before = (identity(&wreck, "cluster"), identity(&wreck, "incarnation"));

    let node = again(wreck, place, &nodes[0]).await;
    assert_eq!(identity(&node.directory, "cluster"), before.0);
    assert_ne!(identity(&node.directory, "incarnation"), before.1);
    let kept = aside(&node.directory);
    assert!(
        kept.iter().any(|file| file.extension().is_some_and(|kind| kind == "log")),
        "nothing is deleted: {kept:?}"
    );
    harness::until_healthy(&nodes[0], 3).await;
    assert!(log_files(&node.partition_directory(&topic, 0)).len() >= 8, "it has every record again");
    reads_all(&node, RECORDS + 5).await;
    assert_eq!(node.http("/readyz").await.0, 200);
    // It counts: the partition goes on with it and one other.
    nodes.pop().expect("two").stop().await;
    takes_records(&[&nodes[0], &node]).await;
    // What is deleted of the old data in part is no reason for another life.
    let incarnation = identity(&node.directory, "incarnation");
    let directory = node.stop().await;
    fs::remove_dir_all(kept[0].parent().expect("a directory")).expect("removed");
    let node = again(directory, place, &nodes[0]).await;
    assert_eq!(identity(&node.directory, "incarnation"), incarnation);
    takes_records(&[&nodes[0], &node]).await;
    for node in nodes.into_iter().chain([node]) {
        soon("it stops", node.stop()).await;
    }
}

#[tokio::test]
async fn two_damaged_nodes_of_three_give_up_nothing() {
    let (mut nodes, _) = with_segments(RECORDS).await;
    let third = nodes.pop().expect("three");
    let (wreck_3, place_3) = damage(&nodes, third, RECORDS).await;
    // The third one is away: what these acknowledge is on the first two alone.
    let second = nodes.pop().expect("two");
    let (wreck_2, place_2) = damage(&nodes, second, RECORDS + 5).await;
    let first = nodes.pop().expect("one");
    let before = [identity(&wreck_2, "incarnation"), identity(&wreck_3, "incarnation")];
    let (second, third) = tokio::join!(again(wreck_2, place_2, &first), again(wreck_3, place_3, &first));
    for (node, before) in [&second, &third].into_iter().zip(before) {
        assert_eq!(identity(&node.directory, "incarnation"), before);
        assert!(aside(&node.directory).is_empty());
        let (status, why) = node.http("/readyz").await;
        assert_eq!(status, 503, "{why}");
        assert_eq!(bounds(&mut node.log().await, "orders", 0).await.expect("proven").0, 0);
    }
    for node in [first, second, third] {
        soon("it stops", node.stop()).await;
    }
}

#[tokio::test]
async fn a_damaged_node_with_the_only_replica_of_a_partition_keeps_it_until_nobody_wants_it_any_more() {
    let (mut nodes, _) = with_segments(RECORDS).await;
    nodes[0].create_replicated("alone", 3, 1, &[]).await;
    let third = nodes.pop().expect("three");
    let (wreck, place) = damage(&nodes, third, RECORDS).await;
    let before = identity(&wreck, "incarnation");

    let node = again(wreck, place, &nodes[0]).await;
    assert_eq!(identity(&node.directory, "incarnation"), before);
    assert!(aside(&node.directory).is_empty());
    assert_eq!(node.http("/readyz").await.0, 503);
    assert_eq!(bounds(&mut node.log().await, "orders", 0).await.expect("proven").0, 0);
    takes_records(&[&nodes[0], &nodes[1]]).await;

    let delete = v1::DeleteTopicRequest { topic: "alone".into(), ..Default::default() };
    nodes[0].admin().await.delete_topic(delete).await.expect("deleted");
    assert_eq!(soon("it ends, to begin anew", node.node.failed()).await, NodeFailure::Spared);
    let node = again(node.stop().await, place, &nodes[0]).await;
    assert_ne!(identity(&node.directory, "incarnation"), before);
    assert!(!aside(&node.directory).is_empty());
    harness::until_healthy(&nodes[0], 3).await;
    nodes.pop().expect("two").stop().await;
    takes_records(&[&nodes[0], &node]).await;
    for node in nodes.into_iter().chain([node]) {
        soon("it stops", node.stop()).await;
    }
}
