//! The scenarios: a node under load is killed, or its power is cut, again and again.

use std::path::Path;

use highwater_client::Client;
use highwater_client::v1::CreateTopicRequest;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::CrashError;
use crate::check::verify;
use crate::node::Node;
use crate::power::LoopDisk;
use crate::workload::{Acked, Workload};

/// Partitions of each topic.
pub const PARTITIONS: u32 = 3;
const PRODUCERS: u32 = 4;
/// Small, so that segments roll under the load.
const SEGMENT_BYTES: &str = "131072";

/// What a run did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Account {
    /// Kills or power cuts.
    pub crashes: u32,
    /// Records acknowledged.
    pub acked: u64,
    /// Records read back at the end.
    pub read: u64,
}

/// The index of the first topic that may lose records to a power cut.
const MEMORY_FROM: usize = 2;
/// Records for `memory` topics on each that is acknowledged on the others. They wait for no sync, and without a bound
/// would fill the disk, the sooner the slower it is.
const RELAXED_PER_DURABLE: u64 = 4;

/// The topics, two of each durability.
pub(crate) fn topics() -> Vec<String> {
    ["fsync-a", "fsync-b", "memory-a", "memory-b"].map(str::to_owned).to_vec()
}

pub(crate) async fn create_topics(client: &Client) -> Result<(), CrashError> {
    for name in topics() {
        let durability = if name.starts_with("memory") { "memory" } else { "fsync" };
        let configs = [("durability", durability), ("segment.bytes", SEGMENT_BYTES)];
        let request = CreateTopicRequest {
            name,
            partitions: PARTITIONS,
            replication_factor: 1,
            configs: configs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            ..CreateTopicRequest::default()
        };
        client.admin().create_topic(request).await?;
    }
    Ok(())
}

/// Kills the node with -9 at random points under load. After each restart every acknowledged record of every topic is
/// there once, in order, byte-identical, and an inspection of the stopped node finds nothing wrong.
///
/// # Errors
/// When a promise is broken.
pub async fn killed_under_load(directory: &Path, kills: u32, seed: u64) -> Result<Account, CrashError> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut node = Node::new(directory.join("node"))?;
    let mut client = node.start().await?;
    create_topics(&client).await?;
    let workload = Workload::start(&node.address(), &topics(), 0..PRODUCERS, seed)?;
    for _ in 0..kills {
        workload.wait_for(random.random_range(1..400)).await?;
        node.kill()?;
        node.inspect()?;
        client = node.start().await?;
        let acked = workload.ledger().acked().await;
        verify(&client, &topics(), &acked, seed).await?;
    }
    let (ledger, sent) = workload.finish().await?;
    let read = verify(&client, &topics(), &ledger.acked().await, seed).await?;
    if sent != ledger.count() || read != sent {
        return Err(CrashError::Broken(format!("{sent} sent, {} acknowledged, {read} read", ledger.count())));
    }
    let status = node.stop().await?;
    if !status.success() {
        return Err(CrashError::Broken(format!("the node ended with {status}:\n{}", node.log_tail())));
    }
    node.inspect()?;
    Ok(Account { crashes: kills, acked: ledger.count(), read })
}

/// Cuts the power of the node's file system under load. Every record acknowledged on a `durability=fsync` topic is there
/// afterwards; what a `durability=memory` topic still has is in order, unbroken and as it was sent.
///
/// # Errors
/// When a promise is broken.
pub async fn power_cut_under_load(
    disk: &LoopDisk,
    log: &Path,
    cuts: u32,
    seed: u64,
) -> Result<Account, CrashError> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut account = Account { crashes: cuts, ..Account::default() };
    let mut node = Node::new(disk.mounted_at().join("node"))?;
    node.set_log(log.to_owned());
    let client = node.start().await?;
    create_topics(&client).await?;
    let mut acked = Acked::new();
    for cut in 0..cuts {
        // A producer that goes on over the cut may find itself ahead of a `memory` topic's log; each cut gets new ones.
        let producers = cut * PRODUCERS..(cut + 1) * PRODUCERS;
        let durable = Workload::start(&node.address(), &topics()[..MEMORY_FROM], producers.clone(), seed)?;
        let relaxed = Workload::start(&node.address(), &topics()[MEMORY_FROM..], producers, seed)?;
        let more = random.random_range(1..2000);
        tokio::select! {
            waited = durable.wait_for(more) => waited?,
            never = relaxed.follow(durable.ledger(), RELAXED_PER_DURABLE) => match never {},
        }
        disk.cut_power()?;
        node.kill()?;
        account.acked += durable.ledger().count();
        acked.extend(durable.abandon().await);
        relaxed.abandon().await;
        disk.power_on()?;
        node.inspect()?;
        let client = node.start().await?;
        account.read = verify(&client, &topics(), &acked, seed).await?;
    }
    node.kill()?;
    Ok(account)
}
