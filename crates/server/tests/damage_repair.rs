//! Three nodes in this process, one of which finds its stored records damaged: it is whole again without anybody's help.

mod harness;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use harness::clusters::{reads_all, with_segments};
use harness::{TestNode, describe, log_files, partition_directory, soon};
use highwater_server::NodeConfig;
use highwater_types::NodeId;
use tokio::time::sleep;

const RECORDS: i64 = 40;

/// Three nodes with one topic of three replicas in many segments; the last of the nodes as it stopped, with the topic's first log file.
async fn stopped_replica() -> (Vec<TestNode>, tempfile::TempDir, PathBuf, Vec<u8>) {
    let (mut nodes, topic) = with_segments(RECORDS).await;
    let files = || log_files(&partition_directory(&nodes[2].directory, &topic, 0));
    soon("the last replica has all of it", async {
        while files().len() < 8 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let last = nodes.pop().expect("three");
    let directory = last.stop().await;
    let file = log_files(&partition_directory(&directory, &topic, 0)).remove(1);
    let whole = fs::read(&file).expect("readable");
    (nodes, directory, file, whole)
}

async fn start_again(directory: tempfile::TempDir) -> TestNode {
    TestNode::start_in(directory, |config| NodeConfig { node: NodeId(3), ..config }).await
}

async fn figure(node: &TestNode, name: &str) -> u64 {
    let (status, text) = node.http("/metrics").await;
    assert_eq!(status, 200);
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {text}"));
    line.rsplit(' ').next().expect("a value").parse().expect("a number")
}

async fn is_whole_again(node: &TestNode, file: &PathBuf, whole: &[u8]) {
    soon("the damaged segment is repaired", async {
        while figure(node, "highwater_repaired_segments_total ").await == 0 {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(fs::read(file).expect("readable"), whole, "byte by byte");
    assert_eq!(figure(node, "highwater_quarantined_segments ").await, 0);
    assert!(figure(node, "highwater_repaired_fetched_bytes_total ").await > 0);
    reads_all(node, RECORDS).await;
    assert_eq!(node.http("/readyz").await.0, 200);
}

#[tokio::test]
async fn a_scrub_finds_a_damaged_byte_that_nobody_read_and_the_replica_is_whole_again() {
    let (nodes, directory, file, whole) = stopped_replica().await;
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x10;
    fs::write(&file, damaged).expect("written");
    let node = start_again(directory).await;
    is_whole_again(&node, &file, &whole).await;
    assert!(figure(&node, "highwater_scrub_findings_total ").await > 0);
    assert!(figure(&node, "highwater_scrub_bytes_total ").await > 0);
    for node in nodes {
        node.stop().await;
    }
    soon("it stops", node.stop()).await;
}

#[tokio::test]
async fn a_file_that_is_gone_is_fetched_from_the_other_replicas() {
    let (nodes, directory, file, whole) = stopped_replica().await;
    fs::remove_file(&file).expect("removed");
    let node = start_again(directory).await;
    is_whole_again(&node, &file, &whole).await;
    // It is a whole member: with it and one other the partition takes records.
    let mut nodes = nodes;
    nodes.pop().expect("two").stop().await;
    soon("it takes records", async {
        loop {
            let leader = describe(&node, "orders").await.partitions[0].leader_node_id;
            let leads = |candidate: &&TestNode| Some(candidate.node.id().0) == leader;
            if let Some(leader) = nodes.iter().chain([&node]).find(leads) {
                let request = harness::produce("orders", 0, harness::batch(1, 10).into_bytes());
                if leader.log().await.produce(request).await.is_ok() {
                    return;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    for node in nodes {
        soon("it stops", node.stop()).await;
    }
    soon("it stops", node.stop()).await;
}

#[tokio::test]
async fn a_file_with_a_mark_of_an_unreadable_sector_is_replaced_and_the_mark_goes() {
    let (nodes, directory, file, whole) = stopped_replica().await;
    let data = directory.path().join("data");
    let relative = file.strip_prefix(&data).expect("below the data").to_string_lossy().into_owned();
    let marker = data.join("quarantine").join(highwater_storage::disk::sigbus::marker_name(relative.as_ref()));
    fs::write(&marker, "").expect("marked");
    let mut damaged = whole.clone();
    damaged[100] ^= 0x10;
    fs::write(&file, damaged).expect("written");
    let node = start_again(directory).await;
    is_whole_again(&node, &file, &whole).await;
    soon("the mark goes", async {
        while marker.exists() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for node in nodes {
        node.stop().await;
    }
    soon("it stops", node.stop()).await;
}
