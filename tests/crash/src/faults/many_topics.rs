//! Very many topics: created and deleted, and alive all at once over a restart.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{TryStreamExt as _, stream};
use highwater_client::{Client, ConsumerConfig, ProducerConfig, ProducerRecord, StartPosition};
use highwater_types::PartitionIndex;

use super::{check, check_exit, comes, create_topic, delete_topic};
use crate::CrashError;
use crate::node::{Node, run};

/// Calls under way at one time.
const AT_ONCE: usize = 16;
const RECORDS: u64 = 3;

/// What a run cost. Printed, never asserted: it says more about the machine than about the node.
#[derive(Debug, Default, Clone, Copy)]
pub struct Cost {
    /// Creating all topics.
    pub created_in: Duration,
    /// Writing records to all.
    pub written_in: Duration,
    /// From the start of the process after a kill until it answers.
    pub recovered_in: Duration,
    /// From the start of the process after a stop in good order until it answers.
    pub started_in: Duration,
    /// Stopping in good order.
    pub stopped_in: Duration,
    /// Memory of the restarted node at rest.
    pub idle_rss_kib: u64,
    /// CPU of the restarted node at rest, in thousandths of a core.
    pub idle_cpu_permille: u64,
    /// Deleting all topics, until their data is gone.
    pub deleted_in: Duration,
    /// Size of the data directory with all topics alive.
    pub disk_kib: u64,
}

fn name(number: u32) -> String {
    format!("topic-{number:05}")
}

async fn for_all<F, Fut>(count: u32, call: F) -> Result<Duration, CrashError>
where
    F: Fn(u32) -> Fut,
    Fut: Future<Output = Result<(), CrashError>>,
{
    let started = Instant::now();
    stream::iter((0..count).map(Ok)).try_for_each_concurrent(AT_ONCE, call).await?;
    Ok(started.elapsed())
}

/// Directories of topics; the cluster's metadata has one too.
fn directories(node: &Node) -> Result<usize, CrashError> {
    let entries = fs::read_dir(node.data().join("topics")).map_err(CrashError::io("listing the topics"))?;
    Ok(entries.flatten().filter(|entry| entry.file_name() != "metadata").count())
}

/// See the module.
///
/// # Errors
/// When a promise is broken.
pub async fn alive_and_deleted(directory: &Path, count: u32, idle: Duration) -> Result<Cost, CrashError> {
    let mut cost = Cost::default();
    let mut node = Node::new(directory.join("node"))?;
    let client = node.start().await?;
    let configs = [("file.delete.delay.ms", "0")];
    cost.created_in = for_all(count, |number| create(&client, number, &configs)).await?;
    cost.written_in = write_all(&client, count).await?;
    cost.disk_kib = disk_kib(node.data())?;

    node.kill()?;
    node.inspect()?;
    let started = Instant::now();
    let client = node.start().await?;
    cost.recovered_in = started.elapsed();
    for_all(count, |number| read_back(&client, number)).await?;

    let stopping = Instant::now();
    check_exit(node.stop().await?, 0, &node.log_tail())?;
    cost.stopped_in = stopping.elapsed();
    node.inspect()?;
    let started = Instant::now();
    let client = node.start().await?;
    cost.started_in = started.elapsed();
    let before = cpu_ticks(node.process_id()?)?;
    tokio::time::sleep(idle).await;
    let ticks = cpu_ticks(node.process_id()?)? - before;
    cost.idle_cpu_permille = ticks * 10 * 1000 / u64::try_from(idle.as_millis()).unwrap_or(u64::MAX).max(1);
    cost.idle_rss_kib = rss_kib(node.process_id()?)?;
    for_all(count, |number| read_back(&client, number)).await?;

    let deleting = Instant::now();
    for_all(count, |number| delete(&client, number)).await?;
    check(client.admin().list_topics("", false).await?.is_empty(), || "a deleted topic is listed".to_owned())?;
    comes("the data of deleted topics is gone", || async { Ok(directories(&node)? == 0) }).await?;
    cost.deleted_in = deleting.elapsed();
    check_exit(node.stop().await?, 0, &node.log_tail())?;
    node.inspect()?;
    let client = node.start().await?;
    check(client.admin().list_topics("", false).await?.is_empty(), || "a deleted topic came back".to_owned())?;
    check_exit(node.stop().await?, 0, &node.log_tail())?;
    Ok(cost)
}

async fn create(client: &Client, number: u32, configs: &[(&str, &str)]) -> Result<(), CrashError> {
    create_topic(client, &name(number), 1, configs).await
}

async fn delete(client: &Client, number: u32) -> Result<(), CrashError> {
    delete_topic(client, &name(number)).await
}

async fn write_all(client: &Client, count: u32) -> Result<Duration, CrashError> {
    let started = Instant::now();
    let producer = client.producer(ProducerConfig::default())?;
    for record in 0..RECORDS {
        for number in 0..count {
            producer.send(&name(number), ProducerRecord::value(format!("{number} {record}"))).await?;
        }
    }
    producer.flush().await?;
    Ok(started.elapsed())
}

async fn read_back(client: &Client, number: u32) -> Result<(), CrashError> {
    let config = ConsumerConfig::starting_at(StartPosition::Earliest);
    let mut consumer = client.consumer(&name(number), &[PartitionIndex(0)], config).await?;
    let mut next = 0;
    while next < RECORDS {
        let batch = tokio::time::timeout(super::COMES_WITHIN, consumer.next_batch()).await;
        let batch = batch.map_err(|_| CrashError::Broken(format!("{} ends at {next}", name(number))))??;
        for record in batch.into_iter().flat_map(|batch| batch.records) {
            let value = format!("{number} {next}");
            let as_sent = record.value.as_deref() == Some(value.as_bytes());
            check(as_sent, || format!("{} at {next} is {:?}", name(number), record.value))?;
            next += 1;
        }
    }
    Ok(())
}

fn disk_kib(data: &Path) -> Result<u64, CrashError> {
    let printed = run(Command::new("du").args(["-s", "-k"]).arg(data))?;
    Ok(printed.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0))
}

/// CPU time that a process has used, in the kernel's ticks of 10 ms.
fn cpu_ticks(process: u32) -> Result<u64, CrashError> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).map_err(CrashError::io("reading /proc"))?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let field =
        |index| after_name.split_whitespace().nth(index).and_then(|word: &str| word.parse::<u64>().ok());
    Ok(field(11).unwrap_or(0) + field(12).unwrap_or(0))
}

fn rss_kib(process: u32) -> Result<u64, CrashError> {
    let status =
        fs::read_to_string(format!("/proc/{process}/status")).map_err(CrashError::io("reading /proc"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0))
}
