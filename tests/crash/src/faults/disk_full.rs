//! A disk that fills up, and is freed again.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use highwater_client::v1::{AlterTopicConfigsRequest, DeleteRecordsPartition, DeleteRecordsRequest};
use highwater_client::{
    Client, ClientError, ConsumerConfig, Producer, ProducerConfig, ProducerRecord, StartPosition,
};
use highwater_types::{ErrorCode, PartitionIndex, limits};

use super::{bounds, check, check_exit, check_says, comes, create_topic, delete_topic, printed};
use crate::CrashError;
use crate::check::verify;
use crate::node::{Node, run};
use crate::power::LoopDisk;
use crate::scenario::{PARTITIONS, create_topics, topics};
use crate::workload::{RecordId, Workload};

/// Enough for a node at rest and the reserve.
pub const DISK_MIB: u64 = 512;
/// What is left above the reserve when the filling begins.
const ROOM_BYTES: u64 = 24 << 20;
const FILLER_BYTES: usize = 256 << 10;
const FILLER: &str = "filler";
/// How long the end of a fault may be felt.
const HEALS_WITHIN: Duration = Duration::from_secs(30);
/// The number of the producer that probes; no workload has it.
const PROBE: u32 = 1000;

/// A file that takes room on a file system; freed when dropped.
pub struct Ballast(PathBuf);

impl Ballast {
    /// Leaves so many bytes free on the file system that is mounted there.
    ///
    /// # Errors
    /// When the room cannot be taken.
    pub fn leaving(disk: &Path, bytes: u64) -> Result<Self, CrashError> {
        let ballast = Self(disk.join("ballast"));
        let more = free_bytes(disk)?.saturating_sub(bytes);
        run(Command::new("fallocate").args(["-l", &more.to_string()]).arg(&ballast.0))?;
        Ok(ballast)
    }

    /// Takes what is left, to the last block.
    ///
    /// # Errors
    /// When the ballast cannot be opened; that the disk is full is none.
    pub fn take_all(&self) -> Result<(), CrashError> {
        let file = File::options().append(true).open(&self.0);
        let mut file = file.map_err(CrashError::io("growing the ballast"))?;
        let block = vec![1; 64 << 10];
        while file.write_all(&block).is_ok() {}
        // The error that ends it is the full disk's.
        let _ = file.sync_all();
        Ok(())
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // Gone with the file system otherwise.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn free_bytes(disk: &Path) -> Result<u64, CrashError> {
    let printed = run(Command::new("stat").args(["-f", "-c", "%a %S"]).arg(disk))?;
    let numbers: Vec<u64> = printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [blocks, size] => Ok(blocks * size),
        _ => Err(CrashError::Broken(format!("stat -f printed {printed:?}"))),
    }
}

/// What the filler at this number holds.
fn filler(number: u64) -> Bytes {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(FILLER_BYTES, u8::try_from(number % 251).unwrap_or(0));
    value.into()
}

fn filling(client: &Client) -> Result<Producer, CrashError> {
    let config = ProducerConfig { delivery_timeout: Duration::from_secs(2), ..ProducerConfig::default() };
    Ok(client.producer(config)?)
}

/// Produces until the disk is full; returns how many were acknowledged from `number` on.
async fn fill(client: &Client, number: u64) -> Result<u64, CrashError> {
    let producer = filling(client)?;
    for sent in 0.. {
        let record = ProducerRecord::value(filler(number + sent));
        match producer.send(FILLER, record).await?.wait().await {
            Ok(_) => {}
            Err(error) => {
                let cause = match &error {
                    ClientError::DeliveryTimeout { last_error: Some(cause), .. } => cause,
                    other => other,
                };
                let refused = cause.code() == Some(ErrorCode::NoSpace);
                return check(refused, || format!("a full disk was reported as {error}")).map(|()| sent);
            }
        }
    }
    Ok(0)
}

