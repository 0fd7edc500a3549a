//! A wall clock that jumps by years, under load.
//!
//! The node runs with libfaketime, which shows it another wall clock, and leaves the monotonic one alone; the producers and
//! this program keep the true time.

use std::fs;
use std::path::{Path, PathBuf};

use highwater_client::{
    Client, ClientError, ConsumerConfig, ProducerConfig, ProducerRecord, Record, StartPosition,
};
use highwater_types::{Clock as _, ErrorCode, PartitionIndex, SystemClock};

use super::{bounds, check, check_exit, check_says, comes, create_topic, printed};
use crate::CrashError;
use crate::check::verify;
use crate::node::Node;
use crate::workload::Workload;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const YEAR_MS: i64 = 365 * DAY_MS;
const SMALL_SEGMENTS: (&str, &str) = ("segment.bytes", "4096");
const APPEND_TIME: (&str, &str) = ("message.timestamp.type", "LogAppendTime");
/// Records that make several small segments.
const SEVERAL_SEGMENTS: u32 = 30;
const KEPT: &str = "kept";

/// The file that libfaketime reads the node's time from.
pub struct FakeClock(PathBuf);

impl FakeClock {
    /// Shows the node, from its next start on, the time that this file says: the true one to begin with.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn install(node: &mut Node, library: &str, file: PathBuf) -> Result<Self, CrashError> {
        node.set_environment("LD_PRELOAD", library);
        node.set_environment("FAKETIME_TIMESTAMP_FILE", &file);
        for switch in
            ["FAKETIME_NO_CACHE", "FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC", "NO_FAKE_STAT"]
        {
            node.set_environment(switch, "1");
        }
        let clock = Self(file);
        clock.set("+0d")?;
        Ok(clock)
    }

    /// Shows the node a time that differs from the true one by this, such as `+10y` or `-1h`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set(&self, difference: &str) -> Result<(), CrashError> {
        let next = self.0.with_extension("next");
        fs::write(&next, format!("{difference}\n")).map_err(CrashError::io("setting the clock"))?;
        fs::rename(&next, &self.0).map_err(CrashError::io("setting the clock"))
    }
}

async fn write(client: &Client, topic: &str, records: u32) -> Result<(), ClientError> {
    let producer = client.producer(ProducerConfig::default())?;
    for _ in 0..records {
        producer.send(topic, ProducerRecord::value(vec![b'x'; 1000])).await?;
        // One batch each, so that segments fill.
        producer.flush().await?;
    }
    Ok(())
}

/// Writes one record and holds the time that the node gave it.
async fn stamp(client: &Client, topic: &str, years: i64) -> Result<(), CrashError> {
    write(client, topic, 1).await?;
    let last = read(client, topic).await?.pop();
    let expected = SystemClock.now().0 + years * YEAR_MS;
    let found = last.map(|record| record.timestamp.0);
    // Leap days.
    let close = found.is_some_and(|found| (found - expected).abs() < 5 * DAY_MS);
    check(close, || format!("{topic}: stamped with {found:?} where the clock shows about {expected}"))
}

async fn read(client: &Client, topic: &str) -> Result<Vec<Record>, CrashError> {
    let (start, end) = bounds(client, topic).await?;
    let config = ConsumerConfig::starting_at(StartPosition::Earliest);
    let mut consumer = client.consumer(topic, &[PartitionIndex(0)], config).await?;
    let mut records = Vec::new();
    while (records.len() as i64) < end - start {
        let batch = tokio::time::timeout(super::COMES_WITHIN, consumer.next_batch()).await;
        let batch = batch.map_err(|_| CrashError::Broken(format!("{topic}: reading stopped")))??;
        records.extend(batch.into_iter().flat_map(|batch| batch.records));
    }
    Ok(records)
}

/// Waits until retention has looked at every partition since this call began: it has when it deletes what is written here,
/// twice.
async fn retention_passes(client: &Client, times: u32) -> Result<(), CrashError> {
    for _ in 0..times {
        let (before, _) = bounds(client, "passing").await?;
        write(client, "passing", SEVERAL_SEGMENTS).await?;
        comes("retention deletes what is beyond its bytes", || async {
            Ok(bounds(client, "passing").await?.0 > before)
        })
        .await?;
    }
    Ok(())
}