/// Reads the fillers back: the first `acked` are what was sent.
async fn read_fillers(client: &Client, acked: u64) -> Result<(), CrashError> {
    let config = ConsumerConfig::starting_at(StartPosition::Earliest);
    let mut consumer = client.consumer(FILLER, &[PartitionIndex(0)], config).await?;
    let mut next = 0;
    while next < acked {
        let batch = tokio::time::timeout(super::COMES_WITHIN, consumer.next_batch()).await;
        let batch =
            batch.map_err(|_| CrashError::Broken(format!("reading stopped at filler {next} of {acked}")))??;
        for record in batch.into_iter().flat_map(|batch| batch.records) {
            let as_sent = next >= acked || record.value.as_ref() == Some(&filler(next));
            check(as_sent, || format!("filler {next} at {} is not what was sent", record.offset))?;
            next += 1;
        }
    }
    Ok(())
}

/// What an operator does to make room.
async fn administrate(client: &Client, round: u32) -> Result<(), CrashError> {
    let name = format!("made-when-full-{round}");
    create_topic(client, &name, 2, &[]).await?;
    let set = [("retention.bytes".to_owned(), (1 << 20).to_string())].into_iter().collect();
    let alter = AlterTopicConfigsRequest { topic: name.clone(), set, ..AlterTopicConfigsRequest::default() };
    client.admin().alter_topic_configs(alter).await?;
    delete_topic(client, &name).await
}

/// See the module: producing is refused by name; reads, metadata changes, deletes and restarts go on; producing resumes by
/// itself; every acknowledged record is there.
///
/// # Errors
/// When a promise is broken.
pub async fn full_and_freed(disk: &LoopDisk, log: &Path, seed: u64) -> Result<(), CrashError> {
    let mount = disk.mounted_at();
    let mut node = Node::new(mount.join("node"))?;
    node.set_log(log.to_owned());
    let client = node.start().await?;
    create_topics(&client).await?;
    create_topic(&client, FILLER, 1, &[("segment.bytes", "4194304"), ("max.message.bytes", "1048576")]).await?;
    create_topic(&client, "doomed", 1, &[("segment.bytes", "1048576")]).await?;
    fill_some(&client, "doomed", 32).await?;
    let workload = Workload::start(&node.address(), &topics(), 0..4, seed)?;
    workload.wait_for(500).await?;

    let ballast = Ballast::leaving(mount, limits::DISK_RESERVE_BYTES + ROOM_BYTES)?;
    let mut acked = fill(&client, 0).await?;
    check(acked > 0, || "nothing fitted".to_owned())?;
    cli_is_refused(&node)?;
    read_fillers(&client, acked).await?;
    verify(&client, &topics(), &workload.ledger().acked().await, seed).await?;
    administrate(&client, 0).await?;
    delete_all_records(&client, "doomed").await?;

    // The load cannot go on, but it does not fail either; a crash on a full disk changes nothing.
    node.kill()?;
    node.inspect()?;
    let client = node.start().await?;
    read_fillers(&client, acked).await?;
    administrate(&client, 1).await?;
    // A checkpoint is part of a stop in good order.
    check_exit(node.stop().await?, 0, &node.log_tail())?;
    node.inspect()?;
    let client = node.start().await?;

    // Others may take the reserve too.
    ballast.take_all()?;
    acked += fill(&client, acked).await?;
    cli_is_refused(&node)?;
    read_fillers(&client, acked).await?;
    verify(&client, &topics(), &workload.ledger().acked().await, seed).await?;

    drop(ballast);
    workload.wait_for(2000).await?;
    let (ledger, sent) = workload.finish().await?;
    let read = verify(&client, &topics(), &ledger.acked().await, seed).await?;
    check(read == sent, || format!("{sent} sent, {} acknowledged, {read} read", ledger.count()))?;
    read_fillers(&client, acked).await?;
    check_exit(node.stop().await?, 0, &node.log_tail())?;
    node.inspect().map(drop)
}

async fn fill_some(client: &Client, topic: &str, records: u64) -> Result<(), CrashError> {
    let producer = client.producer(ProducerConfig::default())?;
    for number in 0..records {
        producer.send(topic, ProducerRecord::value(filler(number))).await?;
    }
    Ok(producer.flush().await?)
}

/// The command line says what is wrong and what to do.
fn cli_is_refused(node: &Node) -> Result<(), CrashError> {
    let line = format!("{}\n", "x".repeat(FILLER_BYTES));
    let output = node.command(&["produce", FILLER, "--delivery-timeout", "2s"], &line)?;
    check_exit(output.status, 1, &printed(&output))?;
    check_says(&printed(&output), &["no space for", "NO_SPACE", "free disk space", "by itself"])
}

async fn delete_all_records(client: &Client, topic: &str) -> Result<(), CrashError> {
    let all = DeleteRecordsPartition { partition: 0, before_offset: -1 };
    let request = DeleteRecordsRequest {
        topic: topic.to_owned(),
        partitions: vec![all],
        ..DeleteRecordsRequest::default()
    };
    client.admin().delete_records(request).await?;
    comes("deleted records are gone", || async {
        let (start, end) = bounds(client, topic).await?;
        Ok(start == end)
    })
    .await
}

/// The node is killed again and again while the disk is full to the last block. It starts, or says why not and starts once
/// there is room; then every partition takes records again without another restart, and nothing is lost.
///
/// # Errors
/// When a promise is broken.
pub async fn killed_on_a_full_disk(
    disk: &LoopDisk,
    log: &Path,
    kills: u32,
    seed: u64,
) -> Result<(), CrashError> {
    let mount = disk.mounted_at();
    let mut node = Node::new(mount.join("node"))?;
    node.set_log(log.to_owned());
    let client = node.start().await?;
    create_topics(&client).await?;
    let workload = Workload::start(&node.address(), &topics(), 0..4, seed)?;
    let mut probes = 0;
    for _ in 0..kills {
        workload.wait_for(500).await?;
        let ballast = Ballast::leaving(mount, 1 << 20)?;
        ballast.take_all()?;
        node.kill()?;
        node.inspect()?;
        let started = node.start().await;
        if let Err(error) = &started {
            check_says(&node.log_tail(), &["space"]).map_err(|_| CrashError::Broken(error.to_string()))?;
            check_exit(node.wait_end().await?, 1, &node.log_tail())?;
        }
        drop(ballast);
        let client = match started {
            Ok(client) => client,
            Err(_) => node.start().await?,
        };
        probe_every_partition(&client, &mut probes, seed).await?;
        verify(&client, &topics(), &workload.ledger().acked().await, seed).await?;
    }
    let (ledger, sent) = workload.finish().await?;
    let client = Client::connect([node.address()])?;
    let read = verify(&client, &topics(), &ledger.acked().await, seed).await?;
    let all = sent + probes;
    check(read == all, || format!("{all} sent, {} acknowledged, {read} read", ledger.count() + probes))?;
    check_exit(node.stop().await?, 0, &node.log_tail())?;
    node.inspect().map(drop)
}

/// Every partition takes a record, in time and without help.
async fn probe_every_partition(client: &Client, probes: &mut u64, seed: u64) -> Result<(), CrashError> {
    let config = ProducerConfig { delivery_timeout: HEALS_WITHIN, ..ProducerConfig::default() };
    let producer = client.producer(config)?;
    let mut sent = Vec::new();
    for topic in topics() {
        for partition in (0..PARTITIONS).map(PartitionIndex) {
            let id = RecordId { producer: PROBE, number: *probes };
            let record = ProducerRecord { partition: Some(partition), ..ProducerRecord::value(id.value(seed)) };
            let delivery = producer.send(&topic, record).await?;
            sent.push((format!("{topic}-{partition}"), delivery));
            *probes += 1;
        }
    }
    for (partition, delivery) in sent {
        let delivered = delivery.wait().await;
        delivered.map_err(|error| {
            CrashError::Broken(format!("{partition} did not heal on a freed disk: {error}"))
        })?;
    }
    Ok(())
}