/// See the module: the clock goes back a year, forward ten, and to the truth again with a crash. No acknowledged record is
/// lost, retention deletes nothing that is not old, timestamps out of bounds are refused by name, and lookups by
/// time find what they must.
///
/// # Errors
/// When a promise is broken.
pub async fn clock_jumps_under_load(directory: &Path, library: &str, seed: u64) -> Result<(), CrashError> {
    let mut node = Node::new(directory.join("node"))?;
    let clock = FakeClock::install(&mut node, library, directory.join("time"))?;
    let client = node.start().await?;
    let any_time = ("message.timestamp.after.max.ms", "9223372036854775807");
    let for_ever = ("retention.ms", "-1");
    create_topic(&client, KEPT, crate::scenario::PARTITIONS, &[SMALL_SEGMENTS, any_time, for_ever]).await?;
    create_topic(&client, "week", 1, &[SMALL_SEGMENTS]).await?;
    create_topic(&client, "stamped", 1, &[APPEND_TIME, for_ever]).await?;
    create_topic(&client, "passing", 1, &[SMALL_SEGMENTS, APPEND_TIME, ("retention.bytes", "1")]).await?;
    write(&client, "week", SEVERAL_SEGMENTS).await?;
    let workload = Workload::start(&node.address(), &[KEPT.to_owned()], 0..4, seed)?;
    workload.wait_for(300).await?;

    clock.set("-1y")?;
    workload.wait_for(300).await?;
    stamp(&client, "stamped", -1).await?;
    too_new(&node, &client).await?;
    retention_passes(&client, 1).await?;
    check(bounds(&client, "week").await? == (0, SEVERAL_SEGMENTS.into()), || {
        "a clock that went back made retention delete records".to_owned()
    })?;

    clock.set("+10y")?;
    workload.wait_for(300).await?;
    stamp(&client, "stamped", 10).await?;
    create_topic(&client, "later", 1, &[SMALL_SEGMENTS, APPEND_TIME]).await?;
    write(&client, "later", SEVERAL_SEGMENTS).await?;

    clock.set("+0d")?;
    node.kill()?;
    node.inspect()?;
    let client = node.start().await?;
    workload.wait_for(300).await?;
    stamp(&client, "stamped", 0).await?;
    write(&client, "week", 1).await?;
    // The first record with a time of the last hour or later is the one that was stamped ten years ahead.
    let recent = node.command(&["consume", "stamped", "--from", "-1h", "--until-end"], "")?;
    check_exit(recent.status, 0, &printed(&recent))?;
    let lines = String::from_utf8_lossy(&recent.stdout).lines().count();
    check(lines == 2, || format!("{lines} records of the last hour or later, 2 were written"))?;
    retention_passes(&client, 2).await?;
    check(bounds(&client, "later").await? == (0, SEVERAL_SEGMENTS.into()), || {
        "retention deleted what is younger than a week".to_owned()
    })?;

    let (ledger, sent) = workload.finish().await?;
    let acked = ledger.acked().await;
    let read = verify(&client, &[KEPT.to_owned()], &acked, seed).await?;
    check(read == sent, || format!("{sent} sent, {} acknowledged, {read} read", ledger.count()))?;
    check_exit(node.stop().await?, 0, &node.log_tail())?;
    node.inspect().map(drop)
}

/// By a clock that is a year behind, what producers send comes from the future: refused, and clearly.
async fn too_new(node: &Node, client: &Client) -> Result<(), CrashError> {
    let refused = write(client, "week", 1).await;
    let by_name = refused.as_ref().is_err_and(|error| error.code() == Some(ErrorCode::InvalidTimestamp));
    check(by_name, || format!("a timestamp a year ahead: {refused:?}"))?;
    let output = node.command(&["produce", "week"], "too new\n")?;
    check_exit(output.status, 1, &printed(&output))?;
    check_says(&printed(&output), &["timestamp", "message.timestamp.after.max.ms", "INVALID_TIMESTAMP"])
}
